//! `qlua.plan`: what schemes will be before a byte is written, and which groups fit a budget.

use std::cell::RefCell;

use mlua::IntoLua;

use crate::job::Family;
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::rows::{row, rows};
use crate::lua::{Call, Handle, Row, Tidy, Type};
use crate::manifest::{Group, Ranking, Selection};
use crate::plan::{Budget, BudgetSolver, CostModel, Figures, Fit, HullPoint, Measure, hull, hull_knee};
use crate::words::words;

const FAMILY: Type = Type::Handle("Family");
const MEASURES: Type = Type::Choice(Measure::WORDS);

words! {
    /// What a share of a ranking is a share of.
    enum CoveredQuantity: "weight" {
        Parameters = "parameters",
        Bytes = "bytes",
        Score = "score",
    }
}

/// What a budget came to.
struct BudgetOutcome {
    fit: Fit,
    figures: Figures,
}

row! {
    /// The selection that loses least within a budget.
    const FIT = "Fit" for |solved: &BudgetOutcome| {
        /// the groups that go to FP8; empty when the budget needs none
        selection: Type::Handle("Selection") => Handle(solved.fit.selection.clone()),
        /// sum of all tensor bytes
        bytes: Type::IntegerIn("bytes") => solved.figures.bytes,
        /// by ModelOpt's cost model; nil when a cost is no number
        effective_bits: Type::Optional(&Type::NumberIn("bits")) => solved.figures.effective_bits,
        /// the summed score of what is in FP8; nil when it is not finite
        score: Type::Optional(&Type::Number) => solved.figures.score,
        /// how far the score may lie above the least possible one, as a share of it; 0 when it is proven to be the least
        gap: Type::Number => solved.fit.gap,
        /// the smallest budget that can be met, in the budget's unit
        floor: Type::Number => amount(solved.fit.floor),
        /// the budget from which on nothing needs FP8, in the budget's unit
        ceiling: Type::Number => amount(solved.fit.ceiling),
        /// whether the budget is at the ceiling or above
        is_above_ceiling: Type::Boolean => solved.fit.is_above_ceiling,
    }
}
row! {
    /// A supported point of the Pareto frontier, one on its lower convex hull: no selection of its size loses less.
    const POINT = "HullPoint" for |point: &HullPoint| {
        /// sum of all tensor bytes
        bytes: Type::IntegerIn("bytes") => point.bytes,
        /// by ModelOpt's cost model
        effective_bits: Type::NumberIn("bits") => point.effective_bits,
        /// the summed score of what is in FP8
        score: Type::Number => point.score,
        /// how many groups are in FP8
        groups: Type::Integer => point.groups,
        /// the groups that were not in FP8 at the point before
        added: Type::List(&Type::String) => point.added.clone(),
    }
}

/// An example that begins with a family over a manifest alone and a ranking.
macro_rules! with_ranking {
    ($rest:literal $(,)?) => {
        concat!(
            "local family = qlua.export.family{ manifest = qlua.checkpoint.demo(\"demo\").manifest }\n",
            "local ranking = family.manifest:ranking()\n",
            $rest
        )
    };
}

/// The hull of a frontier with the ranking that its selections are made from.
struct Hull {
    points: Vec<HullPoint>,
    ranking: Ranking,
}

pub(super) fn declare() -> Namespace {
    Namespace::new("plan", "What schemes will be before a byte is written, and which groups fit a budget.")
        .function(
            Function::new(
                "solve",
                "The groups of a ranking that lose least within a budget: an exact 0/1 choice for each group, the same every \
                 time. What is not ranked stays in BF16, and so does a group whose score is not finite.",
            )
            .param("family", FAMILY, "the sweep, whose checkpoint or manifest says what groups cost")
            .param("ranking", Type::Handle("Ranking"), "the groups to choose from")
            .options(
                Options::new()
                    .option(
                        "effective_bits",
                        Type::NumberIn("bits"),
                        "the budget, by ModelOpt's cost model: Σ cost ≤ Σ cost unquantised × bits / 16, over all groups",
                    )
                    .option("bytes", Type::IntegerIn("bytes"), "the budget, as the sum of all tensor bytes")
                    .option("always", Type::Handle("Selection"), "ranked groups that go to FP8 whatever they lose"),
            )
            .returns(Type::Record(&FIT), "the selection and its figures")
            .raises("there is not exactly one budget, or it is below the floor, which the error names")
            .example(with_ranking!(
                "local fit = qlua.plan.solve(family, ranking, { effective_bits = 11 })\n\
                 assert(fit.effective_bits <= 11 and fit.gap == 0)"
            )),
            solve,
        )
        .function(
            Function::new(
                "cover",
                "Selects the first groups in a ranking's order that together make up a share of it by weight instead of by \
                 count. Only what really goes to FP8 counts.",
            )
            .param("family", FAMILY, "the sweep, whose checkpoint or manifest says what groups weigh")
            .param("ranking", Type::Handle("Ranking"), "the groups in order")
            .param("percent", Type::Percent, "the share; the last group reaches it")
            .options(Options::new().default(
                "by",
                Type::Choice(CoveredQuantity::WORDS),
                "parameters",
                "the number of weights, their bytes in the base checkpoint, or the manifest's score",
            ))
            .returns(Type::Handle("Selection"), "the selection")
            .raises("the percentage is not above 0 and at most 100, or has more than three decimals")
            .raises("`by` is \"score\" and a score is negative, infinite or NaN")
            .example(with_ranking!("assert(#qlua.plan.cover(family, ranking, 50) > 0)")),
            cover,
        )
        .function(
            Function::new(
                "frontier",
                "The supported points of a ranking's Pareto frontier, which make up its lower convex hull, from nothing in FP8 to \
                 all that has a finite score. Each adds groups to the one before and loses the least that its size allows. \
                 Between two neighbours nothing lies below the line through them; what is best there, `solve` finds.",
            )
            .param("family", FAMILY, "the sweep, whose checkpoint or manifest says what groups cost")
            .param("ranking", Type::Handle("Ranking"), "the groups to choose from")
            .options(Options::new().default("by", MEASURES, "effective_bits", "what the size is counted in"))
            .returns(Type::Handle("Hull"), "the hull")
            .example(with_ranking!(
                "local hull = qlua.plan.frontier(family, ranking)\n\
                 assert(hull.points[1].groups == 0 and #hull:selection(hull.knee) > 0)"
            )),
            |call| {
                let ranking = call.handle::<Ranking>("ranking")?.clone();
                let measure: Measure = call.word("by")?;
                Ok(Handle(Hull { points: hull(&costs(call, &ranking)?, &ranking, measure)?, ranking }))
            },
        )
        .class(hull_class())
}

/// The costs of the parameter `family`.
fn costs(call: &Call, ranking: &Ranking) -> anyhow::Result<CostModel> {
    Ok(call.handle::<RefCell<Family>>("family")?.borrow().costs(ranking)?)
}

fn solve(call: &Call) -> anyhow::Result<Row<BudgetOutcome>> {
    let ranking = call.handle::<Ranking>("ranking")?;
    let budget = match (call.get::<Option<f64>>("effective_bits")?, call.get::<Option<i64>>("bytes")?) {
        (Some(bits), None) => Budget::EffectiveBits(bits),
        (None, Some(bytes)) => {
            Budget::Bytes(u64::try_from(bytes).map_err(|_| call.refuse("bytes", "must not be negative"))?)
        }
        _ => return Err(call.refuse("effective_bits", "or `bytes` must be given, and only one of them")),
    };
    let costs = costs(call, &ranking)?;
    let always = match call.given("always") {
        true => Some(call.handle::<Selection>("always")?),
        false => None,
    };
    let solver = BudgetSolver::new(&costs, &ranking, budget.measure(), always.as_deref())?;
    let fit = solver.fit(budget)?;
    let figures = costs.figures(fit.selection.selected());
    Ok(Row(BudgetOutcome { fit, figures }))
}

fn amount(budget: Budget) -> Tidy {
    match budget {
        Budget::EffectiveBits(bits) => Tidy(bits),
        Budget::Bytes(bytes) => Tidy(bytes as f64),
    }
}

fn cover(call: &Call) -> anyhow::Result<Handle<Selection>> {
    let ranking = call.handle::<Ranking>("ranking")?;
    let costs = costs(call, &ranking)?;
    let percent: f64 = call.get("percent")?;
    // What stays in BF16 whatever is selected covers nothing.
    let cost = |group: &Group| costs.group(&group.name).filter(|cost| cost.quantisable_layers > 0);
    Ok(Handle(match call.word("by")? {
        CoveredQuantity::Score => {
            ranking.cover_score(percent, |group| cost(group).map_or(0.0, |cost| cost.quantised.score))?
        }
        CoveredQuantity::Bytes => {
            ranking.cover(percent, |group| cost(group).map_or(0, |cost| cost.unquantised.bytes))?
        }
        CoveredQuantity::Parameters => {
            ranking.cover(percent, |group| cost(group).map_or(0, |cost| cost.quantisable_parameters))?
        }
    }))
}

fn hull_class() -> Class<Hull> {
    Class::new("Hull", "The lower convex hull of a Pareto frontier: its supported points.")
        .length("the number of points", |this: &Hull| this.points.len())
        .field(
            "points",
            Type::List(&Type::Record(&POINT)),
            "the points, the largest size first",
            |this, call| rows(call.lua(), &this.points),
        )
        .field(
            "knee",
            Type::Optional(&Type::Integer),
            "which point lies farthest below the line from the first to the last, with bytes and score scaled to 1, as reports name \
             the knee of a family; nil where none lies below it, as when there are fewer than three",
            |this, _| Ok(hull_knee(&this.points).map(|at| at + 1)),
        )
        .method(
            Function::new("selection", "The groups that are in FP8 at a point.")
                .param("point", Type::Integer, "which one, from 1 on")
                .returns(Type::Handle("Selection"), "the selection")
                .raises("there is no such point")
                .example(with_ranking!(
                    "local hull = qlua.plan.frontier(family, ranking)\nassert(#hull:selection(3) == hull.points[3].groups)"
                )),
            |this, call| {
                let point: i64 = call.get("point")?;
                let count = usize::try_from(point).ok().filter(|n| (1..=this.points.len()).contains(n));
                let Some(count) = count else {
                    return Err(call.refuse("point", format!("must be from 1 to {}", this.points.len())));
                };
                let added: std::collections::HashSet<&String> =
                    this.points[..count].iter().flat_map(|p| &p.added).collect();
                Ok(Handle(this.ranking.filter(|group| Ok(added.contains(&group.name)))?).into_lua(call.lua())?)
            },
        )
}

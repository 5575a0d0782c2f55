//! `qlua.plan`: what schemes will be before a byte is written, and which groups fit a budget.

use std::cell::RefCell;
use std::sync::Arc;

use mlua::{AnyUserData, IntoLua, Table, Value};

use super::export::family::{PLANNED, PlannedRow, formats};
use crate::job::Family;
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::{Call, Handle, Key, Plain, Record, Tidy, Type};
use crate::manifest::{Manifest, Ranking, Selection};
use crate::plan::{Budget, BudgetSolver, CostModel, Draft, HullPoint, Measure, hull, knee};

const FAMILY: Type = Type::Union(&[Type::Handle("Family"), Type::Handle("Draft")]);
const MEASURES: Type = Type::Choice(&["effective_bits", "bytes"]);

const FIT: Record = Record {
    name: "Fit",
    doc: "The selection that loses least within a budget.",
    keys: &[
        Key::new(
            "selection",
            Type::Handle("Selection"),
            "the groups that go to FP8; empty when the budget needs none",
        ),
        Key::new("bytes", Type::IntegerIn("bytes"), "sum of all tensor bytes"),
        Key::optional("effective_bits", Type::NumberIn("bits"), "by ModelOpt's cost model"),
        Key::optional("score", Type::Number, "the summed score of what is in FP8"),
        Key::new(
            "gap",
            Type::Number,
            "how far the score may lie above the least possible one, as a share of it; 0 when it is proven to be the least",
        ),
        Key::new("floor", Type::Number, "the smallest budget that can be met, in the budget's unit"),
        Key::new("ceiling", Type::Number, "the budget from which on nothing needs FP8, in the budget's unit"),
        Key::new("is_above_ceiling", Type::Boolean, "whether the budget is at the ceiling or above"),
    ],
};
const POINT: Record = Record {
    name: "HullPoint",
    doc: "A supported point of the Pareto frontier, one on its lower convex hull: no selection of its size loses less.",
    keys: &[
        Key::new("bytes", Type::IntegerIn("bytes"), "sum of all tensor bytes"),
        Key::new("effective_bits", Type::NumberIn("bits"), "by ModelOpt's cost model"),
        Key::new("score", Type::Number, "the summed score of what is in FP8"),
        Key::new("groups", Type::Integer, "how many groups are in FP8"),
        Key::new("added", Type::List(&Type::String), "the groups that were not in FP8 at the point before"),
    ],
};

/// An example that begins with a draft and a ranking.
macro_rules! with_draft {
    ($rest:literal $(,)?) => {
        concat!(
            "local draft = qlua.plan.draft{ manifest = qlua.checkpoint.demo(\"demo\").manifest }\n",
            "local ranking = draft.manifest:ranking()\n",
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
            Function::new("draft", "A sweep planned from a manifest alone: its costs are all that is known of the model.")
                .options(Options::new().required(
                    "manifest",
                    Type::Union(&[Type::Path, Type::Handle("Manifest")]),
                    "the sensitivity manifest, or where it is",
                ))
                .returns(Type::Handle("Draft"), "a draft without schemes")
                .raises("the file cannot be read or is no sensitivity manifest")
                .example(with_draft!("draft:add(\"half\", ranking:lowest(50))\nassert(draft:plan()[1].effective_bits < 16)")),
            |call| {
                let manifest = match call.get::<Value>("manifest")? {
                    Value::UserData(handle) => handle.borrow::<Arc<Manifest>>()?.clone(),
                    _ => Arc::new(Manifest::open(call.get::<String>("manifest")?)?),
                };
                Ok(Handle(RefCell::new(Draft::new(manifest))))
            },
        )
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
            .example(with_draft!(
                "local fit = qlua.plan.solve(draft, ranking, { effective_bits = 11 })\n\
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
                Type::Choice(&["parameters", "bytes"]),
                "parameters",
                "the number of weights, or their bytes in the base checkpoint",
            ))
            .returns(Type::Handle("Selection"), "the selection")
            .raises("the percentage is not above 0 and at most 100, or has more than three decimals")
            .example(with_draft!("assert(#qlua.plan.cover(draft, ranking, 50) > 0)")),
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
            .example(with_draft!(
                "local hull = qlua.plan.frontier(draft, ranking)\n\
                 assert(hull.points[1].groups == 0 and #hull:selection(hull.knee) > 0)"
            )),
            |call| {
                let ranking = call.handle::<Ranking>("ranking")?.clone();
                let measure = match call.get::<String>("by")?.as_str() {
                    "bytes" => Measure::Bytes,
                    _ => Measure::EffectiveBits,
                };
                Ok(Handle(Hull { points: hull(&costs(call, &ranking)?, &ranking, measure)?, ranking }))
            },
        )
        .class(draft())
        .class(hull_class())
}

/// The costs of the parameter `family`, which is one of two classes.
fn costs(call: &Call, ranking: &Ranking) -> anyhow::Result<CostModel> {
    let family: AnyUserData = call.get("family")?;
    if let Ok(family) = family.borrow::<RefCell<Family>>() {
        return Ok(family.borrow().costs(ranking)?);
    }
    Ok(call.handle::<RefCell<Draft>>("family")?.borrow().costs().clone())
}

fn solve(call: &Call) -> anyhow::Result<Table> {
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
    let amount = |budget: Budget| match budget {
        Budget::EffectiveBits(bits) => Tidy(bits),
        Budget::Bytes(bytes) => Tidy(bytes as f64),
    };
    let table = call.lua().create_table()?;
    table.raw_set("selection", Handle(fit.selection))?;
    table.raw_set("bytes", figures.bytes)?;
    table.raw_set("effective_bits", figures.effective_bits)?;
    table.raw_set("score", figures.score)?;
    table.raw_set("gap", fit.gap)?;
    table.raw_set("floor", amount(fit.floor))?;
    table.raw_set("ceiling", amount(fit.ceiling))?;
    table.raw_set("is_above_ceiling", fit.is_above_ceiling)?;
    Ok(table)
}

fn cover(call: &Call) -> anyhow::Result<Handle<Selection>> {
    let ranking = call.handle::<Ranking>("ranking")?;
    let costs = costs(call, &ranking)?;
    let by_bytes = call.get::<String>("by")? == "bytes";
    let selection = ranking.cover(call.get::<f64>("percent")?, |group| match costs.group(&group.name) {
        Some(cost) if cost.fp8_layers == 0 => 0,
        Some(cost) if by_bytes => cost.unquantised.bytes,
        Some(cost) => cost.fp8_parameters,
        None => 0,
    });
    Ok(Handle(selection?))
}

fn draft() -> Class<RefCell<Draft>> {
    Class::new("Draft", "A sweep planned from a manifest alone. It has what a Family has, but nothing to write.")
        .field("manifest", Type::Handle("Manifest"), "the sensitivity manifest", |this: &RefCell<Draft>, _| {
            Ok(Handle(this.borrow().manifest().clone()))
        })
        .method(
            Function::new("add", "Adds a scheme that stores the selected groups in FP8.")
                .param("name", Type::String, "the scheme's name")
                .param("selection", Type::Handle("Selection"), "the groups")
                .returns(Type::Handle("Draft"), "the draft itself")
                .raises("the name is taken or no plain directory name, nothing is selected, or the selection splits a fused group")
                .example(with_draft!("draft:add(\"top20\", ranking:lowest(20))")),
            |this, call| {
                let selection = call.handle::<Selection>("selection")?.clone();
                this.borrow_mut().add(&call.get::<String>("name")?, selection)?;
                Ok(call.self_value())
            },
        )
        .method(
            Function::new("plan", "What each scheme will be, by the manifest's costs.")
                .returns(Type::List(&Type::Record(&PLANNED)), "one row per scheme, in the order in which they were added")
                .example(with_draft!("draft:add(\"all\", ranking:lowest(100))\nassert(draft:plan()[1].bytes_from == \"manifest\")")),
            |this, _| {
                let draft = this.borrow();
                let row = |s: &crate::plan::DraftScheme| {
                    let groups = (s.selection.selected().len(), s.selection.total);
                    Plain(PlannedRow::new(s.name.clone(), s.selection.percent.as_f64(), groups, &s.figures))
                };
                Ok(draft.schemes().iter().map(row).collect::<Vec<_>>())
            },
        )
        .method(
            Function::new("formats", "The plan of a scheme as data: which module is stored in which format.")
                .param("name", Type::String, "the scheme's name")
                .returns(Type::Map(&Type::String), "by the manifest's name of the module: `FP8`, or `BF16` for what stays as it is")
                .raises("the draft has no such scheme")
                .example(with_draft!(
                    "draft:add(\"all\", ranking:lowest(100))\n\
                     assert(draft:formats(\"all\")[\"model.visual.patch_embed.proj\"] == \"BF16\")"
                )),
            |this, call| formats(call, this.borrow().formats(&call.get::<String>("name")?)?),
        )
}

fn hull_class() -> Class<Hull> {
    Class::new("Hull", "The lower convex hull of a Pareto frontier: its supported points.")
        .length("the number of points", |this: &Hull| this.points.len())
        .field(
            "points",
            Type::List(&Type::Record(&POINT)),
            "the points, the largest size first",
            |this, _| Ok(this.points.iter().cloned().map(Plain).collect::<Vec<_>>()),
        )
        .field(
            "knee",
            Type::Optional(&Type::Integer),
            "which point lies farthest below the line from the first to the last, in effective bits and score; nil when there \
             are fewer than three",
            |this, _| Ok(knee(&this.points).map(|at| at + 1)),
        )
        .method(
            Function::new("selection", "The groups that are in FP8 at a point.")
                .param("point", Type::Integer, "which one, from 1 on")
                .returns(Type::Handle("Selection"), "the selection")
                .raises("there is no such point")
                .example(with_draft!(
                    "local hull = qlua.plan.frontier(draft, ranking)\nassert(#hull:selection(3) == hull.points[3].groups)"
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

//! `qlua.manifest`: sensitivity manifests, rankings and selections.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlua::{AnyUserData, IntoLua, Lua, Table, Value};

use crate::format::Granularity;
use crate::job::sensitivity;
use crate::lua::api::fp8::{device, on_device};
use crate::lua::api::fs::{require_place, write_whole};
use crate::lua::api::threads::{BOUNDED, threads};
use crate::lua::declare::{Class, Function, Namespace, Options, PathUse};
use crate::lua::rows::{as_row, row, rows};
use crate::lua::{Call, Handle, Row, Tidy, Type};
use crate::manifest::{Correlation, Group, Manifest, Normalise, Order, Ranking, Selection, combine};
use crate::model::Model;
use crate::units::counted;

mod ranking;
mod selection;

/// An example that begins with an opened manifest.
macro_rules! with_manifest {
    ($rest:literal $(,)?) => {
        concat!("local manifest = qlua.manifest.open(qlua.checkpoint.demo(\"demo\").manifest)\n", $rest)
    };
}

use with_manifest;

row! {
    /// A recipe group: modules that share one decision.
    const GROUP = "Group" for |group: &Group| {
        /// the name of its first member, in the manifest's spelling
        name: Type::String => group.name.as_str(),
        /// the key as published, with `.quant_recipe`
        key: Type::String => group.key().into_owned(),
        /// the modules that share the decision, in model order
        members: Type::List(&Type::String) => group.members.clone(),
        /// `language`, `vision`, `merger`, `head` or `other`
        tower: Type::String => group.tower().word(),
        /// the block's number, counted from 0; nil for a group that is in no block
        block: Type::Optional(&Type::Integer) => group.block(),
        /// the last part of the name, such as `o_proj`
        kind: Type::String => group.kind(),
        /// the number of weights of all members; nil when no cost is a usable number
        parameters: Type::Optional(&Type::Integer) => group.parameters(),
        /// the size of these weights in BF16, without scales and biases; nil when no cost is a usable number
        bytes: Type::Optional(&Type::IntegerIn("bytes")) => group.bytes(),
        /// the effective bits of its first format other than `NONE`; 16 without one
        bits: Type::NumberIn("bits") => Tidy(group.candidate().map_or(16.0, |c| c.format.effective_bits)),
        /// how much the model suffers when it is quantised; higher is worse
        score: Type::Number => group.score,
        /// whether it has a format other than `NONE`
        is_candidate: Type::Boolean => group.is_candidate(),
        /// whether scoring exercised it: false for a score of exactly 0
        is_scored: Type::Boolean => group.is_scored(),
        /// the formats that were tried
        formats: Type::List(&Type::String) => group.formats.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
        /// the score of each format
        scores: Type::List(&Type::Number) => group.scores.clone(),
        /// the cost of each format, in weights of 16 bits
        costs: Type::List(&Type::Number) => group.costs.clone(),
    }
}
row! {
    /// How far two manifests agree on the order of the groups.
    const CORRELATION = "Correlation" for |correlation: &Correlation| {
        /// the number of groups that both scored
        groups: Type::Integer => correlation.groups,
        /// Spearman's rank correlation, -1 to 1; nil when one manifest has only ties
        spearman: Type::Optional(&Type::Number) => correlation.spearman,
        /// Kendall's tau-b, -1 to 1; nil when one manifest has only ties
        kendall: Type::Optional(&Type::Number) => correlation.kendall,
    }
}

const GROUPS: Type = Type::List(&Type::Record(&GROUP));
const NAMES: Type = Type::List(&Type::String);
const PREDICATE: Type = Type::Function("fun(group: qlua.Group): any");
/// Which groups: see `Selector`, with groups in place of names.
const CHOICE: Type = Type::Union(&[Type::String, NAMES, PREDICATE]);
const FORMATS: Type = Type::List(&Type::Choice(Granularity::WORDS));

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "manifest",
        "Sensitivity manifests: how much each recipe group suffers, and rankings of them.",
    )
    .function(
        Function::new("open", "Opens a sensitivity manifest of any published version.")
            .param("path", Type::Path, "the `*_quant_manifest.json`")
            .used_for(PathUse::Read)
            .returns(Type::Handle("Manifest"), "the manifest")
            .raises("the file cannot be read or is no sensitivity manifest")
            .example(with_manifest!("assert(#manifest.groups > 0)")),
        |call| Ok(Handle(Arc::new(Manifest::open(call.get::<String>("path")?)?))),
    )
    .function(
        Function::new(
            "combine",
            "The weighted mean of several manifests of one model: each group's score is averaged over the manifests that \
             scored it. Groups, names and layers are those of the first; an infinite or NaN score stays one.",
        )
        .param("manifests", Type::List(&Type::Handle("Manifest")), "two or more, the fullest first")
        .options(
            Options::new()
                .described("weights", Type::List(&Type::Number), "all the same", "a weight above 0 for each")
                .default(
                    "normalise",
                    Type::Choice(Normalise::WORDS),
                    "median",
                    "`median` divides each manifest's scores by their median over the groups that all scored, since the \
                     unit of a score depends on the run",
                )
                .default("path", Type::Path, "combined_quant_manifest.json", "what it is called; nothing is written")
                .used_for(PathUse::Text),
        )
        .returns(Type::Handle("Manifest"), "the mean")
        .raises("the manifests are not of one model, or weights do not fit")
        .example(with_manifest!(
            "local mean = qlua.manifest.combine({ manifest, manifest }, { weights = { 2, 1 } })\n\
             assert(#mean.groups == #manifest.groups)"
        )),
        mean,
    )
    .function(
        Function::new("correlation", "How far two manifests of one model agree on the order of the groups.")
            .param("a", Type::Handle("Manifest"), "a manifest")
            .param("b", Type::Handle("Manifest"), "another")
            .returns(Type::Record(&CORRELATION), "rank correlations")
            .raises("fewer than two groups were scored in both")
            .example(with_manifest!("assert(qlua.manifest.correlation(manifest, manifest).kendall == 1)")),
        |call| {
            let (a, b) = (call.handle::<Arc<Manifest>>("a")?, call.handle::<Arc<Manifest>>("b")?);
            Ok(Row(Correlation::of(&a, &b)?))
        },
    )
    .function(
        Function::new(
            "from_weights",
            "Scores every recipe group by what quantisation does to its weights, and writes that as a manifest. No model is \
             run: a score is the sum of squared errors, and the manifest's method is `weight_error`.",
        )
        .param("model", Type::Handle("Checkpoint"), "the base checkpoint")
        .param("path", Type::Path, "where the manifest goes")
        .used_for(PathUse::Write)
        .long()
        .options(on_device(
            Options::new()
                .described("formats", FORMATS, "all three", "the scales to try: one for a tensor, each row, or each 128×128 block")
                .described("threads", Type::Integer, "all cores", BOUNDED)
                .default("overwrite", Type::Boolean, false, "replace an existing file"),
        ))
        .returns(Type::Handle("Manifest"), "the manifest")
        .raises("the checkpoint is quantised already, has no linear layer, or holds NaN or infinite weights")
        .raises("the file exists, or the device cannot be used")
        .example(
            "local model = qlua.checkpoint.open(qlua.checkpoint.demo(\"demo\").model)\n\
             local manifest = qlua.manifest.from_weights(model, \"weights_quant_manifest.json\")\n\
             assert(manifest.method == \"weight_error\")",
        ),
        from_weights,
    )
    .class(manifest_class())
    .class(ranking::class())
    .class(selection::class())
}

fn mean(call: &Call) -> anyhow::Result<Handle<Arc<Manifest>>> {
    let handles: Vec<AnyUserData> = call.get("manifests")?;
    let manifests =
        handles.iter().map(|h| Ok(h.borrow::<Arc<Manifest>>()?.clone())).collect::<mlua::Result<Vec<_>>>()?;
    let weights: Vec<f64> = match call.get("weights")? {
        Some(weights) => weights,
        None => vec![1.0; manifests.len()],
    };
    if weights.len() != manifests.len() {
        let problem =
            format!("has {} for {}", counted(weights.len(), "weight"), counted(manifests.len(), "manifest"));
        return Err(call.refuse("weights", problem));
    }
    let weighted: Vec<(&Manifest, f64)> = manifests.iter().map(|m| &**m).zip(weights).collect();
    Ok(Handle(Arc::new(combine(
        Path::new(&call.get::<String>("path")?),
        &weighted,
        call.word("normalise")?,
    )?)))
}

fn manifest_class() -> Class<Arc<Manifest>> {
    Class::new("Manifest", "An opened sensitivity manifest.")
        .text(|this: &Arc<Manifest>| format!("Manifest({})", this.path().display()))
        .field("path", Type::Path, "where it was read from", |this, _| Ok(this.path().display().to_string()))
        .field("text", Type::Bytes, "the file as it was read, byte for byte", |this, call| {
            Ok(call.lua().create_string(this.bytes())?)
        })
        .field("version", Type::Integer, "the version of its schema, 0 to 4", |this, _| Ok(this.version()))
        .field("scheme_name", Type::Optional(&Type::String), "the name of the scheme that was searched", |this, _| {
            Ok(this.scheme_name().map(str::to_string))
        })
        .field("model_id", Type::Optional(&Type::String), "the model that was scored", |this, _| {
            Ok(this.model_id().map(str::to_string))
        })
        .field("method", Type::Optional(&Type::String), "how it was scored, such as `gradient`", |this, _| {
            Ok(this.method().map(str::to_string))
        })
        .field(
            "effective_bits",
            Type::Optional(&Type::NumberIn("bits")),
            "the effective bits that the search reached, by ModelOpt's cost model",
            |this, _| Ok(this.effective_bits()),
        )
        .field("score", Type::Optional(&Type::Number), "the summed score that the search reached", |this, _| {
            Ok(this.score())
        })
        .field("has_amax", Type::Boolean, "whether it carries amax values that input scales can be made from", |this, _| {
            Ok(this.amax().is_some())
        })
        .field("layers", NAMES, "every quantisable module; never a selection", |this, _| Ok(this.layers().to_vec()))
        .field("groups", GROUPS, "all recipe groups in model order", |this, call| rows(call.lua(), this.groups()))
        .method(
            Function::new("group", "Looks a recipe group up.")
                .param("name", Type::String, "its name, with or without `.quant_recipe`")
                .returns(Type::Optional(&Type::Record(&GROUP)), "the group, or nil")
                .example(with_manifest!("assert(manifest:group(\"nothing\") == nil)")),
            |this, call| Ok(this.group(&call.get::<String>("name")?).map(Row).into_lua(call.lua())?),
        )
        .method(
            Function::new("input_amax", "The largest absolute input of a module that calibration saw.")
                .param("module", Type::String, "the module's name, in the manifest's spelling")
                .returns(Type::Optional(&Type::Number), "the amax, or nil where the manifest carries none")
                .example(with_manifest!(
                    "local group = manifest.groups[1]\nassert(manifest:input_amax(group.members[1]) ~= 0)"
                )),
            |this, call| {
                let quantizer = format!("{}.input_quantizer", call.get::<String>("module")?);
                Ok(this.amax().and_then(|amax| amax.get(&quantizer)))
            },
        )
        .method(
            Function::new(
                "ranking",
                "Ranks the candidates by their score. Groups that only have the format `NONE` are no candidates; groups \
                 whose score is exactly 0 were never scored and are left out unless `unscored` asks for them.",
            )
            .options(
                Options::new()
                    .default("order", Type::Choice(Order::WORDS), "ascending", "which end comes first: ascending has the least sensitive group first")
                    .described(
                        "by",
                        Type::Function("fun(group: qlua.Group): number"),
                        "the score",
                        "an order of your own: gives the number that a group is ranked by, the lowest first when ascending. \
                         Plans, budgets and frontiers keep to the manifest's scores",
                    )
                    .option(
                        "include",
                        CHOICE,
                        "only these groups. A glob chooses by a group's own name or any member's; an empty list means all",
                    )
                    .option(
                        "exclude",
                        CHOICE,
                        "leaves these groups out. A glob chooses by a group's own name or by all of its members",
                    )
                    .option("where", PREDICATE, "only groups for which it returns true; asked after `include` and `exclude`")
                    .default("unscored", Type::Boolean, false, "whether groups that were never scored are ranked too"),
            )
            .returns(Type::Handle("Ranking"), "the ranking")
            .raises("a glob matches nothing")
            .raises("globs of `exclude` match only some members of a group, which loaders fuse: the error says which")
            .raises("nothing is left to rank, or `by` gives no number")
            .example(with_manifest!(
                "local ranking = manifest:ranking{ include = \"*language_model*\", where = function(g) return g.block ~= 0 end }\n\
                 assert(#ranking > 0)\n\
                 local largest = manifest:ranking{ by = function(g) return g.parameters end, order = \"descending\" }\n\
                 assert(largest.groups[1].parameters >= largest.groups[2].parameters)",
            )),
            ranking::rank,
        )
}

fn from_weights(call: &Call) -> anyhow::Result<Handle<Arc<Manifest>>> {
    let model = call.handle::<Arc<Model>>("model")?;
    let path: PathBuf = call.get("path")?;
    let formats: Vec<Granularity> = match call.get::<Option<Vec<String>>>("formats")? {
        Some(words) => words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
        None => Granularity::ALL.to_vec(),
    };
    if formats.is_empty() {
        return Err(call.refuse("formats", "must name at least one"));
    }
    threads(call)?;
    let overwrite = call.get("overwrite")?;
    require_place(&path, overwrite)?;
    let groups = sensitivity::weight_errors(&model, &device(call)?, &formats)?;
    let text = serde_json::to_string_pretty(&sensitivity::manifest(&model, &formats, &groups))? + "\n";
    call.uninterrupted(|| write_whole(&path, text.as_bytes(), overwrite))?;
    Ok(Handle(Arc::new(Manifest::parse(&path, text)?)))
}

/// The list of plain tables `groups` as rows, as scripts know them.
pub(in crate::lua) fn group_rows(lua: &Lua, groups: Value) -> mlua::Result<Value> {
    if let Value::Table(list) = &groups {
        for group in list.sequence_values::<Table>() {
            as_row(lua, &GROUP, &group?)?;
        }
    }
    Ok(groups)
}

/// The groups of `ranking` with these names.
pub(super) fn named_groups(ranking: &Ranking, names: &[String]) -> crate::Result<Selection> {
    let ranked: HashSet<&str> = ranking.groups().map(|group| group.name.as_str()).collect();
    if let Some(other) = names.iter().find(|name| !ranked.contains(name.as_str())) {
        return Err(crate::Error::argument(format!("the policy chose `{other}`, which is not ranked")));
    }
    let chosen: HashSet<&str> = names.iter().map(String::as_str).collect();
    ranking.filter(|group| Ok(chosen.contains(group.name.as_str())))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

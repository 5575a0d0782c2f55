//! `qlua.manifest`: sensitivity manifests, rankings and selections.

use std::path::PathBuf;
use std::sync::Arc;

use mlua::{IntoLua, Lua, Table, Value};

use super::fp8::{device, on_device};
use super::fs::write_whole;
use crate::checkpoint::Checkpoint;
use crate::fp8::Granularity;
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::{Call, Callback, Handle, Key, Record, Tidy, Type};
use crate::manifest::{Group, Manifest, Ranking, RankingOptions, Selection};
use crate::selector::Globs;
use crate::sensitivity;

/// An example that begins with an opened manifest.
macro_rules! with_manifest {
    ($rest:literal $(,)?) => {
        concat!("local manifest = qlua.manifest.open(qlua.checkpoint.demo(\"demo\").manifest)\n", $rest)
    };
}

const GROUP: Record = Record {
    name: "Group",
    doc: "A recipe group: modules that share one decision.",
    keys: &[
        Key::new("name", Type::String, "the name of its first member, in the manifest's spelling"),
        Key::new("key", Type::String, "the key as published, with `.quant_recipe`"),
        Key::new("members", Type::List(&Type::String), "the modules that share the decision, in model order"),
        Key::new("tower", Type::String, "`language`, `vision`, `merger`, `head` or `other`"),
        Key::optional("block", Type::Integer, "the block's number, counted from 0"),
        Key::new("kind", Type::String, "the last part of the name, such as `o_proj`"),
        Key::optional("parameters", Type::Integer, "the number of weights of all members"),
        Key::new("score", Type::Number, "how much the model suffers when it is quantised; higher is worse"),
        Key::new("is_candidate", Type::Boolean, "whether it has a format other than `NONE`"),
        Key::new("is_scored", Type::Boolean, "whether scoring exercised it: false for a score of exactly 0"),
        Key::new("formats", Type::List(&Type::String), "the formats that were tried"),
        Key::new("scores", Type::List(&Type::Number), "the score of each format"),
        Key::new("costs", Type::List(&Type::Number), "the cost of each format, in weights of 16 bits"),
    ],
};
const GROUPS: Type = Type::List(&Type::Record(&GROUP));
const NAMES: Type = Type::List(&Type::String);
const FORMATS: Type = Type::List(&Type::Choice(&["tensor", "channel", "block"]));

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "manifest",
        "Sensitivity manifests: how much each recipe group suffers, and rankings of them.",
    )
    .function(
        Function::new("open", "Opens a sensitivity manifest of any published version.")
            .param("path", Type::Path, "the `*_quant_manifest.json`")
            .returns(Type::Handle("Manifest"), "the manifest")
            .raises("the file cannot be read or is no sensitivity manifest")
            .example(with_manifest!("assert(#manifest.groups > 0)")),
        |call| Ok(Handle(Arc::new(Manifest::open(call.get::<String>("path")?)?))),
    )
    .function(
        Function::new(
            "from_weights",
            "Scores every recipe group by what quantisation does to its weights, and writes that as a manifest. No model is \
             run: a score is the sum of squared errors, and the manifest's method is `weight_error`.",
        )
        .param("model", Type::Handle("Checkpoint"), "the base checkpoint")
        .param("path", Type::Path, "where the manifest goes")
        .options(on_device(
            Options::new()
                .described("formats", FORMATS, "all three", "the scales to try: one for a tensor, each row, or each 128×128 block")
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
    .class(ranking_class())
    .class(selection_class())
}

fn manifest_class() -> Class<Arc<Manifest>> {
    Class::new("Manifest", "An opened sensitivity manifest.")
        .text(|this: &Arc<Manifest>| format!("Manifest({})", this.path().display()))
        .field("path", Type::Path, "where it was read from", |this, _| Ok(this.path().display().to_string()))
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
            |this, call| this.group(&call.get::<String>("name")?).map(|g| row(call.lua(), g)).transpose(),
        )
        .method(
            Function::new(
                "ranking",
                "Ranks the candidates by their score. Groups that only have the format `NONE` are no candidates; groups \
                 whose score is exactly 0 were never scored and are left out unless `unscored` asks for them.",
            )
            .options(
                Options::new()
                    .default("order", Type::Choice(&["ascending", "descending"]), "ascending", "which end comes first: ascending has the least sensitive group first")
                    .option("include", Type::Union(&[Type::String, NAMES]), "globs: only groups that match, by their own name or a member's; an empty list means all")
                    .option("exclude", Type::Union(&[Type::String, NAMES]), "globs: leaves out groups that match")
                    .option("where", Type::Function("fun(group: qlua.Group): boolean"), "only groups for which it returns true")
                    .default("unscored", Type::Boolean, false, "whether groups that were never scored are ranked too"),
            )
            .returns(Type::Handle("Ranking"), "the ranking")
            .raises("a glob matches nothing")
            .raises("nothing is left to rank")
            .example(with_manifest!(
                "local ranking = manifest:ranking{ include = \"*language_model*\", where = function(g) return g.block ~= 0 end }\n\
                 assert(#ranking > 0)",
            )),
            rank,
        )
        .method(
            Function::new("correlation", "Spearman's rank correlation with the scores of another manifest of the same model.")
                .param("other", Type::Handle("Manifest"), "the other manifest")
                .param("model", Type::Handle("Checkpoint"), "the checkpoint, which knows every spelling of the names")
                .returns(Type::Optional(&Type::Number), "from -1 to 1, or nil when there is too little to compare")
                .returns(Type::Integer, "the number of groups that both have scored")
                .example(with_manifest!(
                    "local model = qlua.checkpoint.open(qlua.checkpoint.demo(\"demo\").model)\n\
                     assert(manifest:correlation(manifest, model) == 1)",
                )),
            |this, call| {
                let (other, model) = (call.handle::<Arc<Manifest>>("other")?, call.handle::<Arc<Checkpoint>>("model")?);
                let found = sensitivity::correlation(this, &other, model.modules());
                Ok((found.map(|(rho, _)| rho), found.map_or(0, |(_, count)| count)))
            },
        )
}

fn from_weights(call: &Call) -> anyhow::Result<Handle<Arc<Manifest>>> {
    let model = call.handle::<Arc<Checkpoint>>("model")?;
    let path: PathBuf = call.get("path")?;
    let names: Vec<String> = match call.given("formats") {
        true => call.get("formats")?,
        false => ["tensor", "channel", "block"].map(String::from).into(),
    };
    let formats: Vec<Granularity> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    if formats.is_empty() {
        return Err(call.refuse("formats", "must name at least one"));
    }
    let groups = sensitivity::weight_errors(&model, &device(call)?, &formats)?;
    let text = serde_json::to_string_pretty(&sensitivity::manifest(&model, &formats, &groups))? + "\n";
    write_whole(&path, text.as_bytes(), call.get("overwrite")?)?;
    Ok(Handle(Arc::new(Manifest::parse(&path, text)?)))
}

fn rank(this: &Arc<Manifest>, call: &Call) -> anyhow::Result<Handle<Ranking>> {
    let predicate: Option<Callback> = call.get("where")?;
    // The predicate's own error must reach the script unchanged, and the core knows only its own errors.
    let raised = std::cell::RefCell::new(None);
    let asked = |group: &Group| {
        let Some(callback) = &predicate else { return Ok(true) };
        let answer = row(call.lua(), group).and_then(|r| callback.test(call.lua(), r));
        answer.map_err(|error| {
            *raised.borrow_mut() = Some(error);
            crate::Error::argument("the predicate raised an error")
        })
    };
    let options = RankingOptions {
        order: call.get::<String>("order")?.parse()?,
        // An empty list is what a command line without `--include` gives.
        include: Some(globs(call, "include")?).filter(|globs| !globs.is_empty()),
        exclude: globs(call, "exclude")?,
        include_unscored: call.get("unscored")?,
        predicate: Some(&asked),
    };
    let ranking = this.ranking(&options);
    match raised.into_inner() {
        Some(error) => Err(error),
        None => Ok(Handle(ranking?)),
    }
}

fn globs(call: &Call, name: &str) -> anyhow::Result<Globs> {
    match call.get::<Value>(name)? {
        Value::Nil => Ok(Globs::default()),
        Value::String(glob) => Ok(Globs::new([glob.to_string_lossy()])?),
        _ => Ok(Globs::new(call.get::<Vec<String>>(name)?)?),
    }
}

fn ranking_class() -> Class<Ranking> {
    let select = |name: &'static str, doc: &'static str, example: &'static str| {
        Function::new(name, doc)
            .param(
                "percent",
                Type::Percent,
                "how much of the ranked groups; k = max(1, ceil(percent × N / 100))",
            )
            .returns(Type::Handle("Selection"), "the selection")
            .raises("the percentage is not above 0 and at most 100, or has more than three decimals")
            .example(example)
    };
    Class::new("Ranking", "Recipe groups in order of sensitivity.")
        .length("the number of ranked groups", Ranking::len)
        .text(|this: &Ranking| format!("Ranking({} groups, {})", this.len(), this.order))
        .field("order", Type::String, "`ascending` or `descending`", |this, _| Ok(this.order.as_str()))
        .field("groups", GROUPS, "the ranked groups in order", |this, call| rows(call.lua(), this.groups()))
        .field(
            "unscored",
            NAMES,
            "candidates that were never scored (score exactly 0), ranked or not",
            |this, _| Ok(this.unscored.clone()),
        )
        .field("not_candidates", NAMES, "groups that only have the format `NONE`; never ranked", |this, _| {
            Ok(this.not_candidates.clone())
        })
        .field(
            "not_finite",
            NAMES,
            "ranked groups with an infinite or NaN score; ranked as the most sensitive",
            |this, _| Ok(this.not_finite.clone()),
        )
        .method(
            select(
                "first",
                "Selects the first groups in this ranking's own order.",
                with_manifest!(
                    "local ranking = manifest:ranking{ order = \"descending\" }\n\
                 assert(ranking:first(10).names[1] == ranking.groups[1].name)"
                ),
            ),
            |this, call| Ok(Handle(this.first(call.get::<f64>("percent")?)?)),
        )
        .method(
            select(
                "lowest",
                "Selects the least sensitive groups, whatever the order.",
                with_manifest!("assert(#manifest:ranking():lowest(100) == #manifest:ranking())"),
            ),
            |this, call| Ok(Handle(this.lowest(call.get::<f64>("percent")?)?)),
        )
        .method(
            select(
                "highest",
                "Selects the most sensitive groups, whatever the order.",
                with_manifest!("assert(#manifest:ranking():highest(0.1) == 1)"),
            ),
            |this, call| Ok(Handle(this.highest(call.get::<f64>("percent")?)?)),
        )
}

fn selection_class() -> Class<Selection> {
    Class::new("Selection", "The recipe groups that a scheme stores in FP8.")
        .length("the number of selected groups", |this: &Selection| this.selected().len())
        .text(|this: &Selection| format!("Selection({} of {} groups)", this.selected().len(), this.total))
        .field("percent", Type::Percent, "the percentage that was asked for", |this, _| {
            Ok(Tidy(this.percent.as_f64()))
        })
        .field("order", Type::String, "the order of its ranking", |this, _| Ok(this.order.as_str()))
        .field("total", Type::Integer, "the number of ranked groups", |this, _| Ok(this.total))
        .field("names", NAMES, "the selected groups in ranking order", |this, _| {
            Ok(owned(&this.selected_names()))
        })
        .field("dropped", NAMES, "the ranked groups that are not selected, in ranking order", |this, _| {
            Ok(owned(&this.dropped_names()))
        })
        .field("groups", GROUPS, "the selected groups in ranking order", |this, call| {
            rows(call.lua(), this.selected())
        })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn rows<'a>(lua: &Lua, groups: impl IntoIterator<Item = &'a Group>) -> anyhow::Result<Vec<Table>> {
    groups.into_iter().map(|group| row(lua, group)).collect()
}

fn row(lua: &Lua, group: &Group) -> anyhow::Result<Table> {
    let table = lua.create_table()?;
    let formats: Vec<&str> = group.formats.iter().map(|f| f.name.as_str()).collect();
    let set = |key: &str, value: Value| table.raw_set(key, value);
    set("name", group.name.as_str().into_lua(lua)?)?;
    set("key", group.key.as_str().into_lua(lua)?)?;
    set("members", group.members.clone().into_lua(lua)?)?;
    set("tower", group.tower().as_str().into_lua(lua)?)?;
    set("block", group.block().into_lua(lua)?)?;
    set("kind", group.kind().into_lua(lua)?)?;
    set("parameters", group.parameters().into_lua(lua)?)?;
    set("score", group.score.into_lua(lua)?)?;
    set("is_candidate", group.is_candidate().into_lua(lua)?)?;
    set("is_scored", group.is_scored().into_lua(lua)?)?;
    set("formats", formats.into_lua(lua)?)?;
    set("scores", group.scores.clone().into_lua(lua)?)?;
    set("costs", group.costs.clone().into_lua(lua)?)?;
    Ok(table)
}

//! Families: the schemes of one sweep.

use std::cell::RefCell;
use std::path::PathBuf;

use mlua::{Lua, Table, Value};
use serde::Serialize;

use super::{WRITTEN, WrittenRow, threads};
use crate::export::{DEFAULT_SHARD_SIZE, Family, FamilyOptions, PlannedScheme, Request};
use crate::fp8::Rounding;
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::{Call, Handle, Key, Plain, Record, Type, policy, progress};
use crate::manifest::Selection;
use crate::plan::{ActivationsChoice, DialectChoice, ScaleSharing};

const DECISION: Record = Record {
    name: "Decision",
    doc: "The layout of a family's schemes.",
    keys: &[
        Key::new("dialect", Type::String, "`universal`, `compressed-tensors` or `modelopt`"),
        Key::new("activations", Type::String, "`static` or `dynamic`"),
        Key::new("rounding", Type::String, "`exact` or `modelopt`"),
        Key::new("scale_sharing", Type::String, "`group` or `none`"),
        Key::new("notes", Type::List(&Type::String), "one sentence for each choice that `auto` made"),
    ],
};
const PLANNED: Record = Record {
    name: "PlannedScheme",
    doc: "A scheme before it is written.",
    keys: &[
        Key::new("name", Type::String, "the scheme's name, which is its directory's"),
        Key::new("directory", Type::Path, "where it goes"),
        Key::new("percent", Type::Percent, "the coverage point"),
        Key::new("groups", Type::Integer, "selected groups"),
        Key::new("groups_total", Type::Integer, "ranked groups"),
        Key::new("fp8_layers", Type::Integer, "linear layers in FP8"),
        Key::new("fp8_parameters", Type::Integer, "weights in FP8"),
        Key::new("kept", Type::Integer, "selected groups that stay in BF16"),
        Key::new("bytes", Type::IntegerIn("bytes"), "sum of all tensor bytes, exact"),
    ],
};

/// An example that begins with a family over the demo.
macro_rules! with_family {
    ($rest:literal $(,)?) => {
        concat!(
            "local demo = qlua.checkpoint.demo(\"demo\")\n",
            "local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = \"out\" }\n",
            "family:add(\"top10\", family.manifest:ranking():lowest(10))\n",
            $rest
        )
    };
}

#[derive(Serialize)]
struct DecisionRow {
    dialect: String,
    activations: String,
    rounding: String,
    scale_sharing: String,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct PlannedRow {
    name: String,
    directory: String,
    percent: serde_json::Number,
    groups: usize,
    groups_total: usize,
    fp8_layers: usize,
    fp8_parameters: u64,
    kept: usize,
    bytes: u64,
}

impl From<PlannedScheme> for PlannedRow {
    fn from(s: PlannedScheme) -> Self {
        let whole = (s.percent.fract() == 0.0).then(|| serde_json::Number::from(s.percent as u64));
        PlannedRow {
            name: s.name,
            directory: s.directory.display().to_string(),
            percent: whole.or_else(|| serde_json::Number::from_f64(s.percent)).unwrap_or_else(|| 0.into()),
            groups: s.groups,
            groups_total: s.groups_total,
            fp8_layers: s.fp8_layers,
            fp8_parameters: s.fp8_parameters,
            kept: s.kept,
            bytes: s.bytes,
        }
    }
}

pub(super) fn declare(namespace: Namespace) -> Namespace {
    namespace
        .function(
            Function::new("family", "Opens a base checkpoint and a manifest for a sweep of schemes.")
                .options(options())
                .returns(Type::Handle("Family"), "a family without schemes")
                .raises("the checkpoint is quantised already, or the manifest names modules that it does not hold")
                .example(with_family!("assert(family:plan()[1].fp8_layers > 0)")),
            |call| Ok(Handle(RefCell::new(Family::open(family_options(call)?)?))),
        )
        .class(class())
}

fn options() -> Options {
    Options::new()
        .required("model", Type::Path, "the base checkpoint")
        .required("manifest", Type::Path, "the sensitivity manifest")
        .required("out", Type::Path, "where the scheme directories go")
        .option("baseline", Type::Path, "an FP8 baseline whose `input_scale` tensors are used")
        .described(
            "amax",
            Type::Path,
            "the manifest's own `amax`, where it has one",
            "a JSON file of amax values that input scales are made from",
        )
        .option("state", Type::Path, "an AutoQuant state that is copied into every directory as it is")
        .default(
            "dialect",
            Type::Choice(DialectChoice::WORDS),
            "auto",
            "`auto` is `universal` when static and `compressed-tensors` when dynamic",
        )
        .default(
            "activations",
            Type::Choice(ActivationsChoice::WORDS),
            "auto",
            "`auto` is static when every selected layer has an input scale",
        )
        .default(
            "rounding",
            Type::Choice(&["exact", "modelopt"]),
            "exact",
            "the F32 quotient, or the BF16 quotient as ModelOpt has it on the CPU",
        )
        .default(
            "scale_sharing",
            Type::Choice(ScaleSharing::WORDS),
            "group",
            "whether fused modules share the scale of their largest amax",
        )
        .default("overwrite", Type::Boolean, false, "whether existing scheme directories are replaced")
        .default(
            "max_shard_size",
            Type::IntegerIn("bytes"),
            DEFAULT_SHARD_SIZE as i64,
            "tensor bytes that a shard holds at most",
        )
        .described("threads", Type::Integer, "all cores", "threads; the bytes do not depend on it")
}

fn family_options(call: &Call) -> anyhow::Result<FamilyOptions> {
    let path = |name: &str| -> anyhow::Result<Option<PathBuf>> {
        Ok(call.get::<Option<String>>(name)?.map(PathBuf::from))
    };
    let word = |name: &str| call.get::<String>(name);
    let max_shard_size: i64 = call.get("max_shard_size")?;
    Ok(FamilyOptions {
        model: word("model")?.into(),
        manifest: word("manifest")?.into(),
        out: word("out")?.into(),
        baseline: path("baseline")?,
        amax: path("amax")?,
        state: path("state")?,
        dialect: word("dialect")?.parse::<DialectChoice>()?,
        activations: word("activations")?.parse::<ActivationsChoice>()?,
        rounding: word("rounding")?.parse::<Rounding>()?,
        scale_sharing: word("scale_sharing")?.parse::<ScaleSharing>()?,
        overwrite: call.get("overwrite")?,
        max_shard_size: u64::try_from(max_shard_size)
            .map_err(|_| call.refuse("max_shard_size", "must not be negative"))?,
        threads: threads(call.get("threads")?),
        request: Request { command: command_line(call.lua())?, policy: policy(call.lua()) },
    })
}

/// The global `arg`, from its lowest index on: the command line as it was typed.
fn command_line(lua: &Lua) -> anyhow::Result<Vec<String>> {
    let Value::Table(arg) = lua.globals().raw_get("arg")? else { return Ok(vec![]) };
    let arg: Table = arg;
    let mut words: Vec<(i64, String)> = arg
        .pairs::<i64, mlua::LuaString>()
        .map(|p| p.map(|(i, w)| (i, w.to_string_lossy())))
        .collect::<mlua::Result<_>>()?;
    words.sort();
    Ok(words.into_iter().map(|(_, word)| word).collect())
}

fn class() -> Class<RefCell<Family>> {
    Class::new("Family", "The schemes of one sweep over one base checkpoint.")
        .field("manifest", Type::Handle("Manifest"), "the sensitivity manifest", |this: &RefCell<Family>, _| {
            Ok(Handle(this.borrow().manifest().clone()))
        })
        .field("checkpoint", Type::Handle("Checkpoint"), "the base checkpoint", |this, _| {
            Ok(Handle(this.borrow().checkpoint().clone()))
        })
        .method(
            Function::new("add", "Adds a scheme that stores the selected groups in FP8. Nothing is written yet.")
                .param("name", Type::String, "the scheme's name, which is its directory's")
                .param("selection", Type::Handle("Selection"), "the groups")
                .returns(Type::Handle("Family"), "the family itself")
                .raises("the name is taken or no plain directory name, or the selection splits a fused group")
                .example(with_family!("family:add(\"top20\", family.manifest:ranking():lowest(20))")),
            |this, call| {
                let selection = call.handle::<Selection>("selection")?.clone();
                this.borrow_mut().add(&call.get::<String>("name")?, selection)?;
                Ok(call.self_value())
            },
        )
        .method(
            Function::new("decide", "Chooses dialect and activations, and says why. One layout for all schemes, so that they can be compared.")
                .returns(Type::Record(&DECISION), "the layout")
                .raises("static activations were asked for and layers have no input scale")
                .example(with_family!("assert(family:decide().dialect == \"universal\")")),
            |this, _| {
                let decision = this.borrow().decide()?;
                let layout = decision.layout;
                Ok(Plain(DecisionRow {
                    dialect: layout.dialect.to_string(),
                    activations: layout.activations.to_string(),
                    rounding: layout.rounding.to_string(),
                    scale_sharing: layout.scale_sharing.to_string(),
                    notes: decision.notes,
                }))
            },
        )
        .method(
            Function::new("plan", "What each scheme will be, from headers alone.")
                .returns(Type::List(&Type::Record(&PLANNED)), "one row per scheme, in the order in which they were added")
                .raises("as `decide`")
                .example(with_family!("assert(family:plan()[1].name == \"top10\")")),
            |this, _| {
                let planned = this.borrow().plan()?;
                Ok(planned.into_iter().map(PlannedRow::from).map(Plain).collect::<Vec<_>>())
            },
        )
        .method(
            Function::new("run", "Writes every scheme. Each is checked before it takes its name.")
                .returns(Type::List(&Type::Record(&WRITTEN)), "one row per scheme")
                .raises("a directory exists and `overwrite` is not set, an output would touch the sources, or the disk is full")
                .raises("a weight is NaN or infinite")
                .example(with_family!("family:run()\nassert(#qlua.verify.directory(\"out/top10\") == 0)")),
            |this, call| {
                let written = this.borrow().run(&*progress::listener(call.lua()))?;
                Ok(written.into_iter().map(|w| Plain(WrittenRow::from(w))).collect::<Vec<_>>())
            },
        )
        .method(
            Function::new("report", "Writes `report.html`, a page that needs no other file, and `report.md` beside the schemes: sizes, scores, heat maps, frontier. A report that lies there is replaced.")
                .returns(Type::Path, "the page")
                .returns(Type::Path, "the Markdown")
                .raises("a file of that name was not written by qlua")
                .example(with_family!("local page, text = family:report()\nassert(page == \"out/report.html\" and text == \"out/report.md\")")),
            |this, _| {
                let family = this.borrow();
                let [page, text] = family.write_report(&family.sweep()?)?;
                Ok((page.display().to_string(), text.display().to_string()))
            },
        )
}

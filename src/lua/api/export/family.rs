//! Families: the schemes of one sweep.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use mlua::{Lua, Table, Value};
use serde::Serialize;

use super::{WRITTEN, WrittenRow, threads};
use crate::device::DeviceChoice;
use crate::format::Rounding;
use crate::job::{Family, FamilyOptions, Outcome, PlannedFile, PlannedScheme};
use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::{Call, Handle, Key, Plain, Record, Type, policy, progress};
use crate::manifest::{Manifest, Selection};
use crate::plan::{ActivationsChoice, BytesFrom, DialectChoice, Figures, ScaleSharing};
use crate::write::{DEFAULT_SHARD_SIZE, LinkChoice, Request};

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
const FILE: Record = Record {
    name: "PlannedFile",
    doc: "A weight file before it is written.",
    keys: &[
        Key::new("file", Type::String, "its name in the directory"),
        Key::new("bytes", Type::IntegerIn("bytes"), "its size, header included"),
        Key::new("schemes", Type::Integer, "how many schemes of the family hold it"),
    ],
};
const OUTCOME: Record = Record {
    name: "Outcome",
    doc: "What a run of a family did. Bytes are those of weight files.",
    keys: &[
        Key::new(
            "schemes",
            Type::List(&Type::Record(&WRITTEN)),
            "one row per scheme, in the order in which they were added",
        ),
        Key::new("written_bytes", Type::IntegerIn("bytes"), "written by this run"),
        Key::new("resumed_bytes", Type::IntegerIn("bytes"), "taken over from a run that was stopped"),
        Key::new("reused_bytes", Type::IntegerIn("bytes"), "taken from finished schemes"),
        Key::optional(
            "link",
            Type::String,
            "`reflink`, `hardlink` or `copy`: how shards are shared, the worst way of all",
        ),
    ],
};
pub(in crate::lua::api) const PLANNED: Record = Record {
    name: "PlannedScheme",
    doc: "A scheme before it is written.",
    keys: &[
        Key::new("name", Type::String, "the scheme's name, which is its directory's"),
        Key::optional("directory", Type::Path, "where it goes; nil for a draft"),
        Key::new("percent", Type::Percent, "the coverage point"),
        Key::new("groups", Type::Integer, "selected groups"),
        Key::new("groups_total", Type::Integer, "ranked groups"),
        Key::new("fp8_layers", Type::Integer, "linear layers in FP8"),
        Key::new("fp8_parameters", Type::Integer, "weights in FP8"),
        Key::new("kept", Type::Integer, "selected groups that stay in BF16"),
        Key::new("parameters", Type::Integer, "weights of all groups of the manifest"),
        Key::new(
            "bytes",
            Type::IntegerIn("bytes"),
            "sum of all tensor bytes: exact from a checkpoint's headers",
        ),
        Key::new(
            "bytes_from",
            Type::String,
            "`checkpoint`, or `manifest`: then only its groups are counted, at two bytes for each weight of 16 bits",
        ),
        Key::optional(
            "effective_bits",
            Type::NumberIn("bits"),
            "by ModelOpt's cost model, over all groups of the manifest",
        ),
        Key::optional(
            "bits_on_disk",
            Type::NumberIn("bits"),
            "8 × bytes / elements of the whole checkpoint, scales and embeddings included; nil for a draft",
        ),
        Key::optional("score", Type::Number, "the summed score of what is in FP8; nil when it is not finite"),
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
struct FileRow {
    file: String,
    bytes: u64,
    schemes: usize,
}

impl From<PlannedFile> for FileRow {
    fn from(planned: PlannedFile) -> Self {
        let PlannedFile { file, bytes, schemes } = planned;
        FileRow { file, bytes, schemes }
    }
}

#[derive(Serialize)]
struct OutcomeRow {
    schemes: Vec<WrittenRow>,
    written_bytes: u64,
    resumed_bytes: u64,
    reused_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl From<Outcome> for OutcomeRow {
    fn from(outcome: Outcome) -> Self {
        OutcomeRow {
            schemes: outcome.schemes.into_iter().map(WrittenRow::from).collect(),
            written_bytes: outcome.written_bytes,
            resumed_bytes: outcome.resumed_bytes,
            reused_bytes: outcome.reused_bytes,
            link: outcome.link.map(|link| link.to_string()),
        }
    }
}

#[derive(Serialize)]
pub(in crate::lua::api) struct PlannedRow {
    name: String,
    directory: Option<String>,
    percent: serde_json::Number,
    groups: usize,
    groups_total: usize,
    fp8_layers: usize,
    fp8_parameters: u64,
    kept: usize,
    parameters: u64,
    bytes: u64,
    bytes_from: &'static str,
    effective_bits: Option<f64>,
    bits_on_disk: Option<f64>,
    score: Option<f64>,
}

impl From<PlannedScheme> for PlannedRow {
    fn from(s: PlannedScheme) -> Self {
        let row = PlannedRow::new(s.name, s.percent, (s.groups, s.groups_total), &s.figures);
        PlannedRow { directory: Some(s.directory.display().to_string()), bytes: s.bytes, ..row }
    }
}

impl PlannedRow {
    /// A row without a directory.
    pub(in crate::lua::api) fn new(
        name: String,
        percent: f64,
        (groups, groups_total): (usize, usize),
        figures: &Figures,
    ) -> Self {
        let whole = (percent.fract() == 0.0).then(|| serde_json::Number::from(percent as u64));
        PlannedRow {
            name,
            directory: None,
            percent: whole.or_else(|| serde_json::Number::from_f64(percent)).unwrap_or_else(|| 0.into()),
            groups,
            groups_total,
            fp8_layers: figures.fp8_layers,
            fp8_parameters: figures.fp8_parameters,
            kept: figures.kept,
            parameters: figures.parameters,
            bytes: figures.bytes,
            bytes_from: match figures.bytes_from {
                BytesFrom::Checkpoint => "checkpoint",
                BytesFrom::Manifest => "manifest",
            },
            effective_bits: figures.effective_bits,
            bits_on_disk: figures.bits_on_disk,
            score: figures.score,
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
            |call| {
                let family = match manifest(call)? {
                    Some(manifest) => Family::with_manifest(family_options(call, manifest.path().into())?, manifest),
                    None => Family::open(family_options(call, call.get::<String>("manifest")?.into())?),
                };
                Ok(Handle(RefCell::new(family?)))
            },
        )
        .class(class())
}

fn options() -> Options {
    Options::new()
        .required("model", Type::Path, "the base checkpoint")
        .required(
            "manifest",
            Type::Union(&[Type::Path, Type::Handle("Manifest")]),
            "the sensitivity manifest, or where it is",
        )
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
        .default("overwrite", Type::Boolean, false, "whether existing scheme directories are replaced, up to date or not")
        .default(
            "link",
            Type::Choice(LinkChoice::WORDS),
            "auto",
            "how schemes share files: `auto` is the first of reflink, hardlink and copy that the file system can do",
        )
        .default(
            "max_shard_size",
            Type::IntegerIn("bytes"),
            DEFAULT_SHARD_SIZE as i64,
            "tensor bytes that a shard holds at most",
        )
        .described("threads", Type::Integer, "all cores", "threads; the bytes do not depend on it")
        .default(
            "device",
            Type::String,
            "auto",
            "`cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; weight files are the same bytes, error sums equal to 1e-6",
        )
}

/// The manifest, where it was given as a handle.
fn manifest(call: &Call) -> anyhow::Result<Option<Arc<Manifest>>> {
    match call.get::<Value>("manifest")? {
        Value::UserData(handle) => Ok(Some(handle.borrow::<Arc<Manifest>>()?.clone())),
        _ => Ok(None),
    }
}

fn family_options(call: &Call, manifest: PathBuf) -> anyhow::Result<FamilyOptions> {
    let path = |name: &str| -> anyhow::Result<Option<PathBuf>> {
        Ok(call.get::<Option<String>>(name)?.map(PathBuf::from))
    };
    let word = |name: &str| call.get::<String>(name);
    let max_shard_size: i64 = call.get("max_shard_size")?;
    Ok(FamilyOptions {
        model: word("model")?.into(),
        manifest,
        out: word("out")?.into(),
        baseline: path("baseline")?,
        amax: path("amax")?,
        state: path("state")?,
        dialect: word("dialect")?.parse::<DialectChoice>()?,
        activations: word("activations")?.parse::<ActivationsChoice>()?,
        rounding: word("rounding")?.parse::<Rounding>()?,
        scale_sharing: word("scale_sharing")?.parse::<ScaleSharing>()?,
        overwrite: call.get("overwrite")?,
        link: word("link")?.parse::<LinkChoice>()?,
        max_shard_size: u64::try_from(max_shard_size)
            .map_err(|_| call.refuse("max_shard_size", "must not be negative"))?,
        threads: threads(call.get("threads")?),
        device: word("device")?.parse::<DeviceChoice>()?,
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
            Ok(Handle(this.borrow().model().clone()))
        })
        .method(
            Function::new("add", "Adds a scheme that stores the selected groups in FP8. Nothing is written yet.")
                .param("name", Type::String, "the scheme's name, which is its directory's")
                .param("selection", Type::Handle("Selection"), "the groups")
                .returns(Type::Handle("Family"), "the family itself")
                .raises("the name is taken or no plain directory name, nothing is selected, or the selection splits a fused group")
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
            Function::new("formats", "The plan of a scheme as data: which module is stored in which format.")
                .param("name", Type::String, "the scheme's name")
                .returns(Type::Map(&Type::String), "by on-disk name of the module: `FP8`, or the dtype that it keeps")
                .raises("the family has no such scheme")
                .example(with_family!("assert(family:formats(\"top10\")[\"model.embed_tokens\"] == \"BF16\")")),
            |this, call| formats(call, this.borrow().formats(&call.get::<String>("name")?)?),
        )
        .method(
            Function::new("files", "The weight files of a scheme when nothing of the family is there yet: exact, from headers alone.")
                .param("name", Type::String, "the scheme's name")
                .returns(Type::List(&Type::Record(&FILE)), "one row per file, in the order of their numbers")
                .raises("the family has no such scheme")
                .example(with_family!("assert(family:files(\"top10\")[1].bytes > 0)")),
            |this, call| {
                let (family, name) = (this.borrow(), call.get::<String>("name")?);
                let Some(at) = family.plan()?.iter().position(|scheme| scheme.name == name) else {
                    return Err(call.refuse("name", format!("is `{name}`, and the family has no such scheme")));
                };
                Ok(family.files()?.swap_remove(at).into_iter().map(FileRow::from).map(Plain).collect::<Vec<_>>())
            },
        )
        .method(
            Function::new("unique_bytes", "Bytes of the weight files of all schemes together, each shared shard counted once; exact, from headers alone.")
                .returns(Type::IntegerIn("bytes"), "what the family takes on the disk when nothing of it is there yet")
                .raises("as `decide`")
                .example(with_family!("family:add(\"top20\", family.manifest:ranking():lowest(20))\nassert(family:unique_bytes() < 2 * family:plan()[1].bytes)")),
            |this, _| Ok(this.borrow().unique_bytes()?),
        )
        .method(
            Function::new("copied_bytes", "Bytes of the weight files of all schemes together, each file counted in every directory that holds it; exact, from headers alone.")
                .returns(Type::IntegerIn("bytes"), "what the family would take if nothing were shared")
                .raises("as `decide`")
                .example(with_family!("family:add(\"top20\", family.manifest:ranking():lowest(20))\nassert(family:unique_bytes() < family:copied_bytes())")),
            |this, _| Ok(this.borrow().copied_bytes()?),
        )
        .method(
            Function::new(
                "run",
                "Writes every scheme that is not up to date. Each is checked before it takes its name. Tensors that several schemes \
                 hold are written once and shared; shards of finished schemes in the same directory are reused. Weights are quantised on \
                 `device`, but those that share a scale and take more than 1 GiB together by the CPU: they would have to fit into a \
                 GPU at once.",
            )
            .returns(Type::Record(&OUTCOME), "what was done")
            .raises("a directory of other inputs exists and `overwrite` is not set, a `report.html` or `report.md` that qlua did not write lies beside the schemes, an output would touch the sources, or the disk is full")
            .raises("a weight is NaN or infinite")
            .raises("a GPU was named and there is none, or it fails")
            .example(with_family!("local outcome = family:run()\nassert(#qlua.verify.directory(outcome.schemes[1].directory) == 0)")),
            |this, call| {
                let outcome = this.borrow().run(&*progress::listener(call.lua()))?;
                Ok(Plain(OutcomeRow::from(outcome)))
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
                let [page, text] = family.write_report(&family.report()?)?;
                Ok((page.display().to_string(), text.display().to_string()))
            },
        )
}

/// Formats by module as a table.
pub(in crate::lua::api) fn formats(call: &Call, formats: Vec<(String, String)>) -> anyhow::Result<Table> {
    let table = call.lua().create_table()?;
    for (module, format) in formats {
        table.raw_set(module, format)?;
    }
    Ok(table)
}

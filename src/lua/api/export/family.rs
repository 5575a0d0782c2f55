//! Families: the schemes of one sweep.

use std::cell::RefCell;
use std::time::Instant;

use mlua::Table;

use super::super::log::debug;
use super::family_options::{family_options, manifest, options};
use super::{WRITTEN, file_name};
use crate::job::{Family, Foreseen, OnDisk, Outcome, Planned, PlannedScheme, SchemeFile};
use crate::lua::declare::{Class, Function, Namespace};
use crate::lua::rows::{row, rows};
use crate::lua::{Call, Handle, Row, Tidy, Type, progress};
use crate::manifest::Selection;
use crate::report::bytes;
use crate::units::counted;

row! {
    /// The layout of a family's schemes; over a manifest alone there is none.
    const DECISION = "Decision" for |planned: &Planned| {
        /// a word of the option `dialect` other than `auto`; nil over a manifest alone
        dialect: Type::Optional(&Type::String) => planned.dialect.map(|dialect| dialect.to_string()),
        /// `static` or `dynamic`; nil over a manifest alone
        activations: Type::Optional(&Type::String) => planned.layout.map(|l| l.activations.to_string()),
        /// `exact` or `modelopt`; nil over a manifest alone
        rounding: Type::Optional(&Type::String) => planned.layout.map(|l| l.encoding.rounding.to_string()),
        /// `group` or `none`; nil over a manifest alone
        scale_sharing: Type::Optional(&Type::String) => planned.layout.map(|l| l.scale_sharing.to_string()),
        /// one sentence for each choice that `auto` made, and for each engine that cannot read some FP8 layer
        notes: Type::List(&Type::String) => planned.notes.clone(),
    }
}
row! {
    /// A weight file of a scheme, as it lies there or will.
    const FILE = "SchemeFile" for |scheme_file: &SchemeFile| {
        /// its name in the directory
        file: Type::String => scheme_file.file.as_str(),
        /// its size, header included
        bytes: Type::IntegerIn("bytes") => scheme_file.bytes,
        /// how many schemes of the family have this very file; a copy or a reflink is a file of its own
        schemes: Type::Integer => scheme_file.schemes,
    }
}
row! {
    /// What the weight files of a family take on the disk, as `du` counts them: each file once, however many names it has. A copy
    /// is a file of its own, and so is a reflink, although it shares blocks.
    const ON_DISK = "OnDisk" for |on_disk: &OnDisk| {
        /// each file counted once
        unique_bytes: Type::IntegerIn("bytes") => on_disk.unique_bytes,
        /// each file counted in every directory that holds it
        copied_bytes: Type::IntegerIn("bytes") => on_disk.copied_bytes,
        /// the files of each scheme, in the order in which they were added
        files: Type::List(&Type::List(&Type::Record(&FILE))) => {
            let rows = |files: &Vec<SchemeFile>| files.iter().cloned().map(Row).collect::<Vec<_>>();
            on_disk.files.iter().map(rows).collect::<Vec<_>>()
        },
    }
}
row! {
    /// What a run of a family did. Bytes are those of weight files.
    const OUTCOME = "Outcome" for |outcome: &Outcome| {
        /// one row per scheme, in the order in which they were added
        schemes: Type::List(&Type::Record(&WRITTEN)) => outcome.schemes.iter().map(Row).collect::<Vec<_>>(),
        /// written by this run
        written_bytes: Type::IntegerIn("bytes") => outcome.written_bytes,
        /// taken over from a run that was stopped
        resumed_bytes: Type::IntegerIn("bytes") => outcome.resumed_bytes,
        /// taken from finished schemes
        reused_bytes: Type::IntegerIn("bytes") => outcome.reused_bytes,
        /// `reflink`, `hardlink` or `copy`: how shards are shared, the worst way of all; nil when none was
        link: Type::Optional(&Type::String) => outcome.link.map(|link| link.to_string()),
        /// what the files of all its schemes take now, those included that were there
        on_disk: Type::Record(&ON_DISK) => Row(&outcome.on_disk),
    }
}

row! {
    /// A scheme before it is written.
    const PLANNED = "PlannedScheme" for |scheme: &PlannedScheme| {
        /// the scheme's name, which is its directory's
        name: Type::String => scheme.name.as_str(),
        /// where it goes; nil over a manifest alone
        directory: Type::Optional(&Type::Path) => scheme.directory.as_ref().map(|path| path.display().to_string()),
        /// the coverage point
        percent: Type::Percent => Tidy(scheme.selection.percent.as_f64()),
        /// selected groups
        groups: Type::Integer => scheme.selection.selected().len(),
        /// ranked groups
        groups_total: Type::Integer => scheme.selection.total,
        /// linear layers in FP8
        fp8_layers: Type::Integer => scheme.figures.quantised_layers,
        /// weights in FP8
        fp8_parameters: Type::Integer => scheme.figures.quantised_parameters,
        /// selected groups that stay in BF16
        kept: Type::Integer => scheme.figures.kept,
        /// weights of all groups of the manifest
        parameters: Type::Integer => scheme.figures.parameters,
        /// sum of all tensor bytes: exact from a checkpoint's headers
        bytes: Type::IntegerIn("bytes") => scheme.figures.bytes,
        /// `checkpoint`, or `manifest`: then only its groups are counted, at two bytes for each weight of 16 bits
        bytes_from: Type::String => scheme.figures.bytes_from.word(),
        /// by ModelOpt's cost model, over all groups of the manifest; nil when a cost is no number
        effective_bits: Type::Optional(&Type::NumberIn("bits")) => scheme.figures.effective_bits,
        /// 8 × bytes / elements of the whole checkpoint, scales and embeddings included; nil over a manifest alone
        bits_on_disk: Type::Optional(&Type::NumberIn("bits")) => scheme.figures.bits_on_disk,
        /// the summed score of what is in FP8; nil when it is not finite
        score: Type::Optional(&Type::Number) => scheme.figures.score,
    }
}

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
                let family = family?;
                debug(call, || sources(&family));
                Ok(Handle(RefCell::new(family)))
            },
        )
        .class(class())
}

/// What a family is made from, file by file.
fn sources(family: &Family) -> String {
    let manifest = family.manifest();
    let mut text = match family.model() {
        Some(model) => format!(
            "sources: {} ({}, {}), ",
            model.directory().display(),
            counted(model.shards().count(), "weight file"),
            bytes(model.bytes())
        ),
        None => "sources: ".into(),
    };
    text.push_str(&format!("{} ({})", manifest.path().display(), counted(manifest.groups().len(), "group")));
    let options = family.options();
    for path in [&options.baseline, &options.amax, &options.state].into_iter().flatten() {
        text.push_str(&format!(", {}", path.display()));
    }
    text
}

fn class() -> Class<RefCell<Family>> {
    Class::new("Family", "The schemes of one sweep over one base checkpoint.")
        .field("manifest", Type::Handle("Manifest"), "the sensitivity manifest", |this: &RefCell<Family>, _| {
            Ok(Handle(this.borrow().manifest().clone()))
        })
        .field("checkpoint", Type::Optional(&Type::Handle("Checkpoint")), "the base checkpoint; nil over a manifest alone", |this, _| {
            Ok(this.borrow().model().cloned().map(Handle))
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
                this.borrow_mut().add(&file_name(call)?, selection)?;
                Ok(call.self_value())
            },
        )
        .method(
            Function::new("decide", "Chooses dialect and activations, and says why. One layout for all schemes, so that they can be compared.")
                .returns(Type::Record(&DECISION), "the layout")
                .raises("static activations were asked for and layers have no input scale")
                .example(with_family!("assert(family:decide().dialect == \"universal\")")),
            |this, _| Ok(Row(this.borrow().planned()?)),
        )
        .method(
            Function::new("plan", "What each scheme will be, from headers alone.")
                .returns(Type::List(&Type::Record(&PLANNED)), "one row per scheme, in the order in which they were added")
                .raises("as `decide`")
                .example(with_family!("assert(family:plan()[1].name == \"top10\")")),
            |this, call| rows(call.lua(), &this.borrow().planned()?.schemes),
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
            Function::new("files", "The weight files of a scheme if all were written anew: exact, from headers alone. What will lie there beside what is there already says `check`.")
                .param("name", Type::String, "the scheme's name")
                .returns(Type::List(&Type::Record(&FILE)), "one row per file, in the order of their numbers")
                .raises("the family has no such scheme")
                .example(with_family!("assert(family:files(\"top10\")[1].bytes > 0)")),
            |this, call| {
                let planned = this.borrow().planned()?;
                rows(call.lua(), &planned.scheme(&call.get::<String>("name")?)?.files)
            },
        )
        .method(
            Function::new("unique_bytes", "Bytes of the weight files of all schemes together if all were written anew, each file counted once (none is shared where `link` is `copy` or `reflink`); exact, from headers alone. What lies there says the outcome of `run`, and what will, `check`.")
                .returns(Type::Optional(&Type::IntegerIn("bytes")), "what the family takes on the disk if all is written anew; nil over a manifest alone")
                .raises("as `decide`")
                .example(with_family!("family:add(\"top20\", family.manifest:ranking():lowest(20))\nassert(family:unique_bytes() < 2 * family:plan()[1].bytes)")),
            |this, _| Ok(this.borrow().planned()?.unique_bytes()),
        )
        .method(
            Function::new("copied_bytes", "Bytes of the weight files of all schemes together, each file counted in every directory that holds it; exact, from headers alone.")
                .returns(Type::Optional(&Type::IntegerIn("bytes")), "what the family would take if nothing were shared; nil over a manifest alone")
                .raises("as `decide`")
                .example(with_family!("family:add(\"top20\", family.manifest:ranking():lowest(20))\nassert(family:unique_bytes() < family:copied_bytes())")),
            |this, _| Ok(this.borrow().planned()?.copied_bytes()),
        )
        .method(
            Function::new("check", "Looks for whatever would stop `run` before it writes a byte; of a GPU that was named and is not here it is said that a run would fail. Weights of 256 MiB at most are looked through for NaN and infinity; of more it is said that they were not. Where schemes of this base checkpoint are there, it and what can be taken from them are hashed. How files can be shared is tried in the output folder.")
                .long()
                .returns(Type::Record(&ON_DISK), "what the files of all schemes will take: those that are there and stay, and those that are made")
                .raises("as `run`")
                .example(with_family!("assert(family:check().copied_bytes == family:copied_bytes())")),
            |this, call| {
                let Foreseen { missing_device, unseen_bytes, on_disk } = this.borrow().check()?;
                let listener = progress::listener(call.lua());
                if let Some(missing) = missing_device {
                    listener.note(&format!("a run would fail on this machine: {missing}"));
                }
                if unseen_bytes > 0 {
                    listener.note(&format!(
                        "the values of the weights ({}) were not looked at: a run fails where one is NaN or infinite",
                        bytes(unseen_bytes)
                    ));
                }
                Ok(Row(on_disk))
            },
        )
        .method(
            Function::new(
                "run",
                "Writes every scheme that is not up to date. Each is checked before it takes its name. Tensors that several schemes \
                 hold are written once and shared; shards of finished schemes in the same directory are reused. Weights are quantised on \
                 `device`, but those that share a scale and take more than 1 GiB together by the CPU: they would have to fit into a \
                 GPU at once.",
            )
            .long()
            .returns(Type::Record(&OUTCOME), "what was done")
            .raises("a directory of other inputs exists and `overwrite` is not set, a `report.html` or `report.md` that qlua did not write lies beside the schemes, an output would touch the sources, or the disk is full")
            .raises("a weight is NaN or infinite")
            .raises("a GPU was named and there is none, or it fails")
            .example(with_family!("local outcome = family:run()\nassert(#qlua.verify.directory(outcome.schemes[1].directory) == 0)")),
            |this, call| {
                let (family, begun) = (this.borrow(), Instant::now());
                let outcome = family.run(&*progress::listener(call.lua()))?;
                debug(call, || {
                    let options = family.options();
                    let (threads, seconds) = (counted(options.threads, "thread"), begun.elapsed().as_secs_f64());
                    format!("planned, written and checked in {seconds:.3} s with {threads}, device {}", options.device)
                });
                Ok(Row(outcome))
            },
        )
        .method(
            Function::new("report", "Writes `report.html`, a page that needs no other file, and `report.md` beside the schemes: sizes, scores, heat maps, frontier, commands, of every scheme that is on record there, whatever run wrote it. A report that lies there is replaced.")
                .long()
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
fn formats(call: &Call, formats: Vec<(String, String)>) -> anyhow::Result<Table> {
    Ok(call.lua().create_table_from(formats)?)
}

//! `qlua inspect`: what a checkpoint directory or a manifest holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::print;
use crate::checkpoint::quantisation;
use crate::dialect::{Decoding, Foreign, TensorRole};
use crate::error::{Error, Result};
use crate::manifest::{Manifest, RankingOptions};
use crate::model::Model;
use crate::report::table::{Align, Cell, Column, Table, Unit, markdown, text};
use crate::units;

/// How many groups of each end of a ranking are shown.
const SHOWN: usize = 5;

pub(super) fn declare(command: Command) -> Command {
    let path = Arg::new("path").value_name("PATH").required(true).value_parser(value_parser!(PathBuf));
    command.arg(path.value_hint(ValueHint::AnyPath).help("A checkpoint directory or a manifest"))
}

pub(super) fn inspect(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let Some(path) = values.remove_one::<PathBuf>("path") else { return Ok(2) };
    print(&if path.is_file() { manifest(&Manifest::open(&path)?) } else { checkpoint(&path)? })
}

fn checkpoint(path: &Path) -> Result<String> {
    let opened = Model::open(path)?;
    opened.unchanged(model(&opened))
}

fn model(model: &Model) -> Result<String> {
    let method = model.quantization_config().map(|said| quantisation::method(said).unwrap_or("unknown"));
    let architecture = match model.modules().architecture() {
        Some(known) => known.name().to_string(),
        None => format!("{} (not known)", model.architecture().unwrap_or("without a name")),
    };
    let facts = facts([
        ("checkpoint", model.directory().display().to_string().into()),
        ("model type", model.model_type().unwrap_or("unknown").into()),
        ("quantised", method.unwrap_or("no quantization_config").into()),
        ("tied head", if model.ties_word_embeddings() { "yes" } else { "no" }.into()),
        ("architecture", architecture.into()),
        ("linears", model.modules().linears().count().into()),
    ]);
    let mut dtypes = BTreeMap::<&str, (usize, u64)>::new();
    for (_, tensor) in model.tensors() {
        let entry = dtypes.entry(tensor.dtype().name()).or_default();
        *entry = (entry.0 + 1, entry.1 + tensor.bytes().len() as u64);
    }
    let size = || Column::of("size", Unit::Bytes);
    let mut tensors = Table::new([Column::new("dtype"), Column::new("tensors"), size()]);
    for (name, (count, size)) in dtypes {
        tensors.push([name.into(), count.into(), size.into()]);
    }
    tensors.push(["all".into(), model.tensors().count().into(), model.bytes().into()]);
    let mut shards = Table::new([Column::new("shard"), size()]);
    for (name, _, map) in model.shards() {
        shards.push([name.into(), map.len().into()]);
    }
    let codes = codes(model)?.map_or(String::new(), |codes| format!("\n{}", markdown(&codes)));
    Ok(format!("{facts}\n{}{codes}\n{}", markdown(&tensors), markdown(&shards)))
}

/// What stands for weights in a quantised checkpoint, and whether it can be turned back; nothing for a plain one.
fn codes(model: &Model) -> Result<Option<Table>> {
    let foreign = Foreign::of(model)?;
    let mut kinds = BTreeMap::<(&str, String), usize>::new();
    for (name, tensor) in model.tensors().filter(|(name, _)| foreign.role(name) == TensorRole::Codes) {
        let scales = match foreign.decoding(model, name) {
            Ok(Decoding::Scaled(scales)) => scales.described(),
            Ok(Decoding::Unscaled) => {
                "none, and nothing tells of any: the codes are taken for the values".into()
            }
            Err(Error::Tensor { problem, .. } | Error::Format { problem, .. }) => problem,
            Err(error) => return Err(error),
        };
        *kinds.entry((tensor.dtype().name(), scales)).or_default() += 1;
    }
    let mut table = Table::new([Column::new("codes"), Column::new("tensors"), Column::new("scales")]);
    let is_plain = kinds.is_empty();
    for ((dtype, scales), count) in kinds {
        table.push([dtype.into(), count.into(), scales.into()]);
    }
    Ok((!is_plain).then_some(table))
}

fn manifest(manifest: &Manifest) -> String {
    let known = |value: Option<String>| Cell::from(value.unwrap_or_else(|| "unknown".into()));
    let file = format!("{} (schema v{})", manifest.path().display(), manifest.version());
    let mut lines: Vec<(&str, Cell)> = vec![
        ("manifest", file.into()),
        ("scheme", manifest.scheme_name().unwrap_or("unknown").into()),
        ("model", manifest.model_id().unwrap_or("unknown").into()),
        ("method", manifest.method().unwrap_or("unknown").into()),
        ("effective bits", known(manifest.effective_bits().map(units::number))),
        ("summed score", known(manifest.score().map(units::score))),
        ("input amax", if manifest.amax().is_some() { "yes" } else { "no" }.into()),
        ("groups", manifest.groups().len().into()),
        ("candidates", manifest.groups().iter().filter(|group| group.is_candidate()).count().into()),
        ("formats", formats(manifest).into()),
        ("gaps in the rank", gaps(&manifest.rank_gaps()).into()),
    ];
    let ranking = match manifest.ranking(&RankingOptions::default()) {
        Ok(ranking) => ranking,
        Err(error) => {
            lines.push(("ranking", error.to_string().into()));
            return facts(lines);
        }
    };
    lines.extend([
        ("ranked", ranking.len().into()),
        ("never scored", ranking.unscored.len().into()),
        ("no candidates", ranking.not_candidates.len().into()),
        ("no finite score", ranking.not_finite.len().into()),
        ("score below 0", ranking.negative.len().into()),
    ]);
    let shown = SHOWN.min(ranking.len());
    let rest = ranking.len() - shown;
    let ends = (0..shown).chain(rest.max(shown)..ranking.len());
    let mut groups = Table::new([
        Column::new("rank"),
        Column::new("group"),
        Column::of("score", Unit::Score),
        Column::new("parameters"),
    ]);
    for (rank, group) in ends.filter_map(|rank| ranking.get(rank).map(|group| (rank, group))) {
        groups.push([
            (rank + 1).into(),
            group.name.as_str().into(),
            group.score.into(),
            group.parameters().into(),
        ]);
    }
    format!("{}\n{}", facts(lines), markdown(&groups))
}

/// The formats that groups may take, with how many may: `FP8_DEFAULT_CFG (275), NONE (280)`.
fn formats(manifest: &Manifest) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for format in manifest.groups().iter().flat_map(|group| group.formats.iter()) {
        *counts.entry(format.name.as_str()).or_default() += 1;
    }
    counts.iter().map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>().join(", ")
}

/// The ranks that no group has: how many, and the first few.
fn gaps(ranks: &[u64]) -> String {
    const NAMED: usize = 5;
    let first: Vec<String> = ranks.iter().take(NAMED).map(u64::to_string).collect();
    match ranks.len() {
        0 => "none".into(),
        count if count <= NAMED => first.join(", "),
        count => format!("{count}: {}, …", first.join(", ")),
    }
}

/// A line for each fact, the values below one another.
fn facts<'a>(lines: impl IntoIterator<Item = (&'a str, Cell)>) -> String {
    let mut table = Table::new([Column::new(""), Column::new("").align(Align::Left)]);
    for (label, value) in lines {
        table.push([format!("{label}:").into(), value]);
    }
    text(&table)
}

//! `qlua inspect`: what a checkpoint directory or a manifest holds.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use serde_json::{Value, json};

use super::built_in::Said;
use super::console::{answer, as_json, json_flag, table};
use crate::checkpoint::quantisation;
use crate::dialect::{Decoding, Foreign, TensorRole};
use crate::error::{Error, Result};
use crate::manifest::{Group, Manifest, Ranking, RankingOptions};
use crate::model::Model;
use crate::report::table::{Align, Cell, Column, Table, Unit, text};
use crate::units;

/// How many groups of each end of a ranking are shown.
const SHOWN: usize = 5;

pub(super) fn declare(command: Command) -> Command {
    let path = Arg::new("path").value_name("PATH").required(true).value_parser(value_parser!(PathBuf));
    command
        .arg(path.value_hint(ValueHint::AnyPath).help("A checkpoint directory or a manifest"))
        .arg(json_flag("Print everything as JSON, of a manifest every group"))
}

pub(super) fn inspect(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let Some(path) = values.remove_one::<PathBuf>("path") else { return Ok(2) };
    if path.symlink_metadata().is_err() && path.extension().is_some_and(|extension| extension == "json") {
        return Err(Error::not_found(format!("there is no file `{}`", path.display()))
            .with_hint("check the path; a relative one begins in the current directory")
            .into());
    }
    if path.is_file() && path.extension().is_some_and(|extension| extension == "safetensors") {
        return Err(Error::usage(format!("`{}` is a weight file", path.display()))
            .with_hint("name the directory that it is in")
            .into());
    }
    let (text, json) = if path.is_file() { manifest(&Manifest::open(&path)?) } else { checkpoint(&path)? };
    answer(said, as_json(&values).then_some(&json), &text)
}

fn checkpoint(path: &Path) -> Result<(String, Value)> {
    let opened = Model::open(path)?;
    opened.unchanged(model(&opened))
}

fn model(model: &Model) -> Result<(String, Value)> {
    let method = model.quantization_config().map(|said| quantisation::method(said).unwrap_or("unknown"));
    let known = model.modules().architecture().map(|known| known.name());
    let architecture = match known {
        Some(known) => known.to_string(),
        None => format!("{} (not known)", model.architecture().unwrap_or("without a name")),
    };
    let linears = model.modules().linears().count();
    let facts = facts([
        ("checkpoint", model.named().display().to_string().into()),
        ("model type", model.model_type().unwrap_or("unknown").into()),
        ("quantised", method.unwrap_or("no quantization_config").into()),
        ("tied head", if model.ties_word_embeddings() { "yes" } else { "no" }.into()),
        ("architecture", architecture.into()),
        ("linears", linears.into()),
    ]);
    let mut dtypes = BTreeMap::<&str, (usize, u64)>::new();
    for (_, tensor) in model.tensors() {
        let entry = dtypes.entry(tensor.dtype().name()).or_default();
        *entry = (entry.0 + 1, entry.1 + tensor.bytes().len() as u64);
    }
    let size = || Column::of("size", Unit::Bytes);
    let mut tensors = Table::new([Column::new("dtype"), Column::new("tensors"), size()]);
    for (name, (count, size)) in &dtypes {
        tensors.push([(*name).into(), (*count).into(), (*size).into()]);
    }
    tensors.push(["all".into(), model.tensors().count().into(), model.bytes().into()]);
    let mut shards = Table::new([Column::new("shard"), size()]);
    for (name, _, map) in model.shards() {
        shards.push([name.into(), map.len().into()]);
    }
    let codes = codes(model)?;
    let scales = code_table(&codes).map_or(String::new(), |codes| format!("\n{}", table(&codes)));
    let text = format!("{facts}\n{}{scales}\n{}", table(&tensors), table(&shards));
    let dtype = |(name, (count, bytes)): (&&str, &(usize, u64))| json!({"dtype": name, "tensors": count, "bytes": bytes});
    let code = |((dtype, scales), count): (&(&str, String), &usize)| json!({"dtype": dtype, "tensors": count, "scales": scales});
    let shard = |(name, _, map): (&str, &Path, &[u8])| json!({"file": name, "bytes": map.len()});
    let json = json!({
        "kind": "checkpoint",
        "path": model.named().display().to_string(),
        "model_type": model.model_type(),
        "architecture": model.architecture(),
        "known": known.is_some(),
        "quantisation": method,
        "tied_head": model.ties_word_embeddings(),
        "linears": linears,
        "tensors": model.tensors().count(),
        "bytes": model.bytes(),
        "dtypes": dtypes.iter().map(dtype).collect::<Vec<_>>(),
        "codes": codes.iter().map(code).collect::<Vec<_>>(),
        "shards": model.shards().map(shard).collect::<Vec<_>>(),
    });
    Ok((text, json))
}

/// What stands for weights in a quantised checkpoint, by dtype and by what is known of its scales, and how many tensors do.
type Codes = BTreeMap<(&'static str, String), usize>;

/// What stands for weights in a quantised checkpoint, and whether it can be turned back.
fn codes(model: &Model) -> Result<Codes> {
    let foreign = Foreign::of(model)?;
    let mut kinds = Codes::new();
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
    Ok(kinds)
}

/// The table of `codes`; nothing for a plain checkpoint.
fn code_table(codes: &Codes) -> Option<Table> {
    let mut table = Table::new([Column::new("codes"), Column::new("tensors"), Column::new("scales")]);
    for ((dtype, scales), count) in codes {
        table.push([(*dtype).into(), (*count).into(), scales.as_str().into()]);
    }
    (!codes.is_empty()).then_some(table)
}

fn manifest(manifest: &Manifest) -> (String, Value) {
    let known = |value: Option<String>| Cell::from(value.unwrap_or_else(|| "unknown".into()));
    let file = format!("{} (schema v{})", manifest.path().display(), manifest.version());
    let mut lines: Vec<(&str, Cell)> = vec![
        ("manifest", file.into()),
        ("scheme", manifest.scheme_name().unwrap_or("unknown").into()),
        ("model", manifest.model_id().unwrap_or("unknown").into()),
        ("method", manifest.method().unwrap_or("unknown").into()),
        ("effective bits", known(manifest.effective_bits().map(|bits| format!("{bits:.3}")))),
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
            return (facts(lines), manifest_as_json(manifest, None));
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
        Column::new("rank").align(Align::Right),
        Column::new("group").main(),
        Column::of("score", Unit::Score).align(Align::Right).main(),
        Column::of("parameters", Unit::Weights).align(Align::Right),
    ]);
    for (rank, group) in ends.filter_map(|rank| ranking.get(rank).map(|group| (rank, group))) {
        // What lies between the least and the most sensitive is not shown.
        if rank == rest && rest > shown {
            groups.push(["…", "", "", ""].map(Cell::from));
        }
        groups.push([
            (rank + 1).into(),
            group.name.as_str().into(),
            group.score.into(),
            group.parameters().into(),
        ]);
    }
    (format!("{}\n{}", facts(lines), table(&groups)), manifest_as_json(manifest, Some(&ranking)))
}

/// A manifest as data; without a ranking where nothing of it can be ranked.
fn manifest_as_json(manifest: &Manifest, ranking: Option<&Ranking>) -> Value {
    let ranks: HashMap<&str, usize> = ranking
        .into_iter()
        .flat_map(|ranking| ranking.groups().enumerate().map(|(rank, group)| (group.name.as_str(), rank + 1)))
        .collect();
    // JSON has neither infinity nor NaN.
    let number = |value: Option<f64>| value.filter(|value| value.is_finite());
    let group = |group: &Group| {
        json!({
            "name": group.name,
            "members": group.members,
            "rank": ranks.get(group.name.as_str()),
            "score": number(Some(group.score)),
            "parameters": group.parameters(),
            "candidate": group.is_candidate(),
            "scored": group.is_scored(),
        })
    };
    let mut counts = BTreeMap::<&str, usize>::new();
    for format in manifest.groups().iter().flat_map(|group| group.formats.iter()) {
        *counts.entry(format.name.as_str()).or_default() += 1;
    }
    json!({
        "kind": "manifest",
        "path": manifest.path().display().to_string(),
        "schema": manifest.version(),
        "scheme": manifest.scheme_name(),
        "model": manifest.model_id(),
        "method": manifest.method(),
        "effective_bits": number(manifest.effective_bits()),
        "score": number(manifest.score()),
        "input_amax": manifest.amax().is_some(),
        "formats": counts.iter().map(|(name, count)| json!({"format": name, "groups": count})).collect::<Vec<_>>(),
        "rank_gaps": manifest.rank_gaps(),
        "ranked": ranking.map_or(0, Ranking::len),
        "groups": manifest.groups().iter().map(group).collect::<Vec<_>>(),
    })
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

//! `qlua inspect`: what a checkpoint directory or a manifest holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::print;
use crate::error::Result;
use crate::manifest::{Manifest, RankingOptions};
use crate::model::Model;
use crate::report::{bytes, markdown_table, score};

/// How many groups of each end of a ranking are shown.
const SHOWN: usize = 5;

pub(super) fn declare(command: Command) -> Command {
    let path = Arg::new("path").value_name("PATH").required(true).value_parser(value_parser!(PathBuf));
    command.arg(path.value_hint(ValueHint::AnyPath).help("A checkpoint directory or a manifest"))
}

pub(super) fn inspect(mut values: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    let Some(path) = values.remove_one::<PathBuf>("path") else { return Ok(2) };
    print(&if path.is_file() { manifest(&Manifest::open(&path)?) } else { model(&Model::open(&path)?)? })
}

fn model(model: &Model) -> Result<String> {
    let mut text = String::new();
    let method = model.config()["quantization_config"]["quant_method"].as_str();
    let _ = writeln!(text, "checkpoint:  {}", model.directory().display());
    let _ = writeln!(text, "model type:  {}", model.model_type().unwrap_or("unknown"));
    let _ = writeln!(text, "quantised:   {}", method.unwrap_or("no quantization_config"));
    let _ = writeln!(text, "tied head:   {}", if model.ties_word_embeddings() { "yes" } else { "no" });
    let _ = writeln!(text, "linears:     {}", model.modules().linears().count());

    let mut dtypes = BTreeMap::<&str, (usize, u64)>::new();
    for (_, tensor) in model.tensors() {
        let entry = dtypes.entry(tensor.dtype().name()).or_default();
        *entry = (entry.0 + 1, entry.1 + tensor.bytes().len() as u64);
    }
    let mut rows: Vec<Vec<String>> = dtypes
        .iter()
        .map(|(name, (count, size))| vec![name.to_string(), count.to_string(), bytes(*size)])
        .collect();
    rows.push(vec!["all".into(), model.tensors().count().to_string(), bytes(model.bytes())]);
    let _ = write!(text, "\n{}", table(&["dtype", "tensors", "size"], &rows));
    let shards: Vec<Vec<String>> =
        model.shards().map(|(name, _, map)| vec![name.to_string(), bytes(map.len() as u64)]).collect();
    let _ = write!(text, "\n{}", table(&["shard", "size"], &shards));
    Ok(text)
}

fn manifest(manifest: &Manifest) -> String {
    let mut text = String::new();
    let number = |value: Option<f64>| value.map_or("unknown".into(), |v| format!("{v}"));
    let _ = writeln!(text, "manifest:        {} (schema v{})", manifest.path().display(), manifest.version());
    let _ = writeln!(text, "scheme:          {}", manifest.scheme_name().unwrap_or("unknown"));
    let _ = writeln!(text, "model:           {}", manifest.model_id().unwrap_or("unknown"));
    let _ = writeln!(text, "method:          {}", manifest.method().unwrap_or("unknown"));
    let _ = writeln!(text, "effective bits:  {}", number(manifest.effective_bits()));
    let _ = writeln!(text, "summed score:    {}", number(manifest.score()));
    let _ = writeln!(text, "input amax:      {}", if manifest.amax().is_some() { "yes" } else { "no" });
    let _ = writeln!(text, "groups:          {}", manifest.groups().len());
    let ranking = match manifest.ranking(&RankingOptions::default()) {
        Ok(ranking) => ranking,
        Err(error) => {
            let _ = writeln!(text, "ranking:         {error}");
            return text;
        }
    };
    let _ = writeln!(text, "ranked:          {}", ranking.len());
    let _ = writeln!(text, "never scored:    {}", ranking.unscored.len());
    let _ = writeln!(text, "no candidates:   {}", ranking.not_candidates.len());
    let _ = writeln!(text, "no finite score: {}", ranking.not_finite.len());
    let shown = SHOWN.min(ranking.len());
    let rest = ranking.len() - shown;
    let ends = (0..shown).chain(rest.max(shown)..ranking.len());
    let rows: Vec<Vec<String>> = ends
        .filter_map(|rank| ranking.get(rank).map(|group| (rank, group)))
        .map(|(rank, group)| {
            let parameters = group.parameters().map_or(String::new(), |p| p.to_string());
            vec![(rank + 1).to_string(), group.name.clone(), score(group.score), parameters]
        })
        .collect();
    let _ = write!(text, "\n{}", table(&["rank", "group", "score", "parameters"], &rows));
    text
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let right: Vec<bool> = header
        .iter()
        .map(|h| matches!(h.as_str(), "rank" | "score" | "parameters" | "tensors" | "size"))
        .collect();
    markdown_table(&header, rows, &right)
}

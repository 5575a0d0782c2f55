//! What sets two checkpoints apart, for people.

use super::tables::{arrow, section, sentence, sides};
use crate::diff::{CheckpointDiff, ModuleDiff, TensorCounts, TensorDiff, TensorOutcome};
use crate::report::table::{Align, Column, Table, Unit};
use crate::shown;
use crate::tensor::TensorSpec;
use crate::units::{bytes, counted, decibels, number};

pub(super) fn text(found: &CheckpointDiff) -> String {
    let sides = format!("A = {}\nB = {}\n", shown::line(&found.a), shown::line(&found.b));
    let texts = notes(found);
    let tables = [configuration(found), files(found), modules(found)].concat();
    format!("{sides}{}\n{texts}{tables}", summary(found))
}

fn summary(found: &CheckpointDiff) -> String {
    let CheckpointDiff { weights, quantisers, files, .. } = found;
    if found.is_same() {
        let of_quantisers = match quantisers.same {
            0 => String::new(),
            count => format!(", {} of quantisers", counted(count, "tensor")),
        };
        let (weights, files) = (counted(weights.same, "weight"), counted(files.same, "other file"));
        return format!("the same: {weights}{of_quantisers}, {files}");
    }
    let keys = found.configuration.len();
    let differing = files.only_in_a.len() + files.only_in_b.len() + files.differing.len();
    let parts = [
        (keys, counted(keys, "key") + if keys == 1 { " of a configuration" } else { " of configurations" }),
        (differing, counted(differing, "file")),
        (weights.differing(), format!("{} of {}", weights.differing(), counted(all(weights), "weight"))),
        (
            quantisers.differing(),
            format!("{} of {} of quantisers", quantisers.differing(), counted(all(quantisers), "tensor")),
        ),
    ];
    let size = arrow(bytes(found.bytes[0]), bytes(found.bytes[1]));
    let mut lines = vec![format!("differ: {}; {size}", sentence(parts))];
    let kinds = kinds(weights);
    if !kinds.is_empty() {
        lines.push(format!("weights: {kinds}"));
    }
    if found.values.elements > 0 {
        let values = &found.values;
        lines.push(format!(
            "what is stored differently: SQNR {} dB, the largest difference {} ({} of the largest value)",
            decibels(values.sqnr_db()),
            number(values.max_difference),
            number(values.relative())
        ));
    }
    lines.join("\n")
}

fn all(counts: &TensorCounts) -> usize {
    counts.same + counts.differing()
}

fn kinds(counts: &TensorCounts) -> String {
    sentence([
        (counts.same, format!("{} the same", counts.same)),
        (counts.same_values, format!("{} stored differently with the same values", counts.same_values)),
        (counts.other_values, format!("{} with other values", counts.other_values)),
        (counts.shape, format!("{} of other shapes", counts.shape)),
        (counts.unread, format!("{} not compared by their values", counts.unread)),
        (counts.only_in_a, format!("{} only in A", counts.only_in_a)),
        (counts.only_in_b, format!("{} only in B", counts.only_in_b)),
    ])
}

fn notes(found: &CheckpointDiff) -> String {
    let texts = found.files.other_text.iter();
    let line = |file: &String| format!("{} is written differently and says the same\n", shown::line(file));
    texts.map(line).collect()
}

fn configuration(found: &CheckpointDiff) -> String {
    let mut table = Table::new(["file", "key", "A", "B"].map(Column::new));
    for one in &found.configuration {
        let [a, b] = sides(&one.change);
        table.push([one.file.as_str().into(), one.change.path.as_str().into(), a, b]);
    }
    section("configuration", table)
}

fn files(found: &CheckpointDiff) -> String {
    let mut table = Table::new(["file", ""].map(Column::new));
    let is_listed_by_key = |file: &str| found.configuration.iter().any(|one| one.file == file);
    let size = |size: Option<u64>| size.map_or("no regular file".into(), bytes);
    for file in &found.files.only_in_a {
        table.push([file.as_str().into(), "only in A".into()]);
    }
    for file in &found.files.only_in_b {
        table.push([file.as_str().into(), "only in B".into()]);
    }
    for file in found.files.differing.iter().filter(|file| !is_listed_by_key(&file.file)) {
        table.push([
            file.file.as_str().into(),
            format!("differs: {}", arrow(size(file.a), size(file.b))).into(),
        ]);
    }
    section("files", table)
}

fn modules(found: &CheckpointDiff) -> String {
    let mut table = Table::new([
        Column::new("module"),
        Column::new("dtype"),
        Column::new("size").align(Align::Right),
        Column::new("largest"),
        Column::new("relative"),
        Column::of("SQNR", Unit::Decibels),
        Column::new(""),
    ]);
    for module in &found.modules {
        let values = module.values();
        table.push([
            name(module).into(),
            dtypes(module).into(),
            size(module).into(),
            values.map(|values| values.max_difference).into(),
            values.map(|values| values.relative()).into(),
            values.map(|values| values.sqnr_db()).into(),
            remarks(module).into(),
        ]);
    }
    section("modules, the worst first", table)
}

/// The module; its tensors where they belong to none.
fn name(module: &ModuleDiff) -> String {
    let listed = |rest: &[TensorDiff]| match rest.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    match module.tensors.split_first() {
        Some((first, rest)) if module.name.is_empty() => {
            format!("{}{}", first.name(), listed(rest))
        }
        _ => module.name.clone(),
    }
}

/// The type of the first weight that differs.
fn dtypes(module: &ModuleDiff) -> String {
    let dtype = |side: &Option<TensorSpec>| side.as_ref().map_or("–".into(), |spec| spec.dtype.to_string());
    let first = module.tensors.first();
    first.map_or(String::new(), |tensor| arrow(dtype(&tensor.a), dtype(&tensor.b)))
}

/// The bytes of all tensors that differ.
fn size(module: &ModuleDiff) -> String {
    let sum = |side: fn(&TensorDiff) -> &Option<TensorSpec>| {
        bytes(module.tensors.iter().filter_map(|tensor| side(tensor).as_ref()).map(TensorSpec::bytes).sum())
    };
    arrow(sum(|tensor| &tensor.a), sum(|tensor| &tensor.b))
}

/// What numbers do not say.
fn remarks(module: &ModuleDiff) -> String {
    let leaf = |tensor: &TensorDiff| {
        let name = tensor.name();
        name.rsplit_once('.').map_or(name, |(_, leaf)| leaf).to_string()
    };
    let remark = |tensor: &TensorDiff| match &tensor.outcome {
        TensorOutcome::OnlyInA => Some(format!("{} only in A", leaf(tensor))),
        TensorOutcome::OnlyInB => Some(format!("{} only in B", leaf(tensor))),
        TensorOutcome::Shape => {
            let shape = |side: &Option<TensorSpec>| {
                side.as_ref().map_or(String::new(), |spec| format!("{:?}", spec.shape))
            };
            Some(format!("{} {}", leaf(tensor), arrow(shape(&tensor.a), shape(&tensor.b))))
        }
        TensorOutcome::Unread(why) => Some(format!("{} not compared: it {why}", leaf(tensor))),
        TensorOutcome::Values(values) if values.not_finite > 0 => Some(format!(
            "{}: {} NaN or infinite",
            leaf(tensor),
            counted(values.not_finite as usize, "value")
        )),
        TensorOutcome::Values(_) if tensor.is_of_quantiser() => Some(format!("{} differs", leaf(tensor))),
        TensorOutcome::Values(_) | TensorOutcome::Same => None,
    };
    module.tensors.iter().filter_map(remark).collect::<Vec<_>>().join(", ")
}

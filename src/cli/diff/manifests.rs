//! What sets two manifests apart, for people.

use super::tables::{arrow, section, sentence, sides};
use crate::diff::{GroupChange, GroupPart, ManifestDiff};
use crate::report::table::{Column, Table, Unit};
use crate::shown;
use crate::units::{counted, number};

pub(super) fn text(found: &ManifestDiff) -> String {
    let sides = format!("A = {}\nB = {}\n", shown::line(&found.a), shown::line(&found.b));
    let tables = [keys(found), formats(found), alone(found), groups(found)].concat();
    format!("{sides}{}\n{tables}", summary(found))
}

fn summary(found: &ManifestDiff) -> String {
    if found.is_same() {
        return format!("the same: {}", counted(found.groups[0], "group"));
    }
    let with = |part: GroupPart| found.changed.iter().filter(|change| change.parts.contains(&part)).count();
    let changed = |part: GroupPart, what: &str| {
        (with(part), format!("other {what} in {}", counted(with(part), "group")))
    };
    let (only_a, only_b) = (found.only_in_a.len(), found.only_in_b.len());
    let parts = [
        (found.keys.len(), counted(found.keys.len(), "key") + " beside the groups"),
        (found.lists.len(), found.lists.join(", ")),
        (only_a, format!("{} only in A", counted(only_a, "group"))),
        (only_b, format!("{} only in B", counted(only_b, "group"))),
        changed(GroupPart::Rank, "ranks"),
        changed(GroupPart::Scores, "scores"),
        changed(GroupPart::Costs, "costs"),
        changed(GroupPart::Candidate, "candidates"),
        changed(GroupPart::Formats, "formats"),
        changed(GroupPart::Members, "members"),
        changed(GroupPart::Others, "keys that policies do not read"),
    ];
    let mut lines = vec![
        format!("differ: {}", sentence(parts)),
        format!(
            "groups: {}, {} ranked in both",
            arrow(found.groups[0].to_string(), found.groups[1].to_string()),
            found.ranked
        ),
    ];
    lines.push(match &found.correlation {
        Some(correlation) => {
            let said = |value: Option<f64>| value.map_or("undefined".into(), number);
            format!(
                "rank correlation: Spearman {}, Kendall {}, over {} scored in both",
                said(correlation.spearman),
                said(correlation.kendall),
                counted(correlation.groups, "group")
            )
        }
        None => "rank correlation: none, as fewer than two groups are scored in both".into(),
    });
    lines.join("\n")
}

fn keys(found: &ManifestDiff) -> String {
    let mut table = Table::new(["key", "A", "B"].map(Column::new));
    for change in &found.keys {
        let [a, b] = sides(change);
        table.push([change.path.as_str().into(), a, b]);
    }
    section("beside the groups", table)
}

fn formats(found: &ManifestDiff) -> String {
    let mut table = Table::new(["format", "groups of A", "groups of B"].map(Column::new));
    for format in &found.formats {
        table.push([format.name.as_str().into(), format.a.into(), format.b.into()]);
    }
    section("formats", table)
}

fn alone(found: &ManifestDiff) -> String {
    let mut table = Table::new(["group", ""].map(Column::new));
    for (names, side) in [(&found.only_in_a, "only in A"), (&found.only_in_b, "only in B")] {
        names.iter().for_each(|name| table.push([name.as_str().into(), side.into()]));
    }
    section("groups of one side", table)
}

fn groups(found: &ManifestDiff) -> String {
    let mut table = Table::new([
        Column::new("group"),
        Column::new("rank A"),
        Column::new("rank B"),
        Column::new("moved"),
        Column::of("score A", Unit::Score),
        Column::of("score B", Unit::Score),
        Column::new("candidate"),
        Column::new("cost"),
        Column::new("differs in"),
    ]);
    for change in &found.changed {
        let GroupChange { name, parts, a, b } = change;
        let candidate = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".into());
        let cost = |cost: Option<f64>| cost.map_or("none".into(), number);
        let words: Vec<&str> = parts.iter().map(|part| part.word()).collect();
        table.push([
            name.as_str().into(),
            a.rank.into(),
            b.rank.into(),
            change.shift().map(|shift| format!("{shift:+}")).into(),
            a.score.into(),
            b.score.into(),
            arrow(candidate(&a.candidate), candidate(&b.candidate)).into(),
            arrow(cost(a.cost), cost(b.cost)).into(),
            words.join(", ").into(),
        ]);
    }
    section("groups, those that move furthest first", table)
}

//! The report as data.

use serde_json::{Value, json};

use super::data::DirectoryReport;
use crate::report::sweep::{GroupForm, SchemeOrigin, SchemeRow, Serving, SweepReport};

impl DirectoryReport {
    /// All that the page shows but its pictures, as `docs/json.md` describes it. JSON has neither infinity nor NaN: such numbers
    /// are null.
    pub fn to_json(&self) -> Value {
        json!({
            "kind": "report",
            "title": self.title(),
            "notes": self.notes,
            "sweeps": self.sweeps.iter().map(sweep).collect::<Vec<_>>(),
        })
    }
}

fn sweep(sweep: &SweepReport) -> Value {
    let families = sweep.families();
    let family = |family: &crate::report::sweep::FamilyRow| {
        let knee = sweep.score_knee(&family.schemes).map(|at| sweep.schemes[at].name.as_str());
        let names: Vec<&str> = family.schemes.iter().map(|&at| sweep.schemes[at].name.as_str()).collect();
        json!({"label": family.label, "schemes": names, "score_knee": knee})
    };
    let group = |group: &crate::report::sweep::GroupRow| {
        json!({
            "name": group.name, "tower": group.tower.to_string(), "block": group.block, "kind": group.kind,
            "parameters": group.parameters, "score": number(Some(group.score)), "candidate": group.is_candidate,
            "scored": group.is_scored, "kept": group.kept,
        })
    };
    let point =
        |p: &crate::plan::FrontierPoint| json!({"effective_bits": p.effective_bits, "score": p.score});
    let error = |layer: &crate::report::sweep::LayerError| {
        json!({
            "module": layer.module, "sqnr_db": number(Some(layer.sqnr_db)), "mse": number(Some(layer.mse)),
            "saturated": layer.saturated, "zeroed": layer.zeroed,
        })
    };
    let sharing = |s: crate::report::sweep::Sharing| json!({"unique_bytes": s.unique_bytes, "copied_bytes": s.copied_bytes});
    let facts = sweep.facts.iter().map(|(label, value)| json!({"label": label, "value": value}));
    json!({
        "title": sweep.title,
        "facts": facts.collect::<Vec<_>>(),
        "base_bytes": sweep.base_bytes,
        "total_score": number(Some(sweep.total_score())),
        "sharing": sweep.sharing.map(sharing),
        "families": families.iter().map(family).collect::<Vec<_>>(),
        "schemes": sweep.schemes.iter().map(|one| scheme(sweep, one)).collect::<Vec<_>>(),
        "frontier": {"gap": sweep.frontier.gap, "points": sweep.frontier.points.iter().map(point).collect::<Vec<_>>()},
        "groups": sweep.groups.iter().map(group).collect::<Vec<_>>(),
        "layer_errors": sweep.layer_errors.as_ref().map(|all| all.iter().map(error).collect::<Vec<_>>()),
    })
}

fn scheme(sweep: &SweepReport, scheme: &SchemeRow) -> Value {
    let figures = &scheme.figures;
    let stored = |form: GroupForm| {
        let groups = sweep.groups.iter().zip(&scheme.stored).filter(move |(_, stored)| **stored == form);
        groups.map(|(group, _)| group.name.as_str()).collect::<Vec<_>>()
    };
    let least = figures.effective_bits.and_then(|bits| sweep.frontier.least_within(bits));
    let quality = sweep.quality.iter().filter(|row| row.scheme == scheme.name).map(|row| {
        json!({
            "kind": row.kind, "kl": number(Some(row.kl)), "kl_error": number(Some(row.kl_error)),
            "perplexity": number(Some(row.perplexity)), "base_perplexity": number(Some(row.base_perplexity)),
            "agreement": number(Some(row.agreement)), "samples": row.samples, "tokens": row.tokens,
        })
    });
    json!({
        "name": scheme.name,
        "percent": scheme.percent,
        "bytes": figures.bytes,
        "saved": number(sweep.saved(scheme)),
        "fp8_groups": stored(GroupForm::Fp8),
        "kept_groups": stored(GroupForm::Kept),
        "fp8_layers": figures.quantised_layers,
        "effective_bits": number(figures.effective_bits),
        "score": number(figures.score),
        "score_share": number(sweep.share_of(scheme)),
        "least_score": number(least),
        "score_per_gigabyte": number(sweep.score_per_gigabyte(scheme)),
        "quality": quality.collect::<Vec<_>>(),
        "origin": scheme.origin.as_ref().map(|one| origin(one, &scheme.name)),
    })
}

fn origin(origin: &SchemeOrigin, name: &str) -> Value {
    let directory = format!("./{name}");
    let serving = |serving: &Serving| {
        json!({
            "engine": serving.engine.word(), "reads": serving.refusal.is_none(),
            "command": serving.command(&directory), "refusal": serving.refusal,
        })
    };
    json!({
        "command": origin.command,
        "dialect": origin.dialect,
        "activations": origin.activations,
        "rounding": origin.rounding,
        "serving": origin.serving.iter().map(serving).collect::<Vec<_>>(),
    })
}

/// `value` where JSON has it.
fn number(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

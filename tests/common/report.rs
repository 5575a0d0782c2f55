//! Sweeps to report on.

use std::path::{Path, PathBuf};

use qlua::job::Family;
use qlua::manifest::Manifest;
use qlua::plan::{CostModel, Located, frontier};
use qlua::report::sweep::{GroupRow, LayerError, Sharing, SweepReport};

use super::{ascending_family, options};

/// Where pages and screenshots are left for people to look at: `target/tmp/report`.
pub fn place() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// Ten coverage points of the demo, as a family plans them.
pub fn of_demo(directory: &Path) -> SweepReport {
    let demo = qlua::demo::build(directory).unwrap();
    let percents: Vec<f64> = (1..=10).map(|i| f64::from(i) * 10.0).collect();
    let family = ascending_family(options(&demo.model, &demo.manifest, &directory.join("out")), &percents);
    family.report().unwrap()
}

/// Schemes of the demo that have nothing in common: one for each of some words in the names of layers.
pub fn of_unrelated_schemes(directory: &Path) -> SweepReport {
    let demo = qlua::demo::build(directory).unwrap();
    let mut family = Family::open(options(&demo.model, &demo.manifest, &directory.join("out"))).unwrap();
    let ranking = family.manifest().ranking(&Default::default()).unwrap();
    for word in ["attn", "mlp", "visual", "layers.1."] {
        let selection = ranking.filter(|group| Ok(group.name.contains(word))).unwrap();
        family.add(&format!("only_{}", word.trim_end_matches('.')), selection).unwrap();
    }
    family.report().unwrap()
}

/// Ten coverage points of the published manifest `name`, without a checkpoint: sizes are those of the ranked weights alone.
pub fn of_published_manifest(name: &str) -> Option<SweepReport> {
    let manifest = Manifest::open(super::shared(&format!("data/manifests/{name}"))?).unwrap();
    let costs = CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest));
    let mut sweep = SweepReport::new(name.trim_end_matches(".json"), &manifest, &costs);
    sweep.base_bytes = Some(costs.base_bytes());
    let ranking = manifest.ranking(&Default::default()).unwrap();
    let selections: Vec<_> = (1..=10).map(|i| ranking.lowest(f64::from(i) * 10.0).unwrap()).collect();
    for (selection, percent) in selections.iter().zip((10..).step_by(10)) {
        let name = format!("fp8_autoquant_all_layers_top{percent}_coco2017");
        sweep.add(&name, selection, costs.figures(selection.selected()));
    }
    sweep.frontier = frontier(&costs, &ranking, &selections.iter().collect::<Vec<_>>()).unwrap();
    Some(sweep)
}

/// Weight errors for every group of `sweep`, made up but plausible: the same on every run.
pub fn with_errors(mut sweep: SweepReport) -> SweepReport {
    let error = |(at, group): (usize, &GroupRow)| LayerError {
        module: group.name.clone(),
        sqnr_db: 31.6 + ((at * 37) % 17) as f64 * 0.05 - if at % 53 == 7 { 6.5 } else { 0.0 },
        mse: 1e-7 * (1 + at % 9) as f64,
        saturated: 0.0,
        zeroed: (at % 11) as f64 * 1e-4,
    };
    sweep.layer_errors = Some(sweep.groups.iter().enumerate().map(error).collect());
    let base = sweep.base_bytes.unwrap_or(0);
    sweep.sharing = Some(Sharing { unique_bytes: base * 3 / 2, copied_bytes: base * 7 });
    sweep
}

//! Sweeps to report on.

use std::path::{Path, PathBuf};

use qlua::manifest::Manifest;
use qlua::report::Sweep;
use qlua::report::sweep::{LayerError, Stored};

use super::{ascending_family, options};

/// Where pages and screenshots are left for people to look at: `target/tmp/report`.
pub fn place() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// Ten coverage points of the demo, as a family plans them.
pub fn of_demo(directory: &Path) -> Sweep {
    let demo = qlua::demo::build(directory).unwrap();
    let percents: Vec<f64> = (1..=10).map(|i| f64::from(i) * 10.0).collect();
    let family = ascending_family(options(&demo.model, &demo.manifest, &directory.join("out")), &percents);
    family.report().unwrap()
}

/// Ten coverage points of the published manifest `name`, without a checkpoint: sizes are those of the ranked weights alone.
pub fn of_published_manifest(name: &str) -> Option<Sweep> {
    let manifest = Manifest::open(super::shared(&format!("data/manifests/{name}"))?).unwrap();
    let convolution =
        |g: &qlua::manifest::Group| g.name.contains("patch_embed").then(|| "a convolution".to_string());
    let mut sweep = Sweep::new(name.trim_end_matches(".json"), &manifest, convolution);
    let base = 2 * sweep.groups.iter().map(|g| g.parameters).sum::<u64>();
    sweep.base_bytes = Some(base);
    let ranking = manifest.ranking(&Default::default()).unwrap();
    for percent in (1..=10).map(|i| f64::from(i) * 10.0) {
        let selected = ranking.lowest(percent).unwrap();
        let names = selected.selected_names();
        let stored = sweep.groups.iter().map(|g| match names.contains(&g.name.as_str()) {
            true if g.kept.is_some() => Stored::Kept,
            true => Stored::Fp8,
            false => Stored::Bf16,
        });
        let stored: Vec<Stored> = stored.collect();
        let fp8 = || sweep.groups.iter().zip(&stored).filter(|(_, s)| **s == Stored::Fp8).map(|(g, _)| g);
        let saved: u64 = fp8().map(|g| g.parameters).sum();
        let layers = fp8().count();
        sweep.add(
            &format!("fp8_autoquant_all_layers_top{percent}_coco2017"),
            Some(percent),
            stored,
            layers,
            base - saved,
        );
    }
    Some(sweep)
}

/// Weight errors for every group of `sweep`, made up but plausible: the same on every run.
pub fn with_errors(mut sweep: Sweep) -> Sweep {
    let error = |(at, group): (usize, &qlua::report::sweep::GroupRow)| LayerError {
        module: group.name.clone(),
        sqnr_db: 31.6 + ((at * 37) % 17) as f64 * 0.05 - if at % 53 == 7 { 6.5 } else { 0.0 },
        mse: 1e-7 * (1 + at % 9) as f64,
        saturated: 0.0,
        zeroed: (at % 11) as f64 * 1e-4,
    };
    sweep.layer_errors = Some(sweep.groups.iter().enumerate().map(error).collect());
    sweep.unique_bytes = Some(sweep.base_bytes.unwrap_or(0) * 3 / 2);
    sweep
}

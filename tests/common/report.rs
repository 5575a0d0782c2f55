//! Sweeps to report on.

use std::path::{Path, PathBuf};

use qlua::job::{Family, report_directory};
use qlua::manifest::{Group, Manifest, RankingOptions};
use qlua::model::Tower;
use qlua::plan::{CostModel, Located, frontier};
use qlua::report::directory::DirectoryReport;
use qlua::report::sweep::{GroupRow, LayerError, MeasuredQuality, QualityKind, Sharing, SweepReport};
use qlua::write::{HashedFile, Silent};

use super::{ascending_family, options};

/// Where pages and screenshots are left for people to look at: `target/tmp/report`.
pub fn place() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// The only sweep of the report of `family`.
pub fn of_family(family: &Family) -> SweepReport {
    let mut report = family.report().unwrap();
    assert_eq!(report.sweeps.len(), 1, "one sweep");
    report.sweeps.remove(0)
}

/// The report that has `sweep` alone.
pub fn page(sweep: &SweepReport) -> DirectoryReport {
    sweep.clone().into()
}

/// All layers and the language model alone, each at several coverage points, as two runs of the demo wrote them; measured too.
pub fn of_two_families(directory: &Path) -> DirectoryReport {
    let demo = qlua::demo::build(directory).unwrap();
    let out = directory.join("out");
    for (name, only_language) in [("all_layers", false), ("lm_only", true)] {
        let mut options = options(&demo.model, &demo.manifest, &out);
        options.request.command =
            ["/usr/bin/qlua", &format!("{name}_topx"), "--top", "20..100:20", "--out", "my schemes"]
                .map(String::from)
                .to_vec();
        options.request.policy = Some(HashedFile::of(format!("scripts/{name}_topx.lua"), b""));
        let mut family = Family::open(options).unwrap();
        let predicate = |group: &Group| Ok(!only_language || group.tower() == Tower::Language);
        let ranking = family
            .manifest()
            .ranking(&RankingOptions { predicate: Some(&predicate), ..Default::default() })
            .unwrap();
        for percent in [20, 40, 60, 80, 100] {
            let selection = ranking.lowest(f64::from(percent)).unwrap();
            family.add(&format!("fp8_autoquant_{name}_top{percent}_coco2017"), selection).unwrap();
        }
        family.run(&Silent).unwrap();
    }
    let mut report = report_directory(&out).unwrap();
    let sweep = &mut report.sweeps[0];
    let measured = |(at, scheme): (usize, &qlua::report::sweep::SchemeRow)| {
        let kl = 2e-5 * 4f64.powi((at % 5) as i32) * if at < 5 { 1.5 } else { 1.0 };
        [QualityKind::Text, QualityKind::ImageText].map(|kind| MeasuredQuality {
            scheme: scheme.name.clone(),
            kind,
            kl: if at % 5 == 3 { kl / 3.0 } else { kl },
            kl_error: kl / 40.0,
            perplexity: 12.3,
            base_perplexity: 12.25,
            agreement: 0.98,
            samples: 64,
            tokens: 31_744,
        })
    };
    sweep.quality = sweep.schemes.iter().enumerate().flat_map(measured).collect();
    report
}

/// Ten coverage points of the demo, as a family plans them.
pub fn of_demo(directory: &Path) -> SweepReport {
    let demo = qlua::demo::build(directory).unwrap();
    let percents: Vec<f64> = (1..=10).map(|i| f64::from(i) * 10.0).collect();
    let family = ascending_family(options(&demo.model, &demo.manifest, &directory.join("out")), &percents);
    of_family(&family)
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
    of_family(&family)
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

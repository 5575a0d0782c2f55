//! The report of a sweep, without a browser: well-formed, self-contained, the same on every run, and true.

mod common;

#[path = "report/directory.rs"]
mod directory;
#[path = "report/quality.rs"]
mod quality;

use std::fs;
use std::path::Path;

use common::report::{of_demo, of_family, of_published_manifest, of_unrelated_schemes, page, with_errors};
use common::{ascending_family, options};
use qlua::job::Family;
use qlua::manifest::RankingOptions;
use qlua::plan::{Measure, hull, hull_knee};
use qlua::report::sweep::{Sharing, SweepReport};
use qlua::write::Silent;

/// The pages that are looked at: the demo, and the published manifests where they are there.
fn sweeps() -> Vec<SweepReport> {
    let place = tempfile::tempdir().unwrap();
    let published = [
        "qwen2_5_vl_3b_all_layers_fp8.json",
        "qwen3_vl_4b_all_layers_fp8.json",
        "qwen2_5_vl_3b_lm_int8.json",
    ];
    let published = published.into_iter().filter_map(of_published_manifest);
    let unrelated = of_unrelated_schemes(&place.path().join("unrelated"));
    let mut sweeps = vec![of_demo(place.path()), with_errors(of_demo(place.path())), unrelated];
    sweeps.extend(published.flat_map(|s| [s.clone(), with_errors(s)]));
    sweeps
}

/// Parses the page with an XML parser that is not ours.
fn parsed(html: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(html, options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn pages_are_well_formed_and_every_link_has_its_target() {
    for sweep in sweeps() {
        let html = page(&sweep).to_html();
        let document = parsed(&html);
        let ids: Vec<&str> = document.descendants().filter_map(|n| n.attribute("id")).collect();
        let links: Vec<&str> = document.descendants().filter_map(|n| n.attribute("href")).collect();
        assert_eq!(ids.len(), links.len(), "each part is in the contents");
        for link in links {
            assert!(ids.contains(&link.strip_prefix('#').unwrap()), "{link} leads nowhere");
        }
        for svg in document.descendants().filter(|n| n.has_tag_name("svg")) {
            assert!(svg.attribute("viewBox").is_some() && svg.attribute("aria-label").is_some());
            for node in svg.descendants() {
                for name in ["x", "y", "width", "height", "cx", "cy", "x1", "y2"] {
                    let value = node.attribute(name).map(|v| v.parse::<f64>().unwrap());
                    assert!(value.is_none_or(|v| v.is_finite() && (0.0..2000.0).contains(&v)), "{node:?}");
                }
            }
        }
    }
}

#[test]
fn pages_ask_for_nothing_from_outside() {
    for sweep in sweeps() {
        let html = page(&sweep).to_html();
        for outside in ["http:", "https:", "//", "url(", "@import", "<script", "<link", "<img", "src="] {
            assert!(!html.contains(outside), "the page holds {outside}");
        }
    }
}

#[test]
fn the_same_sweep_gives_the_same_files_wherever_it_is_made() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (of_demo(one.path()), of_demo(&other.path().join("elsewhere")));
    assert!(page(&a).to_html() == page(&b).to_html() && page(&a).to_markdown() == page(&b).to_markdown());
    let path = one.path().to_str().unwrap();
    assert!(!page(&a).to_html().contains(path) && !page(&a).to_markdown().contains(path));
}

/// The heat maps against the groups, counted another way.
#[test]
fn each_map_shows_every_group_of_its_scheme() {
    for sweep in sweeps() {
        let html = page(&sweep).to_html();
        let document = parsed(&html);
        let maps = document.descendants().find(|n| n.attribute("class") == Some("maps")).unwrap();
        let figures: Vec<_> = maps.children().filter(|n| n.has_tag_name("figure")).collect();
        assert_eq!(figures.len(), sweep.schemes.len());
        for (figure, scheme) in figures.iter().zip(&sweep.schemes) {
            let cells = |class: &str| {
                let rects = figure.descendants().filter(|n| n.has_tag_name("rect"));
                rects.filter(|n| n.attribute("class") == Some(class)).count()
            };
            use qlua::report::sweep::GroupForm::{Bf16, Fp8, Kept};
            for (class, stored) in [("fp8", Fp8), ("bf16", Bf16), ("kept", Kept)] {
                let expected = scheme.stored.iter().filter(|s| **s == stored).count();
                assert_eq!(cells(class), expected, "{} {class}", scheme.name);
            }
        }
    }
}

/// What the report says of the demo's schemes against the bytes that were written.
#[test]
fn sizes_are_those_of_the_written_schemes() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let out = place.path().join("out");
    let family = ascending_family(options(&demo.model, &demo.manifest, &out), &[30.0, 100.0]);
    family.run(&Silent).unwrap();
    let sweep = of_family(&family);
    let [written, text] = family.write_report(&page(&sweep)).unwrap();
    assert_eq!(
        (fs::read_to_string(written).unwrap(), fs::read_to_string(text).unwrap()),
        (page(&sweep).to_html(), page(&sweep).to_markdown())
    );
    for scheme in &sweep.schemes {
        let written = common::directory::Directory(out.join(&scheme.name)).tensors();
        let bytes: usize = written.values().map(|t| t.bytes.len()).sum();
        let fp8 = written.values().filter(|t| t.dtype == safetensors::Dtype::F8_E4M3).count();
        assert_eq!(
            (scheme.figures.bytes, scheme.figures.quantised_layers),
            (bytes as u64, fp8),
            "{}",
            scheme.name
        );
    }
    let base = common::directory::Directory(demo.model).tensors();
    assert_eq!(sweep.base_bytes, Some(base.values().map(|t| t.bytes.len() as u64).sum()));
}

#[test]
fn a_report_is_replaced_and_other_files_never_are() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let out = place.path().join("out");
    let family = ascending_family(options(&demo.model, &demo.manifest, &out), &[50.0]);
    let sweep = of_family(&family);
    let [written, text] = family.write_report(&page(&sweep)).unwrap();
    family.write_report(&page(&sweep)).unwrap();
    fs::write(&text, "my notes").unwrap();
    fs::remove_file(&written).unwrap();
    let error = family.write_report(&page(&sweep)).unwrap_err();
    common::place::require_message(&error, &["report.md", "is not a report that qlua wrote"], "move it away");
    assert_eq!(fs::read_to_string(&text).unwrap(), "my notes");
    assert!(!written.exists(), "nothing is written when either file is in the way");
}

/// Effective bits and sums of the published manifest, as the notes on it have them.
#[test]
fn the_published_top50_has_138_groups_and_10_1_effective_bits() {
    let Some(sweep) = of_published_manifest("qwen2_5_vl_3b_all_layers_fp8.json") else { return };
    let top50 = &sweep.schemes[4];
    let fp8 = top50.stored.iter().filter(|s| **s == qlua::report::sweep::GroupForm::Fp8).count();
    assert_eq!((fp8, format!("{:.1}", top50.figures.effective_bits.unwrap())), (138, "10.1".to_string()));
}

/// The least summed score for at most `bits`, by adding group after group to the choices that nothing else beats: nothing of
/// the solver.
fn least_by_hand(costs: &[(f64, f64)], total: f64, bits: f64) -> f64 {
    let mut choices = vec![(0.0, 0.0)];
    for &(saved, score) in costs {
        let mut all: Vec<(f64, f64)> =
            choices.iter().flat_map(|&(s, x)| [(s, x), (s + saved, x + score)]).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
        let mut least = f64::INFINITY;
        choices.clear();
        for choice in all {
            if choice.1 < least {
                least = choice.1;
                choices.push(choice);
            }
        }
    }
    let fits = |choice: &&(f64, f64)| 16.0 * (total - choice.0) / total <= bits * (1.0 + 1e-12);
    choices.iter().filter(fits).map(|c| c.1).fold(f64::INFINITY, f64::min)
}

/// The golden sweep, of which schemes once lay below the line that was called the Pareto frontier.
#[test]
fn no_scheme_of_the_golden_sweep_lies_below_the_frontier() {
    let (Some(model), Some(golden)) =
        (common::shared("golden/tiny-qwen2_5-vl"), common::shared("golden/modelopt"))
    else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let percents: Vec<f64> = (1..=10).map(|i| f64::from(i) * 10.0).collect();
    let options = options(&model, &golden.join("autoquant_all_layers.json"), place.path());
    let family = ascending_family(options, &percents);
    let report = of_family(&family);
    let costs = family.costs(&family.manifest().ranking(&Default::default()).unwrap()).unwrap();
    let of_groups = family.manifest().groups().iter().filter_map(|g| costs.group(&g.name));
    let of_groups: Vec<(f64, f64)> = of_groups
        .filter(|c| c.quantisable_layers > 0 && c.quantised.score != 0.0)
        .map(|c| (c.unquantised.weights - c.quantised.weights, c.quantised.score))
        .collect();
    assert_eq!(report.frontier.gap, 0.0);
    for scheme in &report.schemes {
        let (bits, score) = (scheme.figures.effective_bits.unwrap(), scheme.figures.score.unwrap());
        let least = report.frontier.least_within(bits).unwrap();
        assert!(least <= score, "{}: {score} lies below {least}", scheme.name);
        let by_hand = least_by_hand(&of_groups, costs.total_weights(), bits);
        assert!((least - by_hand).abs() <= 1e-12 * by_hand, "{}: {least} {by_hand}", scheme.name);
    }
    let top20 = report.schemes[1].figures;
    let least = report.frontier.least_within(top20.effective_bits.unwrap()).unwrap();
    assert!(least <= top20.score.unwrap() && top20.score.unwrap() < 5e-7, "{least}");
}

/// The manifest `path` in which the groups that have `word` in their name have `score` in every format.
fn with_scores(path: &Path, word: &str, score: serde_json::Value) -> String {
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let groups = manifest["layer_sensitivity"].as_object_mut().unwrap();
    for (_, group) in groups.iter_mut().filter(|(name, _)| name.contains(word)) {
        group["scores"].as_array_mut().unwrap().iter_mut().for_each(|old| *old = score.clone());
        group["importance"] = score.clone();
    }
    manifest.to_string()
}

/// Groups that were never scored cost nothing, so a scheme that has them is measured against choices that may have them too.
#[test]
fn a_scheme_with_groups_that_were_never_scored_does_not_lie_below_the_frontier() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let unscored = place.path().join("unscored.json");
    fs::write(&unscored, with_scores(&demo.manifest, "o_proj", 0.0.into())).unwrap();
    let mut family = Family::open(options(&demo.model, &unscored, &place.path().join("out"))).unwrap();
    let manifest = family.manifest().clone();
    let ranking = manifest.ranking(&RankingOptions { include_unscored: true, ..Default::default() }).unwrap();
    assert!(!ranking.unscored.is_empty());
    for percent in [10.0, 50.0, 100.0] {
        family.add(&format!("top{percent}"), ranking.lowest(percent).unwrap()).unwrap();
    }
    let report = of_family(&family);
    for scheme in &report.schemes {
        let least = report.frontier.least_within(scheme.figures.effective_bits.unwrap()).unwrap();
        assert!(least <= scheme.figures.score.unwrap(), "{}", scheme.name);
    }
}

/// What the report says of the disk against the files: weight files on both sides.
#[test]
fn shared_and_copied_bytes_count_the_same_files() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    for percents in [&[50.0][..], &[30.0, 60.0, 100.0]] {
        let out = place.path().join(percents.len().to_string());
        let family = ascending_family(options(&demo.model, &demo.manifest, &out), percents);
        family.run(&Silent).unwrap();
        let sharing = of_family(&family).sharing.unwrap();
        let (mut files, mut copied) = (std::collections::HashMap::new(), 0);
        for percent in percents {
            for entry in fs::read_dir(out.join(format!("top{percent}"))).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|e| e == "safetensors") {
                    let metadata = path.metadata().unwrap();
                    files.insert(metadata.ino(), metadata.len());
                    copied += metadata.len();
                }
            }
        }
        assert_eq!(sharing, Sharing { unique_bytes: files.values().sum(), copied_bytes: copied });
        assert_eq!(sharing.unique_bytes == copied, percents.len() == 1);
    }
}

/// What a report finds in its way is found before the schemes are written.
#[test]
fn a_foreign_report_stops_a_run_before_a_byte_is_written() {
    for name in ["report.html", "report.md"] {
        let place = tempfile::tempdir().unwrap();
        let demo = qlua::demo::build(place.path()).unwrap();
        let out = place.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(name), "my notes").unwrap();
        let family = ascending_family(options(&demo.model, &demo.manifest, &out), &[50.0]);
        let error = family.run(&Silent).unwrap_err();
        common::place::require_message(&error, &[name, "is not a report that qlua wrote"], "move it away");
        assert_eq!(common::tree(&out), [(name.to_string(), b"my notes".to_vec())]);
    }
}

/// Nothing can be solved for, and the rest of the report is there all the same.
#[test]
fn a_report_needs_no_finite_score() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let infinite = place.path().join("infinite.json");
    fs::write(&infinite, with_scores(&demo.manifest, "", "Infinity".into())).unwrap();
    let family = ascending_family(options(&demo.model, &infinite, &place.path().join("out")), &[50.0]);
    family.run(&Silent).unwrap();
    let [_, text] = family.write_report(&family.report().unwrap()).unwrap();
    let text = fs::read_to_string(text).unwrap();
    assert!(text.contains("- Pareto frontier: none: ") && text.contains("| not finite |"), "{text}");
}

#[test]
fn hostile_names_stay_text() {
    let place = tempfile::tempdir().unwrap();
    let mut sweep = of_demo(place.path());
    let hostile = "<script>alert(1)</script> & \"quotes\" | pipe\u{8}";
    sweep.title = hostile.into();
    sweep.facts.push((hostile.into(), hostile.into()));
    sweep.groups[0].name = hostile.into();
    sweep.groups[1].kind = hostile.into();
    sweep.schemes[0].name = hostile.into();
    let html = page(&sweep).to_html();
    parsed(&html);
    assert!(!html.contains("<script"));
    for row in page(&sweep).to_markdown().lines().filter(|l| l.starts_with('|') && l.contains("quotes")) {
        assert!(row.contains("\\| pipe"), "{row}");
    }
}

#[test]
fn markdown_tables_are_aligned_and_short() {
    for sweep in sweeps() {
        let text = page(&sweep).to_markdown();
        assert!(text.lines().count() < 100, "{} lines", text.lines().count());
        assert!(!text.contains("GiB") && !text.contains("MiB"), "sizes are decimal");
        let mut widths = Vec::new();
        for line in text.lines() {
            match line.starts_with('|') {
                true => widths.push(line.chars().count()),
                false => {
                    assert!(widths.windows(2).all(|w| w[0] == w[1]), "a table is not aligned:\n{text}");
                    widths.clear();
                }
            }
        }
    }
}

/// A family that has every point of the hull: `pareto` and its report mean the same one.
#[test]
fn the_knee_of_the_report_is_that_of_the_hull() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let mut family = Family::open(options(&demo.model, &demo.manifest, &place.path().join("out"))).unwrap();
    let ranking = family.manifest().ranking(&Default::default()).unwrap();
    let points = hull(&family.costs(&ranking).unwrap(), &ranking, Measure::EffectiveBits).unwrap();
    let mut chosen: Vec<&str> = Vec::new();
    for (at, point) in points.iter().enumerate() {
        chosen.extend(point.added.iter().map(String::as_str));
        if !chosen.is_empty() {
            let selection = ranking.filter(|group| Ok(chosen.contains(&group.name.as_str()))).unwrap();
            family.add(&format!("point{at:02}"), selection).unwrap();
        }
    }
    let report = of_family(&family);
    let all: Vec<usize> = (0..report.schemes.len()).collect();
    let named = report.score_knee(&all).map(|at| report.schemes[at].name.clone());
    assert_eq!(named, hull_knee(&points).map(|at| format!("point{at:02}")));
    assert!(named.is_some());
}

/// Sums that overflow are said to be so in every column that they end in.
#[test]
fn sums_that_overflow_have_one_word() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let large = place.path().join("large.json");
    fs::write(&large, with_scores(&demo.manifest, "", 1e308.into())).unwrap();
    let report =
        of_family(&ascending_family(options(&demo.model, &large, &place.path().join("out")), &[50.0]));
    let text = page(&report).to_markdown();
    let row = text.lines().find(|line| line.starts_with("| top50 ")).unwrap();
    let header = text.lines().find(|line| line.starts_with("| scheme ")).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    for (title, cell) in cells(header).iter().zip(cells(row)) {
        if ["score share", "score per GB", "Σ score"].contains(&title.as_str()) {
            assert_eq!(cell, "not finite", "{title}");
        }
    }
    assert!(!text.contains("infinite"), "{text}");
}

use super::data::kinds;
use super::*;
use crate::format::QuantisationError;
use crate::manifest::{Manifest, RankingOptions, Selection};
use crate::plan::{CostModel, Located, frontier};
use crate::report::directory::DirectoryReport;

fn manifest() -> Manifest {
    let group = |name: &str, members: &str, score: &str, cost: u32| {
        format!(
            r#""{name}.quant_recipe": {{"module_names": [{members}], "formats": ["NONE(effective-bits: 16.0)",
               "FP8(effective-bits: 8.0)"], "scores": [0.0, {score}], "costs": [{cost}, {}]}}"#,
            cost / 2
        )
    };
    let groups = [
        group(
            "layers.0.self_attn.q_proj",
            r#""layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj""#,
            "1.0",
            100,
        ),
        group("layers.0.mlp.down_proj", r#""layers.0.mlp.down_proj""#, "0.5", 200),
        group("visual.patch_embed.proj", r#""visual.patch_embed.proj""#, "0.001", 50),
        group("visual.blocks.0.attn.qkv", r#""visual.blocks.0.attn.qkv""#, "Infinity", 50),
        group("lm_head", r#""lm_head""#, "0.0", 400),
    ];
    // The linear layers: the patch embedding is none.
    let layers = r#""layers.0.self_attn.q_proj": {}, "layers.0.self_attn.k_proj": {}, "layers.0.mlp.down_proj": {},
        "visual.blocks.0.attn.qkv": {}, "lm_head": {}"#;
    let text = format!(r#"{{"layers": {{{layers}}}, "layer_sensitivity": {{{}}}}}"#, groups.join(", "));
    Manifest::parse("m.json", text).unwrap()
}

fn page(sweep: &SweepReport) -> DirectoryReport {
    sweep.clone().into()
}

fn sweep() -> SweepReport {
    let manifest = manifest();
    SweepReport::new("m", &manifest, &CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)))
}

/// The sweep with one scheme for each name, which stores the groups at these places of the manifest.
fn with_schemes(schemes: &[(&str, &[usize])]) -> SweepReport {
    let (manifest, mut sweep) = (manifest(), sweep());
    let costs = CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest));
    let ranking = manifest.ranking(&RankingOptions { include_unscored: true, ..Default::default() }).unwrap();
    let selections: Vec<Selection> = schemes
        .iter()
        .map(|(_, at)| {
            let names: Vec<&str> = at.iter().map(|&at| manifest.groups()[at].name.as_str()).collect();
            ranking.filter(|g| Ok(names.contains(&g.name.as_str()))).unwrap()
        })
        .collect();
    for ((name, _), selection) in schemes.iter().zip(&selections) {
        sweep.add(name, selection, costs.figures(selection.selected()));
    }
    sweep.frontier = frontier(&costs, &ranking, &selections.iter().collect::<Vec<_>>()).unwrap();
    sweep
}

#[test]
fn kinds_of_fused_modules_share_their_ending() {
    let kinds = |names: &[&str]| kinds(&names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    assert_eq!(kinds(&["a.q_proj", "a.k_proj", "a.v_proj"]), "q,k,v_proj");
    assert_eq!(kinds(&["a.o_proj"]), "o_proj");
    assert_eq!(kinds(&["e.0.gate_proj", "e.0.down_proj", "e.1.gate_proj"]), "gate,down_proj");
    assert_eq!(kinds(&["a.w1", "a.w2"]), "w1,w2");
    assert_eq!(kinds(&["a.fc_1", "a.qkv"]), "fc_1,qkv");
}

#[test]
fn groups_that_stay_in_bf16_are_counted_once_each_and_cost_what_they_did() {
    use GroupForm::{Bf16, Fp8, Kept};
    let sweep = with_schemes(&[("none", &[]), ("some", &[0, 2]), ("all", &[0, 1, 2, 4])]);
    let rows: Vec<_> =
        sweep.schemes.iter().map(|s| (s.figures.effective_bits, s.figures.score, s.figures.kept)).collect();
    assert_eq!(rows, [(Some(16.0), Some(0.0), 0), (Some(15.0), Some(1.0), 1), (Some(13.0), Some(1.5), 2)]);
    assert_eq!(sweep.schemes[2].stored, [Fp8, Fp8, Kept, Bf16, Kept]);
    for scheme in &sweep.schemes {
        let kept = scheme.stored.iter().filter(|s| **s == Kept).count();
        assert_eq!(kept, scheme.figures.kept, "the map and the table of {}", scheme.name);
    }
}

/// `q_proj` alone loses 1.0 for 15 bits, but `down_proj` loses 0.5 and saves twice as much.
#[test]
fn the_table_sets_each_scheme_beside_the_least_sum_of_its_size() {
    let text = page(&with_schemes(&[("a", &[0]), ("b", &[0, 1]), ("broken", &[3])])).to_markdown();
    let row = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(&format!("| {name} "))).unwrap();
        line.split('|').map(|cell| cell.trim().to_string()).rev().skip(1).take(2).collect::<Vec<_>>()
    };
    assert_eq!(row("a"), ["0.500", "1.00"]);
    assert_eq!(row("b"), ["1.50", "1.50"]);
    assert_eq!(row("broken")[1], "not finite");
}

#[test]
fn only_nested_schemes_are_joined_into_a_line() {
    let lines = |schemes: &[(&str, &[usize])]| {
        super::figures::size(&with_schemes(schemes)).svg.matches("<path").count()
    };
    assert_eq!(lines(&[("top2", &[0, 1]), ("top1", &[0])]), 1);
    assert_eq!(lines(&[("a", &[0]), ("b", &[1])]), 0, "neither holds the other");
}

#[test]
fn unrelated_schemes_are_named_beside_their_points() {
    let svg = super::figures::size(&with_schemes(&[("left", &[0]), ("right", &[1])])).svg;
    assert!(svg.contains(">left</text>") && svg.contains(">right</text>"), "{svg}");
}

#[test]
fn layers_that_lose_the_same_are_one_row() {
    let mut sweep = sweep();
    let layer = |at: usize, sqnr_db: f64| LayerError {
        module: format!("layers.{at}.mlp.down_proj"),
        sqnr_db,
        mse: 1e-7,
        saturated: 0.0,
        zeroed: 0.0,
    };
    let mut layers: Vec<LayerError> = (0..40).map(|at| layer(at, 31.46 + at as f64 * 1e-3)).collect();
    layers.push(layer(40, 25.0));
    sweep.layer_errors = Some(layers);
    let text = page(&sweep).to_markdown();
    let rows: Vec<&str> = text.lines().filter(|l| l.contains("down_proj") && l.contains("1.00e-7")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[0].contains("25.0 |      1 | layers.40"), "{text}");
    assert!(rows[1].contains("31.5 |     40 | layers.0."), "{text}");
}

#[test]
fn names_are_shortened_by_the_words_that_all_share() {
    let short = |names: &[&str]| {
        with_schemes(&names.iter().map(|name| (*name, &[][..])).collect::<Vec<_>>()).short_names()
    };
    assert_eq!(short(&["fp8_all_top10_coco", "fp8_all_top20_coco"]), ["top10", "top20"]);
    assert_eq!(short(&["a_b"]), ["a_b"]);
    assert_eq!(short(&["a", "a_b"]), ["a", "a_b"]);
    assert_eq!(short(&["x", "y"]), ["x", "y"]);
}

#[test]
fn what_was_not_measured_is_said_to_be_so() {
    let mut sweep = sweep();
    assert!(
        page(&sweep).to_html().contains("Not measured in this sweep.")
            && page(&sweep).to_markdown().contains("Not measured")
    );
    let error =
        QuantisationError { elements: 4, sum_squared_error: 1.0, sum_squares: 1e3, ..Default::default() };
    sweep.layer_errors = Some(vec![LayerError::new("model.layers.0.mlp.down_proj", &error)]);
    let html = page(&sweep).to_html();
    assert!(html.contains("<title>language 0, down_proj: 30.0 dB</title>"), "{html}");
    assert!(!html.contains("Not measured"));
}

#[test]
fn a_sweep_without_schemes_still_reports_the_manifest() {
    let (html, text) = (page(&sweep()).to_html(), page(&sweep()).to_markdown());
    assert!(html.contains("Scores, language") && !html.contains("href=\"#schemes\""));
    assert!(html.contains("class=\"broken\"") && html.contains("never scored"));
    assert!(text.contains("No schemes: the manifest alone.") && text.contains("| not finite |"), "{text}");
}

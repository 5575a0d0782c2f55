use super::*;

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
    let text = format!(r#"{{"layer_sensitivity": {{{}}}}}"#, groups.join(", "));
    Manifest::parse("m.json", text).unwrap()
}

fn sweep() -> Sweep {
    let kept = |g: &Group| (g.kind() == "proj").then(|| "a convolution".to_string());
    Sweep::new("m", &manifest(), kept)
}

#[test]
fn kinds_of_fused_modules_share_their_ending() {
    let kinds =
        |names: &[&str]| super::kinds(&names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    assert_eq!(kinds(&["a.q_proj", "a.k_proj", "a.v_proj"]), "q,k,v_proj");
    assert_eq!(kinds(&["a.o_proj"]), "o_proj");
    assert_eq!(kinds(&["e.0.gate_proj", "e.0.down_proj", "e.1.gate_proj"]), "gate,down_proj");
    assert_eq!(kinds(&["a.w1", "a.w2"]), "w1,w2");
    assert_eq!(kinds(&["a.fc_1", "a.qkv"]), "fc_1,qkv");
}

#[test]
fn effective_bits_and_scores_count_groups_in_fp8_only() {
    use Stored::{Bf16, Fp8, Kept};
    let mut sweep = sweep();
    sweep.add("none", None, vec![Bf16; 5], 0, 10);
    sweep.add("some", None, vec![Fp8, Bf16, Kept, Bf16, Bf16], 2, 10);
    sweep.add("all", None, vec![Fp8, Fp8, Kept, Bf16, Fp8], 4, 10);
    let rows: Vec<_> = sweep.schemes.iter().map(|s| (s.effective_bits, s.score)).collect();
    assert_eq!(rows, [(16.0, 0.0), (15.0, 1.0), (9.0, 1.5)]);
}

/// By hand: `down_proj` saves most for its score, then `q_proj`; the rest is kept, broken or was never scored.
#[test]
fn the_greedy_frontier_takes_what_saves_most_for_its_score() {
    let frontier = sweep().frontier;
    let points: Vec<_> = frontier.points.iter().map(|p| (p.effective_bits, p.score)).collect();
    assert_eq!(points, [(13.0, 1.5), (14.0, 0.5), (16.0, 0.0)]);
    assert_eq!(frontier.name, "greedy frontier");
}

#[test]
fn names_are_shortened_by_the_words_that_all_share() {
    let short = |names: &[&str]| {
        let mut sweep = sweep();
        names.iter().for_each(|name| sweep.add(name, None, vec![Stored::Bf16; 5], 0, 0));
        sweep.short_names()
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
        sweep.to_html().contains("Not measured in this sweep.")
            && sweep.to_markdown().contains("Not measured")
    );
    let error =
        QuantisationError { elements: 4, sum_squared_error: 1.0, sum_squares: 1e3, ..Default::default() };
    sweep.layer_errors = Some(vec![LayerError::new("model.layers.0.mlp.down_proj", &error)]);
    let html = sweep.to_html();
    assert!(html.contains("<title>language 0, down_proj: 30.0 dB</title>"), "{html}");
    assert!(!html.contains("Not measured"));
}

#[test]
fn a_sweep_without_schemes_still_reports_the_manifest() {
    let (html, text) = (sweep().to_html(), sweep().to_markdown());
    assert!(html.contains("Scores, language") && !html.contains("href=\"#schemes\""));
    assert!(html.contains("class=\"broken\"") && html.contains("never scored"));
    assert!(text.contains("No schemes: the manifest alone.") && text.contains("| infinite |"), "{text}");
}

//! Small manifests of every version, and files that are none.

use super::*;

/// A manifest with `groups` inside `layer_sensitivity` and `rest` (which ends with a comma) before it.
fn manifest_text(rest: &str, groups: &str) -> String {
    format!(
        r#"{{"scheme": {{"name": "s", "auto_quantize_method": "gradient", "quant_formats": ["FP8_DEFAULT_CFG"]}},
            "autoquant_state": {{"constraints": {{"effective_bits": 11.0}}, "score": 0.5, "is_satisfied": true}},
            {rest} "layer_sensitivity": {{{groups}}}}}"#
    )
}

const GROUP: &str = r#""formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
                       "scores": [0.5, 0.0], "costs": [50.0, 100.0]"#;

fn parse(rest: &str, groups: &str) -> Result<Manifest> {
    Manifest::parse("dir/m.json", manifest_text(rest, groups))
}

fn problem(text: &str) -> Error {
    Manifest::parse("dir/m.json", text).unwrap_err()
}

#[test]
fn version_0_has_neither_ranking_nor_importance() {
    let layers = r#""layers": {"a.q_proj": {}, "a.k_proj": {}, "a.v_proj": {}, "a.o_proj": {}},"#;
    let groups = format!(r#""a.q_proj.quant_recipe": {{{GROUP}}}, "conv.proj.quant_recipe": {{{GROUP}}}"#);
    let manifest = parse(layers, &groups).unwrap();
    assert_eq!(manifest.version(), 0);
    assert_eq!(manifest.path(), Path::new("dir/m.json"));
    assert_eq!(manifest.bytes(), manifest_text(layers, &groups).as_bytes());
    assert_eq!((manifest.scheme_name(), manifest.model_id()), (Some("s"), None));
    assert_eq!((manifest.effective_bits(), manifest.score()), (Some(11.0), Some(0.5)));
    assert_eq!((manifest.is_satisfied(), manifest.method()), (Some(true), Some("gradient")));
    assert_eq!(manifest.quant_formats(), ["FP8_DEFAULT_CFG"]);
    assert_eq!(manifest.layers(), ["a.q_proj", "a.k_proj", "a.v_proj", "a.o_proj"]);
    assert!(manifest.published_ranking().is_none() && manifest.amax().is_none());

    let group = manifest.group("a.q_proj").unwrap();
    assert_eq!(group, manifest.group("a.q_proj.quant_recipe").unwrap());
    assert_eq!((&*group.key(), group.score), ("a.q_proj.quant_recipe", 0.5));
    assert_eq!(group.members, ["a.q_proj", "a.k_proj", "a.v_proj"]);
    assert_eq!(manifest.group("conv.proj").unwrap().members, ["conv.proj"]);
    assert!(manifest.group("a.o_proj").is_none());
}

#[test]
fn version_1_ranks_by_the_published_importance() {
    let groups = format!(r#""a.quant_recipe": {{{GROUP}, "importance": 0.75, "rank": 1}}"#);
    let rest = r#""sensitivity_ranking": [{"name": "a.quant_recipe", "importance": 0.75}],"#;
    let manifest = parse(rest, &groups).unwrap();
    assert_eq!(manifest.version(), 1);
    assert_eq!(manifest.group("a").unwrap().score, 0.75);
    assert_eq!(manifest.published_ranking().unwrap(), ["a.quant_recipe"]);
    assert_eq!(parse("", &groups).unwrap().version(), 1);
}

#[test]
fn versions_2_to_4_are_told_by_their_keys() {
    let groups = format!(r#""a.quant_recipe": {{{GROUP}}}"#);
    let model = r#""model": {"id": "some/model"},"#;
    assert_eq!(parse(model, &groups).unwrap().model_id(), Some("some/model"));
    assert_eq!(parse(model, &groups).unwrap().version(), 2);
    assert_eq!(parse(r#""model": {}, "dataset": {"name": "d"},"#, &groups).unwrap().version(), 3);
    assert_eq!(parse(r#""model": {}, "dataset": {}, "quantization": {},"#, &groups).unwrap().version(), 4);
    assert_eq!(parse(r#""dataset": {}, "run_config": null,"#, &groups).unwrap().version(), 4);
}

#[test]
fn module_names_are_preferred_to_the_rules() {
    let groups = format!(
        r#""a.q_proj.quant_recipe": {{{GROUP}, "module_names": ["a.q_proj", "a.extra"]}},
           "b.q_proj.quant_recipe": {{{GROUP}, "module_names": []}}"#
    );
    let manifest =
        parse(r#""layers": {"a.q_proj": 1, "a.k_proj": 1, "b.q_proj": 1, "b.k_proj": 1},"#, &groups).unwrap();
    assert_eq!(manifest.groups()[0].members, ["a.q_proj", "a.extra"]);
    assert_eq!(manifest.groups()[1].members, ["b.q_proj", "b.k_proj"]);
}

#[test]
fn pythons_bare_tokens_are_scores() {
    let groups = r#""a.quant_recipe": {"formats": ["FP8(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
                    "scores": [NaN, 0.0], "costs": [1.0, 2.0], "importance": 0.0},
                    "b.quant_recipe": {"formats": ["FP8(effective-bits: 8.0)"], "scores": [Infinity], "costs": [1]}"#;
    let manifest = parse(r#""amax": {"a.input_quantizer": NaN},"#, groups).unwrap();
    assert!(manifest.groups()[0].score.is_nan(), "importance must not hide a NaN");
    assert_eq!(manifest.groups()[1].score, f64::INFINITY);
    assert!(manifest.amax().unwrap().get("a.input_quantizer").unwrap().is_nan());
}

#[test]
fn a_manifest_without_a_scheme_still_parses() {
    let text = format!(r#"{{"layer_sensitivity": {{"a": {{{GROUP}}}}}}}"#);
    let manifest = Manifest::parse("m.json", text).unwrap();
    assert_eq!(
        (manifest.scheme_name(), manifest.effective_bits(), manifest.is_satisfied()),
        (None, None, None)
    );
    assert_eq!((manifest.groups()[0].name.as_str(), &*manifest.groups()[0].key()), ("a", "a"));
}

#[test]
fn a_faulty_group_is_named() {
    let formats = r#""formats": ["FP8(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"]"#;
    let cases = [
        (
            format!(r#"{formats}, "scores": [1.0], "costs": [1, 2]"#),
            "`g.quant_recipe` with 2 formats but 1 scores",
        ),
        (
            format!(r#"{formats}, "scores": [1, 0], "costs": []"#),
            "`g.quant_recipe` with 2 formats but 0 costs",
        ),
        (
            format!(r#"{formats}, "scores": [1, 0]"#),
            "`g.quant_recipe` without `formats`, `scores` or `costs`",
        ),
        (r#""formats": [], "scores": [], "costs": []"#.into(), "`g.quant_recipe` without any format"),
        (r#""formats": ["FP8"], "scores": [1], "costs": [1]"#.into(), "format `FP8`, which does not state"),
        (format!(r#"{formats}, "scores": ["x", 0], "costs": [1, 2]"#), "in `g.quant_recipe`: invalid value"),
        (format!(r#"{formats}, {formats}, "scores": [1, 0], "costs": [1, 2]"#), "duplicate field `formats`"),
    ];
    for (fields, expected) in cases {
        let error = parse("", &format!(r#""a": {{{GROUP}}}, "g.quant_recipe": {{{fields}}}"#)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`dir/m.json` ") && text.contains(expected), "{text}");
        assert_eq!(error.kind(), "format");
    }
}

#[test]
fn anything_listed_twice_is_refused() {
    let group = format!("{{{GROUP}}}");
    let cases = [
        ("", format!(r#""g.quant_recipe": {group}, "g.quant_recipe": {group}"#), "group `g` twice"),
        ("", format!(r#""g.quant_recipe": {group}, "g": {group}"#), "group `g` twice"),
        (r#""layers": {"x": 1, "x": 2},"#, format!(r#""g": {group}"#), "layer `x` twice"),
        (r#""model": {}, "model": {},"#, format!(r#""g": {group}"#), "key `model` twice"),
        (r#""amax": {"q": 1, "q": 2},"#, format!(r#""g": {group}"#), "amax of `q` twice"),
        (
            "",
            format!(r#""g": {{{GROUP}, "module_names": ["x"]}}, "h": {{{GROUP}, "module_names": ["x"]}}"#),
            "module `x` in the groups `g` and `h`",
        ),
    ];
    for (rest, groups, expected) in cases {
        let error = parse(rest, &groups).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn files_that_are_no_manifest_are_recognised() {
    let cases = [
        (r#"{"baseline_manifest": "x/m.json", "selected_layers": []}"#, "a coverage manifest", "`x/m.json`"),
        (r#"{"model_type": "qwen2_5_vl", "layers": 3}"#, "config.json", "_quant_manifest.json"),
        (r#"{"metadata": {}, "weight_map": {}}"#, "shard index", "_quant_manifest.json"),
        (r#"{"producer": {}, "quantization": {}}"#, "hf_quant_config.json", "_quant_manifest.json"),
        (r#"{"a.input_quantizer": 1.0}"#, "an amax file", "_quant_manifest.json"),
        (
            r#"{"scheme": {}, "layer_sensitivity": [{"layer": "a"}]}"#,
            "per-layer sensitivity report",
            "beside it",
        ),
        (r#"{"layers": {}}"#, "it has no `layer_sensitivity`", "_quant_manifest.json"),
        ("PK\x03\x04rest", "a PyTorch archive", "_quant_manifest.json"),
    ];
    for (text, looks, hint) in cases {
        let error = problem(text);
        assert!(error.to_string().starts_with("`dir/m.json` is "), "{error}");
        assert!(error.to_string().contains(looks), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}: {:?}", error.hint());
    }
}

#[test]
fn broken_json_and_wrong_shapes_are_one_sentence() {
    for text in ["", "[]", "{", r#"{"layer_sensitivity": {"a": "#, "\u{0}"] {
        let error = problem(text).to_string();
        assert!(error.starts_with("`dir/m.json` is not the JSON that was expected: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(problem(r#"{"layer_sensitivity": {}}"#).to_string().contains("without any group"));
    let layers = parse(r#""layers": [1],"#, &format!(r#""a": {{{GROUP}}}"#)).unwrap_err().to_string();
    assert!(layers.contains("`layers` that are not an object"), "{layers}");
    let missing = Manifest::open("no/such/manifest.json").unwrap_err();
    assert_eq!(missing.kind(), "io");
}

#[test]
fn a_sealed_manifest_that_was_changed_is_refused() {
    let text = manifest_text("", &format!(r#""a": {{{GROUP}}}"#));
    let sealed = crate::seal::sealed(&serde_json::from_str::<serde_json::Value>(&text).unwrap());
    let sealed = String::from_utf8(sealed).unwrap();
    assert!(sealed.contains("\"seal\""));
    assert!(Manifest::parse("dir/m.json", sealed.clone()).is_ok());
    let changed = sealed.replace("50.0", "51.0");
    let error = problem(&changed);
    assert_eq!(
        error.to_string(),
        "`dir/m.json` was changed after it was written: its seal is that of another text"
    );
    assert!(error.hint().unwrap().contains("take out its last entry"));
    // The hint helps.
    let (before, _) = changed.split_once(",\n  \"seal\"").unwrap();
    assert!(Manifest::parse("dir/m.json", format!("{before}\n}}\n")).is_ok());
}

//! Plans: budgets, the frontier, and the policies that use them, on the demo and on the published manifests.

mod common;

use qlua::dialect::DialectChoice;
use qlua::plan::ActivationsChoice;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::place::Place;
use common::{layouts, shared};
use qlua::checkpoint::Checkpoint;
use qlua::format::FormatId;
use qlua::job::{Family, FamilyOptions};
use qlua::lua::embedded;
use qlua::manifest::{Manifest, Ranking, RankingOptions};
use qlua::plan::solver::{Choice, Knapsack};
use qlua::plan::{Budget, BudgetSolver, CostModel, Located, Measure, hull, hull_knee};
use qlua::tensor::Dtype;
use serde_json::Value;

fn qlua(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qlua")).args(words).current_dir(directory).output().unwrap()
}

fn success(directory: &Path, words: &[&str]) -> String {
    let output = qlua(directory, words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(directory: &Path, words: &[&str]) -> Value {
    let words: Vec<&str> = [&["-q"], words, &["--json"]].concat();
    serde_json::from_str(&success(directory, &words)).unwrap()
}

/// The scripts that plan or write a sweep; the others only look at something or make a manifest.
fn policy_scripts() -> impl Iterator<Item = &'static embedded::Embedded> {
    let sweeps = |source: &str| source.contains("require \"lib.sweep\"");
    embedded::scripts().filter(move |s| s.path.starts_with("scripts/") && sweeps(s.source))
}

fn policies() -> Vec<&'static str> {
    policy_scripts().map(|s| s.name()).collect()
}

/// The published sensitivity manifests.
fn published() -> Vec<PathBuf> {
    let Some(folder) = shared("data/manifests") else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".json") && !name.contains("coverage") && !name.contains("per_layer")
    });
    paths.sort();
    assert_eq!(paths.len(), 5);
    paths
}

fn ranking(manifest: &Manifest) -> Ranking {
    manifest.ranking(&RankingOptions::default()).unwrap()
}

#[test]
fn every_policy_has_a_headline_a_help_and_runs_on_the_demo() {
    let place = tempfile::tempdir().unwrap();
    assert!(policies().len() >= 12, "{:?}", policies());
    for script in policy_scripts() {
        let name = script.name();
        assert!(script.headline().ends_with('.'), "{name} has no header line");
        assert!(script.source.lines().count() <= 60, "{name} is long");
        let help = success(place.path(), &[name, "--help"]);
        assert!(help.contains(&format!("\nUsage: qlua {name} [OPTIONS]\n")), "{help}");
        let out = format!("out/{name}");
        let result = json(place.path(), &[name, "--out", &out]);
        let schemes = result["schemes"].as_array().unwrap();
        assert!(!schemes.is_empty());
        for scheme in schemes {
            let directory = scheme["directory"].as_str().unwrap();
            assert_eq!(success(place.path(), &["verify", directory]), format!("{directory}: ok\n"));
            assert!(scheme["effective_bits"].as_f64().unwrap() <= 16.0);
        }
    }
}

#[test]
fn every_policy_plans_every_published_manifest_without_a_model() {
    let place = tempfile::tempdir().unwrap();
    let manifests = published();
    for name in policies() {
        for manifest in &manifests {
            let path = manifest.to_str().unwrap();
            let more: &[&str] = match name {
                "size_budget" => &["--fit", "6GiB,7GB"],
                "from_list" => &["--layers", "*.mlp.*"],
                "combine" => &["--with", path],
                _ => &[],
            };
            // Scores of another format are used on purpose or not at all.
            let is_int8 = path.contains("int8");
            let words = [&[name, "--dry-run", "--manifest", path], more].concat();
            if is_int8 {
                let output = qlua(place.path(), &words);
                let text = String::from_utf8(output.stderr).unwrap();
                assert!(text.contains("has no candidate in FP8: its formats are INT8_DEFAULT_CFG"), "{text}");
            }
            let from: &[&str] = if is_int8 { &["--format-from", "int8"] } else { &[] };
            let words = [&words[..], from].concat();
            let result = json(place.path(), &words);
            let schemes = result["schemes"].as_array().unwrap();
            assert!(!schemes.is_empty(), "{words:?}");
            for scheme in schemes {
                assert_eq!(scheme["bytes_from"], "manifest");
                let bits = scheme["effective_bits"].as_f64().unwrap();
                assert!((8.0..16.0).contains(&bits), "{words:?}: {bits}");
            }
        }
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "a dry run writes nothing");
}

#[test]
fn a_manifest_without_a_model_needs_a_dry_run() {
    let place = tempfile::tempdir().unwrap();
    success(place.path(), &["-e", "qlua.checkpoint.demo('demo')"]);
    let output = qlua(place.path(), &["effective_bits", "--manifest", "demo/manifest.json"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--manifest needs the --model") && text.contains("--dry-run"), "{text}");
}

/// Every byte of every tensor, counted in the files that were written.
#[test]
fn planned_sizes_are_the_bytes_written_in_every_dialect() {
    let place = tempfile::tempdir().unwrap();
    for (dialect, activations) in layouts() {
        let (dialect, activations) = (dialect.word(), activations.word());
        for policy in ["effective_bits", "top_params", "per_tower", "from_list"] {
            let mut words = vec![policy, "--dialect", dialect, "--activations", activations];
            if (policy, dialect) == ("effective_bits", "fp8-block") {
                // Of the demo little is made of whole blocks, so the default of 11 is below the floor.
                words.extend(["--bits", "14"]);
            }
            let planned = json(place.path(), &[&words[..], &["--dry-run"]].concat());
            let written = json(place.path(), &words);
            assert_eq!(planned["schemes"], written["schemes"]);
            for scheme in planned["schemes"].as_array().unwrap() {
                let directory = place.path().join(scheme["directory"].as_str().unwrap());
                let checkpoint = Checkpoint::open(&directory).unwrap();
                let bytes: u64 = checkpoint.tensors().map(|(_, t)| t.bytes().len() as u64).sum();
                assert_eq!(scheme["bytes"], bytes, "{words:?}");
                let fp8 = checkpoint.tensors().filter(|(_, t)| t.dtype() == Dtype::F8E4M3);
                let fp8: Vec<(&str, usize)> = fp8.map(|(name, t)| (name, t.elements())).collect();
                assert_eq!(scheme["fp8_layers"], fp8.len());
                assert_eq!(scheme["fp8_parameters"], fp8.iter().map(|(_, n)| n).sum::<usize>());
                for (module, format) in scheme["formats"].as_object().unwrap() {
                    let name = format!("{module}.weight");
                    let quantised = FormatId::ALL.iter().any(|known| *format == *known.to_string());
                    let expected = if quantised { "F8_E4M3" } else { format.as_str().unwrap() };
                    assert_eq!(checkpoint.tensor(&name).unwrap().dtype().to_string(), expected, "{name}");
                }
            }
        }
    }
}

#[test]
fn the_same_policy_gives_the_same_plan_on_every_run() {
    let place = tempfile::tempdir().unwrap();
    for name in policies() {
        let words = ["-q", name, "--dry-run", "--json"];
        let first = success(place.path(), &words);
        for _ in 0..3 {
            assert_eq!(success(place.path(), &words), first, "{name}");
        }
    }
}

fn choices(manifest: &Manifest) -> Vec<Vec<Choice>> {
    let options = |g: &qlua::manifest::Group| {
        g.scores.iter().zip(&g.costs).map(|(&score, &cost)| Choice { score, cost }).collect()
    };
    manifest.groups().iter().map(options).collect()
}

/// ModelOpt's own searches, solved again: never worse, and equal where it found the optimum.
#[test]
fn published_searches_are_solved_at_least_as_well() {
    for path in published() {
        let manifest = Manifest::open(&path).unwrap();
        let asked =
            serde_json::from_slice::<Value>(manifest.bytes()).unwrap()["scheme"]["auto_quantize_bits"]
                .as_f64()
                .unwrap();
        let problem = Knapsack::new(choices(&manifest)).unwrap();
        let total: f64 =
            manifest.groups().iter().map(|g| g.costs.iter().fold(0.0, |a: f64, b| a.max(*b))).sum();
        let solution = problem.solve(total * asked / 16.0).unwrap();
        let (recorded, bits) = (manifest.score().unwrap(), 16.0 * solution.cost / total);
        assert!(solution.score <= recorded * (1.0 + 1e-12), "{}: {}", path.display(), solution.score);
        assert!(bits <= asked && solution.gap == 0.0, "{bits} {}", solution.gap);
        eprintln!("{}: {} {} recorded {recorded}", path.display(), bits, solution.score);
        let recorded_bits = manifest.effective_bits().unwrap();
        if (solution.score - recorded).abs() <= 1e-12 * recorded {
            assert!(bits <= recorded_bits * (1.0 + 1e-12), "{bits} {recorded_bits}");
        }
    }
}

#[test]
fn qwen2_5_vl_3b_at_11_bits_is_the_recorded_solution() {
    let Some(path) = shared("data/manifests/qwen2_5_vl_3b_all_layers_fp8.json") else { return };
    let manifest = Manifest::open(path).unwrap();
    let (costs, ranking) =
        (CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)), ranking(&manifest));
    let solver = BudgetSolver::new(&costs, &ranking, Measure::EffectiveBits, None).unwrap();
    for bits in [11.0, 10.99515231049008] {
        let fit = solver.fit(Budget::EffectiveBits(bits)).unwrap();
        let figures = costs.figures(fit.selection.selected());
        assert_eq!(figures.effective_bits, Some(10.99515231049008));
        assert_eq!(fit.selection.selected().len(), 80);
        assert_eq!((fit.gap, fit.is_above_ceiling), (0.0, false));
        let (score, recorded) = (figures.score.unwrap(), manifest.score().unwrap());
        assert!((score - recorded).abs() <= 1e-15, "{score} {recorded}");
    }
    let below = solver.fit(Budget::EffectiveBits(8.0)).unwrap_err().to_string();
    assert!(
        below.starts_with(
            "8 effective bits are below the floor of 8.004 effective bits, where every ranked group "
        ),
        "{below}"
    );
    let above = solver.fit(Budget::EffectiveBits(16.0)).unwrap();
    assert!(above.is_above_ceiling && above.selection.selected().len() == 0);
    let bytes = BudgetSolver::new(&costs, &ranking, Measure::Bytes, None).unwrap();
    let below = bytes.fit(Budget::Bytes(3 << 30)).unwrap_err().to_string();
    assert!(below.starts_with("3.221 GB are below the floor of 3.445 GB, where"), "{below}");
}

#[test]
fn the_hull_falls_convexly_and_the_solver_never_lies_below_it() {
    let Some(path) = shared("data/manifests/qwen2_5_vl_3b_all_layers_fp8.json") else { return };
    let manifest = Manifest::open(path).unwrap();
    let (costs, ranking) =
        (CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)), ranking(&manifest));
    let points = hull(&costs, &ranking, Measure::EffectiveBits).unwrap();
    // The convolution cannot go to FP8.
    assert_eq!((points.len(), points[0].groups, points[274].groups), (275, 0, 274));
    assert_eq!((points[0].effective_bits, points[0].score), (16.0, 0.0));
    let slope = |at: usize| {
        let (a, b) = (&points[at], &points[at + 1]);
        assert!(a.bytes > b.bytes && b.score > a.score && b.groups == a.groups + 1);
        (b.score - a.score) / (a.effective_bits - b.effective_bits)
    };
    let slopes: Vec<f64> = (0..274).map(slope).collect();
    assert!(slopes.windows(2).all(|s| s[0] <= s[1] * (1.0 + 1e-9)));
    let solver = BudgetSolver::new(&costs, &ranking, Measure::EffectiveBits, None).unwrap();
    for pair in points.windows(2).step_by(13) {
        let on_it = solver.fit(Budget::EffectiveBits(pair[1].effective_bits)).unwrap();
        let score = costs.figures(on_it.selection.selected()).score.unwrap();
        assert!((score - pair[1].score).abs() <= 1e-12 * score.max(1e-3), "{score} {}", pair[1].score);
        let between = 0.5 * (pair[0].effective_bits + pair[1].effective_bits);
        let fit = solver.fit(Budget::EffectiveBits(between)).unwrap();
        let score = costs.figures(fit.selection.selected()).score.unwrap();
        let line = 0.5 * (pair[0].score + pair[1].score);
        assert!(line * (1.0 - 1e-9) <= score && score <= pair[1].score * (1.0 + 1e-12));
    }
    let knee = hull_knee(&points).unwrap();
    assert!((100..250).contains(&knee), "{knee}");
    assert_eq!(hull_knee(&points[..2]), None);
}

/// Layouts and dtypes in which a group's bytes differ.
#[test]
fn the_costs_of_groups_add_up_to_the_planned_tensors() {
    let place = Place::new();
    for (dialect, activations) in layouts() {
        let (dialect, activations) = (DialectChoice::Named(dialect), ActivationsChoice::Named(activations));
        let options = FamilyOptions { dialect, activations, ..place.options() };
        let mut family = Family::open(options).unwrap();
        let ranking = ranking(&family.manifest().clone());
        for seed in 0..20usize {
            let selection = ranking.pick(|rank| (rank * 7 + seed * 13) % 5 < 1 + seed % 4);
            family.add(&format!("s{seed}"), selection).unwrap();
        }
        let costs = family.costs(&ranking).unwrap();
        let model = family.model().unwrap();
        for scheme in &family.planned().unwrap().schemes {
            let weights =
                scheme.plan.formats.keys().map(|module| model.weight(module).unwrap().elements() as u64);
            let figures = (scheme.figures.quantised_layers, scheme.figures.quantised_parameters);
            assert_eq!(figures, (scheme.plan.formats.len(), weights.sum()));
            assert_eq!(scheme.figures.kept, scheme.plan.kept.len());
            let headers: u64 = scheme.files.iter().map(|file| file.bytes).sum();
            assert!(scheme.figures.bytes < headers);
        }
        let nothing = costs.figures([]);
        assert_eq!((nothing.effective_bits, nothing.bits_on_disk), (Some(16.0), Some(16.0)));
        assert_eq!((nothing.bytes, nothing.score), (costs.base_bytes(), Some(0.0)));
        // A manifest alone has no shapes, so it cannot know what blocks do not fit.
        let fits_any_shape = dialect.format() != FormatId::Fp8Block;
        let from_manifest =
            CostModel::of_manifest(family.manifest(), &Located::in_manifest(family.manifest()));
        for percent in [10.0, 50.0, 100.0].into_iter().filter(|_| fits_any_shape) {
            let selection = ranking.lowest(percent).unwrap();
            let (a, b) = (costs.figures(selection.selected()), from_manifest.figures(selection.selected()));
            assert_eq!((a.effective_bits, a.score, a.kept), (b.effective_bits, b.score, b.kept));
            assert_eq!(
                (a.quantised_layers, a.quantised_parameters),
                (b.quantised_layers, b.quantised_parameters)
            );
        }
    }
}

#[test]
fn a_size_budget_is_met_to_the_byte() {
    let place = Place::new();
    let family = Family::open(place.options()).unwrap();
    let ranking = ranking(&family.manifest().clone());
    let costs = family.costs(&ranking).unwrap();
    let solver = BudgetSolver::new(&costs, &ranking, Measure::Bytes, None).unwrap();
    let all = costs.figures(ranking.lowest(100.0).unwrap().selected());
    let half = solver.fit(Budget::Bytes((all.bytes + costs.base_bytes()) / 2)).unwrap();
    let exact = costs.figures(half.selection.selected());
    assert!(exact.bytes <= (all.bytes + costs.base_bytes()) / 2);
    let again = solver.fit(Budget::Bytes(exact.bytes)).unwrap();
    assert_eq!(costs.figures(again.selection.selected()), exact);
    // One byte less costs more.
    let less = solver.fit(Budget::Bytes(exact.bytes - 1)).unwrap();
    assert!(costs.figures(less.selection.selected()).score > exact.score);
    assert_eq!(half.floor, Budget::Bytes(all.bytes));
    assert_eq!(half.ceiling, Budget::Bytes(costs.base_bytes()));
}

#[test]
fn groups_without_a_finite_score_are_never_chosen_but_can_be_forced() {
    let text = r#"{"layer_sensitivity": {
        "layers.0.o_proj.quant_recipe": {"formats": ["F(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"], "scores": [NaN, 0], "costs": [50, 100]},
        "layers.1.o_proj.quant_recipe": {"formats": ["F(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"], "scores": [Infinity, 0], "costs": [50, 100]},
        "layers.2.o_proj.quant_recipe": {"formats": ["F(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"], "scores": [5, 0], "costs": [50, 100]},
        "layers.3.o_proj.quant_recipe": {"formats": ["F(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"], "scores": [0, 0], "costs": [50, 100]}}}"#;
    let manifest = Arc::new(Manifest::parse("m.json", text).unwrap());
    let (costs, ranking) =
        (CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)), ranking(&manifest));
    assert_eq!(ranking.len(), 3, "the group that was never scored is left out");
    let solver = BudgetSolver::new(&costs, &ranking, Measure::EffectiveBits, None).unwrap();
    let fit = solver.fit(Budget::EffectiveBits(14.0)).unwrap();
    assert_eq!(fit.selection.selected_names(), ["layers.2.o_proj"]);
    assert!(solver.fit(Budget::EffectiveBits(13.9)).is_err());
    assert_eq!(fit.floor, Budget::EffectiveBits(14.0));
    let forced = ranking.pick(|rank| rank == 2);
    let solver = BudgetSolver::new(&costs, &ranking, Measure::EffectiveBits, Some(&forced)).unwrap();
    let fit = solver.fit(Budget::EffectiveBits(14.0)).unwrap();
    assert_eq!(fit.selection.selected_names(), ["layers.0.o_proj"]);
    assert_eq!(costs.figures(fit.selection.selected()).score, None);

    // Where BF16 has none either, nothing can be said of the group, which is named.
    let text = text.replace("[Infinity, 0]", "[Infinity, Infinity]");
    let manifest = Arc::new(Manifest::parse("m.json", text).unwrap());
    let costs = CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest));
    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    let error = BudgetSolver::new(&costs, &ranking, Measure::EffectiveBits, None).err().unwrap();
    assert_eq!(error.to_string(), "the group `layers.1.o_proj` has no finite score, whatever its format");
}

fn fp8_modules(scheme: &Value) -> BTreeSet<String> {
    let formats = scheme["formats"].as_object().unwrap();
    formats.iter().filter(|(_, format)| *format == "FP8").map(|(module, _)| module.clone()).collect()
}

#[test]
fn policies_select_what_they_say() {
    let place = tempfile::tempdir().unwrap();
    let plan = |words: &[&str]| json(place.path(), &[words, &["--dry-run"]].concat())["schemes"].clone();
    let blocks = |scheme: &Value, tower: &str| -> BTreeSet<u32> {
        let fp8 = fp8_modules(scheme);
        let number = |m: &String| m.strip_prefix(tower)?.split('.').next()?.parse().ok();
        fp8.iter().filter_map(number).collect()
    };
    let edges = plan(&["keep_edges", "--keep", "1", "--top", "100"]);
    assert_eq!(blocks(&edges[0], "model.layers."), [1, 2].into());
    assert_eq!(blocks(&edges[0], "visual.blocks."), [1].into());
    assert!(fp8_modules(&edges[0]).contains("visual.merger.mlp.0"));

    let towers = plan(&["per_tower", "--language", "100", "--vision", "0", "--merger", "50"]);
    assert_eq!(towers[0]["name"], "fp8_autoquant_language100_vision0_merger50_coco2017");
    assert_eq!(blocks(&towers[0], "model.layers."), [0, 1, 2, 3].into());
    assert_eq!(blocks(&towers[0], "visual.blocks."), [].into());
    assert_eq!(fp8_modules(&towers[0]).iter().filter(|m| m.contains("merger")).count(), 1);

    let descending = plan(&["most_sensitive_first", "--top", "10,100"]);
    let ascending = plan(&["all_layers_topx", "--top", "87,100"]);
    let (most, least) = (fp8_modules(&descending[0]), fp8_modules(&ascending[0]));
    assert!(most.is_disjoint(&least));
    assert_eq!(most.union(&least).cloned().collect::<BTreeSet<_>>(), fp8_modules(&ascending[1]));

    let list = place.path().join("list.txt");
    std::fs::write(
        &list,
        "# the MLP of two blocks\r\n*.layers.[12].mlp.*\n\n! *.layers.2.mlp.down_proj  # but not this\n",
    )
    .unwrap();
    let listed =
        plan(&["from_list", "--list", "list.txt", "--layers", "*.layers.0.self_attn.q_proj", "--name", "x"]);
    let modules = fp8_modules(&listed[0]);
    let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
    assert_eq!(
        modules,
        [
            "model.layers.0.self_attn.k_proj",
            "model.layers.0.self_attn.q_proj",
            "model.layers.0.self_attn.v_proj",
            "model.layers.1.mlp.down_proj",
            "model.layers.1.mlp.gate_proj",
            "model.layers.1.mlp.up_proj",
            "model.layers.2.mlp.gate_proj",
            "model.layers.2.mlp.up_proj",
        ]
    );

    let half = plan(&["top_params", "--top", "50"]);
    let weights = |s: &Value| s["fp8_parameters"].as_u64().unwrap();
    let all = weights(&ascending[1]);
    assert!(2 * weights(&half[0]) >= all && weights(&half[0]) < all);

    let modes = |mode: &str| {
        let result = json(place.path(), &["combine", "--mode", mode, "--top", "30", "--dry-run"]);
        assert!(result["agreement"][0]["kendall"].as_f64().unwrap() < 1.0);
        fp8_modules(&result["schemes"][0])
    };
    let second = ["--model", "qlua-demo/model", "--manifest", "qlua-demo/second-manifest.json"];
    let [first, second] = [&[][..], &second]
        .map(|more| fp8_modules(&plan(&[&["all_layers_topx", "--top", "30"], more].concat())[0]));
    assert_eq!(modes("union"), &first | &second);
    assert_eq!(modes("intersection"), &first & &second);
    assert_ne!(first, second);
}

#[test]
fn a_list_that_splits_a_fused_group_is_told_which_and_why() {
    let place = tempfile::tempdir().unwrap();
    let output = qlua(place.path(), &["-q", "from_list", "--layers", "*.layers.1.mlp.up_proj"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = "the selection splits the group `model.language_model.layers.1.mlp.gate_proj`: it names \
                    `model.language_model.layers.1.mlp.up_proj` but not `model.language_model.layers.1.mlp.gate_proj`";
    assert!(text.contains(expected) && text.contains("loaders fuse its 2 modules"), "{text}");
    assert!(!place.path().join("qlua-demo/quantized").exists());
}

/// A manifest that scores the members of a fused group apart.
#[test]
fn a_family_over_a_manifest_alone_joins_what_loaders_fuse() {
    let entry = |name: &str, score: f64| {
        format!(
            r#""layers.0.{name}.quant_recipe": {{"formats": ["F(effective-bits: 8.0)"], "scores": [{score}], "costs": [1],
                "module_names": ["layers.0.{name}"]}}"#
        )
    };
    let groups = [
        entry("self_attn.q_proj", 1.0),
        entry("self_attn.k_proj", 2.0),
        entry("mlp.down_proj", 4.0),
        entry("self_attn.v_proj", 3.0),
    ];
    let text = format!(r#"{{"layer_sensitivity": {{{}}}}}"#, groups.join(","));
    let manifest = Arc::new(Manifest::parse("m.json", text).unwrap());
    let options =
        FamilyOptions { model: None, ..common::options("".as_ref(), "m.json".as_ref(), "unused".as_ref()) };
    let mut family = Family::with_manifest(options, manifest.clone()).unwrap();
    let ranking = ranking(family.manifest());
    let scores: Vec<(String, f64)> = ranking.groups().map(|g| (g.name.clone(), g.score)).collect();
    assert_eq!(scores, [("layers.0.mlp.down_proj".into(), 4.0), ("layers.0.self_attn.q_proj".into(), 6.0)]);
    family.add("half", ranking.highest(50.0).unwrap()).unwrap();
    let formats = family.formats("half").unwrap();
    let fp8: Vec<&str> = formats.iter().filter(|(_, f)| f == "FP8").map(|(name, _)| name.as_str()).collect();
    assert_eq!(fp8, ["q_proj", "k_proj", "v_proj"].map(|leaf| format!("layers.0.self_attn.{leaf}")));
    assert!(
        family
            .planned()
            .unwrap()
            .notes
            .iter()
            .any(|note| note.starts_with("3 groups of the manifest hold parts"))
    );
}

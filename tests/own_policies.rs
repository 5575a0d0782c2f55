//! `qlua new` and `qlua setup`: a policy of one's own, and an editor that knows what it may call.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The exit code, standard output and standard error of qlua.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env("XDG_DATA_HOME", self.path("data")).env_remove("COLUMNS");
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_new_policy_runs_as_it_is_and_does_what_its_model_does() {
    let place = Place::new();
    let (code, out, err) = place.run(&["new", "mine"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("mine.lua is written. `qlua mine.lua` runs on the demo as it is"), "{out}");
    assert!(out.lines().all(|line| line.len() <= 80), "{out}");
    let text = place.read("mine.lua");
    assert!(
        text.lines().filter(|line| line.starts_with("--") || line.starts_with("  --")).count() > 15,
        "{text}"
    );
    assert_eq!(fs::metadata(place.path("mine.lua")).unwrap().permissions().mode() & 0o100, 0o100);
    let (code, out, err) = place.run(&["mine.lua", "--top", "50"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("mine_all_layers_top50_coco2017"), "{out}");
    let hash =
        |name: &str| place.json(&format!("qlua-demo/quantized/{name}/layer-sensitivity/provenance.json"));
    assert_eq!(place.run(&["all_layers_topx", "--top", "50"]).0, 0);
    let schemes = ["mine_all_layers_top50_coco2017", "fp8_autoquant_all_layers_top50_coco2017"].map(hash);
    assert_eq!(schemes[0]["files"]["config.json"], schemes[1]["files"]["config.json"]);
    // What its comments propose.
    let proposal = "opts.exclude[#opts.exclude + 1] = \"*.o_proj\"";
    assert!(text.contains(&format!("-- {proposal}")), "{text}");
    let edited = text.replace(&format!("-- {proposal}"), proposal);
    fs::write(place.path("mine.lua"), edited).unwrap();
    let plan = |words: &[&str]| -> Value {
        let (code, out, err) =
            place.run(&[&["mine.lua", "--top", "100", "--dry-run", "--json"], words].concat());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let formats = plan(&[])["schemes"][0]["formats"].as_object().unwrap().clone();
    let kept = |name: &str| {
        formats.iter().filter(|(module, _)| module.ends_with(name)).all(|(_, format)| format != "FP8")
    };
    assert!(kept(".o_proj") && !kept(".down_proj"), "{formats:?}");
}

/// The layers that a plan, printed as JSON, has in FP8 in any scheme.
fn fp8_layers(plan: &str) -> Vec<String> {
    let plan: Value = serde_json::from_str(plan).unwrap();
    let schemes = plan["schemes"].as_array().unwrap();
    let formats = schemes.iter().flat_map(|scheme| scheme["formats"].as_object().unwrap());
    let layers: Vec<String> =
        formats.filter(|(_, format)| *format == "FP8").map(|(layer, _)| layer.clone()).collect();
    assert!(!layers.is_empty(), "{plan}");
    layers
}

#[test]
fn every_built_in_script_is_one_to_begin_from() {
    let place = Place::new();
    let (_, list, _) = place.run(&["list"]);
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let mut tried = 0;
    for name in names.filter(|name| list.contains(&format!("\n  {name} "))) {
        if place.run(&["new", "x", "--from", name]).0 == 2 {
            continue;
        }
        let (code, _, err) = place.run(&["x.lua", "--help"]);
        assert_eq!(code, 0, "{name}: {err}");
        if place.read("x.lua").contains("sweep.run(") {
            let (code, out, err) = place.run(&["x.lua", "--dry-run"]);
            assert_eq!(code, 0, "{name}: {err}");
            assert!(!out.contains("fp8_autoquant_"), "{name}: {out}");
            // The line that its comments propose, where it stands.
            let proposed = place.read("x.lua").replace("-- opts.exclude[", "opts.exclude[");
            fs::write(place.path("x.lua"), proposed).unwrap();
            let (code, out, err) = place.run(&["x.lua", "--dry-run", "--json"]);
            assert_eq!(code, 0, "{name}: {err}");
            assert!(!fp8_layers(&out).iter().any(|layer| layer.ends_with(".o_proj")), "{name}: {out}");
        }
        fs::remove_file(place.path("x.lua")).unwrap();
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

#[test]
fn nothing_is_overwritten_and_what_cannot_be_a_policy_is_refused() {
    let place = Place::new();
    fs::write(place.path("there.lua"), "own").unwrap();
    symlink("nowhere", place.path("link.lua")).unwrap();
    fs::create_dir(place.path("sub")).unwrap();
    let before = place.names();
    for (words, code, problem) in [
        (&["new", "there"][..], 1, "`there.lua` is there already, and is left as it is"),
        (&["new", "there.lua"], 1, "is there already"),
        (&["new", "link"], 1, "is there already"),
        (&["new", "no/mine"], 1, "there is no directory `no`"),
        (&["new", "a b"], 2, "`a b` cannot be the name of a policy"),
        (&["new", "100%"], 2, "cannot be the name"),
        (&["new", ""], 2, "`NAME` needs a value"),
        (&["new", "sub/.."], 2, "cannot be the name"),
        (&["new", &"x".repeat(300)], 2, "cannot be the name"),
        (&["new", "mine", "--from", "all_layers_topy"], 2, "did you mean `all_layers_topx`?"),
        (&["new"], 2, "`NAME` is missing"),
        (&["setup", "no"], 1, "there is no directory `no`"),
    ] {
        let (given, _, err) = place.run(words);
        assert_eq!(given, code, "{words:?}: {err}");
        assert!(err.contains(problem) && err.contains("hint: "), "{words:?}: {err}");
    }
    assert_eq!((place.names(), place.read("there.lua")), (before, "own".into()));
    let (code, out, _) = place.run(&["new", "sub/mine-2.lua"]);
    assert!(code == 0 && out.starts_with("sub/mine-2.lua is written"), "{out}");
    assert_eq!(place.run(&["sub/mine-2.lua", "--dry-run"]).0, 0);
}

#[test]
fn an_editor_is_pointed_at_the_declarations_of_this_version() {
    let place = Place::new();
    let library = place.path("data/qlua/library");
    let (code, out, err) = place.run(&["setup"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains(".luarc.json: lua-language-server reads them, as Lua 5.4"), "{out}");
    let library_text = library.to_str().unwrap();
    let expected = json!({"runtime.version": "Lua 5.4", "diagnostics.disable": ["inject-field"], "workspace.library": [library_text]});
    assert_eq!(place.json(".luarc.json"), expected);
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/library/qlua.lua")).unwrap();
    assert_eq!(fs::read_to_string(library.join("qlua.lua")).unwrap(), committed);
    assert!(library.join("lib/sweep.lua").is_file(), "what `require \"lib.sweep\"` finds");
    // Once more: nothing to do.
    let before = fs::metadata(place.path(".luarc.json")).unwrap().modified().unwrap();
    assert!(place.run(&["setup"]).1.contains("says all that is needed already"));
    assert_eq!(fs::metadata(place.path(".luarc.json")).unwrap().modified().unwrap(), before);
    // Declarations of another version are replaced.
    fs::write(library.join("qlua.lua"), "old").unwrap();
    assert_eq!(place.run(&["setup"]).0, 0);
    assert_eq!(fs::read_to_string(library.join("qlua.lua")).unwrap(), committed);
}

#[test]
fn what_a_configuration_says_stays() {
    let place = Place::new();
    fs::create_dir(place.path("own")).unwrap();
    let own = json!({"diagnostics": {"globals": ["vim"]}, "workspace": {"library": ["/own"]}, "runtime.version": "LuaJIT"});
    fs::write(place.path("own/real.json"), own.to_string()).unwrap();
    symlink("real.json", place.path("own/.luarc.json")).unwrap();
    let (code, out, _) = place.run(&["setup", "own"]);
    assert!(code == 0 && out.contains("note: it says that Lua is \"LuaJIT\"; qlua runs Lua 5.4"), "{out}");
    let mut expected = own;
    expected["diagnostics.disable"] = json!(["inject-field"]);
    expected["workspace"]["library"].as_array_mut().unwrap().push(json!(place.path("data/qlua/library")));
    assert_eq!(place.json("own/real.json"), expected);
    assert!(fs::symlink_metadata(place.path("own/.luarc.json")).unwrap().is_symlink());
    for (text, problem) in [
        ("// mine\n{ \"runtime.version\": \"Lua 5.4\" }", "has comments, which would be lost"),
        ("{ \"runtime.version\" }", "is no JSON, and is left as it is"),
        ("[1]", "is no JSON object"),
        ("{\"workspace.library\": \"/x\"}", "is no list"),
    ] {
        fs::write(place.path(".luarc.json"), text).unwrap();
        let (code, _, err) = place.run(&["setup"]);
        assert_eq!(code, 1, "{text}");
        assert!(err.contains(problem) && err.contains("hint: "), "{err}");
        assert_eq!(place.read(".luarc.json"), text);
    }
    fs::rename(place.path(".luarc.json"), place.path(".luarc.jsonc")).unwrap();
    let (code, _, err) = place.run(&["setup"]);
    assert!(code == 1 && err.contains("is no list") && err.contains("hint: "), "{err}");
    assert!(!place.path(".luarc.json").exists(), "it would be read instead");
}

/// Its user adds what is needed; from then on `qlua setup` keeps the declarations up to date.
#[test]
fn a_configuration_with_comments_is_changed_by_hand() {
    let place = Place::new();
    let library = place.path("data/qlua/library");
    fs::write(place.path(".luarc.jsonc"), "// mine\n{ \"diagnostics.globals\": [ \"vim\", ], }").unwrap();
    let (code, _, err) = place.run(&["setup"]);
    assert!(code == 1 && err.contains(".luarc.jsonc` has comments, which would be lost"), "{err}");
    let added = err.split("add this by hand: ").nth(1).unwrap().trim();
    assert!(library.join("qlua.lua").is_file(), "what the hint names is there");
    let text = format!("// mine\n{{ /* of qlua */ {added},\n\"diagnostics.globals\": [ \"vim\", ], }}");
    fs::write(place.path(".luarc.jsonc"), &text).unwrap();
    fs::write(library.join("qlua.lua"), "old").unwrap();
    let (code, out, err) = place.run(&["setup"]);
    assert!(code == 0 && out.contains(".luarc.jsonc: says all that is needed already"), "{out}{err}");
    assert!(fs::read_to_string(library.join("qlua.lua")).unwrap().starts_with("---@meta qlua"));
    assert_eq!((place.read(".luarc.jsonc"), place.path(".luarc.json").exists()), (text, false));
    // Without comments it is plain JSON, whatever its name.
    fs::write(place.path(".luarc.jsonc"), "{\"diagnostics.globals\": [\"vim\"]}").unwrap();
    assert_eq!(place.run(&["setup"]).0, 0);
    assert_eq!(place.json(".luarc.jsonc")["workspace.library"], json!([library]));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named_without_temporary_files() {
    let place = Place::new();
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), "").is_ok() {
        eprintln!("SKIPPED: who runs this may write everywhere");
        return;
    }
    let (code, _, err) = place.run(&["setup", "closed"]);
    assert!(
        code == 1 && err.contains("cannot write `closed/.luarc.json`: ") && !err.contains(".qlua-"),
        "{err}"
    );
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
}

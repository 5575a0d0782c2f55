//! Batches: recipes, workers, parts of a batch, and that nothing runs on when one is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A directory with the demo and files in it.
struct Batch(tempfile::TempDir);

impl Batch {
    fn new() -> Self {
        Batch(tempfile::tempdir().unwrap())
    }

    fn with_demo() -> Self {
        let batch = Batch::new();
        qlua::demo::build(&batch.path().join("qlua-demo")).unwrap();
        batch
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        said(self.command(words).output().unwrap())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }
}

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const RECIPE: &str = r#"
model = "qlua-demo/model"
manifest = "qlua-demo/manifest.json"
workers = 2
logs = "logs"

[options]
device = "cpu"
dry-run = false

[[policies]]
script = "all_layers_topx"
options = { top = [10, 50], out = "all", exclude = ["*.k_proj", "*.v_proj", "*.q_proj"] }

[[policies]]
script = "all_layers_topx"
name = "broken"
[policies.options]
top = "10"
manifest = "nowhere.json"

[[policies]]
script = "lm_only_topx"
[policies.options]
top = "50"
out = "language"

# The same directory as the first: one after the other.
[[policies]]
script = "all_layers_topx"
options = { top = "50", out = "./all/", suffix = "again", no_card = true }
"#;

#[test]
fn a_recipe_runs_all_its_policies_and_goes_on_past_one_that_fails() {
    let batch = Batch::with_demo().with("recipe.toml", RECIPE);
    let (code, out, err) = batch.run(&["run", "recipe.toml"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["job", "result", "seconds"]);
    let results: Vec<Vec<&str>> = lines[2..6].iter().map(|line| line.split_whitespace().collect()).collect();
    for (row, (name, result)) in results.iter().zip([
        ("all_layers_topx", "ok"),
        ("broken", "exit"),
        ("lm_only_topx", "ok"),
        ("all_layers_topx-2", "ok"),
    ]) {
        assert_eq!((row[0], row[1]), (name, result), "{out}");
    }
    assert!(out.contains("broken: ") && out.contains("there is no `nowhere.json`"), "{out}");
    assert!(out.contains("log: logs/broken.log") && out.ends_with("1 of 4 failed\n"), "{out}");
    assert!(err.contains("4/4 "), "{err}");
    assert_eq!(
        batch.names("logs"),
        ["all_layers_topx-2.log", "all_layers_topx.log", "broken.log", "lm_only_topx.log"]
    );
    assert!(batch.read("logs/broken.log").contains("qlua: error: "));
    assert!(batch.read("logs/lm_only_topx.log").contains("1 scheme in language"));
    let schemes: Vec<String> = batch.names("all").into_iter().filter(|name| name.contains("top")).collect();
    assert_eq!(
        schemes,
        [
            "fp8_autoquant_all_layers_top10_coco2017",
            "fp8_autoquant_all_layers_top50_again",
            "fp8_autoquant_all_layers_top50_coco2017",
        ]
    );
    let readme = |name: &str| batch.path().join("all").join(name).join("README.md").exists();
    assert!(readme(&schemes[0]) && !readme(&schemes[1]));
}

#[test]
fn what_a_recipe_says_for_programs() {
    let batch = Batch::new().with("good.lua", "print('out')").with("bad.lua", "error('broken')").with(
        "recipe.toml",
        "[[policies]]\nscript = \"good.lua\"\n[[policies]]\nscript = \"bad.lua\"\n[[policies]]\nscript = \"good.lua\"\n",
    );
    let (code, out, _) = batch.run(&["run", "recipe.toml", "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["failed"]), (Some(1), &1.into()));
    let jobs: Vec<(&str, bool, i64)> = said["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| {
            (job["name"].as_str().unwrap(), job["ok"].as_bool().unwrap(), job["code"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(jobs, [("good", true, 0), ("bad", false, 1), ("good-2", true, 0)]);
    assert_eq!(said["jobs"][1]["message"], "broken");
    assert_eq!(said["jobs"][0]["message"], Value::Null);
    assert_eq!(batch.read("batch-logs/good.log"), "out\n");
}

#[test]
fn mistakes_of_a_recipe_are_said_with_their_line_before_anything_runs() {
    let with_policy = |rest: &str| format!("workers = 1\n[[policies]]\nscript = \"all_layers_topx\"\n{rest}");
    for (recipe, problem, hint) in [
        ("modle = \"a\"\n".to_string(), "line 1: a recipe has no key `modle`", "did you mean `model`?"),
        ("model = 5\n".into(), "line 1: `model` must be a text", ""),
        ("workers = \"two\"\n".into(), "line 1: `workers` must be a whole number", ""),
        ("model = \"a\"\nmodel = \"b\"\n".into(), "line 2: this is no TOML", ""),
        ("x = \n".into(), "line 1: this is no TOML", ""),
        ("model = \"a\"\n".into(), "has no policies", "[[policies]]"),
        ("policies = 1\n".into(), "line 1: `policies` must be written `[[policies]]`", ""),
        ("[[policies]]\nname = \"a\"\n".into(), "line 1: the policy has no `script`", "qlua list"),
        (with_policy("top = 10\n"), "line 4: a policy has no key `top`", "[policies.options]"),
        (
            with_policy("options = { topp = 10 }\n"),
            "line 4: `all_layers_topx` has no option `topp`",
            "did you mean `top`?",
        ),
        (
            with_policy("[policies.options]\n\ntop = 1\nmodell = \"x\"\n"),
            "line 7: `all_layers_topx` has no option `modell`",
            "`model`",
        ),
        (
            with_policy("options = { overwrite = \"yes\" }\n"),
            "line 4: the option `overwrite` of `all_layers_topx` is true or false",
            "",
        ),
        (
            with_policy("options = { top = true }\n"),
            "line 4: the option `top` of `all_layers_topx` needs a value",
            "",
        ),
        (with_policy("options = { top = { a = 1 } }\n"), "line 4: `top` must be a text, a number", ""),
        (
            with_policy("options = { dry-run = true, dry_run = false }\n"),
            "line 4: `dry-run` and `dry_run` are the same option",
            "give it once",
        ),
        (
            with_policy("options = { out = \"a\\u0000b\" }\n"),
            "line 4: the text that begins with `--out=a",
            "",
        ),
        (
            with_policy(&format!("options = {{ top = [{}] }}\n", "50, ".repeat(60_000))),
            "line 4: the text that begins with `--top=50,50,50,50,50` is longer than",
            "write a range",
        ),
        (
            "[options]\nno_card = true\nno-card = false\n[[policies]]\nscript = \"all_layers_topx\"\n".into(),
            "line 3: `no_card` and `no-card` are the same option",
            "",
        ),
        (
            "model = \"a\"\n[options]\nmodel = \"b\"\n[[policies]]\nscript = \"all_layers_topx\"\n".into(),
            "line 3: the option `model` is given twice",
            "",
        ),
        (with_policy("name = \"../a\"\n"), "line 4: `../a` cannot be the name of a job", ""),
        (
            "[[policies]]\nscript = \"all_layer_topx\"\n".into(),
            "line 2: there is no script `all_layer_topx`",
            "did you mean `all_layers_topx`?",
        ),
    ] {
        let batch = Batch::new().with("recipe.toml", &recipe);
        let (code, _, err) = batch.run(&["run", "recipe.toml"]);
        assert_eq!(code, Some(2), "{recipe}: {err}");
        assert!(
            err.contains("`recipe.toml`") && err.contains(problem) && err.contains(hint),
            "{recipe}: {err}"
        );
        assert_eq!(batch.names("."), ["recipe.toml"], "nothing is left behind");
    }
    let batch = Batch::new().with("recipe.toml", "").with("a.lua", "");
    for words in [
        &["recipe.toml", "a.lua"][..],
        &["recipe.toml", "--", "x"],
        &["none.toml"],
        &["a.lua", "--workers", "0"],
        &["a.lua", "--part", "3/2"],
    ] {
        let (code, _, err) = batch.run(&[&["run"], words].concat());
        assert_eq!(code, Some(2), "{err}");
    }
}

#[test]
fn a_log_that_another_batch_writes_costs_its_job_alone() {
    let batch = Batch::new().with("one.lua", "print('one')").with("two.lua", "print('two')");
    fs::create_dir(batch.path().join("batch-logs")).unwrap();
    let other = fs::File::create(batch.path().join("batch-logs/one.log")).unwrap();
    other.lock().unwrap();
    fs::write(batch.path().join("batch-logs/one.log"), "what the other said\n").unwrap();
    let (code, out, _) = batch.run(&["run", "one.lua", "two.lua", "--workers", "2", "--json"]);
    assert_eq!(code, Some(1));
    let said: Value = serde_json::from_str(&out).unwrap();
    let oks: Vec<&Value> = said["jobs"].as_array().unwrap().iter().map(|job| &job["ok"]).collect();
    assert_eq!(oks, [false, true], "{said}");
    assert!(
        said["jobs"][0]["message"].as_str().unwrap().starts_with("another batch writes `batch-logs/one.log`"),
        "{said}"
    );
    assert_eq!(
        (batch.read("batch-logs/one.log"), batch.read("batch-logs/two.log")),
        ("what the other said\n".into(), "two\n".into())
    );
    drop(other);
    assert_eq!(batch.run(&["run", "one.lua", "two.lua", "--workers", "2"]).0, Some(0));
    assert_eq!(batch.read("batch-logs/one.log"), "one\n");
}

#[test]
fn machines_share_a_batch() {
    let batch = (1..=5).fold(Batch::new(), |batch, n| batch.with(&format!("s{n}.lua"), "print('ran')"));
    let ran = |words: &[&str]| -> Vec<String> {
        let (code, out, err) = batch.run(&[&["run", "s*.lua", "--json"], words].concat());
        assert_eq!(code, Some(0), "{err}");
        let said: Value = serde_json::from_str(&out).unwrap();
        said["jobs"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(ran(&["--part", "1/2", "--workers", "2"]), ["s1", "s3", "s5"]);
    assert_eq!(ran(&["--part", "2/2"]), ["s2", "s4"]);
    // Without workers the same, in this process.
    let (code, out, _) = batch.run(&["run", "s*.lua", "--part", "2/2"]);
    assert!(
        code == Some(0) && out.contains("s2.lua") && !out.contains("s1.lua") && out.ends_with("all 2 ok\n"),
        "{out}"
    );
}

#[test]
fn workers_share_the_threads_and_run_at_once() {
    // Each waits until the other has begun.
    let text = |own: &str, other: &str| {
        format!(
            "io.open('{own}', 'w'):close() local till = os.time() + 20\n\
             while not io.open('{other}') do assert(os.time() < till, 'alone') end\n\
             print(os.getenv('RAYON_NUM_THREADS'), ...)"
        )
    };
    let batch =
        Batch::new().with("a.lua", &text("began-a", "began-b")).with("b.lua", &text("began-b", "began-a"));
    let (code, out, err) =
        batch.run(&["run", "[ab].lua", "--workers", "2", "--threads", "6", "--logs", "l", "--", "x"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!((batch.read("l/a.log").as_str(), batch.read("l/b.log").as_str()), ("3\tx\n", "3\tx\n"));
}

const ENDLESS: &str = "local stat = io.open('/proc/self/stat'):read('a')\n\
                       local file = io.open((...), 'w') file:write(stat:match('^%d+')) file:close()\n\
                       while true do end";

/// Begins a batch of two endless jobs and waits until both run; the processes.
fn endless(batch: &Batch) -> (Child, Vec<PathBuf>) {
    let recipe = "workers = 2\n".to_string()
        + &["a", "b", "c"]
            .map(|n| format!("[[policies]]\nscript = \"endless.lua\"\narguments = [\"{n}\"]\n"))
            .concat();
    fs::write(batch.path().join("endless.lua"), ENDLESS).unwrap();
    fs::write(batch.path().join("recipe.toml"), recipe).unwrap();
    let child = batch.command(&["run", "recipe.toml"]).spawn().unwrap();
    let begun = Instant::now();
    let found = ["a", "b"].map(|name| {
        loop {
            let number = batch.read(name);
            if !number.is_empty() {
                break PathBuf::from(format!("/proc/{number}"));
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "job {name} does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(found.iter().all(|path| path.exists()));
    (child, found.into())
}

/// Whether the process of this folder of `/proc` runs: nobody may be there to ask how it ended.
fn is_running(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with(['Z', 'X'])
}

fn send(child: &Child, signal: i32) {
    // SAFETY: the process was started here and has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id() as i32, signal) };
}

#[test]
fn a_batch_that_is_stopped_leaves_nothing_running() {
    for signals in [&[libc::SIGINT][..], &[libc::SIGTERM], &[libc::SIGINT, libc::SIGINT]] {
        let batch = Batch::new();
        let (child, processes) = endless(&batch);
        for signal in signals {
            send(&child, *signal);
            std::thread::sleep(Duration::from_millis(50));
        }
        let (code, out, err) = said(child.wait_with_output().unwrap());
        assert_eq!(code, Some(130), "{err}");
        let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
        // Who asked twice gets no table, unless the batch was faster.
        if signals.len() == 1 || !out.is_empty() {
            assert!(rows.contains(&vec!["endless-3", "not", "begun"]), "{out}");
            assert!(out.ends_with("2 of 3 failed, 1 not begun\n"), "{out}");
        }
        assert!(!processes.iter().any(|process| is_running(process)), "{signals:?}: {err}");
        assert!(!batch.path().join("c").exists(), "the third never began");
    }
}

#[test]
fn scripts_that_were_not_begun_are_named_without_workers_too() {
    let batch = Batch::new().with("a.lua", ENDLESS).with("b.lua", "");
    let child = batch.command(&["run", "a.lua", "b.lua", "--", "began"]).spawn().unwrap();
    let begun = Instant::now();
    while batch.read("began").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(&child, libc::SIGINT);
    let (code, out, _) = said(child.wait_with_output().unwrap());
    assert_eq!(code, Some(130), "{out}");
    assert!(out.contains("b.lua   not begun\n") && out.ends_with("1 of 2 failed, 1 not begun\n"), "{out}");
}

#[test]
fn a_script_that_runs_itself_comes_to_an_end() {
    let batch = Batch::new().with(
        "again.lua",
        "io.open('runs', 'a'):write('x'):close() qlua.jobs({ { script = 'again.lua' } }, { logs = 'logs' .. (os.getenv('QLUA_JOBS_DEPTH') or '') })",
    );
    let (code, _, err) = batch.run(&["again.lua"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("this is a job inside of 3 batches, one in the other"), "{err}");
    assert_eq!(batch.read("runs"), "xxxx");
}

#[test]
fn logs_that_can_lie_nowhere_are_refused() {
    let batch = Batch::new().with("a.lua", "io.open('ran', 'w'):close()");
    for (logs, what) in
        [("/dev/null", "is a device, not a directory"), ("a.lua", "is a file, not a directory")]
    {
        let (code, _, err) = batch.run(&["run", "a.lua", "--logs", logs]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(&format!("the logs cannot go to `{logs}`: it {what}")), "{err}");
        assert!(err.contains("hint: name a directory"), "{err}");
    }
    assert_eq!(batch.names("."), ["a.lua"]);
}

#[test]
fn jobs_do_not_outlive_a_batch_that_is_killed() {
    let batch = Batch::new();
    let (mut child, processes) = endless(&batch);
    child.kill().unwrap();
    child.wait().unwrap();
    let begun = Instant::now();
    while processes.iter().any(|process| is_running(process)) {
        assert!(begun.elapsed() < Duration::from_secs(20), "jobs go on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn lua_runs_the_same_jobs() {
    let batch = Batch::with_demo().with("bad.lua", "error('broken')").with(
        "batch.lua",
        r#"
        local list = {
          { script = "all_layers_topx", options = { model = "qlua-demo/model", manifest = "qlua-demo/manifest.json", top = { 50 }, out = "out", device = "cpu" } },
          { script = "bad.lua", name = "second" },
        }
        local ends = qlua.jobs(list, { workers = 2, raise = false, logs = "logs" })
        assert(#ends == 2 and ends[1].ok and ends[1].code == 0 and ends[1].message == nil)
        assert(not ends[2].ok and ends[2].name == "second" and ends[2].message == "broken" and ends[2].log == "logs/second.log")
        local ok, problem = pcall(qlua.jobs, list, { logs = "logs" })
        assert(not ok and tostring(problem):find("1 of 2 jobs failed: `second`: broken", 1, true), tostring(problem))
        local only = qlua.jobs(list, { part = "1/2", logs = "logs" })
        assert(#only == 1 and only[1].name == "all_layers_topx")
        ok, problem = pcall(qlua.jobs, { { script = "all_layers_topx", options = { topp = 1 } } })
        assert(not ok and problem.hint == "did you mean `top`?", tostring(problem))
        ok, problem = pcall(qlua.jobs, { { script = "all_layers_topx", options = { dry_run = true, ["dry-run"] = true } } })
        assert(not ok and tostring(problem):find("`dry-run` and `dry_run` are the same option", 1, true), tostring(problem))
        assert(not qlua.fs.exists("batch-logs"))
        "#,
    );
    let (code, out, err) = batch.run(&["batch.lua"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(batch.path().join("out/fp8_autoquant_all_layers_top50_coco2017/config.json").exists());
    // A sandbox begins no processes.
    let sandboxed = Batch::new().with("s.lua", "qlua.jobs{ { script = 'all_layers_topx' } }");
    let (code, _, err) = sandboxed.run(&["--sandbox", "--write", ".", "s.lua"]);
    assert!(code == Some(1) && err.contains("is not there in a sandbox"), "{err}");
}

//! Scripts of strangers: what a sandbox and a policy keep them from, and that their limits hold.

#[path = "sandbox/attacks.rs"]
mod attacks;
#[path = "sandbox/ceilings.rs"]
mod ceilings;
#[path = "sandbox/escapes.rs"]
mod escapes;
#[path = "sandbox/reasons.rs"]
mod reasons;
#[path = "sandbox/without_landlock.rs"]
mod without_landlock;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use attacks::ATTACKS;
use escapes::ESCAPES;

const CANARY: &str = "canary-7f3a";
/// How many run at once.
const AT_ONCE: usize = 3;

/// A place with files in it that nobody may reach, and `read/` and `write/`, in which there are links to them.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let at = |name: &str| place.0.path().join(name);
        qlua::demo::build(&at("demo")).unwrap();
        for directory in ["read/deep", "read/model", "read/plain", "write"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("canary.txt"), CANARY).unwrap();
        fs::write(at("reader.txt"), CANARY).unwrap();
        fs::write(at("beside.lua"), "print('ESCAPED')").unwrap();
        fs::write(at("canary.json"), format!("{{\"canary\": \"{CANARY}\"}}")).unwrap();
        fs::write(at("read/file.txt"), "may be read").unwrap();
        fs::copy(at("demo/manifest.json"), at("read/manifest.json")).unwrap();
        for entry in fs::read_dir(at("demo/model")).unwrap() {
            let entry = entry.unwrap();
            for model in ["read/model", "read/plain"] {
                fs::copy(entry.path(), at(model).join(entry.file_name())).unwrap();
            }
        }
        fs::remove_file(at("read/model/tokenizer_config.json")).ok();
        for (to, from) in [
            ("canary.txt", "read/link"),
            ("", "read/up"),
            ("read/link", "read/chain"),
            ("canary.json", "read/json-link"),
            ("canary.json", "read/model/tokenizer_config.json"),
            ("canary.txt", "write/link"),
            ("ESCAPED", "write/dangling"),
            ("", "write/up"),
        ] {
            symlink(at(to), at(from)).unwrap();
        }
        rustix::fs::mknodat(rustix::fs::CWD, at("read/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// Everything but what is in `write/`, and what is there that holds the canary.
    fn state(&self) -> Vec<String> {
        let mut state = Vec::new();
        let mut directories = vec![self.path().to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let kind = path.symlink_metadata().unwrap().file_type();
                let name = path.strip_prefix(self.path()).unwrap().display().to_string();
                let content = match kind.is_file() {
                    true => fs::read(&path).unwrap(),
                    false => Vec::new(),
                };
                let has_canary = content.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
                if kind.is_dir() {
                    directories.push(path);
                }
                if !name.starts_with("write/") || has_canary || kind.is_symlink() {
                    state.push(format!("{name} {} {:?}", content.len(), has_canary));
                }
            }
        }
        state.sort();
        state
    }
}

/// Runs `each` for every item, some at once.
fn for_all<T: Sync>(items: &[T], each: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(failure) = each(item) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), items.len(), failures.join("\n"));
}

/// Whether the run ended as one that fails does, and got at nothing.
fn judge(name: &str, output: &Output) -> Result<(), String> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = format!("{name}: {:?}\n{out}{err}", output.status);
    let has_code = matches!(output.status.code(), Some(1..=3));
    let is_silent = ![&out, &err].iter().any(|text| text.contains(CANARY))
        && !out.contains("ESCAPED")
        && !err.contains("panicked");
    if has_code && is_silent && err.contains("qlua: error: ") { Ok(()) } else { Err(told) }
}

#[test]
fn no_script_gets_out_of_a_sandbox() {
    assert!(ESCAPES.len() >= 60);
    let place = Place::new();
    let before = place.state();
    let shm = Path::new("/dev/shm/ESCAPED-from-a-sandbox");
    for_all(ESCAPES, |(name, code)| {
        let code = code.replace("PLACE", &place.path().display().to_string());
        let code = format!("{code}\nerror('nothing was reached')");
        judge(name, &place.run(&["--sandbox", "--read", "read", "--write", "write", "-e", &code]))
    });
    assert_eq!(place.state(), before);
    assert!(!shm.exists());
    println!("sandbox escapes: {} tried, 0 reached", ESCAPES.len());
}

/// A policy has no files at all, not even those below a root.
#[test]
fn no_policy_gets_out_of_its_process() {
    let place = Place::new();
    let policies: Vec<String> = (0..ESCAPES.len()).map(|at| format!("policy-{at}.lua")).collect();
    for (file, (_, code)) in policies.iter().zip(ESCAPES) {
        let code = code.replace("PLACE", &place.path().display().to_string());
        fs::write(place.path().join(file), format!("return function()\n{code}\nerror('nothing')\nend"))
            .unwrap();
    }
    let before = place.state();
    let escapes: Vec<_> = policies.iter().zip(ESCAPES).collect();
    for_all(&escapes, |(file, (name, _))| {
        judge(name, &place.run(&["-e", &asking(&format!("qlua.policy.load('{file}')"))]))
    });
    assert_eq!(place.state(), before);
    println!("policy escapes: {} tried, 0 reached", ESCAPES.len());
}

/// Code that asks the policy which `load` gives for all groups of the demo.
fn asking(load: &str) -> String {
    format!("local ranking = qlua.manifest.open('demo/manifest.json'):ranking() {load}:select(ranking)")
}

/// How long a process may take for what has a second: it has a second more to end by itself, and the machine is shared.
const SLACK: Duration = Duration::from_secs(15);

#[test]
fn whatever_a_script_takes_it_ends_within_its_limits() {
    assert!(ATTACKS.len() >= 20);
    let place = Place::new();
    let before = place.state();
    for_all(ATTACKS, |(name, code)| {
        let begun = Instant::now();
        let limits = ["--sandbox", "--seconds", "1", "--memory", "64MiB", "-e", code];
        judge(name, &place.run(&limits))?;
        if begun.elapsed() < SLACK { Ok(()) } else { Err(format!("{name}: {:?}", begun.elapsed())) }
    });
    assert_eq!(place.state(), before);
    println!("resource attacks: {}, all ended within their limit", ATTACKS.len());
}

#[test]
fn whatever_a_policy_takes_the_script_that_asked_goes_on() {
    let place = Place::new();
    let policies: Vec<String> = (0..ATTACKS.len()).map(|at| format!("policy-{at}.lua")).collect();
    for (file, (_, code)) in policies.iter().zip(ATTACKS) {
        fs::write(place.path().join(file), format!("return function()\n{code}\nend")).unwrap();
    }
    let attacks: Vec<_> = policies.iter().zip(ATTACKS).collect();
    for_all(&attacks, |(file, (name, _))| {
        let begun = Instant::now();
        let load = format!("qlua.policy.load('{file}', {{ seconds = 1, memory = 64 << 20 }})");
        let code = format!(
            "local ranking = qlua.manifest.open('demo/manifest.json'):ranking() local policy = {load}\n\
             local ok, e = pcall(policy.select, policy, ranking)\n\
             assert(not ok and (e.kind == 'policy' or e.kind == 'limit'), tostring(e))\nprint('went on')"
        );
        let output = place.run(&["-e", &code]);
        let err = String::from_utf8_lossy(&output.stderr);
        match output.stdout == b"went on\n" && output.status.success() && begun.elapsed() < SLACK {
            true => Ok(()),
            false => Err(format!("{name}: {:?} after {:?}\n{err}", output.status, begun.elapsed())),
        }
    });
    println!("resource attacks of policies: {}, all ended within their limit", ATTACKS.len());
}

#[test]
fn a_sandbox_says_what_would_allow_it() {
    let place = Place::new();
    let err = |words: &[&str], code| {
        let output = place.run(words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = err(&["--sandbox", "-e", "qlua.fs.read('canary.txt')"], 1);
    assert_eq!(
        text,
        "qlua: error: `canary.txt` lies outside of what this sandbox may read\n  \
         hint: `--read DIR` before the script allows a directory and what is in it\n  at (command line):1\n"
    );
    let model = [
        "all_layers_topx",
        "--model",
        "demo/model",
        "--manifest",
        "demo/manifest.json",
        "--out",
        "write/out",
    ];
    let text = err(&[&["--sandbox", "--write", "write"][..], &model].concat(), 2);
    assert!(text.contains("`--model`: `demo/model` lies outside") && text.contains("`--read DIR`"), "{text}");
    let text = err(&[&["--sandbox", "--read", "demo"][..], &model].concat(), 2);
    assert!(text.contains("`--out`: `write/out` lies outside") && text.contains("`--write DIR`"), "{text}");
    for (option, value) in [("--read", "."), ("--total-seconds", "1"), ("--write-limit", "1MiB")] {
        assert!(err(&[option, value, "-e", ""], 2).contains(&format!("`{option}` goes with `--sandbox`")));
    }
    assert!(err(&["--sandbox", "--read", "none", "-e", ""], 2).contains("`--read` names `none`"));
    assert!(err(&["--sandbox", "list"], 2).contains("not with the command `list`"));
    assert!(err(&["--sandbox", "--memory", "1kB", "-e", ""], 2).contains("must be at least 1MiB"));
}

#[test]
fn a_sweep_in_a_sandbox_writes_the_same_bytes() {
    let place = Place::new();
    fs::remove_file(place.path().join("write/up")).unwrap();
    fs::remove_file(place.path().join("write/link")).unwrap();
    fs::remove_file(place.path().join("write/dangling")).unwrap();
    let sweep = |out: &'static str| {
        [
            "all_layers_topx",
            "--model",
            "demo/model",
            "--manifest",
            "demo/manifest.json",
            "--top",
            "10,20",
            "--out",
            out,
        ]
    };
    let sandbox = ["--sandbox", "--read", "demo", "--write", "write"];
    let inside = place.run(&[&sandbox[..], &sweep("write/out")].concat());
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    assert!(place.run(&sweep("free")).status.success());
    let weights = |folder: &str| {
        let read = |scheme: &str| {
            let mut files: Vec<_> =
                fs::read_dir(place.path().join(folder).join(scheme)).unwrap().flatten().collect();
            files.retain(|file| file.path().extension().is_some_and(|e| e == "safetensors"));
            files.sort_by_key(fs::DirEntry::file_name);
            files.iter().map(|file| fs::read(file.path()).unwrap()).collect::<Vec<_>>()
        };
        ["10", "20"].map(|top| read(&format!("fp8_autoquant_all_layers_top{top}_coco2017")))
    };
    assert!(weights("write/out") == weights("free"));
    assert!(!weights("free")[0].is_empty());
}

#[test]
fn a_sandbox_does_the_same_in_every_run() {
    let place = Place::new();
    let code = "local t = {} for i = 1, 200 do t['k' .. i] = i end t[1.5], t[7] = 1, 2\n\
                for k, v in pairs(t) do print(k, v) end print(next(t), math.random(1e9), math.random())\n\
                math.randomseed() print(math.random(1e9)) for k in pairs(qlua.json.decode('{\"b\": 1, \"a\": 2}')) do print(k) end";
    let first = place.run(&["--sandbox", "-e", code]);
    assert!(first.status.success(), "{first:?}");
    let text = String::from_utf8(first.stdout.clone()).unwrap();
    assert!(text.starts_with("1.5\t1\n7\t2\nk1\t1\nk10\t10\n") && text.ends_with("\nb\na\n"), "{text}");
    for _ in 0..5 {
        assert_eq!(place.run(&["--sandbox", "-e", code]).stdout, first.stdout);
    }
}

#[test]
fn policies_choose_by_globs_names_groups_and_predicates() {
    let place = Place::new();
    let ways = [
        ("glob", "return '*.mlp.*'"),
        (
            "names",
            "local t = {} for _, g in ipairs(groups) do if g.kind == options.kind then t[#t + 1] = g.name end end return t",
        ),
        (
            "groups",
            "local t = {} for _, g in ipairs(groups) do if g.kind == options.kind then t[#t + 1] = g end end return t",
        ),
        ("predicate", "return function(g) return g.kind == options.kind end"),
        ("nothing", "return {}"),
    ];
    for (name, body) in ways {
        let text = format!("return function(groups, options) {body} end");
        fs::write(place.path().join(format!("{name}.lua")), text).unwrap();
    }
    let code = "local ranking = qlua.manifest.open('demo/manifest.json'):ranking()\n\
                local by = function(name) return qlua.policy.load(name .. '.lua'):select(ranking, { kind = 'down_proj' }) end\n\
                local own = ranking:select(function(g) return g.kind == 'down_proj' end)\n\
                assert(#own > 0 and #by('nothing') == 0 and #by('glob') == #ranking:select('*.mlp.*'))\n\
                for _, name in ipairs{ 'names', 'groups', 'predicate' } do\n\
                  assert(table.concat(by(name).names, ' ') == table.concat(own.names, ' '), name)\n\
                end";
    let output = place.run(&["-e", code]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // In a sandbox too, which reads the policy and nothing else.
    let output = place.run(&["--sandbox", "--read", ".", "-e", code]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_error_of_a_policy_names_its_line() {
    let place = Place::new();
    let message = |text: &str| {
        fs::write(place.path().join("p.lua"), text).unwrap();
        let output = place.run(&["-e", &asking("qlua.policy.load('p.lua')")]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = message("return function(groups)\n  return groups[1].blok\nend");
    assert!(text.contains("`Group` has no field `blok`") && text.contains("\n  at p.lua:2"), "{text}");
    let text = message("return function()\n  error{ kind = 'verification', message = 'mine' }\nend");
    assert!(text.starts_with("qlua: error: mine\n"), "{text}");
    assert!(message("return function(").contains("at p.lua:1"));
    assert!(message("return 1").contains("the policy is a number, not a function"));
    assert!(message("return function() return { 'none' } end").contains("the glob `none` matches no"));
    assert!(
        message("return function(g) return { { name = 'none' } } end")
            .contains("chose `none`, which is not ranked")
    );
}

/// In a script that is trusted, a want of memory is an error like any other.
#[test]
fn the_memory_limit_is_an_error_that_a_script_can_catch() {
    let place = Place::new();
    let code = "local ok, e = pcall(string.rep, 'x', 1e9)\n\
                assert(not ok and e.kind == 'limit' and e.message:find('more memory than the 64 MiB', 1, true), tostring(e))\n\
                local t = {} ok, e = pcall(function() while true do t[#t + 1] = {} end end)\n\
                t = nil assert(not ok and e.kind == 'limit', tostring(e)) print('went on')";
    let output = place.run(&["--memory", "64MiB", "-e", code]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "went on\n", "{output:?}");
    let output = place.run(&["--memory", "64MiB", "-e", "local t = {} while true do t[#t + 1] = { {} } end"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(
        err.starts_with("qlua: error: the script needs more memory than the 64 MiB that it may use\n"),
        "{err}"
    );
    assert!(err.contains("hint: `--memory SIZE`"), "{err}");
}

#[test]
fn one_ctrl_c_ends_a_script_inside_a_function_of_lua_itself() {
    let place = Place::new();
    let codes = [
        "('a'):rep(1e5):find('.-.-.-.-b')",
        "table.move({}, 1, 1e15, 2)",
        "(''):rep(1e18)",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(string.rep, 'x', 1e8) end",
    ];
    for code in codes {
        let code = format!("io.stderr:write('ready'); {code}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_qlua"))
            .args(["-e", &code])
            .current_dir(place.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 5];
        std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut ready).unwrap();
        thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        // SAFETY: the process is a child that was not waited for yet.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.status.signal()), (Some(130), None), "{code}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "qlua: interrupted\n", "{code}");
        assert!(begun.elapsed() < SLACK, "{code}: {:?}", begun.elapsed());
    }
}

#[test]
fn coroutines_count_and_mistakes_are_said() {
    let place = Place::new();
    let err = |words: &[&str]| {
        let output = place.run(words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && !text.contains("panicked"), "{text}");
        text
    };
    let code = "for i = 1, 1e5 do coroutine.wrap(function() for i = 1, 1000 do end end)() end";
    assert!(err(&["--sandbox", "--instructions", "1000000", "-e", code]).contains("used up the 1000000"));
    let parser = |what: &str| {
        err(&["-e", &format!("print(qlua.cli.parser{{ name = 'x', options = {{ {what} }} }}:help())")])
    };
    assert!(parser("{ name = ('n'):rep(70000) }").contains("longer than 100 characters"));
    assert!(parser("{ name = 'n', metavar = ('n'):rep(70000) }").contains("longer than 100 characters"));
    let writer = "local w = qlua.export.writer{ out = 'write/o', base = 'read/model' }";
    let again = format!(
        "{writer} w:copy(function(n) w:file('a', 'b') return #w.names >= 0 end) w:copy('*') error('went on')"
    );
    fs::remove_file(place.path().join("read/model/tokenizer_config.json")).unwrap();
    assert!(err(&["-e", &again]).contains("went on"));
    assert!(
        err(&["-e", &format!("{writer} w:file('.qlua-lock', 'x')")]).contains("must not begin with `.qlua-`")
    );
    assert!(err(&["-e", &format!("{writer} w:file(('x'):rep(300), 'x')")]).contains("at most 255 bytes"));
    assert!(err(&["-e", &format!("{writer} w:file('a\\0b', 'x')")]).contains("at most 255 bytes"));
    assert!(err(&["-e", "require('\\255')"]).contains("there is no module"));
    let sandboxed = |code: &str| err(&["--sandbox", "-e", code]);
    assert!(sandboxed("math.randomseed('x')").contains("#1 to 'randomseed' (number expected, got string)"));
    assert!(sandboxed("coroutine.wrap(1)").contains("#1 to 'wrap' (function expected, got number)"));
    assert!(sandboxed("next(1)").contains("#1 to 'next' (table expected, got number)"));
    let help = place.run(&["-e", "qlua.cli.parser{ name = 'x', about = '\\27[2J' }:parse{ '--help' }"]);
    assert!(help.status.success() && !help.stdout.contains(&27), "{help:?}");
    // A policy has no more than the sandbox that asks it.
    fs::write(place.path().join("read/p.lua"), "return function() return { ('x'):rep(100 << 20) } end")
        .unwrap();
    let ask = "qlua.policy.load('read/p.lua', { memory = 1 << 40 }):select(qlua.manifest.open('read/manifest.json'):ranking())";
    assert!(err(&["--sandbox", "--memory", "64MiB", "--read", "read", "-e", ask]).contains("memory"));
}

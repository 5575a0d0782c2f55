//! The command line as users see it: what runs, what is printed where, and the exit code.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A folder with scripts in it, where qlua runs.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn with(self, path: &str, text: impl AsRef<[u8]>) -> Place {
        let file = self.0.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(&self.0).env_remove("LUA_PATH").env_remove("LUA_INIT");
        command
    }

    fn run(&self, words: &[&str]) -> Outcome {
        finish(self.command(words).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs, expects exit code 0, and gives standard output.
    fn out(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, Some(0), "{words:?}: {}", outcome.err);
        outcome.out
    }

    /// Runs, expects `code`, and gives standard error.
    fn err(&self, code: i32, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code, Some(code), "{words:?}: {}", outcome.err);
        outcome.err
    }
}

fn finish(output: std::process::Output) -> Outcome {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn everything_after_the_script_is_its_own() {
    let place = Place::new().with("a.lua", "print(arg[0], #arg, table.concat(arg, ' '), ...)");
    assert_eq!(
        place.out(&["a.lua", "-e", "x", "--help", "-V"]),
        "a.lua\t4\t-e x --help -V\t-e\tx\t--help\t-V\n"
    );
}

#[test]
fn arg_has_what_stands_before_the_script_at_negative_indices() {
    let place = Place::new().with("a.lua", "print(arg[-1], arg[-2], arg[-3] ~= nil, arg[-4])");
    assert_eq!(place.out(&["-e", "x = 1", "a.lua"]), "x = 1\t-e\ttrue\tnil\n");
}

#[test]
fn code_and_modules_come_first_in_the_order_given() {
    let place = Place::new().with("m.lua", "return { name = 'm' }").with("a.lua", "print(x, m.name, n.name)");
    assert_eq!(place.out(&["-e", "x = 1", "-ex=x+1", "-l", "m", "-ln=m", "a.lua"]), "2\tm\tm\n");
    assert_eq!(place.out(&["-e", "print(arg[0] ~= nil, ...)"]), "true\n");
    assert!(place.err(1, &["-l", "missing"]).starts_with("qlua: error: there is no module `missing`\n"));
}

#[test]
fn a_script_can_come_from_standard_input() {
    let place = Place::new().with("in.lua", "#!/usr/bin/env qlua\nprint(..., arg[0]) error('here')");
    let file = std::fs::File::open(place.0.path().join("in.lua")).unwrap();
    let outcome = finish(place.command(&["-", "a"]).stdin(file).output().unwrap());
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), "a\t-\n"));
    assert_eq!(outcome.err, "qlua: error: here\n  at stdin:2\n");
}

#[test]
fn a_shebang_line_counts_as_a_line() {
    let place = Place::new().with("a.lua", "#!/usr/bin/env qlua\nerror('second line')");
    assert_eq!(place.err(1, &["a.lua"]), "qlua: error: second line\n  at a.lua:2\n");
    let place = Place::new().with("only.lua", "#!/usr/bin/env qlua");
    assert_eq!(place.out(&["only.lua"]), "");
}

#[test]
fn modules_are_found_beside_the_script_then_among_the_built_in_ones() {
    let place = Place::new()
        .with("s/a.lua", "print(require('lib.x').from, require('lib.words').count(2, 'page'))")
        .with("s/lib/x.lua", "return { from = 'beside' }")
        .with("lib/x.lua", "return { from = 'current folder' }");
    assert_eq!(place.out(&["s/a.lua"]), "beside\t2 pages\n");
    let elsewhere = finish(place.command(&["s/a.lua"]).env("LUA_PATH", "/nowhere/?.lua").output().unwrap());
    assert_eq!(elsewhere.code, Some(0));
    let place =
        Place::new().with("s/a.lua", "print(require('lib.words'))").with("s/lib/words.lua", "return 'own'");
    assert_eq!(place.out(&["s/a.lua"]).split('\t').next().unwrap().trim_end(), "own");
}

#[test]
fn built_in_scripts_run_by_name_and_use_built_in_modules() {
    let place = Place::new()
        .with("c.json", r#"{"b": {"x": 1}, "a": [1, 2]}"#)
        .with("lib/sweep.lua", "error('the wrong module')");
    let expected = "key  holds\nb    object of 1\nb.x  1\na    list of 2\n";
    assert_eq!(place.out(&["json_keys", "c.json", "--depth", "2"]), expected);
    assert!(place.out(&["lm_only_topx", "--help"]).starts_with("usage: lm_only_topx "));
    assert!(place.out(&["json_keys", "--help"]).starts_with("usage: json_keys [options] FILE\n"));
    assert_eq!(
        place.err(2, &["json_keys", "--dept=2", "c.json"]),
        "qlua: error: there is no option `--dept`\n  hint: did you mean `--depth`?\n"
    );
    assert_eq!(
        place.err(2, &["json_key"]),
        "qlua: error: there is no script or command `json_key`\n  hint: did you mean `json_keys`?\n"
    );
    assert!(place.err(2, &["json_keys.lua"]).contains("there is no script `json_keys.lua`"));
}

#[test]
fn a_file_of_that_name_wins_over_a_built_in_script_but_not_over_a_command() {
    let place = Place::new().with("json_keys", "print('file')").with("list", "print('file')");
    assert_eq!(place.out(&["json_keys"]), "file\n");
    assert!(place.out(&["list"]).contains("json_keys"));
    assert_eq!(place.out(&["./list"]), "file\n");
}

#[test]
fn list_shows_a_line_per_script() {
    let out = Place::new().out(&["list"]);
    let line = out.lines().find(|l| l.trim_start().starts_with("json_keys")).unwrap();
    assert!(line.ends_with("List the keys of a JSON file, with what each one holds."), "{line}");
    assert!(!out.contains("words"), "modules are no scripts");
}

#[test]
fn doc_explains_entries_and_suggests_names() {
    let place = Place::new();
    assert!(place.out(&["doc"]).contains("qlua.json"));
    assert!(place.out(&["doc", "fs.write"]).starts_with("qlua.fs.write(path, content [, options])\n"));
    assert_eq!(place.out(&["doc", "Parser:parse"]), place.out(&["doc", "Parser.parse"]));
    let expected = "qlua: error: the API has nothing called `fs.wriet`\n  hint: did you mean `fs.write`?\n";
    assert_eq!(place.err(1, &["doc", "fs.wriet"]), expected);
    assert!(place.err(1, &["doc", "encode"]).contains("or `json.encode`?"));
    assert!(place.err(1, &["doc", "basename"]).contains("did you mean `fs.basename`?"));
}

#[test]
fn version_and_help_are_plain() {
    let place = Place::new();
    assert_eq!(place.out(&["-V"]), format!("qlua {} (Lua 5.4)\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(place.out(&["--version"]), place.out(&["-V"]));
    let help = place.out(&["-h"]);
    assert!(help.contains("qlua run GLOB… [-- ARGS]") && help.contains("130 interrupted"), "{help}");
    assert!(place.err(2, &[]).contains("usage: qlua"));
    assert_eq!(
        place.err(2, &["--verison"]),
        "qlua: error: qlua has no option `--verison`\n  hint: did you mean `--version`?\n"
    );
    assert!(place.err(2, &["-e"]).contains("the option `-e` needs a value"));
    assert!(place.err(2, &["-e", "x", "list"]).contains("go with a script"));
}

#[test]
fn errors_name_the_users_line_before_those_of_libraries() {
    let place = Place::new()
        .with("a.lua", "local x = require 'lib.x'\nlocal function go()\n  x.fail()\nend\ngo()\nprint()")
        .with("lib/x.lua", "local x = {}\nfunction x.fail()\n  qlua.fs.read('missing')\nend\nreturn x");
    assert_eq!(
        place.err(1, &["a.lua"]),
        "qlua: error: cannot read `missing`: No such file or directory (os error 2)\n  \
         at a.lua:3\n  at a.lua:5\n  at ./lib/x.lua:3\n"
    );
}

#[test]
fn errors_are_one_sentence_without_noise() {
    let place = Place::new();
    let errors = [
        ("error('plain')", "plain\n  at (command line):1"),
        ("error('no position', 0)", "no position\n  at (command line):1"),
        ("error{ message = 'm', hint = 'h' }", "m\n  hint: h\n  at (command line):1"),
        (
            "error(setmetatable({}, { __tostring = function() return 'own' end }))",
            "own\n  at (command line):1",
        ),
        ("error()", "the script raised nil as an error\n  at (command line):1"),
        ("error{}", "the script raised a table without a `message` as an error\n  at (command line):1"),
        ("local x\nx.y = 1", "attempt to index a nil value (local 'x')\n  at (command line):2"),
        ("local x = = 1", "unexpected symbol near '='\n  at (command line):1"),
        ("local ok, e = pcall(error, 'first') error(e, 0)", "first\n  at (command line):1"),
        (
            "local ok, e = pcall(function() error('first') end)\nerror(e)",
            "first\n  at (command line):1\n  at (command line):2",
        ),
        (
            "local ok, e = pcall(qlua.fs.read, 'x')\nerror(e)",
            "cannot read `x`: No such file or directory (os error 2)\n  at (command line):1",
        ),
        ("coroutine.wrap(function() error('inside') end)()", "inside\n  at (command line):1"),
        (
            "require 'lib.nope'",
            "there is no module `lib.nope`\n  hint: it would be read from `./lib/nope.lua`\n  at (command line):1",
        ),
        (
            "qlua.fs.raed()",
            "qlua.fs has no field or function `raed`\n  hint: did you mean `read`?\n  at (command line):1",
        ),
    ];
    for (code, expected) in errors {
        assert_eq!(place.err(1, &["-e", code]), format!("qlua: error: {expected}\n"), "{code}");
    }
}

#[test]
fn syntax_errors_in_files_and_modules_name_the_file() {
    let place =
        Place::new().with("a.lua", "x = = 1").with("b.lua", "\nrequire 'bad'").with("bad.lua", "\n\nif");
    assert_eq!(place.err(1, &["a.lua"]), "qlua: error: unexpected symbol near '='\n  at a.lua:1\n");
    assert_eq!(
        place.err(1, &["b.lua"]),
        "qlua: error: unexpected symbol near <eof>\n  at b.lua:2\n  at ./bad.lua:3\n"
    );
}

#[test]
fn long_paths_are_shown_whole() {
    let folder = "a-folder-with-a-rather-long-name/and-another-one-of-the-same-kind/and-more";
    let place = Place::new().with(&format!("{folder}/x.lua"), "error('deep')");
    let path = format!("{folder}/x.lua");
    assert_eq!(place.err(1, &[&path]), format!("qlua: error: deep\n  at {path}:1\n"));
}

#[test]
fn a_stack_overflow_is_an_ordinary_error() {
    let err = Place::new().err(1, &["-e", "local function f() return 1 + f() end f()"]);
    assert!(err.starts_with("qlua: error: stack overflow"), "{err}");
    let err = Place::new().err(1, &["-e", "local function f() local ok, e = pcall(f) error(e, 0) end f()"]);
    assert!(err.starts_with("qlua: error: "), "{err}");
}

#[test]
fn exit_codes_are_those_of_the_script() {
    let place = Place::new();
    for (code, expected) in
        [("os.exit(3)", 3), ("os.exit(true)", 0), ("os.exit(false)", 1), ("os.exit(256 + 7)", 7)]
    {
        assert_eq!(place.run(&["-e", code]).code, Some(expected), "{code}");
    }
    let outcome = place.run(&["-e", "io.write('out') pcall(function() os.exit(5) end) print('never')"]);
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (Some(5), "out", ""));
    let in_coroutine = "coroutine.wrap(function() xpcall(os.exit, print, 6) end)()";
    assert_eq!(place.run(&["-e", in_coroutine]).code, Some(6));
    let closes =
        "local _ <close> = setmetatable({}, { __close = function() print('closed') end }) os.exit(4)";
    let outcome = place.run(&["-e", closes]);
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(4), "closed\n"));
    assert_eq!(place.run(&["-e", "error{ kind = 'verification', message = 'm' }"]).code, Some(3));
}

#[test]
fn output_of_lua_and_rust_keeps_its_order() {
    let code = "io.write('a ') qlua.cli.parser{ name = 'demo' }:parse{} print('b') io.stdout:write('c\\n')
                qlua.cli.parser{ name = 'demo' }:parse{ '--help' }";
    let out = Place::new().out(&["-e", code]);
    assert!(out.starts_with("a b\nc\nusage: demo"), "{out}");
}

#[test]
fn a_closed_pipe_ends_the_script_without_a_word() {
    for code in [
        "while true do print('line') end",
        "while true do pcall(io.write, 'x') end",
        "while true do io.stdout:write('x') end",
    ] {
        let mut child = Place::new()
            .command(&["-e", code])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let outcome = finish(wait(child));
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{code}");
    }
    // What is still in the buffer at the end, and what Rust prints, count too.
    for words in [&["-e", "io.write('x')"][..], &["doc"], &["-h"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let outcome = finish(Place::new().command(words).stdout(writer).output().unwrap());
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        eprintln!("SKIPPED: there is no /dev/full");
        return;
    }
    for words in [&["-e", "print('x')"][..], &["doc"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let outcome = finish(Place::new().command(words).stdout(full).output().unwrap());
        assert_eq!(outcome.code, Some(1), "{words:?}");
        assert!(outcome.err.contains("cannot write"), "{}", outcome.err);
    }
}

fn wait(child: Child) -> std::process::Output {
    let start = Instant::now();
    let mut child = child;
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("the process does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn interrupt(code: &str, signal: i32) -> (Option<i32>, String) {
    let code = format!("print('ready') io.stdout:flush() {code}");
    let mut child =
        Place::new().command(&["-e", &code]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // SAFETY: the process was started here and has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id() as i32, signal) };
    let outcome = finish(wait(child));
    (outcome.code, outcome.err)
}

#[test]
fn no_script_can_swallow_an_interruption() {
    let loops = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "local co = coroutine.wrap(function() while true do pcall(coroutine.yield) end end) while true do pcall(co) end",
        "while true do pcall(table.sort, {1,2,3}, function() while true do end end) end",
        "while true do pcall(string.gsub, 'x', 'x', function() while true do end end) end",
        "while true do load(function() while true do end end) end",
        "local m = setmetatable({}, { __index = function() while true do end end }) while true do pcall(function() return m.x end) end",
        "while true do pcall(function() local _ <close> = setmetatable({}, { __close = function() while true do end end }) end) end",
    ];
    for code in loops {
        assert_eq!(interrupt(code, libc::SIGINT), (Some(130), "qlua: interrupted\n".into()), "{code}");
    }
    assert_eq!(interrupt("while true do end", libc::SIGTERM).0, Some(130));
}

#[test]
fn a_second_interruption_ends_what_cannot_be_asked() {
    // Pattern matching that backtracks runs no Lua code in which the first wish could be noticed.
    let code = "print('ready') io.stdout:flush() string.find(('a'):rep(60), ('a-'):rep(30) .. 'b')";
    let mut child =
        Place::new().command(&["-e", code]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    while child.try_wait().unwrap().is_none() {
        // SAFETY: the process was started here and has not been waited for, so the id is still its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(finish(wait(child)).code, Some(130));
}

#[test]
fn an_interruption_ends_a_batch() {
    let place = Place::new()
        .with("a.lua", "print('ready') io.stdout:flush() while true do end")
        .with("b.lua", "print('never')");
    let mut child =
        place.command(&["-q", "run", "*.lua"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    // SAFETY: the process was started here and has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let outcome = finish(wait(child));
    assert_eq!((outcome.code, outcome.err.as_str(), rest.as_str()), (Some(130), "qlua: interrupted\n", ""));
}

#[test]
fn written_files_have_the_permissions_of_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().with("plain", "");
    place.out(&["-e", "qlua.fs.write('made', 'x')"]);
    let mode = |name: &str| std::fs::metadata(place.0.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("made"), mode("plain"));
}

#[test]
fn run_goes_on_past_failures_and_sums_up() {
    let place = Place::new()
        .with("s/a.lua", "print('a', ...) shared = 1 os.exit(0)")
        .with("s/b.lua", "error('broken')")
        .with("s/c.lua", "print('c', shared) os.exit(3)")
        .with("s/d.txt", "");
    let outcome = place.run(&["-q", "run", "s/*.lua", "s/a.lua", "--", "--x", "y"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.err, "qlua: error: broken\n  at s/b.lua:1\n");
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[..4], ["a\t--x\ty", "c\tnil", "", "script   result       seconds"]);
    assert!(
        lines[4].starts_with("s/a.lua  ok  ") && lines[5].starts_with("s/b.lua  exit code 1  "),
        "{lines:?}"
    );
    assert!(lines[6].starts_with("s/c.lua  exit code 3  "), "{lines:?}");
    assert_eq!(lines[7..], ["2 of 3 failed"]);
    assert!(place.run(&["run", "s/a.lua"]).out.ends_with("all 1 ok\n"));
    assert_eq!(place.err(2, &["run", "s/a.lua", "s/x*"]), "qlua: error: no script matches `s/x*`\n");
    assert!(place.err(2, &["run"]).contains("`GLOB` is missing"));
    assert!(place.out(&["run", "--help"]).starts_with("usage: qlua run [options] GLOB…\n"));
}

#[test]
fn log_follows_quiet_and_verbose() {
    let code = "qlua.log.debug('d') qlua.log.info('%d %s', 3, nil) qlua.log.info('100 %') qlua.log.warn('w')";
    let place = Place::new();
    assert_eq!(place.run(&["-e", code]).err, "3 nil\n100 %\nwarning: w\n");
    assert_eq!(place.run(&["-q", "-e", code]).err, "warning: w\n");
    assert_eq!(place.run(&["-v", "-e", code]).err, "debug: d\n3 nil\n100 %\nwarning: w\n");
}

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

#[test]
fn a_predicate_that_selects_nothing_is_named_in_a_warning() {
    let place = Place::new().with(
        "mine.lua",
        "local ranking = qlua.manifest.open(qlua.checkpoint.demo('demo').manifest):ranking()\n\
         ranking:select{}\n\
         ranking:select(function(group)\n  return group.tower == 'visual'\nend)\n\
         qlua.manifest.open('demo/manifest.json'):ranking{ exclude = function(g) return g.tower == 'visual' end }\n",
    );
    let outcome = place.run(&["-q", "mine.lua"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let lines: Vec<&str> = outcome.err.lines().collect();
    let [selects, excludes] = lines[..] else { panic!("{}", outcome.err) };
    assert!(selects.starts_with("warning: the predicate at mine.lua:3 selects none of the "), "{selects}");
    assert_eq!(excludes, "warning: the predicate `exclude` at mine.lua:6 leaves out no group");
}

#[test]
fn a_nil_block_that_is_compared_is_told_with_the_group_and_the_line() {
    let place = Place::new().with(
        "mine.lua",
        "local manifest = qlua.manifest.open(qlua.checkpoint.demo('demo').manifest)\n\
         manifest:ranking():select(function(group)\n  return group.block < 2\nend)\n",
    );
    let text = place.err(1, &["-q", "mine.lua"]);
    assert!(
        text.contains(
            "` has no `block`: it is nil for a group that is in no block (attempt to compare nil with number)"
        ),
        "{text}"
    );
    assert!(
        text.contains("hint: test it first: `group.block and …`\n  at mine.lua:3 | return group.block < 2\n  at mine.lua:2 | manifest"),
        "{text}"
    );
    let place = place.with(
        "loop.lua",
        "for _, group in ipairs(qlua.manifest.open('demo/manifest.json').groups) do\n  local early = group.block < 2\nend\n",
    );
    let text = place.err(1, &["-q", "loop.lua"]);
    assert!(text.contains("has no `block`") && text.contains("  at loop.lua:2"), "{text}");
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
    assert_eq!(outcome.err, "qlua: error: here\n  at stdin:2 | print(..., arg[0]) error('here')\n");
}

#[test]
fn a_shebang_line_counts_as_a_line() {
    let place = Place::new().with("a.lua", "#!/usr/bin/env qlua\nerror('second line')");
    assert_eq!(place.err(1, &["a.lua"]), "qlua: error: second line\n  at a.lua:2 | error('second line')\n");
    let place = Place::new().with("only.lua", "#!/usr/bin/env qlua");
    assert_eq!(place.out(&["only.lua"]), "");
}

#[test]
fn modules_are_found_beside_the_script_then_among_the_built_in_ones() {
    let place = Place::new()
        .with("s/a.lua", "print(require('lib.x').from, require('lib.sweep').name('top', 5, 'x'))")
        .with("s/lib/x.lua", "return { from = 'beside' }")
        .with("lib/x.lua", "return { from = 'current folder' }");
    assert_eq!(place.out(&["s/a.lua"]), "beside\ttop5_x\n");
    let elsewhere = finish(place.command(&["s/a.lua"]).env("LUA_PATH", "/nowhere/?.lua").output().unwrap());
    assert_eq!(elsewhere.code, Some(0));
    let place =
        Place::new().with("s/a.lua", "print(require('lib.sweep'))").with("s/lib/sweep.lua", "return 'own'");
    assert_eq!(place.out(&["s/a.lua"]).split('\t').next().unwrap().trim_end(), "own");
}

#[test]
fn built_in_scripts_run_by_name_and_use_built_in_modules() {
    let place = Place::new()
        .with("c.json", r#"{"b": {"x": 1}, "a": [1, 2]}"#)
        .with("lib/sweep.lua", "error('the wrong module')");
    let expected = "key  holds\nb    object of 1\nb.x  1\na    list of 2\n";
    assert_eq!(place.out(&["json_keys", "c.json", "--depth", "2"]), expected);
    assert!(place.out(&["json_keys", "--help"]).contains("\nUsage: qlua json_keys [OPTIONS] <FILE>\n"));
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
fn a_built_in_script_and_a_command_win_over_a_file_of_that_name() {
    let place = Place::new().with("json_keys", "print('file')").with("list", "print('file')");
    assert!(place.err(2, &["json_keys"]).starts_with("qlua: error: `FILE` is missing\n"));
    assert!(place.out(&["list"]).contains("json_keys"));
    assert_eq!(place.out(&["./json_keys"]), "file\n");
    assert_eq!(place.out(&["./list"]), "file\n");
}

#[test]
fn list_shows_a_line_per_script() {
    let out = Place::new().out(&["list"]);
    let line = out.lines().find(|l| l.trim_start().starts_with("json_keys")).unwrap();
    assert!(line.ends_with("List the keys of a JSON file, with what each one holds."), "{line}");
    assert!(!out.lines().any(|l| l.trim_start().starts_with("sweep")), "modules are no scripts");
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
    assert!(
        help.contains("  run          Run scripts one after another") && help.contains("2 usage"),
        "{help}"
    );
    assert!(place.err(2, &[]).contains("Usage: qlua [OPTIONS] SCRIPT [ARGS]..."));
    assert_eq!(
        place.err(2, &["--verison"]),
        "qlua: error: there is no option `--verison`\n  hint: did you mean `--version`?\n"
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
         at a.lua:3 | x.fail()\n  at a.lua:5 | go()\n  at ./lib/x.lua:3 | qlua.fs.read('missing')\n"
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
        ("local ok, e = pcall(function() error('first') end)\nerror(e)", "first\n  at (command line):1"),
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
    assert_eq!(place.err(1, &["a.lua"]), "qlua: error: unexpected symbol near '='\n  at a.lua:1 | x = = 1\n");
    assert_eq!(
        place.err(1, &["b.lua"]),
        "qlua: error: unexpected symbol near <eof>\n  at b.lua:2 | require 'bad'\n  at ./bad.lua:3 | if\n"
    );
}

#[test]
fn long_paths_are_shown_whole() {
    let folder = "a-folder-with-a-rather-long-name/and-another-one-of-the-same-kind/and-more";
    let place = Place::new().with(&format!("{folder}/x.lua"), "error('deep')");
    let path = format!("{folder}/x.lua");
    assert_eq!(place.err(1, &[&path]), format!("qlua: error: deep\n  at {path}:1 | error('deep')\n"));
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
    assert!(out.starts_with("a b\nc\nUsage: qlua demo"), "{out}");
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
    let printing = [
        // What is in the buffer at the end, and what is too much for it.
        "print('x')",
        "for i = 1, 1e5 do print('a line of some length', i) end",
        "io.write('x')",
        "io.write(('x'):rep(1e6))",
        "io.stdout:write(('x'):rep(1e6))",
        // Whoever asks for it early is told early.
        "print('x') io.stdout:flush() os.exit(0)",
        "io.write('x') io.flush() os.exit(0)",
        "print('x') qlua.log.info('between') print('y')",
    ];
    let scripts = printing.map(|code| vec!["-e", code]);
    let commands =
        [vec!["doc"], vec!["-h"], vec!["all_layers_topx", "--help"], vec!["--sandbox", "-e", "print('x')"]];
    for words in scripts.into_iter().chain(commands) {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let outcome = finish(Place::new().command(&words).stdout(full).output().unwrap());
        assert_eq!(outcome.code, Some(1), "{words:?}");
        let mut lines = outcome.err.lines().filter(|line| !line.starts_with("  at ") && *line != "between");
        let sentence =
            "qlua: error: cannot write to the standard output: No space left on device (os error 28)";
        assert_eq!(lines.next(), Some(sentence), "{words:?}: {}", outcome.err);
        let hint =
            "  hint: free some space where it goes, or send it elsewhere: what is there is not complete";
        assert_eq!((lines.next(), lines.next()), (Some(hint), None), "{words:?}: {}", outcome.err);
    }
    // Other files of a script are its own to look after.
    let code = "local f = assert(io.open('/dev/full', 'w')) f:write('x') print(f:flush())";
    let outcome = finish(Place::new().command(&["-e", code]).output().unwrap());
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(0), "nil\tNo space left on device\t28\n"));
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
    assert_eq!(outcome.err, "qlua: error: broken\n  at s/b.lua:1 | error('broken')\n");
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[..4], ["a\t--x\ty", "c\tnil", "", "script   result       seconds"]);
    assert!(
        lines[4].starts_with("s/a.lua  ok  ") && lines[5].starts_with("s/b.lua  exit code 1  "),
        "{lines:?}"
    );
    assert!(lines[6].starts_with("s/c.lua  exit code 3  "), "{lines:?}");
    assert_eq!(lines[7..], ["2 of 3 failed"]);
    assert!(place.run(&["run", "s/a.lua"]).out.ends_with("all 1 ok\n"));
    assert_eq!(
        place.err(2, &["run", "s/a.lua", "s/x*"]),
        "qlua: error: no script matches `s/x*`\n  hint: `*` matches any run of characters; quote the glob, or the shell takes it apart\n"
    );
    assert!(place.err(2, &["run"]).contains("`GLOB` is missing"));
    assert!(place.out(&["run", "--help"]).contains("\nUsage: qlua run [OPTIONS] <GLOB>... [-- [ARGS]...]\n"));
}

#[test]
fn log_follows_quiet_and_verbose() {
    let code = "qlua.log.debug('d') qlua.log.info('%d %s', 3, nil) qlua.log.info('100 %') qlua.log.warn('w')";
    let place = Place::new();
    assert_eq!(place.run(&["-e", code]).err, "3 nil\n100 %\nwarning: w\n");
    assert_eq!(place.run(&["-q", "-e", code]).err, "warning: w\n");
    assert_eq!(place.run(&["-v", "-e", code]).err, "debug: d\n3 nil\n100 %\nwarning: w\n");
}

#[test]
fn help_and_version_are_commands_too() {
    let place = Place::new();
    assert_eq!(place.out(&["help"]), place.out(&["--help"]));
    assert_eq!(place.out(&["version"]), place.out(&["--version"]));
    assert_eq!(place.out(&["help", "verify"]), place.out(&["verify", "--help"]));
    assert_eq!(place.out(&["help", "all_layers_topx"]), place.out(&["all_layers_topx", "-h"]));
    assert_eq!(place.out(&["help", "fs.read"]), place.out(&["doc", "fs.read"]));
    assert_eq!(
        place.err(2, &["help", "verfy"]),
        "qlua: error: there is no script or command `verfy`\n  hint: did you mean `verify`?\n"
    );
    assert_eq!(
        place.err(2, &["verify", "--headrs", "x"]),
        "qlua: error: there is no option `--headrs`\n  hint: did you mean `--headers`?\n"
    );
}

#[test]
fn help_is_as_wide_as_columns_says_and_breaks_no_word() {
    let words = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
    let place = Place::new();
    let of = |words: &[&str], columns: Option<&str>| {
        let mut command = place.command(words);
        match columns {
            Some(columns) => command.env("COLUMNS", columns),
            None => command.env_remove("COLUMNS"),
        };
        finish(command.output().unwrap()).out
    };
    for asked in [&["--help"][..], &["all_layers_topx", "--help"], &["help", "man"]] {
        let usual = of(asked, None);
        for (columns, width) in [(None, 80), (Some("60"), 60), (Some("132"), 132), (Some("none"), 80)] {
            let text = of(asked, columns);
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "{asked:?} has {longest} columns of {width}:\n{text}");
            assert_eq!(words(&text), words(&usual), "{asked:?}");
        }
    }
}

#[test]
fn completions_and_pages_know_every_script_that_is_built_in() {
    let place = Place::new();
    let scripts: Vec<String> = place
        .out(&["list"])
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_string())
        .collect();
    assert!(scripts.len() > 10, "{scripts:?}");
    let [zsh, fish] = ["zsh", "fish"].map(|shell| place.out(&["completions", shell]));
    let page = place.out(&["man"]);
    place.out(&["man", "--out", "pages"]);
    for script in &scripts {
        assert!(zsh.contains(&format!("({script})")) && fish.contains(script), "{script}");
        assert!(page.contains(&format!("qlua\\-{script}(1)")), "{script}");
        let written = std::fs::read_to_string(place.0.path().join(format!("pages/qlua-{script}.1"))).unwrap();
        let help = place.out(&[script, "--help"]);
        for option in help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
            let name =
                option.trim_start_matches('-').split(['=', ',', ')']).next().unwrap().replace('-', "\\-");
            assert!(written.contains(&name), "{script}: {option}");
        }
        assert!(help.contains(&format!("\nUsage: qlua {script} ")), "{help}");
        assert!(place.out(&["man", script]).contains(&format!(".TH qlua-{script} 1")), "{script}");
    }
    assert!(!place.0.path().join("qlua-demo").exists(), "to declare is not to run");
    assert!(place.err(2, &["completions", "tcsh"]).contains("must be one of bash, zsh, fish"));
    assert!(place.err(2, &["man", "verfy"]).contains("did you mean `verify`?"));
}

#[test]
fn verbose_says_what_runs_from_what_and_how_long() {
    let place = Place::new();
    let outcome = place.run(&["-v", "all_layers_topx", "--top", "10", "--threads", "1", "--device", "cpu"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let said: Vec<&str> = outcome.err.lines().filter(|line| line.starts_with("debug: ")).collect();
    for (line, begin) in said.iter().zip([
        "debug: built-in:scripts/all_layers_topx.lua (SHA-256 ",
        "debug: sources: qlua-demo/model (2 weight files, 3.5 MB), qlua-demo/manifest.json (32 groups)",
        "debug: planned, written and checked in ",
        "debug: exit code 0 after ",
    ]) {
        assert!(line.starts_with(begin), "{said:?}");
    }
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[2].contains("with 1 thread, device cpu"), "{said:?}");
    assert!(!place.run(&["all_layers_topx", "--top", "10"]).err.contains("debug"));
}

/// Threads of the process after a run, beside the main one and that of Ctrl-C.
#[cfg(target_os = "linux")]
#[test]
fn threads_bound_what_hashes_and_verifies_too() {
    for threads in [1, 3, 7] {
        let code = format!(
            "local demo = qlua.checkpoint.demo('demo')
             local family = qlua.export.family{{
               model = demo.model, manifest = demo.manifest, out = 'out', device = 'cpu', threads = {threads},
             }}
             family:add('top50', family.manifest:ranking():lowest(50))
             family:run()
             assert(#qlua.verify.directory('out/top50') == 0)
             for line in io.lines('/proc/self/status') do
               local count = line:match('^Threads:%s*(%d+)')
               if count then print(count) end
             end"
        );
        let count: usize = Place::new().out(&["-q", "-e", &code]).trim().parse().unwrap();
        assert_eq!(count, threads + 2);
    }
}

#[test]
fn what_failed_is_not_said_to_be_finished() {
    let broken = "local demo = qlua.checkpoint.demo('demo')
                  local base = qlua.checkpoint.open(demo.model)
                  local layer = 'model.layers.0.mlp.down_proj'
                  local shape, values = base:tensor(layer .. '.weight').shape, {}
                  for i = 1, shape[1] * shape[2] do values[i] = 0 / 0 end
                  local writer = qlua.export.writer{ out = 'nan', base = base }
                  writer:add(layer .. '.weight', qlua.tensor.from_list(values, { shape = shape, dtype = 'bf16' }))
                  writer:copy('*')
                  writer:finish() ";
    let place = Place::new();
    let finished = place.run(&["-e", broken]);
    assert_eq!(finished.code, Some(0), "{}", finished.err);
    assert!(finished.err.starts_with("nan: 3.5 MB in "), "{}", finished.err);
    let family = "local family = qlua.export.family{ model = 'nan', manifest = 'demo/manifest.json', out = 'out', device = 'cpu' }
                  family:add('all', family.manifest:ranking():lowest(100)) family:run()";
    let writer = "local writer = qlua.export.writer{ out = 'out', base = 'nan' }
                  writer:quantize('model.layers.0.mlp.down_proj') writer:copy('*') writer:finish()";
    for code in [family, writer] {
        let err = place.err(1, &["-e", code]);
        assert!(err.contains("NaN") && !err.contains(" MB") && !err.contains(" s\n"), "{err}");
    }
}

/// What qlua does for its own memory is nobody else's business: an engine that a script starts wants pages of 2 MiB.
#[cfg(target_os = "linux")]
#[test]
fn a_command_of_a_script_gets_the_pages_that_qlua_was_given() {
    let state = |text: &str| text.lines().find(|line| line.starts_with("THP_enabled:")).map(str::to_string);
    let given = state(&std::fs::read_to_string("/proc/self/status").unwrap());
    for code in [
        "os.execute('cat /proc/self/status')",
        "io.write(io.popen('cat /proc/self/status'):read('a'))",
        "pcall(os.execute, {}) pcall(io.popen) os.execute('exit 1') os.execute('cat /proc/self/status')",
    ] {
        assert_eq!(state(&Place::new().out(&["-e", code])), given, "{code}");
    }
    let own = "pcall(os.execute, {}) os.execute('exit 1') for line in io.lines('/proc/self/status') do print(line) end";
    let own = state(&Place::new().out(&["-e", own]));
    assert_eq!(own, given.map(|_| "THP_enabled:\t0".to_string()));
}

//! qlua on a terminal: in `qlua repl` and `-i` what is entered, shown, completed, kept and stopped; tables, bars and pages that fit.

mod common;

#[path = "session/piped.rs"]
mod piped;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::terminal::Terminal;
use tempfile::TempDir;

/// A folder that sessions run in, with a home of their own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(&self.0).env("HOME", self.path("home")).env_remove("XDG_STATE_HOME");
        command.env_remove("PAGER").env_remove("LESS").env_remove("COLUMNS");
        command
    }

    /// A session that waits for its first line.
    fn session(&self, words: &[&str]) -> Terminal {
        let mut terminal = Terminal::start(self.command(words), 80);
        terminal.wait_for("> ");
        terminal
    }

    fn repl(&self) -> Terminal {
        self.session(&["repl"])
    }

    /// What a session prints that reads `lines` from a pipe, and what it complains of.
    fn piped(&self, lines: &str) -> (Option<i32>, String, String) {
        let mut command = self.command(&["repl"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// The exit code of a session that Ctrl-D ends.
fn code_after_end(mut terminal: Terminal) -> Option<i32> {
    // Between two lines the terminal takes the key for the end of a file, which nobody reads.
    loop {
        terminal.keys("\x04");
        if terminal.ends_within(Duration::from_secs(2)) {
            return terminal.end().0.code();
        }
    }
}

#[test]
fn values_are_shown_errors_end_nothing_and_ctrl_d_ends_all() {
    let place = Place::new();
    let mut terminal = place.repl();
    assert_eq!(terminal.line("1 + 1, nil, 'text'"), "2\nnil\n\"text\"\n");
    assert_eq!(terminal.line("x = { 1, 2, name = 'a' }"), "");
    assert_eq!(terminal.line("x"), "{ 1, 2, name = \"a\" }\n");
    assert_eq!(terminal.line("print(#x)"), "2\n");
    let complaint = terminal.line("x.y.z = 1");
    assert!(complaint.starts_with("qlua: error: attempt to index a nil value (field 'y')\n"), "{complaint}");
    let complaint = terminal.line("qlua.fs.raed()");
    assert!(complaint.contains("hint: did you mean `read`?"), "{complaint}");
    assert!(!complaint.contains("[C]") && !complaint.contains("[qlua]"), "{complaint}");
    let complaint = terminal.line("x = = 1");
    assert!(complaint.contains("unexpected symbol near '='"), "{complaint}");
    assert_eq!(terminal.line("#x"), "2\n");
    assert_eq!(
        terminal.line("local y = 1"),
        "note: a local variable ends with its line; without `local` it stays\n"
    );
    assert_eq!(terminal.line("local y = 1 print(y)"), "1\n");
    assert_eq!(code_after_end(terminal), Some(0));
    let mut terminal = place.repl();
    terminal.keys("os.exit(7)\r");
    assert_eq!(terminal.end().0.code(), Some(7));
}

#[test]
fn a_statement_takes_as_many_lines_as_it_needs() {
    let place = Place::new();
    let mut terminal = place.repl();
    terminal.keys("for i = 1, 2 do\r  print(i * 11)\rend\r");
    terminal.wait_for("11\n22\n> ");
    terminal.keys("[[one\rtwo]]\r");
    terminal.wait_for("one\ntwo\n> ");
    assert_eq!(code_after_end(terminal), Some(0));
    let (code, out, err) =
        place.piped("t = {\n1,\n2 }\n#t\nfunction f()\nerror('here')\nend\nf()\n'after'\n");
    assert_eq!((code, out.as_str()), (Some(0), "2\n\"after\"\n"));
    assert!(err.starts_with("qlua: error: here\n  at (line 3):2 | error('here')\n"), "{err}");
}

#[test]
fn ctrl_c_stops_what_runs_and_not_the_session() {
    let place = Place::new();
    let mut terminal = place.repl();
    assert_eq!(terminal.line("x = 5"), "");
    for endless in [
        "io.write('be', 'gun\\n') io.flush() while true do x = x + 1 end",
        "io.write('be', 'gun\\n') io.flush() while true do pcall(function() while true do end end) end",
        "io.write('be', 'gun\\n') io.flush() for _ = 1, 1e9 do qlua.tensor.from_list{ 1, 2 }:stats() end",
    ] {
        terminal.keys(&format!("{endless}\r"));
        terminal.wait_for("begun\n");
        terminal.keys("\x03");
        let said = terminal.wait_for("> ");
        assert!(said.contains("qlua: interrupted\n"), "{said}");
        assert_eq!(terminal.line("x > 4"), "true\n");
    }
    // What is typed but not entered is dropped.
    terminal.keys("os.exit(3)\x03");
    terminal.wait_for("> ");
    assert_eq!(terminal.line("'still'"), "\"still\"\n");
    assert_eq!(code_after_end(terminal), Some(0));
}

#[test]
fn a_second_ctrl_c_ends_a_session_whose_line_hears_nothing() {
    let place = Place::new();
    let mut terminal = place.repl();
    // The library of Lua goes back and forth in this, and no hook sees it.
    terminal.keys("print('be' .. 'gun') string.find(('a'):rep(40), ('a*'):rep(40) .. 'b')\r");
    terminal.wait_for("begun\n");
    terminal.keys("\x03");
    terminal.wait_for("Ctrl-C again ends the session at once\n");
    terminal.keys("\x03");
    assert_eq!(terminal.end().0.code(), Some(130));
}

#[test]
fn a_signal_to_end_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let terminal = place.repl();
        assert!(!terminal.is_plain());
        // SAFETY: the process was started here, and has not been waited for.
        unsafe { libc::kill(terminal.id(), signal) };
        std::thread::sleep(Duration::from_millis(200));
        assert!(terminal.is_plain());
        assert_eq!(terminal.end().0.code(), Some(130));
    }
    let mut terminal = place.repl();
    terminal.keys("print('be' .. 'gun') while true do end\r");
    terminal.wait_for("begun\n");
    // SAFETY: as above.
    unsafe { libc::kill(terminal.id(), libc::SIGTERM) };
    assert_eq!(terminal.end().0.code(), Some(130));
}

#[test]
fn lines_are_kept_for_the_next_session() {
    let place = Place::new();
    let mut terminal = place.repl();
    assert_eq!(terminal.line("print('one' .. '!')"), "one!\n");
    terminal.keys("print(\r'two' .. '!')\r");
    terminal.wait_for("two!\n> ");
    assert_eq!(terminal.line(" print('secret')"), "secret\n");
    assert_eq!(code_after_end(terminal), Some(0));
    let kept = std::fs::read_to_string(place.path("home/.local/state/qlua/history")).unwrap();
    assert!(kept.contains("'one'") && kept.contains("'two'") && !kept.contains("secret"), "{kept}");
    let mut terminal = place.repl();
    // The second key goes up within the entry of two lines.
    terminal.keys("\x1b[A\x1b[A\x1b[A\r");
    terminal.wait_for("one!\n> ");
    assert_eq!(code_after_end(terminal), Some(0));
    // The folder that the variable names; without a home the session goes on.
    let mut command = place.command(&["repl"]);
    command.env("XDG_STATE_HOME", place.path("state"));
    let mut terminal = Terminal::start(command, 80);
    terminal.wait_for("> ");
    assert_eq!(terminal.line("2"), "2\n");
    assert_eq!(code_after_end(terminal), Some(0));
    assert!(place.path("state/qlua/history").is_file());
    let mut command = place.command(&["repl"]);
    command.env_remove("HOME");
    let mut terminal = Terminal::start(command, 80);
    assert!(
        terminal
            .wait_for("> ")
            .contains("warning: lines are not kept: nothing says where your home directory is")
    );
    assert_eq!(terminal.line("3"), "3\n");
    assert_eq!(code_after_end(terminal), Some(0));
}

#[test]
fn tab_completes_what_the_declarations_have() {
    let place = Place::new();
    std::fs::write(place.path("numbers.txt"), "17").unwrap();
    let mut terminal = place.repl();
    let shown = |terminal: &mut Terminal, keys: &str, result: &str| {
        terminal.keys(&format!("{keys}\r"));
        terminal.wait_for(&format!("\n{result}\n"));
        terminal.wait_for("> ");
    };
    shown(&mut terminal, "qlua.tens\t.from_l\t", "function qlua.tensor.from_list");
    assert_eq!(terminal.line("values = qlua.tensor.from_list{ 1, -3 }"), "");
    shown(&mut terminal, "val\t:am\t()", "3.0");
    shown(&mut terminal, "values:sta\t().elem\t", "2");
    // After a call: what its declaration says that it gives. An option by its name, and its words.
    shown(&mut terminal, "qlua.tensor.from_list{ 1 }:sl\t(1, 1).elem\t", "1");
    shown(&mut terminal, "qlua.tensor.from_list({ 1 }, { dt\t\"bf\t\" }).dtype", "\"BF16\"");
    shown(&mut terminal, "('x'):re\tp(3)", "\"xxx\"");
    shown(&mut terminal, "qlua.fs.read('num\t')", "\"17\"");
    // Several are listed.
    terminal.keys("values:s\t\t");
    let listed = terminal.wait_for("stats");
    assert!(listed.contains("slice"), "{listed}");
    terminal.keys("\x03");
    terminal.wait_for("> ");
    assert_eq!(code_after_end(terminal), Some(0));
}

#[test]
fn rows_are_tables_and_tensors_one_line() {
    let place = Place::new();
    let lines = "qlua.tensor.from_list({ 1, 2, 3, 4, 5, 6, 7, 8 }, { shape = { 2, 4 }, dtype = 'bf16' })\n\
                 qlua.tensor.from_list({ 1, 3 }):stats()\n\
                 m = qlua.manifest.open(qlua.checkpoint.demo('demo').manifest)\n\
                 m.groups\n\
                 qlua.fs.read\n\
                 qlua.fs\n\
                 { 1, { a = 'x' } }\n";
    let (code, out, err) = place.piped(lines);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let mut shown = out.lines();
    assert_eq!(shown.next(), Some("Tensor(BF16 [2, 4]) 16 B: 1, 2, 3, 4, 5, 6, …"));
    assert_eq!(shown.next(), Some("Stats"));
    let row: Vec<&str> = shown.by_ref().take(9).collect();
    assert!(
        row[0].split_whitespace().eq(["elements", "2"]) && row[3].split_whitespace().eq(["mean", "2.0"]),
        "{row:?}"
    );
    let table: Vec<&str> = shown.collect();
    assert!(table.iter().all(|line| line.chars().count() <= 80), "{out}");
    assert!(table[0].contains("name") && table[0].contains("score"), "what people choose by: {out}");
    assert!(table[1].trim_start().starts_with("1  "), "{out}");
    assert!(out.contains("\n… ") && out.contains(" more\n") && out.contains("no room for "), "{out}");
    assert!(
        out.ends_with(
            "function qlua.fs.read\nqlua.fs: help(qlua.fs) lists what it has\n{ 1, { a = \"x\" } }\n"
        ),
        "{out}"
    );
}

#[test]
fn help_says_what_doc_says() {
    let place = Place::new();
    let doc = |name: &str| {
        let output = place.command(&["doc", name]).output().unwrap();
        assert!(output.status.success(), "{name}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (asked, name) in [
        ("qlua.fs.read", "fs.read"),
        ("qlua.fs", "fs"),
        ("qlua", "qlua"),
        ("'Manifest:ranking'", "Manifest:ranking"),
        ("qlua.tensor.from_list{ 1 }", "Tensor"),
        ("qlua.tensor.from_list{ 1 }.stats", "Tensor:stats"),
        ("qlua.tensor.from_list{ 1 }:stats()", "Stats"),
    ] {
        assert_eq!(place.piped(&format!("help({asked})\n")).1, doc(name), "{asked}");
    }
    let (_, out, err) = place.piped("help()\nhelp\nhelp(string.format)\nhelp 'fs.raed'\nhelp(3)\n");
    assert!(out.matches("Ctrl-D ends the session").count() == 2 && out.contains("qlua.manifest"), "{out}");
    assert!(
        out.contains("string.format is part of Lua: ") && out.contains("3: a plain integer of Lua"),
        "{out}"
    );
    assert!(err.contains("did you mean `fs.read`?"), "{err}");
    std::fs::write(place.path("own.lua"), "--- Doubles a number.\nfunction double(n) return 2 * n end\n")
        .unwrap();
    let mut terminal = place.session(&["-q", "-i", "own.lua"]);
    assert_eq!(
        terminal.line("help(double)"),
        "function double(n) return 2 * n end\n\nDoubles a number.\n\ndefined at own.lua:2\n"
    );
    assert_eq!(code_after_end(terminal), Some(0));
}

#[test]
fn a_session_goes_on_after_a_script_however_that_ended() {
    let place = Place::new();
    std::fs::write(place.path("a.lua"), "x = ... print('ran') error('on purpose')").unwrap();
    let mut terminal = Terminal::start(place.command(&["-i", "-e", "y = 1", "a.lua", "word"]), 80);
    let shown = terminal.wait_for("> ");
    assert!(
        shown.starts_with("ran\nqlua: error: on purpose\n  at a.lua:1 | x = ... print('ran')"),
        "{shown}"
    );
    assert_eq!(terminal.line("x, y"), "\"word\"\n1\n");
    assert_eq!(code_after_end(terminal), Some(0));
    std::fs::write(place.path("b.lua"), "x = 7 print('ran') while true do end").unwrap();
    let mut terminal = Terminal::start(place.command(&["-i", "b.lua"]), 80);
    terminal.wait_for("ran\n");
    terminal.keys("\x03");
    assert!(terminal.wait_for("> ").contains("qlua: interrupted\n"));
    assert_eq!(terminal.line("x"), "7\n");
    assert_eq!(code_after_end(terminal), Some(0));
}

#[test]
fn sessions_that_make_no_sense_are_refused() {
    let place = Place::new();
    for (words, problem) in [
        (&["-i", "list"][..], "`-i` goes with a script, not with the command `list`"),
        (&["-i", "--sandbox", "x.lua"], "`-i` does not go with `--sandbox`"),
        (&["-i", "-"], "`-i` does not go with a script from standard input"),
        (&["repl", "x"], "there is an argument too many: `x`"),
    ] {
        let output = place.command(words).stdin(Stdio::null()).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {complaint}");
        assert!(complaint.contains(problem) && complaint.contains("hint: "), "{complaint}");
    }
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let place = Place::new();
    let shown = |pager: Option<&str>, words: &[&str]| {
        let mut command = place.command(words);
        if let Some(pager) = pager {
            command.env("PAGER", pager);
        }
        let (status, shown) = Terminal::start(command, 60).end();
        assert_eq!(status.code(), Some(0), "{shown}");
        shown
    };
    let pager = "tr a-z A-Z";
    assert!(shown(Some(pager), &["doc", "fs"]).contains("QLUA.FS.READ(PATH)"));
    assert!(shown(Some(pager), &["doc", "fs.basename"]).starts_with("qlua.fs.basename(path)\n"), "it fits");
    for none in ["", "cat", "no-such-pager 2>/dev/null"] {
        assert!(shown(Some(none), &["doc", "fs"]).contains("qlua.fs.read(path)"), "{none}");
    }
    let output = place.command(&["doc", "fs"]).env("PAGER", pager).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("qlua.fs.read(path)"));
    for words in [&["doc", "fs"][..], &["doc", "Manifest"], &["doc"], &["list"]] {
        let shown = shown(Some("cat"), words);
        let long: Vec<&str> = shown.lines().filter(|line| line.chars().count() > 60).collect();
        assert!(long.is_empty(), "{words:?}: {long:#?}");
    }
}

#[test]
fn a_sweep_and_a_check_fit_a_terminal_of_eighty_columns() {
    let place = Place::new();
    let shown = |words: &[&str], columns: u16| {
        let (status, shown) = Terminal::start(place.command(words), columns).end();
        assert_eq!(status.code(), Some(0), "{shown}");
        shown
    };
    let swept = shown(&["all_layers_topx", "--top", "10,50", "--device", "cpu", "--threads", "2"], 80);
    let table: Vec<&str> = swept.lines().skip_while(|line| !line.starts_with("scheme ")).take(4).collect();
    assert!(table.iter().all(|line| line.chars().count() <= 80), "{swept}");
    let titles: Vec<&str> = table[0].split("  ").map(str::trim).filter(|title| !title.is_empty()).collect();
    assert_eq!(titles, ["scheme", "groups", "of", "FP8 layers", "score", "size"], "{swept}");
    assert!(table[3].starts_with("no room for `kept BF16`"), "{swept}");
    // As wide as it takes, all is there.
    let wide = shown(&["all_layers_topx", "--top", "10,50", "--dry-run"], 200);
    assert!(wide.contains("effective bits") && !wide.contains("no room"), "{wide}");
    let ends = |said: &str, what: &str| {
        said.lines().any(|line| {
            line.contains(&format!("{what}: ")) && line.ends_with(" s") && line.contains(" MB in ")
        })
    };
    let scheme = |point: u32| format!("qlua-demo/quantized/fp8_autoquant_all_layers_top{point}_coco2017");
    let words = |more: &[&'static str]| -> Vec<String> {
        more.iter().map(|word| word.to_string()).chain([scheme(10), scheme(50)]).collect()
    };
    let verified = |more: &[&'static str]| {
        let words = words(more);
        shown(&words.iter().map(String::as_str).collect::<Vec<_>>(), 80)
    };
    assert!(ends(&verified(&["verify"]), "2 directories"));
    assert_eq!(verified(&["verify", "-q"]), "", "with -q nothing");
    assert!(!verified(&["verify", "--headers"]).contains(" in "), "headers take no time");
    let piped = place.command(&["verify", &scheme(10)]).output().unwrap();
    assert!(piped.status.success() && piped.stderr.is_empty(), "no terminal, no bar");
}

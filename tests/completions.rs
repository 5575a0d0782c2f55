//! What shells complete: each test asks the shell itself, where it is installed.

#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every file of tests uses all of it")]
mod terminal;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use terminal::Terminal;

/// A folder with the completions for `shell` and a script of somebody in it; nothing, said aloud, where there is no such shell.
fn place(shell: &str, file: &str) -> Option<TempDir> {
    if Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no {shell}");
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_qlua")).args(["completions", shell]).output().unwrap();
    fs::write(place.path().join(file), output.stdout).unwrap();
    fs::write(place.path().join("mine.lua"), "").unwrap();
    fs::create_dir(place.path().join("models")).unwrap();
    out(place.path(), &[shell, "-n", file]);
    Some(place)
}

/// The standard output of `words` in `place`, of which nothing goes wrong.
fn out(place: &Path, words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(place).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_commands_scripts_and_their_options() {
    let Some(place) = place("bash", "qlua.bash") else { return };
    fs::write(
        place.path().join("try.bash"),
        "source qlua.bash\ncompopt() { :; }\nCOMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))\n\
         _qlua \"$1\" \"${@: -1}\" \"${@: -2:1}\"\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n",
    )
    .unwrap();
    let completed = |words: &[&str]| -> Vec<String> {
        let words = [&["bash", "try.bash", "qlua"], words].concat();
        out(place.path(), &words).lines().map(str::to_string).collect()
    };
    assert_eq!(completed(&["ver"]), ["verify", "version"]);
    assert_eq!(completed(&["all_l"]), ["all_layers_baseline", "all_layers_topx"]);
    assert_eq!(completed(&["all_layers_topx", "--d"]), ["--dialect", "--device", "--dry-run"]);
    assert_eq!(completed(&["all_layers_topx", "--dialect", ""]), qlua::dialect::DialectChoice::WORDS);
    assert_eq!(completed(&["weight_sensitivity", "--formats", "c"]), ["channel"]);
    assert_eq!(completed(&["verify", "--he"]), ["--headers", "--help"]);
    assert_eq!(completed(&["help", "keep"]), ["keep_edges"]);
    assert_eq!(completed(&["completions", "z"]), ["zsh"]);
}

#[test]
fn fish_completes_commands_scripts_their_options_and_files() {
    let Some(place) = place("fish", "qlua.fish") else { return };
    let completed = |line: &str| -> Vec<String> {
        let code = format!("source qlua.fish; complete -C {line:?}");
        let text = out(place.path(), &["fish", "-c", &code]);
        // A description may follow.
        text.lines().map(|line| line.split('\t').next().unwrap().to_string()).collect()
    };
    assert_eq!(completed("qlua ver"), ["verify", "version"]);
    assert_eq!(completed("qlua all_l"), ["all_layers_baseline", "all_layers_topx"]);
    assert_eq!(completed("qlua all_layers_topx --dia"), ["--dialect"]);
    let mut words = qlua::dialect::DialectChoice::WORDS.to_vec();
    words.sort_unstable();
    assert_eq!(completed("qlua all_layers_topx --dialect "), words);
    assert_eq!(completed("qlua all_layers_topx --model m"), ["models/"]);
    assert_eq!(completed("qlua help keep"), ["keep_edges"]);
    assert_eq!(completed("qlua completions z"), ["zsh"]);
    assert_eq!(completed("qlua ./mi"), ["./mine.lua"]);
    assert_eq!(completed("qlua verify m"), ["mine.lua", "models/"]);
}

#[test]
fn zsh_completes_commands_scripts_their_options_and_files() {
    let Some(place) = place("zsh", "_qlua") else { return };
    // A key that writes the line down and empties it.
    let settings = "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D\n\
                    note() { print -r -- $BUFFER >> lines; BUFFER= }; zle -N note; bindkey '^T' note\nprint began\n";
    fs::write(place.path().join(".zshrc"), settings).unwrap();
    let mut command = Command::new("zsh");
    command.args(["--no-global-rcs", "-i"]).current_dir(&place).env("ZDOTDIR", place.path());
    let mut terminal = Terminal::start(command, 200);
    terminal.wait_for("began");
    let lines = [
        ("qlua verif", "qlua verify "),
        ("qlua lm_o", "qlua lm_only_topx "),
        ("qlua all_layers_topx --dia", "qlua all_layers_topx --dialect="),
        ("qlua all_layers_topx --dialect comp", "qlua all_layers_topx --dialect compressed-tensors "),
        ("qlua all_layers_topx --model m", "qlua all_layers_topx --model models/"),
        ("qlua help keep", "qlua help keep_edges "),
        ("qlua completions z", "qlua completions zsh "),
        ("qlua ./mi", "qlua ./mine.lua "),
    ];
    for (typed, _) in lines {
        terminal.keys(&format!("{typed}\t\x14"));
    }
    terminal.keys("exit\r");
    terminal.end();
    let completed = fs::read_to_string(place.path().join("lines")).unwrap();
    assert_eq!(completed.lines().collect::<Vec<_>>(), lines.map(|(_, completed)| completed));
}

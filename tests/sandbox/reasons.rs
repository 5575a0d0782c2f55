//! What is refused is refused for its own reason, and not for another that happens to lie in the way: each script goes through
//! where nothing but that is changed.

use std::fs;
use std::process::Output;

use super::{Place, SLACK, asking};

fn err(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_path_that_was_left_out_is_one_like_any_other() {
    let place = Place::new();
    let code = "qlua.export.family{ manifest = qlua.manifest.open('read/manifest.json'), model = 'read/plain' } print('made')";
    let run = |write: &str, code: &str| {
        place.run(&[
            "--sandbox",
            "--read",
            "read/manifest.json",
            "--read",
            "read/plain",
            "--write",
            write,
            "-e",
            code,
        ])
    };
    let refused = err(&run("write", code));
    assert!(refused.contains("`quantized` lies outside of what this sandbox may write"), "{refused}");
    let named = code.replace("model =", "out = 'write/out', model =");
    assert_eq!(run("write", &named).stdout, b"made\n");
    fs::create_dir(place.path().join("quantized")).unwrap();
    assert_eq!(run("quantized", code).stdout, b"made\n");
}

#[test]
fn dots_are_refused_for_what_they_would_tell() {
    let place = Place::new();
    let run = |path: &str| {
        let code = format!("print(qlua.fs.read('{path}'))");
        place.run(&["--sandbox", "--read", "read", "-e", &code])
    };
    for path in ["read/file.txt", "read/deep/../file.txt", "./read/../read/file.txt", "read/up/read/file.txt"]
    {
        assert_eq!(run(path).stdout, b"may be read\n", "{path}");
    }
    for path in [
        "demo/../read/file.txt",
        "none/../read/file.txt",
        "canary.txt/../read/file.txt",
        "read/none/../file.txt",
    ] {
        let text = err(&run(path));
        assert!(text.starts_with(&format!("qlua: error: `{path}` lies outside of what")), "{text}");
    }
}

/// A call that writes is not cut off, but only while it writes.
#[test]
fn what_a_call_computes_before_it_writes_counts() {
    let place = Place::new();
    let endless = "local t = {} for i = 1, 60 do t = { t, t } end";
    for call in ["qlua.json.write('write/x.json', t)", "qlua.fs.write('write/x.json', qlua.json.encode(t))"] {
        let begun = std::time::Instant::now();
        let code = format!("{endless} {call}");
        let limits = ["--sandbox", "--seconds", "0.2", "--memory", "16GiB", "--write", "write", "-e", &code];
        let text = err(&place.run(&limits));
        assert!(text.contains("the script used up the 0.2 s that it may take"), "{text}");
        assert!(begun.elapsed() < SLACK && !place.path().join("write/x.json").exists());
        let small = code.replace("60", "3");
        assert!(
            place.run(&["--sandbox", "--seconds", "5", "--write", "write", "-e", &small]).status.success()
        );
        fs::remove_file(place.path().join("write/x.json")).unwrap();
    }
}

/// Exit codes go by the kinds of errors, which a policy must not choose for whoever asks it.
#[test]
fn a_policy_chooses_no_kind_of_error_and_no_exit_code() {
    let place = Place::new();
    for kind in ["usage", "verification", "interrupted", "exit", "closed_pipe", "argument", "limit", "mine"] {
        let text = format!("return function() error{{ kind = '{kind}', message = 'its own' }} end");
        fs::write(place.path().join("p.lua"), &text).unwrap();
        let load = "qlua.policy.load('p.lua')";
        let uncaught = place.run(&["-e", &asking(load)]);
        assert_eq!(uncaught.status.code(), Some(1), "{kind}: {uncaught:?}");
        assert!(err(&uncaught).starts_with("qlua: error: its own\n"), "{kind}: {uncaught:?}");
        let caught = format!("local ok, e = pcall(function() {} end) print(e.kind)", asking(load));
        let expected = if kind == "limit" { "limit\n" } else { "policy\n" };
        assert_eq!(String::from_utf8_lossy(&place.run(&["-e", &caught]).stdout), expected, "{kind}");
        // The same error of the script itself has the code of its kind.
        let own = place.run(&["-e", &format!("error{{ kind = '{kind}', message = 'its own' }}")]);
        let code = match kind {
            "usage" => 2,
            "verification" => 3,
            _ => own.status.code().unwrap(),
        };
        assert_eq!(own.status.code(), Some(code), "{kind}: {own:?}");
    }
}

//! What a session makes of lines that come through a pipe.

use super::Place;

/// What ends in the middle is a mistake, and nothing that can be passed over.
#[test]
fn what_lacks_its_end_is_said() {
    let place = Place::new();
    for (lines, problem) in [
        ("x =", "unexpected symbol near <eof>"),
        ("for i = 1, 2 do\nprint(i)\n", "'end' expected"),
        ("'open", "unfinished string"),
    ] {
        let (code, out, err) = place.piped(&format!("'before'\n{lines}"));
        assert_eq!((code, out.as_str()), (Some(0), "\"before\"\n"), "{lines}");
        assert!(err.starts_with("qlua: error: ") && err.contains(problem), "{lines}: {err}");
    }
    let (code, out, err) = place.piped("1 + 1\n\n  \n'last'");
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "2\n\"last\"\n", ""));
}

/// Lua has integers and floats, and what is shown can be written into a script.
#[test]
fn numbers_are_shown_as_lua_would_read_them() {
    let place = Place::new();
    let shown = [
        ("5", "5"),
        ("5.0", "5.0"),
        ("2^53", "9007199254740992.0"),
        ("2^63", "9.223372036854776e18"),
        ("1e300", "1e300"),
        ("1e-7", "1e-7"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("{ 2.0, 1e300 }", "{ 2.0, 1e300 }"),
        ("1/0", "inf"),
    ];
    let lines: String = shown.iter().map(|(line, _)| format!("{line}\n")).collect();
    let expected: String = shown.iter().map(|(_, text)| format!("{text}\n")).collect();
    assert_eq!(place.piped(&lines), (Some(0), expected, String::new()));
}

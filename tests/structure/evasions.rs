//! The test of the test: what a file may try so that an arrow is not seen, and what is no arrow.

use super::source::Source;
use super::{Crate, HIDING, circles, forbidden, know_mlua};

/// A small crate, and in it the file `tensor::slice` with `text`.
fn with(text: &str) -> Crate {
    Crate::of([
        (
            "",
            "pub mod lua; pub mod tensor; pub mod report; pub use error::{Error, Result}; pub use lua::Passed;",
        ),
        ("error", "pub struct Error; pub type Result = u8;"),
        ("lua", "pub mod host; pub use host::*; pub struct Host; pub struct Passed;"),
        ("lua::host", "pub struct Inner; pub fn serve() {}"),
        ("tensor", "pub mod slice; use crate::error::Error;"),
        ("tensor::slice", text),
        ("report", "pub mod table; pub mod sweep;"),
        ("report::table", "pub mod html;"),
        ("report::table::html", "pub fn f() {}"),
    ])
}

/// The forbidden arrows of `tensor::slice` where it is `text`.
fn found(text: &str) -> Vec<String> {
    forbidden(&with(text).arrows())
}

#[test]
fn every_way_of_naming_another_room_is_found() {
    for text in [
        // As it should be written.
        "use crate::lua::Host;",
        "fn f() { crate::lua::Host::new() }",
        // Passed on.
        "pub(crate) use crate::lua::Host;",
        "pub(super) use crate::lua::*;",
        "pub use super::super::lua::{self as other};",
        "pub(crate) use crate::{error::Error, lua::{Host as Guest}};",
        // Through what passes it on.
        "use crate::Passed;",
        "fn f(_: crate::Passed) {}",
        // Behind what only looks like a string or a comment.
        "const QUOTE: char = '\"'; fn f() { crate::lua::Host } const OTHER: char = '\"';",
        "const QUOTE: u8 = b'\"'; fn f() { crate::lua::Host } const OTHER: u8 = b'\"';",
        "const URL: &str = \"https://x\"; fn f() { crate::lua::Host }",
        "const RAW: &str = r#\"a \" // \"#; fn f() { crate::lua::Host }",
        "const BYTES: &[u8] = br\"\\\"; fn f() { crate::lua::Host } const MORE: &str = \"\";",
        "/* a /* nested */ comment \" */ fn f() { crate::lua::Host } const MORE: &str = \"\";",
        "fn f<'a>(_: &'a str) -> char { crate::lua::Host; 'a' }",
        // In other spellings.
        "use crate::\nlua::Host;",
        "fn f() { crate :: lua :: Host }",
        "fn f() { crate::/* here */lua::Host }",
        "use crate::r#lua::Host;",
        "fn f() { <crate::lua::Host as Clone>::clone() }",
        "fn f() { self::super::super::lua::Host }",
        // Under another name.
        "use crate::lua as l; fn f() { l::Host }",
        "use crate as c; fn f() { c::lua::Host }",
        "use super::super as up; fn f() { up::lua::Host }",
        "use crate::{self as c}; use c::lua; fn f() { lua::Host }",
        "use super::super::*; fn f() { lua::Host }",
        "type H = super::super::lua::Host;",
        // In places of other kinds.
        "mod inner { pub mod deep { pub fn f() { super::super::super::super::lua::Host } } }",
        "mod inner { use super::super::super as up; pub fn f() { up::lua::Host } }",
        "macro_rules! make { () => { $crate::lua::Host } }",
        "fn f() { println!(\"{}\", crate::lua::host::serve()) }",
        "#[serde(deserialize_with = \"crate::lua::host::serve\")] struct S;",
        "struct S { #[cfg(test)] a: u8, b: crate::lua::Host }",
        "#[cfg(test)] use crate::error::{Error}; use crate::lua::Host;",
        "#[cfg(not(test))] use crate::lua::Host;",
    ] {
        let found = found(text);
        assert!(found.iter().any(|arrow| arrow.starts_with("tensor::slice → lua")), "{found:?} in {text}");
    }
}

#[test]
fn what_is_no_arrow_is_not_found() {
    for text in [
        "// use crate::lua::Host;",
        "/* crate::lua::Host */",
        "/// As [`crate::lua::Host`].\nfn f() {}",
        "const TEXT: &str = \"crate::lua::Host\";",
        "const TEXT: &str = r##\"\"# crate::lua::Host\"##;",
        "#[cfg(test)] mod tests { use crate::lua::Host; fn f() { crate::lua::Host } }",
        "#[cfg(test)] use crate::lua::Host;",
        "struct S { #[cfg(test)] a: crate::lua::Host, b: u8 }",
        "use ::lua::Host; use other::lua::Host; fn f() { ::lua::Host; other::lua::Host }",
        "use crate::{Error, Result}; use super::Error as Same;",
        "pub(in crate::tensor) fn f(lua: u8) -> impl Sized + use<> { lua }",
    ] {
        assert!(found(text).is_empty(), "{:?} in {text}", found(text));
    }
}

#[test]
fn lib_itself_is_used_by_nobody() {
    for text in
        ["use crate as c;", "use crate::*;", "use super::super::NotThere;", "fn f() { crate::made!() }"]
    {
        assert_eq!(found(text), ["tensor::slice → lib.rs"], "{text}");
    }
}

#[test]
fn what_all_of_a_module_is_passed_on_from_is_known() {
    let arrows = with("use crate::lua::{Inner, Host};").arrows();
    let targets: Vec<&String> = arrows["tensor::slice"].iter().collect();
    assert_eq!(targets, ["lua", "lua::host"]);
}

#[test]
fn files_for_tests_alone_are_left_out_by_how_they_are_declared() {
    let of = |declared: &str| {
        let files = [
            ("tensor", declared),
            ("tensor::odd_tests", "use crate::lua::Host;"),
            ("lua", "pub struct Host;"),
        ];
        forbidden(&Crate::of(files).arrows())
    };
    assert!(of("#[cfg(test)] mod odd_tests;").is_empty());
    assert!(of("#[cfg(test)]\n#[allow(dead_code)]\npub(crate) mod odd_tests;").is_empty());
    assert_eq!(of("mod odd_tests;"), ["tensor::odd_tests → lua"]);
}

#[test]
fn circles_through_modules_by_name_are_found() {
    let of = |sweep: &str, html: &str| {
        let files = [
            ("report", "pub mod table; pub mod sweep;"),
            ("report::sweep", sweep),
            ("report::table", "pub mod html;"),
            ("report::table::html", html),
        ];
        circles(&Crate::of(files).needs(&[])).into_iter().collect::<Vec<_>>()
    };
    let circle = ["report::sweep → report::table::html"];
    for sweep in [
        "use super::table; fn f() { table::html::f() }",
        "use super::table as t; fn f() { t::html::f() }",
        "use super::table::{self, html as h}; fn f() { h::f() }",
        "pub use super::table::html::f;",
        "use super::*; fn f() { table::html::f() }",
    ] {
        assert_eq!(of(sweep, "use super::super::sweep::g; pub fn f() {}"), circle, "{sweep}");
        assert!(of(sweep, "pub fn f() {}").is_empty(), "{sweep}");
    }
    // A file that uses the modules below it by their names alone.
    let files =
        [("report", "mod table; fn f() { table::g() }"), ("report::table", "use super::h; fn g() {}")];
    assert_eq!(circles(&Crate::of(files).needs(&[])).len(), 1);
    // One that only passes on what is below it does not need it.
    let files = [
        ("report", "mod table; pub use table::g; pub struct H;"),
        ("report::table", "use super::H; pub fn g() {}"),
    ];
    assert!(circles(&Crate::of(files).needs(&[])).is_empty());
}

#[test]
fn mlua_and_what_hides_it_are_found_under_any_name() {
    for text in [
        "use mlua as m;",
        "use mlua::Lua;",
        "fn f(_: &::mlua::Lua) {}",
        "use r#mlua::*;",
        "extern crate mlua as m;",
    ] {
        assert_eq!(know_mlua(&with(text)), ["tensor::slice"], "{text}");
    }
    assert!(know_mlua(&with("// mlua::Lua\nconst NAME: &str = \"mlua::Lua\";")).is_empty());
    let hides = |text: &str| HIDING.iter().any(|tokens| Source::of("tensor", text).has(tokens));
    for text in ["extern crate self as me;", "#[path = \"../lua.rs\"] mod lua;", "include!(\"../lua.rs\");"] {
        assert!(hides(text), "{text}");
    }
    assert!(!hides("extern \"C\" { fn path(); }"));
}

#[test]
fn types_are_found_wherever_they_are_defined() {
    let code = "pub(super) struct A<T>(T); words! { enum B: \"\" { C } } pub trait D { type Item; fn f() -> impl E; }
        impl Iterator for A { type Item = u8; fn next() { type F<'a> = &'a u8; if x == '{' { struct G; } } type Out = u8; }";
    assert_eq!(Source::of("a", code).types(), ["A", "B", "D", "F", "G"]);
}

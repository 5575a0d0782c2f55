//! The registry on an API of its own: what a declaration promises is what a script gets.

use std::cell::Cell;

use mlua::Value;

use super::declare::{Api, Class, Function, Namespace, Options};
use super::rows::row;
use super::*;

struct Counter {
    count: Cell<i64>,
    name: String,
}

struct Scheme {
    name: &'static str,
    bytes: u64,
    score: Option<f64>,
}

row! {
    /// A scheme.
    const SCHEME = "Scheme" for |scheme: &Scheme| {
        /// its name
        name: Type::String => scheme.name,
        /// its size, which is a sentence on
        /// two lines
        bytes: Type::IntegerIn("bytes") => scheme.bytes,
        /// its score; nil when it is not finite
        score: Type::Optional(&Type::Number) => scheme.score,
    }
}

fn api() -> Api {
    let options = || {
        Options::new()
            .default("order", Type::Choice(&["ascending", "descending"]), "ascending", "which end first")
            .default("percent", Type::Percent, 10, "how much")
            .default("strict", Type::Boolean, true, "whether to be strict")
            .described("threads", Type::Integer, "all cores", "how many threads")
    };
    let take = Function::new("take", "Takes everything.")
        .param("path", Type::Path, "a path")
        .default("limit", Type::Integer, 5, "a limit")
        .options(options());
    let counter = Class::<Counter>::new("Counter", "Counts.")
        .field("name", Type::String, "its name", |this, _| Ok(this.name.clone()))
        .field("broken", Type::Any, "always fails", |_, _| -> anyhow::Result<()> {
            anyhow::bail!("no such luck")
        })
        .method(
            Function::new("add", "Adds.")
                .param("amount", Type::Integer, "how much")
                .returns(Type::Handle("Counter"), "itself"),
            |this, call| {
                this.count.set(this.count.get() + call.get::<i64>("amount")?);
                Ok(call.self_value())
            },
        )
        .method(
            Function::new("same", "Compares.").param("other", Type::Handle("Counter"), "another"),
            |this, call| Ok(this.count.get() == call.handle::<Counter>("other")?.count.get()),
        )
        .length("what was counted", |this| this.count.get() as usize)
        .equal("names", |a, b| Ok(a.name == b.name))
        .text(|this| format!("Counter({})", this.name));
    let test = Namespace::new("test", "For tests.")
        .function(take, |call| {
            let order: String = call.get("order")?;
            let (limit, percent): (i64, f64) = (call.get("limit")?, call.get("percent")?);
            let (strict, threads): (bool, Option<i64>) = (call.get("strict")?, call.get("threads")?);
            let path: String = call.get("path")?;
            Ok(format!("{path} {limit} {order} {percent} {strict} {threads:?} {}", call.given("order")))
        })
        .function(
            Function::new("counter", "Makes a counter.").param("name", Type::String, "its name"),
            |call| Ok(Handle(Counter { count: Cell::new(0), name: call.get("name")? })),
        )
        .function(
            Function::new("rows", "Gives rows.").returns(Type::List(&Type::Record(&SCHEME)), "the rows"),
            |_| {
                let row = |name, score| Row(Scheme { name, bytes: 1 << 40, score });
                Ok(vec![row("a", Some(0.5)), row("b", None)])
            },
        )
        .function(
            Function::new("test", "Asks a predicate.").param("of", Type::Function("fun(row): boolean"), "it"),
            |call| {
                let row = Row(Scheme { name: "b", bytes: 1, score: None });
                call.get::<Callback>("of")?.test(call.lua(), row)
            },
        )
        .function(Function::new("choose", "Chooses.").param("what", Type::Selector, "names"), |call| {
            let selector: Selector = call.get("what")?;
            let chosen = selector.filter(call.lua(), ["visual.a", "model.b", "model.c"])?;
            Ok(chosen.join(" "))
        })
        .function(
            Function::new("mixed", "Takes nested values.")
                .param("map", Type::Map(&Type::List(&Type::Number)), "lists by name")
                .optional(
                    "either",
                    Type::Union(&[Type::Integer, Type::Choice(&["auto"])]),
                    "a number or a word",
                ),
            |_| Ok(()),
        )
        .function(Function::new("both", "Fails with context."), |_| -> anyhow::Result<()> {
            let error = crate::Error::not_found("there is no layer `x`").with_hint("look again");
            Err(anyhow::Error::from(error).context("the export stopped"))
        });
    Api::new(vec![test.class(counter)])
}

/// Runs `code` and gives what it returns as text.
fn run(code: &str) -> String {
    let host = Host::with_api(Verbosity::Normal, None, &api()).unwrap();
    let value: Value = host.lua().load(code).eval().unwrap_or_else(|e| panic!("{code}: {e}"));
    value.to_string().unwrap()
}

/// Runs `code`, which must raise, and gives message and hint.
fn error(code: &str) -> String {
    run(&format!("local _, e = pcall(function() {code} end) return e.message .. ' | ' .. tostring(e.hint)"))
}

#[test]
fn defaults_stand_for_what_is_left_out() {
    assert_eq!(run("return qlua.test.take('p')"), "p 5 ascending 10 true None false");
    assert_eq!(
        run(
            "return qlua.test.take('p', 7, { order = 'descending', percent = 12.5, strict = false, threads = 2 })"
        ),
        "p 7 descending 12.5 false Some(2) true"
    );
    assert_eq!(run("return qlua.test.take('p', nil, nil, nil)"), "p 5 ascending 10 true None false");
}

#[test]
fn options_may_stand_in_the_place_of_optional_parameters() {
    let taken = run("return qlua.test.take('p', { order = 'descending' })");
    assert_eq!(taken, "p 5 descending 10 true None true");
}

#[test]
fn wrong_arguments_are_named_in_one_sentence() {
    let cases = [
        (
            "qlua.test.take()",
            "`path` of qlua.test.take is missing: it must be a path | `qlua doc test.take` says what it takes",
        ),
        (
            "qlua.test.take('p', 1.5)",
            "`limit` of qlua.test.take must be an integer, not 1.5 | `qlua doc test.take` says what it takes",
        ),
        (
            "qlua.test.take('p', '5')",
            "`limit` of qlua.test.take must be an integer, not the string \"5\" | use tonumber(…) to turn a string into a number",
        ),
        (
            "qlua.test.take('p', 1, {}, 2)",
            "qlua.test.take takes at most 3 arguments, but 4 were given | `qlua doc test.take` says what it takes",
        ),
        (
            "qlua.test.take('p', { order = 'ascendig' })",
            "option `order` of qlua.test.take must be one of \"ascending\" or \"descending\", not the string \"ascendig\" | did you mean \"ascending\"?",
        ),
        (
            "qlua.test.take('p', { percent = 101 })",
            "option `percent` of qlua.test.take must be a percentage from 0 to 100, not 101 | `qlua doc test.take` says what it takes",
        ),
        (
            "qlua.test.take('p', { percent = 0/0 })",
            "option `percent` of qlua.test.take must be a percentage from 0 to 100, not NaN | `qlua doc test.take` says what it takes",
        ),
        (
            "qlua.test.take('p', { ordr = 1 })",
            "`ordr` is no option of qlua.test.take | did you mean `order`?",
        ),
        (
            "qlua.test.take('p', { 1 })",
            "1 is no option of qlua.test.take | the known keys are `order`, `percent`, `strict`, `threads`",
        ),
        (
            "qlua.test.counter(3)",
            "`name` of qlua.test.counter must be a string, not 3 | `qlua doc test.counter` says what it takes",
        ),
        (
            "qlua.test.counter('\\xff')",
            "`name` of qlua.test.counter is not valid UTF-8 | `qlua doc test.counter` says what it takes",
        ),
        (
            "qlua.test.counter('a'):same(io.stdout)",
            "`other` of Counter:same must be a Counter handle, not a handle | `qlua doc Counter:same` says what it takes",
        ),
        (
            "qlua.test.mixed({ a = { 1, 'x' } })",
            "`map[\"a\"][2]` of qlua.test.mixed must be a number, not the string \"x\" | `qlua doc test.mixed` says what it takes",
        ),
        (
            "qlua.test.mixed({ a = { b = 1 } })",
            "`map[\"a\"]` of qlua.test.mixed must be a list of numbers, but it has the key the string \"b\" | `qlua doc test.mixed` says what it takes",
        ),
        (
            "qlua.test.mixed({}, true)",
            "`either` of qlua.test.mixed must be an integer or one of \"auto\", not true | `qlua doc test.mixed` says what it takes",
        ),
        (
            "qlua.test.choose('[a')",
            "the glob `[a` does not parse: invalid range pattern | `*` matches any run of characters, `?` one, `[ab]` a set",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(error(code), expected, "{code}");
    }
}

#[test]
fn handles_have_fields_methods_and_operators() {
    assert_eq!(
        run("local c = qlua.test.counter('a') c:add(2):add(3) return #c .. c.name .. tostring(c)"),
        "5aCounter(a)"
    );
    let equal = "local a, b, c = qlua.test.counter('a'), qlua.test.counter('a'), qlua.test.counter('c')
                 return tostring(a == b) .. tostring(a == c) .. tostring(a ~= io.stdout)";
    assert_eq!(run(equal), "truefalsetrue");
    assert_eq!(run("local c = qlua.test.counter('a') return tostring(c:same(c))"), "true");
    assert_eq!(
        error("return qlua.test.counter('a').nam"),
        "Counter has no field or function `nam` | did you mean `name`?"
    );
    assert_eq!(
        error("for _, x in ipairs(qlua.test.counter('a')) do end"),
        "Counter is no list, so it has no item 1 | `qlua doc Counter` says what it has"
    );
    assert_eq!(
        error("qlua.test.counter('a').name = 'b'"),
        "Counter is read-only: `name` cannot be assigned | nil"
    );
    assert_eq!(
        error("qlua.test.counter('a').add(1)"),
        "Counter:add was called without its Counter handle | write handle:add(…), with a colon"
    );
    assert_eq!(error("return qlua.test.counter('a').broken"), "no such luck | nil");
}

#[test]
fn rows_are_plain_tables_with_nil_for_nothing() {
    let code = "local rows = qlua.test.rows()
                return rows[1].name .. rows[1].bytes .. tostring(rows[2].score) .. tostring(getmetatable(rows))";
    assert_eq!(run(code), "a1099511627776nilnil");
}

#[test]
fn rows_raise_on_unknown_keys_and_stay_plain_otherwise() {
    let row = "local row = qlua.test.rows()[2] ";
    assert_eq!(
        error(&format!("{row} return row.naem")),
        "`Scheme` has no field `naem` | did you mean `name`?"
    );
    assert_eq!(
        error(&format!("{row} return row[1]")),
        "`Scheme` has no field `1` | its fields are `name`, `bytes`, `score`; `rawget` reads a key of your own"
    );
    assert_eq!(
        run(&format!("{row} row.note, row.b = {{ 1, 2 }}, true return tostring(row)")),
        "Scheme(name = \"b\", bytes = 1099511627776, b = true, note = list of 2)"
    );
    let keys = "local keys = {} for key in pairs(row) do keys[#keys + 1] = key row[key] = nil end";
    assert_eq!(
        run(&format!(
            "{row} row.note, row.a = 1, 2 {keys} return table.concat(keys, ' ') .. tostring(next(row))"
        )),
        "name bytes a notenil"
    );
    let raw = "return type(row) .. #row .. tostring(rawget(row, 'naem')) .. tostring(getmetatable(row))";
    assert_eq!(run(&format!("{row} {raw}")), "table0nilfalse");
}

#[test]
fn an_error_that_comes_from_a_nil_in_a_row_says_so() {
    let sentence = |of: &str| {
        format!(
            "`b` has no `score`: it is nil when it is not finite ({of}) | test it first: `scheme.score and …`"
        )
    };
    let compared = sentence("attempt to compare nil with number");
    assert_eq!(error("qlua.test.test(function(row) return row.score < 1 end)"), compared);
    assert_eq!(error("qlua.test.test(function(row) local s = row.score\n return s < 1 end)"), compared);
    let added = sentence("attempt to perform arithmetic on a nil value (field 'score')");
    assert_eq!(error("qlua.test.test(function(row) return row.score + 1 end)"), added);
    let unrelated = "local _, e = pcall(qlua.test.test, function(row) local t = {} return row.score or t.x + 1 end) return e";
    assert!(run(unrelated).contains("arithmetic on a nil value (field 'x')"));
    let before = "pcall(qlua.test.test, function(row) return row.score end)
                  local _, e = pcall(qlua.test.test, function() return nil < 1 end) return e";
    assert!(run(before).contains("compare nil with number") && !run(before).contains("score"));
}

#[test]
fn an_uncaught_error_from_a_nil_in_a_row_says_so_where_it_was_read() {
    let report = |code: &str| {
        let host = Host::with_api(Verbosity::Normal, None, &api()).unwrap();
        match host.run(&Chunk::code(code), &[]) {
            Ending::Failed(report) => report,
            other => panic!("{code}: {other:?}"),
        }
    };
    let said = report("local row = qlua.test.rows()[2]\nprint(row.score < 1)");
    assert_eq!(
        (said.message.as_str(), said.hint.as_deref(), said.at.first().map(String::as_str)),
        (
            "`b` has no `score`: it is nil when it is not finite (attempt to compare nil with number)",
            Some("test it first: `scheme.score and …`"),
            Some("(command line):2")
        )
    );
    let elsewhere = report("local row = qlua.test.rows()[2]\nlocal s = row.score\nlocal x\nprint(x < 1)");
    assert_eq!(elsewhere.message, "attempt to compare nil with number");
    let predicate = report("qlua.test.test(function(row)\n  return row.score < 1\nend)");
    assert_eq!(predicate.at[..2], ["(command line):2", "(command line):1"]);
}

#[test]
fn selectors_are_globs_lists_or_predicates() {
    assert_eq!(run("return qlua.test.choose('model.*')"), "model.b model.c");
    assert_eq!(run("return qlua.test.choose{ 'visual.*', '*.c' }"), "visual.a model.c");
    assert_eq!(run("return qlua.test.choose(function(name) return name:find('b') end)"), "model.b");
}

#[test]
fn what_a_predicate_raises_comes_back_as_it_was() {
    let code = "local mark = {} local _, e = pcall(qlua.test.choose, function() error(mark) end)
                return tostring(rawequal(e, mark))";
    assert_eq!(run(code), "true");
    let nested = "local _, e = pcall(qlua.test.choose, function() qlua.test.counter() end) return e.kind";
    assert_eq!(run(nested), "argument");
}

#[test]
fn context_stands_before_the_message_and_kind_and_hint_stay() {
    assert_eq!(error("qlua.test.both()"), "the export stopped: there is no layer `x` | look again");
    assert_eq!(run("local _, e = pcall(qlua.test.both) return e.kind"), "not_found");
}

#[test]
fn a_stop_inside_a_callback_passes_through_rust() {
    let host = Host::with_api(Verbosity::Normal, None, &api()).unwrap();
    let code = "pcall(qlua.test.choose, function() os.exit(9) end) error('went on')";
    assert_eq!(host.run(&Chunk::code(code), &[]), Ending::Stopped(ScriptStop::Exit(9)));
}

#[test]
fn annotations_and_signatures_follow_the_declaration() {
    let text = docs::annotations(&api());
    for line in [
        "---@field order? \"ascending\"|\"descending\" which end first (default: `\"ascending\"`)",
        "---@field threads? integer how many threads (default: all cores)",
        "---@param options? qlua.test.take.Options `order`, `percent`, `strict`, `threads`",
        "function qlua.test.take(path, limit, options) end",
        "---@param map table<string, number[]> lists by name",
        "---@operator len: integer",
        "function Counter:add(amount) end",
        "---@class qlua.Scheme",
        "---@field bytes integer its size, which is a sentence on two lines",
        "---@field score? number its score; nil when it is not finite",
    ] {
        assert!(text.lines().any(|l| l == line), "`{line}` is not in\n{text}");
    }
    let doc = docs::lookup(&api(), "test.take", 80).unwrap();
    assert!(doc.starts_with("qlua.test.take(path [, limit [, options]])\n"), "{doc}");
}

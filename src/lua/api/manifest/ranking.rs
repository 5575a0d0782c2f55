//! Rankings, and what can be selected from them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use mlua::{Lua, Value};

use super::{CHOICE, GROUPS, NAMES, with_manifest};
use crate::lua::api::log::warn;
use crate::lua::declare::{Class, Function};
use crate::lua::rows::rows;
use crate::lua::types::describe;
use crate::lua::{Call, Callback, Handle, Row, Selector, Type};
use crate::manifest::{Group, Manifest, Ranking, RankingOptions, Selection};
use crate::selector::Globs;
use crate::units::counted;

pub(super) fn class() -> Class<Ranking> {
    let select = |name: &'static str, doc: &'static str, example: &'static str| {
        Function::new(name, doc)
            .param(
                "percent",
                Type::Percent,
                "how much of the ranked groups; k = max(1, ceil(percent × N / 100))",
            )
            .returns(Type::Handle("Selection"), "the selection")
            .raises("the percentage is not above 0 and at most 100, or has more than three decimals")
            .example(example)
    };
    Class::new("Ranking", "Recipe groups in order of sensitivity.")
        .length("the number of ranked groups", Ranking::len)
        .text(|this: &Ranking| format!("Ranking({}, {})", counted(this.len(), "group"), this.order))
        .field("order", Type::String, "`ascending` or `descending`", |this, _| Ok(this.order.word()))
        .field("groups", GROUPS, "the ranked groups in order", |this, call| rows(call.lua(), this.groups()))
        .field(
            "unscored",
            NAMES,
            "candidates that were never scored (score exactly 0), ranked or not",
            |this, _| Ok(this.unscored.clone()),
        )
        .field("not_candidates", NAMES, "groups that only have the format `NONE`; never ranked", |this, _| {
            Ok(this.not_candidates.clone())
        })
        .field(
            "not_finite",
            NAMES,
            "ranked groups with an infinite or NaN score; ranked as the most sensitive",
            |this, _| Ok(this.not_finite.clone()),
        )
        .field(
            "negative",
            NAMES,
            "ranked groups with a score below 0, which no scoring of AutoQuant gives; ranked as they are",
            |this, _| Ok(this.negative.clone()),
        )
        .method(
            select(
                "first",
                "Selects the first groups in this ranking's own order.",
                with_manifest!(
                    "local ranking = manifest:ranking{ order = \"descending\" }\n\
                 assert(ranking:first(10).names[1] == ranking.groups[1].name)"
                ),
            ),
            |this, call| Ok(Handle(this.first(call.get::<f64>("percent")?)?)),
        )
        .method(
            select(
                "lowest",
                "Selects the least sensitive groups, whatever the order.",
                with_manifest!("assert(#manifest:ranking():lowest(100) == #manifest:ranking())"),
            ),
            |this, call| Ok(Handle(this.lowest(call.get::<f64>("percent")?)?)),
        )
        .method(
            select(
                "highest",
                "Selects the most sensitive groups, whatever the order.",
                with_manifest!("assert(#manifest:ranking():highest(0.1) == 1)"),
            ),
            |this, call| Ok(Handle(this.highest(call.get::<f64>("percent")?)?)),
        )
        .method(
            Function::new(
                "select",
                "Selects ranked groups by name or by what they are. Globs choose a group by its own name (that of its first \
                 member, which stands for all) or by all of its members; a predicate sees whole groups.",
            )
            .param("what", CHOICE, "a glob, a list of globs, or a predicate; one that selects nothing is named in a warning")
            .returns(Type::Handle("Selection"), "the selection; it may be empty")
            .raises("a glob matches nothing that is ranked")
            .raises("globs match only some members of a group, which loaders fuse: the error says which")
            .example(with_manifest!(
                "local ranking = manifest:ranking()\n\
                 local mlp = ranking:select(\"*.mlp.*\")\n\
                 local early = ranking:select(function(group) return group.tower == \"language\" and group.block < 2 end)\n\
                 assert(#(mlp - early) < #mlp and #(mlp & early) + #(mlp - early) == #mlp)"
            )),
            chosen,
        )
}

fn chosen(this: &Ranking, call: &Call) -> anyhow::Result<Handle<Selection>> {
    let predicate = match call.get("what")? {
        Selector::Globs(globs) => return Ok(Handle(this.named(&globs)?)),
        Selector::Predicate(predicate) => predicate,
    };
    let asked = |group: &Group| predicate.test(call.lua(), Row(group));
    let answers = this.groups().map(asked).collect::<anyhow::Result<Vec<bool>>>()?;
    if !answers.contains(&true) {
        let position = predicate.position();
        let problem = format!("the predicate at {position} selects none of the {} ranked groups", this.len());
        warn(&problem);
    }
    Ok(Handle(this.pick(|rank| answers[rank])))
}

/// `Manifest:ranking`.
pub(super) fn rank(this: &Arc<Manifest>, call: &Call) -> anyhow::Result<Handle<Ranking>> {
    let (include, include_if) = split(call.get("include")?);
    let (exclude, exclude_if) = split(call.get("exclude")?);
    let (only_if, by): (Option<Callback>, Option<Callback>) = (call.get("where")?, call.get("by")?);
    let asked = Asked { lua: call.lua(), raised: RefCell::new(None) };
    let excluded = Cell::new(0);
    let is_left_out = |group: &Group| {
        let left_out = asked.test(&exclude_if, group, false)?;
        excluded.set(excluded.get() + usize::from(left_out));
        Ok::<bool, crate::Error>(left_out)
    };
    let chooses = |group: &Group| {
        Ok(asked.test(&include_if, group, true)?
            && !is_left_out(group)?
            && asked.test(&only_if, group, true)?)
    };
    let number = |group: &Group| match &by {
        Some(by) => asked.keep(number(call, by, group)),
        None => Ok(group.score),
    };
    let ranking = this.ranking(&RankingOptions {
        order: call.get::<String>("order")?.parse()?,
        // An empty list is what a command line without `--include` gives.
        include: include.filter(|globs| !globs.is_empty()),
        exclude: exclude.unwrap_or_default(),
        include_unscored: call.get("unscored")?,
        predicate: Some(&chooses),
        by: if by.is_some() { Some(&number) } else { None },
    });
    if let Some(error) = asked.raised.take() {
        return Err(error);
    }
    if let (Some(predicate), 0) = (&exclude_if, excluded.get()) {
        let position = predicate.position();
        warn(&format!("the predicate `exclude` at {position} leaves out no group"));
    }
    Ok(Handle(ranking?))
}

/// The globs or the predicate of `include` or `exclude`.
fn split(selector: Option<Selector>) -> (Option<Globs>, Option<Callback>) {
    match selector {
        None => (None, None),
        Some(Selector::Globs(globs)) => (Some(globs), None),
        Some(Selector::Predicate(predicate)) => (None, Some(predicate)),
    }
}

/// What `by` gives for `group`.
fn number(call: &Call, by: &Callback, group: &Group) -> anyhow::Result<f64> {
    let value = by.call(call.lua(), Row(group))?.pop_front().unwrap_or(Value::Nil);
    match value {
        Value::Integer(number) => Ok(number as f64),
        Value::Number(number) if !number.is_nan() => Ok(number),
        other => {
            let problem = format!("must return a number, not {} for `{}`", describe(&other), group.name);
            Err(call.refuse("by", problem))
        }
    }
}

/// Functions of a script that the core calls. What they raise must reach the script unchanged, and the core knows only its
/// own errors, so it waits here.
struct Asked<'a> {
    lua: &'a Lua,
    raised: RefCell<Option<anyhow::Error>>,
}

impl Asked<'_> {
    /// What `predicate` says of `group`, or `without` where there is none.
    fn test(&self, predicate: &Option<Callback>, group: &Group, without: bool) -> crate::Result<bool> {
        match predicate {
            Some(predicate) => self.keep(predicate.test(self.lua, Row(group))),
            None => Ok(without),
        }
    }

    fn keep<T>(&self, answer: anyhow::Result<T>) -> crate::Result<T> {
        answer.map_err(|error| {
            *self.raised.borrow_mut() = Some(error);
            crate::Error::argument("a function of the script raised an error")
        })
    }
}

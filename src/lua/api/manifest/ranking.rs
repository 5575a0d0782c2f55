//! Rankings, and what can be selected from them.

use mlua::Value;

use super::{GROUPS, NAMES, row, rows, with_manifest};
use crate::lua::declare::{Class, Function};
use crate::lua::{Call, Callback, Handle, Type};
use crate::manifest::{Ranking, Selection};
use crate::selector::Globs;
use crate::units::counted;

const CHOICE: Type = Type::Union(&[
    Type::String,
    Type::List(&Type::String),
    Type::Function("fun(group: qlua.Group): boolean"),
]);

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
        .field("order", Type::String, "`ascending` or `descending`", |this, _| Ok(this.order.as_str()))
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
            .param("what", CHOICE, "a glob, a list of globs, or a predicate")
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
    let globs = match call.get::<Value>("what")? {
        Value::Function(_) => {
            let predicate: Callback = call.get("what")?;
            let answers = this
                .groups()
                .map(|group| predicate.test(call.lua(), row(call.lua(), group)?))
                .collect::<anyhow::Result<Vec<bool>>>()?;
            return Ok(Handle(this.pick(|rank| answers[rank])));
        }
        Value::String(glob) => Globs::new([glob.to_string_lossy()])?,
        _ => Globs::new(call.get::<Vec<String>>("what")?)?,
    };
    Ok(Handle(this.named(&globs)?))
}

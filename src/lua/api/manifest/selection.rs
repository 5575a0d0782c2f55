//! Selections: what a scheme stores in FP8, and their algebra.

use super::{GROUPS, NAMES, owned};
use crate::lua::declare::{Class, Operator};
use crate::lua::rows::rows;
use crate::lua::{Handle, Tidy, Type};
use crate::manifest::Selection;
use crate::units::counted;

pub(super) fn class() -> Class<Selection> {
    Class::new(
        "Selection",
        "The recipe groups that a scheme stores in FP8. Selections combine as sets do, those of two manifests of one model too.",
    )
        .length("the number of selected groups", |this: &Selection| this.selected().len())
        .text(|this: &Selection| format!("Selection({} of {})", this.selected().len(), counted(this.total, "group")))
        .field("percent", Type::Percent, "the percentage that was asked for, or the share of the ranked groups that is selected", |this, _| {
            Ok(Tidy(this.percent.as_f64()))
        })
        .field("order", Type::String, "the order of its ranking", |this, _| Ok(this.order.word()))
        .field("total", Type::Integer, "the number of ranked groups", |this, _| Ok(this.total))
        .field("names", NAMES, "the selected groups in ranking order", |this, _| {
            Ok(owned(&this.selected_names()))
        })
        .field("dropped", NAMES, "the ranked groups that are not selected, in ranking order", |this, _| {
            Ok(owned(&this.dropped_names()))
        })
        .field("groups", GROUPS, "the selected groups in ranking order", |this, call| {
            rows(call.lua(), this.selected())
        })
        .operator(Operator::Or, "the groups that either selects", |a, b| Ok(Handle(a.union(b)?)))
        .operator(Operator::And, "the groups that both select", |a, b| Ok(Handle(a.intersection(b)?)))
        .operator(Operator::Minus, "the groups that `a` selects and `b` does not", |a, b| {
            Ok(Handle(a.difference(b)?))
        })
}

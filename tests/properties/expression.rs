//! Expressions and globs of lists of layers: the first line is the pattern, the others are names.

use qlua::dialect::{Expression, ExpressionBudget};
use qlua::selector::Globs;

use super::require_message;

pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let names: Vec<&str> = rest.split('\n').chain(["model.layers.10.mlp.down_proj", ""]).take(8).collect();
    let mut budget = ExpressionBudget::default();
    if let Ok(expression) = Expression::new(pattern, &mut budget) {
        let found: Vec<bool> = names.iter().map(|name| expression.is_match(name)).collect();
        // An alternative of the same is the same, wherever both can be decided.
        if let Ok(twice) = Expression::new(&format!("(?:{pattern})|(?:{pattern})"), &mut budget) {
            for (name, found) in names.iter().zip(found) {
                let again = twice.is_match(name);
                assert!(again == found || twice.gave_up() || expression.gave_up(), "{pattern:?} on {name:?}");
            }
        }
    }
    for name in names.iter().filter(|name| !name.is_empty()) {
        if let Ok(literal) = Expression::new(&regex::escape(name), &mut ExpressionBudget::default()) {
            assert!(literal.is_match(name), "{name:?} is itself");
            assert!(literal.is_match(&format!("{name}x")), "matched from the start, as Python does");
        }
    }
    match Globs::new([pattern]) {
        Ok(globs) => {
            let is_plain = !pattern.contains(['*', '?', '[']);
            for name in &names {
                assert!(!is_plain || globs.matches(name) == (*name == pattern), "{pattern:?} on {name:?}");
            }
        }
        Err(error) => require_message(&error),
    }
}

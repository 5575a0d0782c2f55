//! Names of modules with their numbers folded to `#`, and replacements of their prefixes.

/// Replacements of prefixes, of which the longest that fits is made.
pub type Rules = Vec<(String, String)>;

/// Stands for a number in a pattern; with a number after it for one that is not the next.
const NUMBER: char = '#';

fn is_number(component: &str) -> bool {
    !component.is_empty() && component.bytes().all(|b| b.is_ascii_digit())
}

/// `name` with every component that is a number folded.
pub fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for (position, component) in name.split('.').enumerate() {
        if position > 0 {
            folded.push('.');
        }
        if is_number(component) {
            folded.push(NUMBER);
        } else {
            folded.push_str(component);
        }
    }
    folded
}

/// The numbers in `name` that `pattern` leaves open, or nothing where it does not fit. A pattern may ask for a number.
pub fn numbers<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let mut found = Vec::new();
    let mut components = name.split('.');
    for expected in pattern.split('.') {
        let component = components.next()?;
        if expected == "#" && is_number(component) {
            found.push(component);
        } else if expected != component {
            return None;
        }
    }
    components.next().is_none().then_some(found)
}

/// `template` with `numbers` in place of its `#` in their order, and of `#2` the second.
pub fn filled(template: &str, numbers: &[&str]) -> String {
    let mut name = String::with_capacity(template.len() + 8);
    let mut next = 0;
    for (position, component) in template.split('.').enumerate() {
        if position > 0 {
            name.push('.');
        }
        let number = component.strip_prefix(NUMBER).and_then(|which| {
            let index = if which.is_empty() { next } else { which.parse::<usize>().ok()?.checked_sub(1)? };
            next += 1;
            numbers.get(index)
        });
        name.push_str(number.unwrap_or(&component));
    }
    name
}

/// What follows `prefix` in `name`, without the dot between them; nothing where it does not begin so.
pub fn after<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    if prefix.is_empty() {
        return Some(name);
    }
    let rest = name.strip_prefix(prefix)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// `name` with the longest prefix replaced for which there is a rule.
pub fn replaced(rules: &Rules, name: &str) -> String {
    let fitting = rules.iter().filter_map(|(old, new)| Some((old.len(), new, after(name, old)?)));
    match fitting.max_by_key(|(length, ..)| *length) {
        None => name.to_string(),
        Some((_, new, rest)) if new.is_empty() || rest.is_empty() => format!("{new}{rest}"),
        Some((_, new, rest)) => format!("{new}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_components() {
        assert_eq!(fold("model.layers.12.mlp.experts.7.linear_1"), "model.layers.#.mlp.experts.#.linear_1");
        assert_eq!(fold("0.x."), "#.x.");
        assert_eq!(numbers("a.#.b.#", "a.3.b.14"), Some(vec!["3", "14"]));
        assert_eq!(numbers("a.#.b.0", "a.3.b.0"), Some(vec!["3"]));
        assert_eq!(numbers("a.#.b.0", "a.3.b.1"), None);
        assert_eq!(numbers("a.#", "a.3.b"), None);
        assert_eq!(numbers("a.#.b", "a.3"), None);
    }

    #[test]
    fn templates_take_numbers_in_order_or_by_place() {
        assert_eq!(filled("m.#.experts.down", &["3", "14"]), "m.3.experts.down");
        assert_eq!(filled("m.#2.x.#1", &["3", "14"]), "m.14.x.3");
        assert_eq!(filled("m.#9", &["3"]), "m.#9");
    }

    #[test]
    fn the_longest_prefix_is_replaced_at_a_dot() {
        let rules: Rules = [("", "model"), ("visual", "v"), ("visual.merger", ""), ("lm_head", "lm_head")]
            .map(|(old, new)| (old.into(), new.into()))
            .into();
        assert_eq!(replaced(&rules, "layers.0"), "model.layers.0");
        assert_eq!(replaced(&rules, "visual.blocks"), "v.blocks");
        assert_eq!(replaced(&rules, "visuals"), "model.visuals");
        assert_eq!(replaced(&rules, "visual.merger.mlp"), "mlp");
        assert_eq!(replaced(&rules, "lm_head"), "lm_head");
    }
}

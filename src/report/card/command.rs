//! Command lines without what they say of the machine.

/// `word` of a command line with the last name of each absolute path in its place: where files lie on one machine is of no use
/// on another, and nobody's business.
pub fn without_places(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['/', '~']) {
        let (before, path) = rest.split_at(at);
        out.push_str(before);
        // `a/b` is relative, and `https://a` an address.
        let begins = out.chars().next_back().is_none_or(|c| "=,;:'\"([{ \t\n".contains(c));
        let is_address = path.starts_with("//") && out.ends_with(':');
        let end = path.find(|c: char| c.is_whitespace() || ",;:'\")]}".contains(c)).unwrap_or(path.len());
        let (path, after) = path.split_at(end);
        let is_absolute = path.starts_with('/') || path.starts_with("~/");
        match begins && !is_address && is_absolute {
            true => out.push_str(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()),
            false => out.push_str(path),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_name_of_an_absolute_path_stays() {
        for (word, expected) in [
            ("/data/models/Qwen2.5-VL", "Qwen2.5-VL"),
            ("/data/models/", "models"),
            ("--model=/data/a b", "--model=a b"),
            ("--with", "--with"),
            ("a.json,/data/b.json,c/d.json", "a.json,b.json,c/d.json"),
            ("../models/a", "../models/a"),
            ("Qwen/Qwen2.5@main", "Qwen/Qwen2.5@main"),
            ("https://example.org/a/b", "https://example.org/a/b"),
            ("family{ model = '/data/a', out = \"/data/b/c\" }", "family{ model = 'a', out = \"c\" }"),
            ("~/models/a", "a"),
            ("*.mlp.*", "*.mlp.*"),
            ("/", ""),
        ] {
            assert_eq!(without_places(word), expected);
        }
    }
}

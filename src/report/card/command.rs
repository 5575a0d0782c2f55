//! Command lines without what they say of the machine.

/// Options with a value that say how a command runs, and nothing of what it writes.
const RUNNING: [&str; 3] = ["--threads", "--device", "--log"];
/// The same without a value.
const TALKING: [&str; 4] = ["-q", "--quiet", "-v", "--verbose"];

/// `command` without what changes nothing of what it writes, so that the same is said of it on every machine.
pub fn for_any_machine(command: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = command.iter();
    if words.next().is_some() {
        kept.push("qlua".to_string());
    }
    while let Some(word) = words.next() {
        let option = word.split_once('=').map_or(word.as_str(), |(option, _)| option);
        match RUNNING.contains(&option) {
            true if option == word => drop(words.next()),
            true => {}
            false if TALKING.contains(&word.as_str()) => {}
            false => kept.push(without_places(word)),
        }
    }
    kept
}

/// `word` of a command line with the last name of each absolute path in its place: where files lie on one machine is of no use
/// on another, and nobody's business.
fn without_places(word: &str) -> String {
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
    fn how_a_command_runs_is_not_told() {
        let of =
            |line: &str| for_any_machine(&line.split(' ').map(String::from).collect::<Vec<_>>()).join(" ");
        assert_eq!(of("/opt/q -q all --threads 2 --top 50 --device=cuda:1 --log a -v"), "qlua all --top 50");
        assert!(for_any_machine(&[]).is_empty());
    }

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

//! Where a scheme comes from, and what serves it.

use crate::dialect::Engine;

/// Where a scheme comes from, and what serves it.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemeOrigin {
    /// The command line that made it, program first, as it was typed; empty where none is on record.
    pub command: Vec<String>,
    /// The name of the policy that made it, where one did: `lm_only_topx`.
    pub policy: Option<String>,
    /// Its dialect.
    pub dialect: String,
    /// How its inputs are scaled.
    pub activations: String,
    /// How quotients were rounded to codes.
    pub rounding: String,
    /// Each engine, and whether it reads the scheme.
    pub serving: Vec<Serving>,
}

/// What an engine makes of a scheme.
#[derive(Debug, Clone, PartialEq)]
pub struct Serving {
    /// The engine.
    pub engine: Engine,
    /// Why it does not read the scheme, and what to do instead; nothing where it does.
    pub refusal: Option<String>,
}

impl Serving {
    /// The command that serves `directory`, which is a path: engines find the quantisation in the directory itself. Nothing for
    /// an engine that does not read it, or is a library.
    pub fn command(&self, directory: &str) -> Option<String> {
        let directory = quoted(directory);
        match self.engine {
            _ if self.refusal.is_some() => None,
            Engine::Vllm => Some(format!("vllm serve {directory}")),
            Engine::Sglang => Some(format!("python -m sglang.launch_server --model-path {directory}")),
            Engine::Transformers => None,
        }
    }
}

impl SchemeOrigin {
    /// The command line as one line that a shell reads back; the program by its name alone. Nothing where none is on record.
    pub fn command_line(&self) -> Option<String> {
        let (program, words) = self.command.split_first()?;
        let program = program.rsplit('/').next().unwrap_or(program);
        let words = std::iter::once(program).chain(words.iter().map(String::as_str));
        Some(words.map(quoted).collect::<Vec<_>>().join(" "))
    }

    /// The command of the first engine that serves the scheme in `directory`.
    pub fn serve_command(&self, directory: &str) -> Option<String> {
        self.serving.iter().find_map(|serving| serving.command(directory))
    }
}

/// `word` as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,:=@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_one_that_a_shell_reads_back() {
        let origin = |words: &[&str]| SchemeOrigin {
            command: words.iter().map(ToString::to_string).collect(),
            policy: None,
            dialect: String::new(),
            activations: String::new(),
            rounding: String::new(),
            serving: Vec::new(),
        };
        let line = |words: &[&str]| origin(words).command_line();
        assert_eq!(
            line(&["/opt/bin/qlua", "x.lua", "--top", "10,20"]),
            Some("qlua x.lua --top 10,20".into())
        );
        assert_eq!(line(&["qlua", "a b", "it's", ""]), Some(r"qlua 'a b' 'it'\''s' ''".into()));
        assert_eq!(line(&[]), None);
    }
}

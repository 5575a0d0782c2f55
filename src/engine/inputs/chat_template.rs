//! The chat template of a checkpoint: Jinja, read as Transformers reads it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind};
use minijinja_contrib::pycompat::unknown_method_callback;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::bounded::bounded;
use super::tokens::{CONFIG_FILE, read_json};
use super::{dates, json_filter};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::input::InputKind;

/// Where the template stands by itself.
const FILE: &str = "chat_template.jinja";
/// Where older processors have it.
const PROCESSOR_FILE: &str = "chat_template.json";
/// Steps that a template may take, 25 times what any known one takes for a chat of two messages. They bound how deep values get.
const FUEL: u64 = 250_000;
/// The most bytes of a template, several times what any known one has. They bound how deep expressions get.
const MOST_BYTES: usize = 128 << 10;

/// A compiled chat template, with the names of the special tokens that it may use.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    special: Map<String, Value>,
    path: PathBuf,
}

impl ChatTemplate {
    /// That of `checkpoint`; nothing where it has none. `config` is its `tokenizer_config.json`.
    ///
    /// Where there are several, a model that sees pictures takes `chat_template.json` first, as processors of Transformers do, and
    /// another takes it last; `chat_template.jinja` goes before `config`.
    ///
    /// # Errors
    /// [`Error::Format`] for a template that does not parse, or is not where it should be; those of [`Checkpoint::read_beside`].
    pub(super) fn open(checkpoint: &Checkpoint, config: &Value, sees: bool) -> Result<Option<Self>> {
        let of_processor =
            || Self::stated(checkpoint, PROCESSOR_FILE, &read_json(checkpoint, PROCESSOR_FILE)?);
        let of_tokenizer = || match checkpoint.read_beside(FILE, InputKind::Configuration)? {
            Some(bytes) => {
                let path = checkpoint.directory().join(FILE);
                let text = String::from_utf8(bytes).map_err(|_| Error::format(&path, "is no UTF-8"))?;
                Ok(Some((text, path)))
            }
            None => Self::stated(checkpoint, CONFIG_FILE, config),
        };
        let found = match sees {
            true => of_processor()?.map_or_else(of_tokenizer, |found| Ok(Some(found))),
            false => of_tokenizer()?.map_or_else(of_processor, |found| Ok(Some(found))),
        }?;
        found.map(|(text, path)| Self::compile(&text, special_names(config), &path)).transpose()
    }

    /// The `chat_template` that the file `name` states: a text, or the default one of several.
    fn stated(checkpoint: &Checkpoint, name: &str, said: &Value) -> Result<Option<(String, PathBuf)>> {
        let path = checkpoint.directory().join(name);
        let text = match &said["chat_template"] {
            Value::Null => return Ok(None),
            Value::String(text) => Some(text.as_str()),
            Value::Array(named) => named
                .iter()
                .find(|entry| entry["name"] == "default")
                .and_then(|entry| entry["template"].as_str()),
            named => named["default"].as_str(),
        };
        match text {
            Some(text) => Ok(Some((text.into(), path))),
            None => Err(Error::format(path, "has a `chat_template` without a default one")
                .with_hint("call one of its templates `default`")),
        }
    }

    /// Compiles `text`, which comes from `path`.
    fn compile(text: &str, special: Map<String, Value>, path: &Path) -> Result<Self> {
        if text.len() > MOST_BYTES {
            let problem =
                format!("has a template of {} bytes, and no more than {MOST_BYTES} are read", text.len());
            return Err(Error::format(path, problem).with_hint("take the file from the model's page"));
        }
        let text = without_generation(text);
        let compiled = bounded(&subject(path), move || environment(text))?;
        let environment = compiled.map_err(|e| {
            Error::format(path, format!("has a template that is broken: {e}"))
                .with_hint("take the file from the model's page")
        })?;
        Ok(ChatTemplate { environment: Arc::new(environment), special, path: path.into() })
    }

    /// The text of `messages`, a list of objects with `role` and `content`; with `asking`, the beginning of the answer follows.
    ///
    /// # Errors
    /// [`Error::Refused`] with what the template has against these messages; [`Error::Limit`] when it takes too many steps or too
    /// long.
    pub fn render(&self, messages: &Value, asking: bool) -> Result<String> {
        let mut context = self.special.clone();
        context.insert("messages".into(), messages.clone());
        context.insert("tools".into(), Value::Null);
        context.insert("documents".into(), Value::Null);
        context.insert("add_generation_prompt".into(), json!(asking));
        let environment = self.environment.clone();
        let render = move || environment.get_template(TEMPLATE)?.render(Serde(&context));
        bounded(&subject(&self.path), render)?.map_err(|e| self.failed(&e))
    }

    /// The name of the special token `key`, such as `bos_token`.
    pub fn special_name(&self, key: &str) -> Option<&str> {
        self.special.get(key)?.as_str()
    }

    fn failed(&self, error: &minijinja::Error) -> Error {
        let subject = subject(&self.path);
        match error.kind() {
            ErrorKind::OutOfFuel => Error::Limit {
                problem: format!("{subject} takes more than {FUEL} steps"),
                hint: Some("put the template of the model's authors in its place".into()),
            },
            _ => Error::refused(format!("{subject} fails: {error}"))
                .with_hint("it may want another prompt, or be written for tools that are not there"),
        }
    }
}

/// What errors call the template of `path`.
fn subject(path: &Path) -> String {
    format!("the chat template of `{}`", path.display())
}

/// What runs the template `text`.
fn environment(text: String) -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment
        .add_filter("tojson", |value: minijinja::Value, options| json_filter::to_json(&value, options));
    environment.add_function("raise_exception", |message: String| {
        Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| {
        let failed = || minijinja::Error::new(ErrorKind::InvalidOperation, "this is no format of a date");
        dates::now(&format).ok_or_else(failed)
    });
    environment.add_template_owned(TEMPLATE, text)?;
    Ok(environment)
}

/// The name of the one template in its environment.
const TEMPLATE: &str = "chat";

/// `text` without the tags `generation` and `endgeneration`, between which stands what a model answered: they print nothing. What they
/// do to the space around them stays.
fn without_generation(text: &str) -> String {
    static TAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("a valid expression")
    });
    let replaced = TAG.replace_all(text, |found: &regex::Captures| {
        let tag = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {tag} {}%}}", &found[1], &found[3])
    });
    replaced.into_owned()
}

/// The names of the special tokens in a `tokenizer_config.json`, each a string or an object with `content`.
fn special_names(config: &Value) -> Map<String, Value> {
    let tokens = config.as_object().into_iter().flatten().filter(|(key, _)| key.ends_with("_token"));
    let names = tokens.filter_map(|(key, value)| {
        let name = value.as_str().or_else(|| value["content"].as_str())?;
        Some((key.clone(), Value::from(name)))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, messages: &Value, asking: bool) -> Result<String> {
        let special = special_names(
            &json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": true}),
        );
        ChatTemplate::compile(template, special, Path::new("t.jinja"))?.render(messages, asking)
    }

    #[test]
    fn templates_are_read_as_transformers_reads_them() {
        // Each answer is that of Transformers 5.24 for the same template.
        let messages = json!([{"role": "user", "content": " Say \"<hi>\" & é "}, {"role": "assistant", "content": "a|b"}]);
        let cases = [
            (
                "{{ bos_token }}{% for m in messages %}\n  {% if true %}\n{{ m.role }}\n{% endif %}\n{% endfor %}\n",
                "<s>user\nassistant\n",
            ),
            ("{{ messages[0] | tojson }}", r#"{"role": "user", "content": " Say \"<hi>\" & é "}"#),
            (
                "{{ messages[1].content.split('|')[-1] ~ messages[0]['content'].strip() }}",
                "bSay \"<hi>\" & é",
            ),
            ("{% generation %}{{ messages[1].content }}{%- endgeneration -%}  !", "a|b!"),
            ("{{ true }} {{ none }} {{ tools is none }} {{ missing is defined }}", "True None True False"),
            (
                "{% set n = namespace(a=1) %}{% for m in messages %}{% set n.a = n.a + loop.index0 %}{% endfor %}{{ n.a }}",
                "2",
            ),
            (
                "{% for m in messages[::-1] %}{{ m.role }}{% if loop.last %}.{% continue %}{% endif %},{% endfor %}",
                "assistant,user.",
            ),
            (
                "{{ [1, 'a', none, 1.5, true, []] | tojson(indent=2) }}",
                "[\n  1,\n  \"a\",\n  null,\n  1.5,\n  true,\n  []\n]",
            ),
            (
                "{% macro f(x, y=2) %}{{ x }}-{{ y }}{% endmacro %}{{ f('a') }}{{ messages[0].content is string }}{{ messages[0].tool_calls }}",
                "a-2True",
            ),
            (
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
                "<|im_start|>assistant\n",
            ),
        ];
        for (template, expected) in cases {
            assert_eq!(render(template, &messages, true).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_template_that_refuses_or_never_ends_is_an_error() {
        let none = json!([]);
        let error = render("{{ raise_exception('roles must alternate') }}", &none, false).unwrap_err();
        assert!(error.to_string().contains("roles must alternate"), "{error}");
        let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}";
        assert_eq!(render(endless, &none, false).unwrap_err().kind(), "limit");
        // Lists that hold the same list twice, again and again: few steps, and more values than can ever be looked at.
        let doubled = "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}";
        assert_eq!(
            render(doubled, &none, false).unwrap_err().to_string(),
            "the chat template of `t.jinja` takes longer than 10 s"
        );
        let broken = ChatTemplate::compile("{% for", Map::new(), Path::new("t.jinja")).unwrap_err();
        assert!(broken.to_string().starts_with("`t.jinja` has a template that is broken"), "{broken}");
    }
    #[test]
    fn a_deep_template_ends_in_an_answer_or_an_error() {
        let most = MOST_BYTES - 100;
        let chain = |word: &str| format!("{{{{ 1{} }}}}", word.repeat(most / word.len()));
        let before = |word: &str| format!("{{{{ {}1 }}}}", word.repeat(most / word.len()));
        let nested = |end: &str| {
            format!(
                "{{% set n = namespace(s=[]) %}}{{% for a in range(99999) %}}{{% set n.s = [[[[n.s]]]] %}}{{% endfor %}}{end}"
            )
        };
        let deep = [before("-"), before("not "), chain("~1"), chain(".a"), chain("+1"), chain("|e")];
        for template in deep.into_iter().chain(["{{ n.s }}", "{{ n.s | tojson }}", "x"].map(nested)) {
            // Whatever it is, the process is still there.
            let _ = render(&template, &json!([]), false);
        }
        let long =
            ChatTemplate::compile(&"x".repeat(MOST_BYTES + 1), Map::new(), Path::new("t.jinja")).unwrap_err();
        assert!(long.to_string().contains("no more than 131072 are read"), "{long}");
    }
}

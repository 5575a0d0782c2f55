//! The model card of a scheme: `README.md` as the Hugging Face Hub reads it, and as people do.

mod carried;
mod command;

use std::fmt::Write as _;

use super::sweep::{MeasuredQuality, SchemeOrigin, Serving};
use super::table::{Cell, Column, Table, Unit, markdown};
use crate::checkpoint::CARD_MARK;
use crate::dialect::Engine;
use crate::shown;
use crate::units::{self, counted};

pub use carried::CarriedMetadata;
pub use command::for_any_machine;

/// The headings of the section on quality, and of the one after it.
const QUALITY: &str = "## Quality";
const SERVING: &str = "## How to serve it";

/// What a card says.
#[derive(Debug)]
pub struct ModelCard<'a> {
    /// The name of the scheme.
    pub scheme: &'a str,
    /// The name of the base checkpoint: `ORG/NAME` where `is_on_hub`.
    pub base: Option<String>,
    /// Whether the base is a model of the Hugging Face Hub.
    pub is_on_hub: bool,
    /// The commit of the base, where it is known.
    pub commit: Option<&'a str>,
    /// What comes along from the card of the base.
    pub carried: CarriedMetadata,
    /// The class of the architecture, where its modules are known.
    pub architecture: Option<&'a str>,
    /// The libraries whose configurations it has, such as `compressed-tensors`.
    pub libraries: Vec<String>,
    /// What the quantised layers hold, as the rest of a sentence.
    pub format: String,
    /// The parts of the model, with their layers that are quantised and those that could be.
    pub parts: Vec<CardPart>,
    /// Weights of the layers that the manifest speaks of, and those that are quantised.
    pub parameters: (u64, u64),
    /// Bytes of all tensors of the base and of the scheme.
    pub bytes: (u64, u64),
    /// Bits for each weight that the manifest speaks of; nothing where that is not known.
    pub effective_bits: Option<f64>,
    /// The name of the manifest's file.
    pub manifest: String,
    /// What was measured of it.
    pub quality: Vec<MeasuredQuality>,
    /// How it was made, and what serves it.
    pub origin: SchemeOrigin,
}

/// A part of the model on a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardPart {
    /// What it is called.
    pub name: String,
    /// Its linear layers that are quantised.
    pub quantised: usize,
    /// All its linear layers.
    pub layers: usize,
}

impl ModelCard<'_> {
    /// The card as it is written.
    pub fn markdown(&self) -> String {
        let mut text = self.front_matter();
        let _ = writeln!(text, "{CARD_MARK}\n\n# {}\n", shown::markdown_cell(self.scheme));
        let base = match &self.base {
            Some(base) if self.is_on_hub => format!("[{base}](https://huggingface.co/{base})"),
            Some(base) => format!("`{}`", shown::code(base)),
            None => "its base checkpoint".into(),
        };
        let commit = self.commit.map_or(String::new(), |commit| format!(" (commit `{commit}`)"));
        let _ = writeln!(
            text,
            "{base}{commit} with a part of its layers in {}; all other tensors are those of the base, bit for bit.\n",
            self.format
        );
        self.add_quantised(&mut text);
        text.push_str(&quality_section(&self.quality));
        text.push('\n');
        self.add_serving(&mut text);
        self.add_origin(&mut text);
        text
    }

    fn front_matter(&self) -> String {
        let mut text = String::from("---\n");
        if let (Some(base), true) = (&self.base, self.is_on_hub) {
            let _ = writeln!(text, "base_model: {base}\nbase_model_relation: quantized");
        }
        let library = self.carried.library.clone().or_else(|| self.library());
        if let Some(library) = library {
            let _ = writeln!(text, "library_name: {library}");
        }
        text.push_str(&self.carried.lines);
        text.push_str("tags:\n- fp8\n");
        self.libraries.iter().for_each(|library| text.push_str(&format!("- {library}\n")));
        text.push_str("- qlua\n---\n\n");
        text
    }

    /// The first library that reads the scheme, Transformers before those that serve.
    fn library(&self) -> Option<String> {
        let is_read =
            |engine: &Engine| self.origin.serving.iter().any(|s| s.engine == *engine && s.refusal.is_none());
        let engines = [Engine::Transformers, Engine::Vllm, Engine::Sglang];
        engines.into_iter().find(is_read).map(|engine| engine.to_string())
    }

    fn add_quantised(&self, text: &mut String) {
        let (quantised, layers) =
            self.parts.iter().fold((0, 0), |(q, l), part| (q + part.quantised, l + part.layers));
        let (parameters, chosen) = self.parameters;
        let share = 100.0 * chosen as f64 / parameters.max(1) as f64;
        let (before, after) = self.bytes;
        let _ = writeln!(text, "## What is quantised\n");
        let _ = writeln!(
            text,
            "- {quantised} of {} are quantised: {share:.1} % of the weights that were scored",
            counted(layers, "linear layer")
        );
        let _ = writeln!(text, "- {} of tensors instead of {}", units::bytes(after), units::bytes(before));
        if let Some(bits) = self.effective_bits {
            let _ =
                writeln!(text, "- {bits:.2} effective bits for each weight that was scored, 16 unquantised");
        }
        let _ = writeln!(
            text,
            "- dialect `{}`, {} activations, rounding `{}`\n",
            self.origin.dialect, self.origin.activations, self.origin.rounding
        );
        let row =
            |part: &CardPart| vec![part.name.as_str().into(), part.quantised.into(), part.layers.into()];
        let table = Table {
            columns: ["part", "quantised layers", "linear layers"].map(Column::new).into(),
            rows: self.parts.iter().map(row).collect(),
        };
        let _ = writeln!(text, "{}", markdown(&table));
    }

    fn add_serving(&self, text: &mut String) {
        let _ = writeln!(text, "{SERVING}\n");
        let directory = format!("./{}", self.scheme);
        for serving in &self.origin.serving {
            if let Some(command) = serving.command(&directory) {
                let _ = writeln!(text, "{}:\n```sh\n{command}\n```", serving.engine.name());
            } else if let Some(code) = self.in_transformers(serving, &directory) {
                let _ = writeln!(text, "{}:\n```python\n{code}\n```", serving.engine.name());
            }
        }
        for serving in &self.origin.serving {
            if let Some(refusal) = &serving.refusal {
                let _ = writeln!(text, "{} does not read it: {refusal}.", serving.engine.name());
            }
        }
        text.push('\n');
    }

    /// The lines that load the scheme in Transformers.
    fn in_transformers(&self, serving: &Serving, directory: &str) -> Option<String> {
        let class = self.architecture?;
        (serving.engine == Engine::Transformers && serving.refusal.is_none()).then(|| {
            format!(
                "from transformers import {class}\n\
                 model = {class}.from_pretrained({}, dtype=\"auto\", device_map=\"auto\")",
                // A text of JSON is one of Python.
                serde_json::Value::from(directory)
            )
        })
    }

    fn add_origin(&self, text: &mut String) {
        let _ = writeln!(text, "## How it was made\n");
        let policy = self
            .origin
            .policy
            .as_ref()
            .map_or(String::new(), |policy| format!(" by the policy `{}`", shown::code(policy)));
        let _ = writeln!(
            text,
            "With qlua {}{policy}, from the scores of `{}`.",
            env!("CARGO_PKG_VERSION"),
            shown::code(&self.manifest)
        );
        if let Some(command) = self.origin.command_line() {
            let _ = writeln!(text, "```sh\n{command}\n```");
        }
        let _ = writeln!(
            text,
            "`layer-sensitivity/` has the manifest, the coverage, a report of each layer and the provenance; \
             `qlua verify` compares all files with it."
        );
    }
}

/// The section on what was measured.
fn quality_section(rows: &[MeasuredQuality]) -> String {
    if rows.is_empty() {
        return format!("{QUALITY}\n\nNot measured yet; `qlua evaluate` compares it with its base.\n");
    }
    let row = |row: &MeasuredQuality| -> Vec<Cell> {
        vec![
            format!("{} of {}", row.samples, row.kind).into(),
            row.tokens.into(),
            row.kl.into(),
            row.perplexity.into(),
            row.base_perplexity.into(),
            row.agreement.into(),
        ]
    };
    let table = Table {
        columns: vec![
            Column::new("samples"),
            Column::new("tokens"),
            Column::of("KL to the base", Unit::Score),
            Column::new("perplexity").decimals(3),
            Column::new("of the base").decimals(3),
            Column::of("agreement", Unit::Share),
        ],
        rows: rows.iter().map(row).collect(),
    };
    format!("{QUALITY}\n\n{}", markdown(&table))
}

/// `card`, which qlua wrote, with `rows` as what was measured; nothing where it has no such section.
pub fn with_quality(card: &str, rows: &[MeasuredQuality]) -> Option<String> {
    let (before, rest) = card.split_once(&format!("\n{QUALITY}\n"))?;
    let (_, after) = rest.split_once(&format!("\n{SERVING}\n"))?;
    before.contains(CARD_MARK).then(|| format!("{before}\n{}\n{SERVING}\n{after}", quality_section(rows)))
}

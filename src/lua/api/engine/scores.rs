//! Sensitivity scores, and the files of an AutoQuant run.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;

use super::with_engine;
use crate::engine::{CandidateFormat, LayerScore, Network, Sensitivity};
use crate::error::Error;
use crate::job::ScoringPlace;
use crate::job::autoquant::{AutoQuantRun, ScoredLayer, ScoringMethod};
use crate::lua::api::fs::write_whole_by;
use crate::lua::declare::{Class, Function, Options, PathUse};
use crate::lua::rows::{row, rows};
use crate::lua::values::Callback;
use crate::lua::{Call, Handle, Row, Type};
use crate::manifest::Manifest;
use crate::model::{Model, canonical};
use crate::report::per_layer;
use crate::seal;
use crate::tensor::Kernel;
use crate::write::require_outside;

const PER_LAYER_JSON: &str = "per-layer-sensitivity.json";
const PER_LAYER_MARKDOWN: &str = "per-layer-sensitivity.md";

/// Scores of all layers, and how they came to be.
pub(super) struct Scores {
    pub(super) model: Arc<Model>,
    pub(super) candidates: Vec<CandidateFormat>,
    pub(super) method: ScoringMethod,
    pub(super) found: Sensitivity,
    pub(super) dataset: serde_json::Value,
    /// The model's: see [`crate::engine::model_identity`].
    pub(super) identity: String,
    pub(super) has_pictures: bool,
    /// Samples that scored.
    pub(super) score_steps: usize,
    /// Whether the scores are those of a function.
    pub(super) is_custom: bool,
    /// What is on record of the run, until its files are written.
    pub(super) place: Rc<RefCell<Option<ScoringPlace>>>,
}

row! {
    /// What is known of one linear layer.
    const LAYER = "LayerFigures" for |layer: &LayerScore| {
        /// its name, such as `layers.0.mlp.up_proj` or `vision.blocks.3.attn.qkv`
        name: Type::String => layer.name.as_str(),
        /// number of weights
        weights: Type::Integer => layer.weights,
        /// largest magnitude of its inputs over all samples
        input_amax: Type::Number => f64::from(layer.input_amax),
        /// root mean square of its inputs
        input_rms: Type::Number => layer.input_rms,
        /// largest magnitude of its weight
        weight_amax: Type::Number => f64::from(layer.weight_amax),
        /// a score for each format; empty after calibration alone
        scores: Type::List(&Type::Number) => layer.scores.clone(),
        /// the squared error of its outputs in each format, summed over all tokens; 0 where no gradients were computed
        output_errors: Type::List(&Type::Number) => layer.output_errors.clone(),
    }
}

pub(super) const LAYERS: Type = Type::List(&Type::Record(&LAYER));

pub(super) fn class() -> Class<Scores> {
    Class::new("Sensitivity", "How much each linear layer suffers from each format.")
        .text(|this: &Scores| format!("Sensitivity({} layers by {})", this.found.layers.len(), this.method.word()))
        .field("layers", LAYERS, "the layers in the order in which they run", |this, call| {
            rows(call.lua(), &this.found.layers)
        })
        .field("losses", Type::List(&Type::Number), "the mean loss of each sample, unquantised", |this, _| {
            Ok(this.found.losses.clone())
        })
        .field("method", Type::String, "`gradient` or `kl_div`", |this, _| Ok(this.method.word()))
        .method(
            Function::new("scored_by", "The same layers with scores of your own.")
                .param("score", Type::Function("fun(layer: qlua.LayerFigures, format: integer): number"), "the score of a layer in the format of this number; higher is worse")
                .returns(Type::Handle("Sensitivity"), "the scores")
                .raises("the function raises, or gives no number from 0 on")
                .example(with_engine!(
                    "local scores = engine:sensitivity(samples)\n\
                     local outliers = scores:scored_by(function(layer) return layer.input_amax / layer.input_rms end)\n\
                     assert(outliers.layers[1].scores[1] > 1)"
                )),
            scored_by,
        )
        .method(
            Function::new(
                "write",
                "Writes the files of an AutoQuant run into a directory: `NAME_quant_manifest.json`, `NAME_amax.json`, \
                 `per-layer-sensitivity.json` and `per-layer-sensitivity.md`. Output heads and patch embeddings stay as they are.",
            )
            .param("directory", Type::Path, "where they go")
            .used_for(PathUse::WriteInside)
            .options(
                Options::new()
                    .default("name", Type::String, "fp8_autoquant_all_layers_fp8", "the scheme's name")
                    .default("coverage", Type::Choice(&["all-layers", "lm-only"]), "all-layers", "`lm-only` leaves the vision tower as it is")
                    .default("effective_bits", Type::NumberIn("bits"), 11.0, "what the search solves for")
                    .default("overwrite", Type::Boolean, false, "replace existing files"),
            )
            .returns(Type::Handle("Manifest"), "the manifest")
            .raises("a layer was not reached by any sample, such as those of the vision tower by captions alone")
            .raises("a file exists")
            .example(with_engine!(
                "local manifest = engine:sensitivity(samples):write(\"run\", { coverage = \"lm-only\" })\n\
                 assert(manifest.method == \"gradient\" and manifest.has_amax)"
            )),
            write,
        )
}

fn scored_by(this: &Scores, call: &Call) -> anyhow::Result<Handle<Scores>> {
    let function: Callback = call.get("score")?;
    let lua = call.lua();
    let mut layers = this.found.layers.clone();
    for layer in &mut layers {
        for which in 0..this.candidates.len() {
            let said = function.call(lua, (Row(&*layer), which + 1))?;
            let number =
                said.iter().next().and_then(|value| value.as_f64().or(value.as_i64().map(|i| i as f64)));
            match number.filter(|score| score.is_finite() && *score >= 0.0) {
                Some(score) => layer.scores[which] = score,
                None => {
                    let problem = format!("gave no number from 0 on for `{}`", layer.name);
                    return Err(call.refuse("score", problem));
                }
            }
        }
    }
    Ok(Handle(Scores {
        model: this.model.clone(),
        candidates: this.candidates.clone(),
        method: this.method,
        found: Sensitivity { layers, losses: this.found.losses.clone() },
        dataset: this.dataset.clone(),
        identity: this.identity.clone(),
        has_pictures: this.has_pictures,
        score_steps: this.score_steps,
        is_custom: true,
        place: this.place.clone(),
    }))
}

fn write(this: &Scores, call: &Call) -> anyhow::Result<Handle<Arc<Manifest>>> {
    let coverage: String = call.get("coverage")?;
    let name: String = call.get("name")?;
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(call.refuse("name", "must be a name for files"));
    }
    let effective_bits: f64 = call.get("effective_bits")?;
    if !(effective_bits > 0.0 && effective_bits <= 16.0) {
        return Err(call.refuse("effective_bits", "must lie above 0 and be 16 at most"));
    }
    let has_vision = Network::open(&this.model)?.vision_blocks() > 0;
    if coverage == "all-layers" && has_vision && !this.has_pictures {
        return Err(Error::refused(
            "captions alone never reach the vision tower, so its layers would get the score 0 and rank first",
        )
        .with_hint("score with pairs of pictures and captions, or ask for the coverage lm-only")
        .into());
    }
    let vision = ["*visual*", "*vision_tower*", "*vision_model*", "*multi_modal_projector*"];
    let mut disabled = vec!["*lm_head*", "*patch_embed*"];
    if coverage == "lm-only" {
        disabled.extend(vision);
    }
    let layer = |layer: &LayerScore| ScoredLayer {
        name: layer.name.clone(),
        weights: layer.weights,
        scores: layer.scores.clone(),
        input_amax: layer.input_amax,
        weight_amax: layer.weight_amax,
        is_reached: layer.is_reached(),
    };
    let run = AutoQuantRun {
        name: name.clone(),
        method: this.method,
        effective_bits,
        formats: this.candidates.iter().map(|c| (c.format, c.granularity)).collect(),
        disabled: disabled.iter().map(|glob| glob.to_string()).collect(),
        layers: this.layers_with_vision()?.iter().map(layer).collect(),
        dataset: this.dataset.clone(),
        run_config: json!({
            "tool": format!("qlua {}", env!("CARGO_PKG_VERSION")),
            "coverage": coverage,
            "method": this.method.word(),
            "scores": if this.is_custom { "of a function" } else { "as ModelOpt's" },
            "effective_bits": effective_bits,
            "dtype": "float32",
            "calibration_steps": this.dataset["num_samples"],
            "score_steps": this.score_steps,
            "kernel": Kernel::best().name(),
            "model_identity": this.identity,
            "scales": this.candidates.iter().map(|c| c.granularity.word()).collect::<Vec<_>>(),
        }),
        score_steps: this.score_steps,
    };
    this.require_whole(&run.layers)?;
    let document = run.manifest(&this.model)?;
    let directory = PathBuf::from(call.get::<String>("directory")?);
    require_outside(&directory, this.model.directory())?;
    let overwrite: bool = call.get("overwrite")?;
    let manifest_file = format!("{name}_quant_manifest.json");
    let amax_file = format!("{name}_amax.json");
    let path = directory.join(&manifest_file);
    let text = seal::sealed(&document);
    let manifest = Manifest::parse(&path, String::from_utf8_lossy(&text).into_owned())?;
    // The manifest comes last: where it is, the run is over.
    let files: [(&str, Vec<u8>); 4] = [
        (&amax_file, serde_json::to_vec_pretty(&AutoQuantRun::input_amax(&document))?),
        (PER_LAYER_JSON, per_layer::json(&manifest)),
        (PER_LAYER_MARKDOWN, per_layer::markdown(&manifest).into_bytes()),
        (&manifest_file, text),
    ];
    // All or nothing: what is there already is found before the first is written. The same bytes are what a run that was killed
    // here has left.
    for (file, content) in &files {
        let path = directory.join(file);
        let is_free =
            || path.symlink_metadata().is_err() || std::fs::read(&path).is_ok_and(|there| there == *content);
        if !overwrite && !is_free() {
            let error = Error::exists(&path, "exists already");
            return Err(error.with_hint("pass { overwrite = true } to replace it").into());
        }
    }
    std::fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
    let place = this.place.take();
    // The record may be that of a run that writes elsewhere.
    let staging = place
        .as_ref()
        .map(ScoringPlace::directory)
        .filter(|place| place.parent() == Some(directory.as_path()));
    for (file, content) in &files {
        write_whole_by(staging, &directory.join(file), content, true)?;
    }
    if let Some(place) = place {
        place.remove()?;
    }
    note_oddities(call, &document);
    Ok(Handle(Arc::new(manifest)))
}

/// Says which groups have the score 0 and what becomes of them, and that a budget cannot be met.
fn note_oddities(call: &Call, document: &serde_json::Value) {
    if crate::lua::verbosity(call.lua()) == crate::lua::Verbosity::Quiet {
        return;
    }
    let groups = AutoQuantRun::without_error(document);
    if let Some(first) = groups.first() {
        let count = match groups.len() {
            1 => "1 group has".to_string(),
            count => format!("{count} groups have"),
        };
        crate::lua::output::line_to_stderr(&format!(
            "{count} the score 0, as in ModelOpt: what such a layer puts out is the same in every format, or nothing depends on it, as \
             with weights that are all 0; `{first}` for one. The FP8 baseline leaves it out, and so do policies unless --unscored is given"
        ));
    }
    let state = &document["autoquant_state"];
    if state["is_satisfied"] == json!(false) {
        crate::lua::output::line_to_stderr(&format!(
            "the search does not come down to {} effective bits: its choice takes {:.2}. Scores and ranking do not depend on that",
            document["scheme"]["auto_quantize_bits"],
            state["constraints"]["effective_bits"].as_f64().unwrap_or(f64::NAN)
        ));
    }
}

impl Scores {
    /// That every linear layer of the checkpoint is among `layers`: a model with layers that the engine does not run is another one
    /// than it computes, whatever its configuration calls it.
    fn require_whole(&self, layers: &[ScoredLayer]) -> crate::Result<()> {
        let known: HashSet<String> = layers.iter().map(|layer| canonical(&layer.name)).collect();
        match self.model.modules().linears().find(|module| !known.contains(&canonical(module))) {
            Some(module) => Err(Error::refused(format!(
                "the linear layer `{module}` is not run by the engine, so its model is another one than was scored"
            ))
            .with_hint("examples/autoquant_baseline.py scores any model with ModelOpt")),
            None => Ok(()),
        }
    }

    /// The layers, and those that no sample reached: a vision tower that saw no picture is still part of the model.
    fn layers_with_vision(&self) -> crate::Result<Vec<LayerScore>> {
        let network = Network::open(&self.model)?;
        let missing = network.vision_layers()?;
        let known = |name: &str| self.found.layers.iter().any(|layer| layer.name == name);
        let mut all: Vec<LayerScore> = missing
            .into_iter()
            .filter(|linear| !known(&linear.name))
            .map(|linear| LayerScore::unseen(&linear, self.candidates.len()))
            .collect::<crate::Result<_>>()?;
        all.extend(self.found.layers.iter().cloned());
        Ok(all)
    }
}

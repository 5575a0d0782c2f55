//! Calibration and sensitivity: what runs a model to score its layers.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use serde_json::json;

use super::scores::{LAYERS, Scores};
use super::{OpenedEngine, positive, short, with_engine};
use crate::engine::inputs::Samples;
use crate::engine::{
    BORDER_MEMORY, CandidateFormat, Cpu, Network, NetworkRun, ScoringRecord, SpilledBorders, autoquant_group,
};
use crate::error::Error;
use crate::format::Granularity;
use crate::job::ScoringPlace;
use crate::job::autoquant::ScoringMethod;
use crate::lua::declare::{Function, Options, PathUse};
use crate::lua::rows::rows;
use crate::lua::step_progress::in_steps;
use crate::lua::{Call, Handle, Type, Verbosity, verbosity};
use crate::model::Model;
use crate::write::require_outside;

pub(super) fn calibrate() -> Function {
    Function::new("calibrate", "Runs samples and keeps what goes into each linear layer.")
        .param("samples", Type::Handle("Samples"), "the samples")
        .long()
        .returns(LAYERS, "the layers in the order in which they run")
        .raises("weights or inputs are not finite")
        .example(with_engine!("assert(engine:calibrate(samples)[1].input_amax > 0)"))
}

pub(super) fn run_calibrate(engine: &OpenedEngine, call: &Call) -> anyhow::Result<mlua::Value> {
    let samples = call.handle::<Samples>("samples")?;
    let found = engine.model.unchanged((|| {
        let network = Network::open(&engine.model)?;
        let run = NetworkRun::new(&network, &Cpu, &samples.samples)?;
        in_steps(verbosity(call.lua()), "calibrated", run.calibration_steps(), |done| run.calibrate(done))
    })())?;
    Ok(mlua::IntoLua::into_lua(rows(call.lua(), &found.layers)?, call.lua())?)
}

pub(super) fn sensitivity() -> Function {
    Function::new(
        "sensitivity",
        "Scores every linear layer in every format, as NVIDIA ModelOpt's AutoQuant does: inputs are calibrated on all samples, then \
         the first `score_steps` of them score.",
    )
    .param("samples", Type::Handle("Samples"), "the samples")
    .long()
    .options(
        Options::new()
            .default("method", Type::Choice(ScoringMethod::WORDS), "gradient", "`gradient`: the error of each layer's output weighted by the gradient of the loss; `kl_div`: the KL divergence of the model's output, a pass for each group")
            .described("formats", Type::List(&Type::Choice(Granularity::WORDS)), "`{ \"tensor\" }`", "the scales to try: one for a tensor, each row, or each 128×128 block")
            .default("score_steps", Type::Integer, 128, "samples that score")
            .described("record", Type::Path, "none", "the manifest that is to come of it: what is finished is kept in a hidden directory beside it until it is written, so that a run that was killed goes on")
            .used_for(PathUse::Write),
    )
    .returns(Type::Handle("Sensitivity"), "the scores")
    .raises("the checkpoint is quantised already, or weights or inputs are not finite")
    .example(with_engine!(
        "local scores = engine:sensitivity(samples, { formats = { \"tensor\", \"block\" } })\nassert(#scores.layers[1].scores == 2)"
    ))
}

pub(super) fn run_sensitivity(engine: &OpenedEngine, call: &Call) -> anyhow::Result<Handle<Scores>> {
    let samples = call.handle::<Samples>("samples")?;
    let method: ScoringMethod = call.word("method")?;
    let words: Option<Vec<String>> = call.get("formats")?;
    let granularities = match words {
        Some(words) if words.is_empty() => return Err(call.refuse("formats", "names no format")),
        Some(words) => words.iter().map(|word| word.parse()).collect::<crate::Result<Vec<Granularity>>>()?,
        None => vec![Granularity::Tensor],
    };
    if let Some(twice) = (1..granularities.len()).find(|&at| granularities[..at].contains(&granularities[at]))
    {
        return Err(call.refuse("formats", format!("names `{}` twice", granularities[twice].word())));
    }
    let candidates: Vec<CandidateFormat> =
        granularities.into_iter().map(CandidateFormat::with_scales).collect();
    let score_steps = positive(call, "score_steps")?.min(samples.samples.len());
    let place = call
        .get::<Option<String>>("record")?
        .map(|path| recorded_beside(call, &engine.model, Path::new(&path)))
        .transpose()?;
    let verbosity = verbosity(call.lua());
    let note = |text: &str| {
        if verbosity != Verbosity::Quiet {
            crate::lua::output::line_to_stderr(text);
        }
    };
    let record = place.as_ref().map(|place| ScoringRecord {
        directory: place.directory(),
        memory: BORDER_MEMORY,
        note: &note,
    });
    engine.model.settle();
    let found = engine.model.unchanged((|| {
        engine.model.require_unquantised()?;
        let network = Network::open(&engine.model)?;
        let mut run = NetworkRun::new(&network, &Cpu, &samples.samples[..score_steps])?;
        if score_steps < samples.samples.len() {
            let all = NetworkRun::new(&network, &Cpu, &samples.samples)?;
            let steps = all.calibration_steps();
            run = run.with_calibration(in_steps(verbosity, "calibrated", steps, |done| match &record {
                Some(record) => all.calibrate_recorded(record, done),
                None => all.calibrate(done),
            })?);
        }
        let steps = match method {
            // Forth and back.
            ScoringMethod::Gradient => 2 * run.forward_steps(),
            // Forth, and four groups in most blocks.
            ScoringMethod::KlDivergence => 5 * run.forward_steps(),
        };
        in_steps(verbosity, "scored", steps, |done| match (method, &record) {
            (ScoringMethod::Gradient, Some(record)) => {
                run.gradient_scores_recorded(&candidates, record, done)
            }
            (ScoringMethod::Gradient, None) => {
                run.gradient_scores(&candidates, &mut SpilledBorders::default(), done)
            }
            (ScoringMethod::KlDivergence, Some(record)) => {
                run.kl_scores_recorded(&candidates, &autoquant_group, record, done)
            }
            (ScoringMethod::KlDivergence, None) => run.kl_scores(&candidates, &autoquant_group, done),
        })
    })());
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            // What an interrupted or a full machine has finished is worth keeping; what is wrong with inputs stays so.
            if let (false, Some(place)) = (matches!(error, Error::Interrupted | Error::Io { .. }), place) {
                place.remove()?;
            }
            return Err(error.into());
        }
    };
    let mut dataset = serde_json::to_value(&samples.source)?;
    dataset["sample_hashes"] = json!(samples.hashes());
    Ok(Handle(Scores {
        model: engine.model.clone(),
        candidates,
        method,
        found,
        dataset,
        identity: short(engine.identity()?),
        has_pictures: samples.shows_pictures(),
        score_steps,
        is_custom: false,
        place: Rc::new(RefCell::new(place)),
    }))
}

/// The place of the record of a run that is to write `path`.
fn recorded_beside(call: &Call, model: &Model, path: &Path) -> anyhow::Result<ScoringPlace> {
    require_outside(path, model.directory())?;
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(call.refuse("record", "must be the path of a file"));
    };
    Ok(ScoringPlace::take(path.parent().unwrap_or(Path::new("")), name)?)
}

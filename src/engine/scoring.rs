//! What scoring sees of each layer while a model runs: the largest inputs on the way forward, errors on the way back.

use std::collections::HashMap;

use super::backend::Backend;
use super::candidate::CandidateFormat;
use super::layer_score::{LayerScore, Sensitivity};
use super::linear::{Linear, Observer, Seen};
use crate::error::{Error, Result};
use crate::format::amax::larger;

/// Collects amax values on the way forward and scores on the way back.
pub(super) struct Scoring<'c> {
    candidates: &'c [CandidateFormat],
    /// Whether inputs are looked at.
    pub calibrating: bool,
    pub layers: Vec<LayerScore>,
    by_name: HashMap<String, usize>,
    /// The layers of the block at hand in each format.
    quantised: HashMap<String, Vec<Linear>>,
    failed: Option<Error>,
    done: &'c mut dyn FnMut(),
}

impl Scoring<'_> {
    fn layer(&mut self, linear: &Linear) -> Result<&mut LayerScore> {
        let next = self.layers.len();
        let at = *self.by_name.entry(linear.name.clone()).or_insert(next);
        if at == next {
            self.layers.push(LayerScore::unseen(linear, self.candidates.len())?);
        }
        Ok(&mut self.layers[at])
    }

    fn score<B: Backend>(&mut self, backend: &B, linear: &Linear, seen: &Seen<B>) -> Result<()> {
        let amax = self.layer(linear)?.input_amax;
        if !self.quantised.contains_key(&linear.name) {
            let all = self.candidates.iter().map(|candidate| candidate.of(linear, amax));
            self.quantised.insert(linear.name.clone(), all.collect::<Result<_>>()?);
        }
        let mut errors = vec![];
        for quantised in &self.quantised[&linear.name] {
            let y = quantised.apply(backend, seen.rows, seen.x);
            errors.push([backend.weighted_error(seen.y, &y, seen.g), backend.squared_error(seen.y, &y)]);
        }
        let layer = self.layer(linear)?;
        for (which, [score, error]) in errors.into_iter().enumerate() {
            layer.scores[which] += score;
            layer.output_errors[which] += error;
        }
        Ok(())
    }
}

impl<B: Backend> Observer<B> for Scoring<'_> {
    fn input(&mut self, backend: &B, linear: &Linear, rows: usize, x: &B::Buffer) {
        if !self.calibrating || self.failed.is_some() {
            return;
        }
        let (amax, squares) = (backend.amax(x), backend.sum_of_squares(x));
        let values = (rows * linear.weight.inputs()) as f64;
        match self.layer(linear) {
            Ok(layer) => {
                layer.input_amax = larger(layer.input_amax, amax);
                layer.seen = (layer.seen.0 + values, layer.seen.1 + squares);
                layer.input_rms = (layer.seen.1 / layer.seen.0).sqrt();
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn gradient(&mut self, backend: &B, linear: &Linear, seen: Seen<B>) {
        if self.failed.is_none() {
            self.failed = self.score(backend, linear, &seen).err();
        }
    }

    fn block_done(&mut self) {
        self.quantised.clear();
        (self.done)();
    }
}

impl Scoring<'_> {
    /// That nothing went wrong, and that every input was finite.
    pub fn check(&mut self) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.layers.iter().find(|layer| !layer.input_amax.is_finite()) {
            Some(layer) => Err(Error::tensor(&layer.name, "gets inputs that are not finite")
                .with_hint("the checkpoint may be damaged: try `qlua verify`")),
            None => Ok(()),
        }
    }
}

impl<'c> Scoring<'c> {
    /// With the layers and amax values of `calibration`, where there is one; else they are collected on the way forward.
    pub fn new(
        candidates: &'c [CandidateFormat],
        done: &'c mut dyn FnMut(),
        calibration: Option<&Sensitivity>,
    ) -> Self {
        let unscored = |layer: &LayerScore| LayerScore {
            scores: vec![0.0; candidates.len()],
            output_errors: vec![0.0; candidates.len()],
            ..layer.clone()
        };
        let layers: Vec<LayerScore> = calibration.iter().flat_map(|c| &c.layers).map(unscored).collect();
        Scoring {
            candidates,
            calibrating: calibration.is_none(),
            by_name: layers.iter().enumerate().map(|(at, layer)| (layer.name.clone(), at)).collect(),
            layers,
            quantised: HashMap::new(),
            failed: None,
            done,
        }
    }

    /// What was known of the layers when `blocks` blocks had been passed, which count as done.
    pub fn restore(&mut self, layers: Vec<LayerScore>, blocks: usize) {
        self.by_name = layers.iter().enumerate().map(|(at, layer)| (layer.name.clone(), at)).collect();
        self.layers = layers;
        (0..blocks).for_each(|_| (self.done)());
    }
}

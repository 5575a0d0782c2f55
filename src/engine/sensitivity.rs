//! Sensitivity scores: how much each layer suffers from each format, as ModelOpt's AutoQuant computes it.

use std::collections::HashMap;

use super::backend::Backend;
use super::borders::{Border, Borders, Forgotten, Kept};
use super::candidate::CandidateFormat;
use super::layer_score::{LayerScore, Sensitivity};
use super::linear::{Linear, Observer, Seen, Unobserved};
use super::network::{Features, NetworkRun};
use crate::error::{Error, Result};
use crate::format::amax::larger;
use crate::model::recipe_group;

/// Collects amax values on the way forward and scores on the way back.
struct Scoring<'c> {
    candidates: &'c [CandidateFormat],
    calibrating: bool,
    layers: Vec<LayerScore>,
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
    fn check(&mut self) -> Result<()> {
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

impl<B: Backend> NetworkRun<'_, B> {
    /// The amax of every linear layer's inputs over all samples, unquantised; scores stay 0.
    ///
    /// # Errors
    /// [`Error::Tensor`] when weights or inputs are not finite.
    pub fn calibrate(&self, done: &mut dyn FnMut()) -> Result<Sensitivity> {
        let mut scoring = Scoring::new(&[], done, None);
        let hidden = self.forward(&mut scoring, &mut Forgotten)?;
        scoring.check()?;
        let (losses, _) = self.loss(&hidden, &mut scoring, false)?;
        scoring.check()?;
        Ok(Sensitivity { layers: scoring.layers, losses: losses.iter().map(|loss| loss.mean).collect() })
    }

    /// Gradient scores: Σ (∂loss/∂Y · (Y_quantised − Y))² over all samples, tokens and outputs, each layer alone in each
    /// candidate (`AutoQuantizeGradientSearcher` of ModelOpt). The loss is the mean next-token cross-entropy of each sample.
    /// `done` is called after each block, forward and back.
    ///
    /// # Errors
    /// [`Error::Tensor`] when weights or inputs are not finite; those of `borders`.
    pub fn gradient_scores(
        &self,
        candidates: &[CandidateFormat],
        borders: &mut dyn Borders<B>,
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        let mut scoring = Scoring::new(candidates, done, self.calibration.as_ref());
        let hidden = self.forward(&mut scoring, borders)?;
        scoring.check()?;
        // The head's inputs are all seen before any of its gradients, as its own amax has to be whole.
        self.head_inputs(&hidden, &mut scoring)?;
        scoring.check()?;
        scoring.calibrating = false;
        let (losses, gradients) = self.loss(&hidden, &mut scoring, true)?;
        drop(hidden);
        scoring.check()?;
        self.reverse(gradients, &mut scoring, borders)?;
        scoring.check()?;
        Ok(Sensitivity { layers: scoring.layers, losses: losses.iter().map(|loss| loss.mean).collect() })
    }

    /// KL scores: Σ KL(unquantised ‖ quantised) over all tokens, with one group of layers alone in each candidate. Groups are
    /// those of AutoQuant; every layer of a group gets the score of the group. What comes before the changed block is not
    /// computed again.
    ///
    /// # Errors
    /// As [`NetworkRun::gradient_scores`].
    pub fn kl_scores(
        &self,
        candidates: &[CandidateFormat],
        group_of: &dyn Fn(&str) -> String,
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        let mut scoring = Scoring::new(candidates, done, self.calibration.as_ref());
        let mut kept = Kept::default();
        let features = self.vision_forward(&mut scoring, &mut kept)?;
        let embedded = self.embed(&features)?;
        let hidden = self.text_forward(0, embedded, &features, &mut scoring, &mut kept)?;
        let (losses, _) = self.loss(&hidden, &mut scoring, false)?;
        scoring.check()?;
        let mut layers = std::mem::take(&mut scoring.layers);
        let groups = groups(&layers, group_of);
        for members in groups {
            for (which, candidate) in candidates.iter().enumerate() {
                let replaced = self.replaced(&members, &layers, *candidate)?;
                let score = self.divergence(replaced, &kept, &features, &hidden)?;
                for at in &members {
                    layers[*at].scores[which] = score;
                }
            }
            done();
        }
        Ok(Sensitivity { layers, losses: losses.iter().map(|loss| loss.mean).collect() })
    }

    /// The members of a group in a format.
    fn replaced(
        &self,
        members: &[usize],
        layers: &[LayerScore],
        candidate: CandidateFormat,
    ) -> Result<Replaced> {
        let mut replaced = Replaced(HashMap::new());
        for at in members {
            let layer = &layers[*at];
            let linear = self.network.linear(&layer.name)?;
            replaced.0.insert(layer.name.clone(), candidate.of(&linear, layer.input_amax)?);
        }
        Ok(replaced)
    }

    /// Σ KL over all tokens, when some layers are replaced.
    fn divergence(
        &self,
        mut replaced: Replaced,
        kept: &Kept<B>,
        features: &[Features<B>],
        hidden: &[B::Buffer],
    ) -> Result<f64> {
        let backend = self.backend;
        let Some(start) = replaced.0.keys().map(|name| Start::of(self, name)).min() else { return Ok(0.0) };
        let copied = |border| {
            let copy = |at| kept.get(border, at).map(|x| backend.copy(x));
            (0..self.chunks.len()).map(copy).collect::<Vec<Option<B::Buffer>>>()
        };
        let changed = match start {
            Start::Head => None,
            Start::Text(number) => {
                let hidden = copied(Border::Text(number)).into_iter().flatten().collect();
                Some(self.text_forward(number, hidden, features, &mut replaced, &mut Forgotten)?)
            }
            Start::Patches | Start::Vision(_) => {
                let vision = self.network.blueprint.vision.as_ref();
                let vision = vision.ok_or_else(|| Error::argument("there is no vision tower"))?;
                let (first, patches) = match start {
                    Start::Vision(number) => (number, copied(Border::Vision(number))),
                    _ => (0, self.patches(vision, &mut replaced)?),
                };
                let deep = vision.deepstack.iter().filter(|(block, _)| *block < first).count();
                let mut changed: Vec<Features<B>> = features
                    .iter()
                    .map(|f| Features {
                        tokens: None,
                        deep: f.deep.iter().take(deep).map(|d| backend.copy(d)).collect(),
                    })
                    .collect();
                self.vision_from(vision, first, patches, &mut changed, &mut replaced, &mut Forgotten)?;
                let embedded = self.embed(&changed)?;
                Some(self.text_forward(0, embedded, &changed, &mut Unobserved, &mut Forgotten)?)
            }
        };
        let changed = changed.as_deref().unwrap_or(hidden);
        let rows = self.agreement(hidden, self, changed, &mut replaced)?;
        Ok(rows.iter().flatten().map(|row| row.divergence).sum())
    }
}

impl<'c> Scoring<'c> {
    /// With the layers and amax values of `calibration`, where there is one; else they are collected on the way forward.
    fn new(
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
}

/// The layers of each group, in the order of their first.
fn groups(layers: &[LayerScore], group_of: &dyn Fn(&str) -> String) -> Vec<Vec<usize>> {
    let mut order: Vec<Vec<usize>> = vec![];
    let mut places = HashMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let place = *places.entry(group_of(&layer.name)).or_insert(order.len());
        match order.get_mut(place) {
            Some(group) => group.push(at),
            None => order.push(vec![at]),
        }
    }
    order
}

/// The group that AutoQuant puts a module into: the rules of ModelOpt, first match wins.
pub fn autoquant_group(name: &str) -> String {
    match recipe_group(name) {
        Some(group) => format!("{:?} of {}", group.rule, group.prefix),
        None => name.into(),
    }
}

/// Where a model has to be computed from when a layer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Start {
    Patches,
    Vision(usize),
    Text(usize),
    Head,
}

impl Start {
    fn of<B: Backend>(run: &NetworkRun<B>, name: &str) -> Start {
        let number = |prefix: &str| {
            let rest = name.strip_prefix(prefix)?;
            rest.split('.').next()?.parse::<usize>().ok()
        };
        let vision = run.network.blueprint.vision.as_ref();
        let deep =
            |at: usize| vision.and_then(|vision| vision.deepstack.get(at)).map_or(0, |(block, _)| *block);
        if let Some(number) = number("layers.") {
            Start::Text(number)
        } else if let Some(number) = number("vision.blocks.") {
            Start::Vision(number)
        } else if let Some(at) = number("vision.deepstack_merger_list.") {
            Start::Vision(deep(at))
        } else if name.starts_with("vision.merger.") {
            Start::Vision(run.network.vision_blocks())
        } else if name.starts_with("vision.") {
            Start::Patches
        } else {
            Start::Head
        }
    }
}

/// Layers that take the place of others.
struct Replaced(HashMap<String, Linear>);

impl<B: Backend> Observer<B> for Replaced {
    fn replacement(&self, linear: &Linear) -> Option<&Linear> {
        self.0.get(&linear.name)
    }
}

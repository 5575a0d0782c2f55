//! KL scores: what the output of a model suffers from each group of layers in each format.

use std::collections::HashMap;

use super::backend::Backend;
use super::borders::{Border, Borders, Forgotten};
use super::candidate::CandidateFormat;
use super::forward::ForwardState;
use super::layer_score::{LayerScore, Sensitivity};
use super::layout::SampleChunk;
use super::linear::{Linear, Observer};
use super::network::{Features, NetworkRun};
use super::scoring::Scoring;
use super::scoring_record::{RecordedProgress, Recording, ScoringRecord};
use super::spill::SpilledBorders;
use crate::error::Result;
use crate::model::recipe_group;

impl<B: Backend> NetworkRun<'_, B> {
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
        self.kl(candidates, group_of, &mut SpilledBorders::default(), (None, RecordedProgress::Nothing), done)
    }

    /// [`NetworkRun::kl_scores`], with what is finished on record: a run that was killed goes on after its last finished block or
    /// group, with the same results.
    ///
    /// # Errors
    /// As [`NetworkRun::gradient_scores`], and those of the record.
    pub fn kl_scores_recorded(
        &self,
        candidates: &[CandidateFormat],
        group_of: &dyn Fn(&str) -> String,
        record: &ScoringRecord,
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        let made_from = self.identity("kl_div", candidates, group_of)?;
        let (recording, found) = Recording::open(record, made_from, self.all_borders())?;
        self.kl(candidates, group_of, &mut recording.borders(), (Some(&recording), found), done)
    }

    fn kl(
        &self,
        candidates: &[CandidateFormat],
        group_of: &dyn Fn(&str) -> String,
        borders: &mut dyn Borders<B>,
        (recording, found): (Option<&Recording>, RecordedProgress),
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        let last = self.all_borders().len() - 1;
        let (found, groups_before) = match found {
            RecordedProgress::Groups(file) => (RecordedProgress::Forward(last), Some(file.findings)),
            found => (found, None),
        };
        let mut scoring = Scoring::new(candidates, done, self.calibration.as_ref());
        let state = self.forward_recorded(&mut scoring, borders, recording, found)?;
        let features: Vec<Features<B>> =
            state.features.iter().map(|f| f.of_deepstack(self.backend, f.deep.len())).collect();
        let hidden: Vec<B::Buffer> = state.hidden.into_iter().flatten().collect();
        let (losses, mut layers, finished): (Vec<f64>, Vec<LayerScore>, usize) = match groups_before {
            Some(before) => (before.losses, before.layers, before.groups),
            None => {
                let losses = self.losses(&hidden, &mut scoring)?;
                scoring.check()?;
                let losses = losses.iter().map(|loss| loss.mean).collect();
                (losses, std::mem::take(&mut scoring.layers), 0)
            }
        };
        for (number, members) in groups(&layers, group_of).into_iter().enumerate() {
            if number < finished {
                done();
                continue;
            }
            for (which, candidate) in candidates.iter().enumerate() {
                let replaced = self.replaced(&members, &layers, *candidate)?;
                let score = self.divergence(replaced, borders, &features, &hidden)?;
                for at in &members {
                    layers[*at].scores[which] = score;
                }
            }
            if let Some(recording) = recording {
                recording.put_groups(self.backend, number + 1, &layers, &losses)?;
            }
            done();
        }
        Ok(Sensitivity { layers, losses })
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
        borders: &dyn Borders<B>,
        features: &[Features<B>],
        hidden: &[B::Buffer],
    ) -> Result<f64> {
        let Some(start) = replaced.0.keys().map(|name| Start::of(self, name)).min() else { return Ok(0.0) };
        let changed = match start {
            Start::Head => None,
            Start::Patches => Some(self.begin(&mut replaced)?),
            Start::Border(at) => Some(self.restarted(at, borders, features)?),
        };
        let changed =
            changed.map(|state| self.forward_from(state, &mut replaced, &mut Forgotten)).transpose()?;
        let changed = changed.as_deref().unwrap_or(hidden);
        let rows = self.agreement(hidden, self, changed, &mut replaced)?;
        Ok(rows.iter().flatten().map(|row| row.divergence).sum())
    }

    /// All samples at a border that they have come by before.
    fn restarted(
        &self,
        at: Border,
        borders: &dyn Borders<B>,
        features: &[Features<B>],
    ) -> Result<ForwardState<B>> {
        let copy = |(chunk, rows): (usize, &SampleChunk)| match (at, &rows.vision) {
            (Border::Vision(_), None) => Ok(None),
            _ => borders.copy(self.backend, at, chunk).map(Some),
        };
        let hidden = self.chunks.iter().enumerate().map(copy).collect::<Result<_>>()?;
        let mergers = self.tower().map_or(0, |vision| {
            vision.deepstack.iter().filter(|(block, _)| Border::Vision(*block) < at).count()
        });
        let features = features.iter().map(|f| f.of_deepstack(self.backend, mergers)).collect();
        Ok(ForwardState { at, hidden, features })
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
    Border(Border),
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
            Start::Border(Border::Text(number))
        } else if let Some(number) = number("vision.blocks.") {
            Start::Border(Border::Vision(number))
        } else if let Some(at) = number("vision.deepstack_merger_list.") {
            Start::Border(Border::Vision(deep(at)))
        } else if name.starts_with("vision.merger.") {
            Start::Border(Border::Vision(run.network.vision_blocks()))
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

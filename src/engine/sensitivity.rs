//! Sensitivity scores: how much each layer suffers from each format, as ModelOpt's AutoQuant computes it.

use super::backend::Backend;
use super::borders::{Border, Borders};
use super::candidate::CandidateFormat;
use super::forward::ForwardState;
use super::layer_score::{LayerScore, Sensitivity};
use super::network::NetworkRun;
use super::reverse::ReverseState;
use super::scoring::Scoring;
use super::scoring_record::{RecordedProgress, Recording, ScoringRecord};
use crate::error::Result;

impl<B: Backend> NetworkRun<'_, B> {
    /// Gradient scores: Σ (∂loss/∂Y · (Y_quantised − Y))² over all samples, tokens and outputs, each layer alone in each
    /// candidate (`AutoQuantizeGradientSearcher` of ModelOpt). The loss is the mean next-token cross-entropy of each sample.
    /// `done` is called after each block, forward and back.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when weights or inputs are not finite; those of `borders`.
    pub fn gradient_scores(
        &self,
        candidates: &[CandidateFormat],
        borders: &mut dyn Borders<B>,
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        self.gradient(candidates, borders, (None, RecordedProgress::Nothing), done)
    }

    /// [`NetworkRun::gradient_scores`], with what is finished on record: a run that was killed goes on after its last finished
    /// block, with the same results. The record stays when the run is over.
    ///
    /// # Errors
    /// As [`NetworkRun::gradient_scores`], and those of the record.
    pub fn gradient_scores_recorded(
        &self,
        candidates: &[CandidateFormat],
        record: &ScoringRecord,
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        let made_from = self.identity("gradient", candidates, &str::to_owned)?;
        let (recording, found) = Recording::open(record, made_from, self.all_borders())?;
        self.gradient(candidates, &mut recording.borders(), (Some(&recording), found), done)
    }

    fn gradient(
        &self,
        candidates: &[CandidateFormat],
        borders: &mut dyn Borders<B>,
        (recording, found): (Option<&Recording>, RecordedProgress),
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        let mut scoring = Scoring::new(candidates, done, self.calibration.as_ref());
        let put = |state: &ReverseState<B>, layers: &[LayerScore], losses: &[f64]| match recording {
            Some(recording) => recording.put_reverse(self.backend, state, layers, losses),
            None => Ok(()),
        };
        let (mut state, losses) = match (recording, found) {
            (Some(recording), RecordedProgress::Reverse(at, file)) => {
                let state = recording.reverse(self.backend, at, &file, self.chunks.len())?;
                let blocks = self.blocks_before(self.last_border());
                let done = blocks + (blocks - self.blocks_before(state.at));
                scoring.restore(file.findings.layers, done);
                (state, file.findings.losses)
            }
            (_, found) => {
                let state = self.forward_recorded(&mut scoring, borders, recording, found)?;
                let hidden: Vec<B::Buffer> = state.hidden.into_iter().flatten().collect();
                // The head's inputs are all seen before any of its gradients, as its own amax has to be whole.
                self.head_inputs(&hidden, &mut scoring)?;
                scoring.check()?;
                scoring.calibrating = false;
                let (losses, gradients) = self.losses_and_gradients(hidden, &mut scoring)?;
                scoring.check()?;
                let losses: Vec<f64> = losses.iter().map(|loss| loss.mean).collect();
                let state = self.begin_reverse(gradients);
                put(&state, &scoring.layers, &losses)?;
                (state, losses)
            }
        };
        scoring.calibrating = false;
        while state.at != self.first_border() {
            state = self.go_back(state, &mut scoring, borders)?;
            scoring.check()?;
            put(&state, &scoring.layers, &losses)?;
        }
        self.end_reverse(state, &mut scoring)?;
        scoring.check()?;
        Ok(Sensitivity { layers: scoring.layers, losses })
    }

    /// All samples forward, from where the record ends.
    pub(super) fn forward_recorded(
        &self,
        scoring: &mut Scoring,
        borders: &mut dyn Borders<B>,
        recording: Option<&Recording>,
        found: RecordedProgress,
    ) -> Result<ForwardState<B>> {
        let put = |state: &ForwardState<B>, layers: &[LayerScore]| match recording {
            Some(recording) => recording.put_forward(self.backend, state, layers),
            None => Ok(()),
        };
        let mut state = match (recording, found) {
            (Some(recording), RecordedProgress::Forward(at)) => {
                let (state, layers) = recording.forward(self.backend, at, self.chunks.len())?;
                scoring.restore(layers, self.blocks_before(state.at));
                state
            }
            _ => {
                let state = self.begin(scoring)?;
                scoring.check()?;
                put(&state, &scoring.layers)?;
                state
            }
        };
        while state.at != self.last_border() {
            state = self.advance(state, scoring, borders)?;
            scoring.check()?;
            put(&state, &scoring.layers)?;
        }
        Ok(state)
    }

    /// Blocks before a border.
    fn blocks_before(&self, border: Border) -> usize {
        match border {
            Border::Vision(number) => number,
            Border::Text(number) => self.tower().map_or(0, |vision| vision.depth) + number,
        }
    }
}

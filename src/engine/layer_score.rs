//! What is known of the linear layers of a model after calibration and scoring.

use super::candidate::weight_amax;
use super::linear::Linear;
use crate::error::Result;

/// What is known of one linear layer after scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerScore {
    /// The canonical name of the module, such as `layers.0.mlp.up_proj`.
    pub name: String,
    /// Weights.
    pub weights: usize,
    /// The largest magnitude of its weight.
    pub weight_amax: f32,
    /// The largest magnitude of its inputs over all samples.
    pub input_amax: f32,
    /// The root mean square of its inputs over all samples.
    pub input_rms: f64,
    /// A score for each candidate.
    pub scores: Vec<f64>,
    /// For each candidate the error of the outputs, Σ (Y_quantised − Y)²; zeros where no gradients were computed.
    pub output_errors: Vec<f64>,
    /// Values of the inputs that were seen, and the sum of their squares.
    pub(super) seen: (f64, f64),
}

impl LayerScore {
    /// Whether any sample reached it.
    pub fn is_reached(&self) -> bool {
        self.seen.0 > 0.0
    }

    /// A layer that no sample has reached.
    ///
    /// # Errors
    /// Those of a weight that is quantised already.
    pub fn unseen(linear: &Linear, candidates: usize) -> Result<Self> {
        Ok(LayerScore {
            name: linear.name.clone(),
            weights: linear.weight.outputs() * linear.weight.inputs(),
            weight_amax: weight_amax(&linear.weight)?,
            input_amax: 0.0,
            input_rms: 0.0,
            scores: vec![0.0; candidates],
            output_errors: vec![0.0; candidates],
            seen: (0.0, 0.0),
        })
    }
}

/// Every linear layer in the order in which they run, with a score for each candidate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sensitivity {
    /// The layers.
    pub layers: Vec<LayerScore>,
    /// The mean loss of each sample, without any quantisation.
    pub losses: Vec<f64>,
}

//! The engine: forward and reverse passes of the supported architectures, one block at a time over all samples.
//!
//! From it come calibration (amax of every input), sensitivity scores, quality of schemes, and generation. The arithmetic of
//! quantisation is that of [`crate::format`], so what is measured is what is exported.

pub mod backend;
mod borders;
mod calibration;
mod candidate;
mod configuration;
mod cpu;
mod decoder;
mod dynamic_inputs;
mod families;
mod forward;
mod generate;
mod head;
pub mod inputs;
mod kl_scores;
mod layer_score;
mod layout;
mod linear;
mod model_identity;
mod modelopt_factor;
mod network;
mod pass;
mod quality;
mod reverse;
mod rotary;
mod run_identity;
mod sample;
mod scoring;
mod scoring_record;
mod sensitivity;
mod spill;
mod step_file;
mod tensors;
mod vision;
mod weight;

pub use borders::{Border, Borders, Forgotten, Kept};
pub use candidate::CandidateFormat;
pub use cpu::Cpu;
pub use generate::{Generation, GreedyTokens};
pub use head::Loss;
pub use kl_scores::autoquant_group;
pub use layer_score::{LayerScore, Sensitivity};
pub use linear::{Counted, Linear, Observer, Seen, Unobserved};
pub use model_identity::model_identity;
pub use network::{Network, NetworkRun};
pub use quality::{Estimate, Quality};
pub use sample::{Picture, Sample};
pub use scoring_record::ScoringRecord;
pub use spill::{BORDER_MEMORY, SpilledBorders};
pub use weight::LinearWeight;

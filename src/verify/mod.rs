//! Checks of any checkpoint directory: what loaders would reject, and above all what they would accept and get wrong.
//!
//! The rules are those that vLLM, Transformers, SGLang and TensorRT-LLM were found to follow; each [`Code`] is one.

mod base;
mod blocks;
mod companions;
mod coverage;
mod directory;
mod family;
mod found;
mod layers;
mod needed;
mod reading;
mod records;
mod sizes;
mod tensors;
mod together;
mod unknown;
mod values;
mod weights;

pub use base::{BaseComparison, open_base};
pub use family::{FamilyMember, check_family};
pub use reading::VerifyListener;
pub use records::RecordState;
pub use together::{verify, verify_all, verify_with};

pub use crate::dialect::{Code, Problem};
use crate::model::Model;
use crate::words::words;

words! {
    /// How much of a directory is read.
    pub enum Depth: "depth" {
        /// Headers, configurations and scales, names and sizes of files: milliseconds.
        Headers = "headers",
        /// Every file: hashes are compared with those on record, and every FP8 code and every other weight is looked at.
        Full = "full",
    }
}

/// What a directory is compared with, and how much of it is read.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// How much is read. A base needs [`Depth::Full`].
    pub depth: Depth,
    /// The checkpoint that the directory was made from: see [`open_base`].
    pub base: Option<&'a Model>,
}

/// What is known of a directory once it was looked at.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What is wrong with it, and what of it is not known here ([`Code::NotChecked`]), in a fixed order.
    pub problems: Vec<Problem>,
    /// How far it was compared with its record.
    pub record: RecordState,
    /// What the comparison with the base has shown, where one was made.
    pub base: Option<BaseComparison>,
    /// What a family is judged by; nothing for a directory that cannot be opened.
    pub member: Option<FamilyMember>,
}

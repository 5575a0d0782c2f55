//! One finding of the checks.

use std::fmt;

/// The rule that is broken. The words are stable; scripts may compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A file is missing or damaged.
    Unreadable,
    /// A shard holds a tensor that the index does not name (vLLM loads it all the same).
    ExtraTensor,
    /// The index gives a wrong `total_size`.
    TotalSize,
    /// A scale is missing, or stands where nothing is quantised.
    WeightScale,
    /// A scale has a dtype or shape that loaders reject.
    ScaleShape,
    /// A scale is zero, negative, NaN or infinite.
    ScaleValue,
    /// An FP8 weight holds NaN codes.
    NanCodes,
    /// A fused group is partly FP8.
    SplitGroup,
    /// FP8 values without any configuration that covers them: codes are taken for weights.
    Unconfigured,
    /// Static activations without an `input_scale`.
    MissingInputScale,
    /// An `input_scale` that dynamic activations do not have.
    ExtraInputScale,
    /// A BF16 layer that the configuration does not exclude.
    NotExcluded,
    /// An FP8 layer that the configuration excludes.
    WronglyExcluded,
    /// `lm_head` is not excluded, or quantised although it is tied.
    LmHead,
    /// compressed-tensors names in on-disk spelling.
    Spelling,
    /// A list of exceptions that one engine reads otherwise than the others.
    EngineSpelling,
    /// `quant_method: modelopt` in `config.json`: Transformers drops the scales.
    ModeloptMethod,
    /// A configuration that no loader recognises or that contradicts another.
    Configuration,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Code; 18] = [
        Code::Unreadable,
        Code::ExtraTensor,
        Code::TotalSize,
        Code::WeightScale,
        Code::ScaleShape,
        Code::ScaleValue,
        Code::NanCodes,
        Code::SplitGroup,
        Code::Unconfigured,
        Code::MissingInputScale,
        Code::ExtraInputScale,
        Code::NotExcluded,
        Code::WronglyExcluded,
        Code::LmHead,
        Code::Spelling,
        Code::EngineSpelling,
        Code::ModeloptMethod,
        Code::Configuration,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Code::Unreadable => "unreadable",
            Code::ExtraTensor => "extra_tensor",
            Code::TotalSize => "total_size",
            Code::WeightScale => "weight_scale",
            Code::ScaleShape => "scale_shape",
            Code::ScaleValue => "scale_value",
            Code::NanCodes => "nan_codes",
            Code::SplitGroup => "split_group",
            Code::Unconfigured => "unconfigured",
            Code::MissingInputScale => "missing_input_scale",
            Code::ExtraInputScale => "extra_input_scale",
            Code::NotExcluded => "not_excluded",
            Code::WronglyExcluded => "wrongly_excluded",
            Code::LmHead => "lm_head",
            Code::Spelling => "spelling",
            Code::EngineSpelling => "engine_spelling",
            Code::ModeloptMethod => "modelopt_method",
            Code::Configuration => "configuration",
        }
    }
}

/// Something that a loader rejects or gets wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The broken rule.
    pub code: Code,
    /// The file, module or tensor at fault.
    pub subject: String,
    /// One sentence that says what is wrong and what a loader makes of it.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { code, subject: subject.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.message)
    }
}

//! One finding of the checks.

use std::fmt;

use crate::shown;
use crate::words::words;

words! {
    /// The rule that is broken. The words are stable; scripts may compare them.
    #[derive(Hash)]
    pub enum Code: "rule" {
        /// A file is missing or damaged.
        Unreadable = "unreadable",
        /// A shard holds a tensor that the index does not name (vLLM loads it all the same).
        ExtraTensor = "extra_tensor",
        /// A tensor that the model has, by its `config.json` or by the rest of its blocks, is not there.
        MissingTensor = "missing_tensor",
        /// A tensor that the model does not have: renamed, or of another one.
        UnknownTensor = "unknown_tensor",
        /// A tensor has another shape than `config.json` gives it, or is transposed.
        TensorShape = "tensor_shape",
        /// Blocks of the model are missing, or there are more than `config.json` says.
        Blocks = "blocks",
        /// A weight that is no FP8 holds NaN or infinity.
        NonFinite = "non_finite",
        /// The index gives a wrong `total_size`.
        TotalSize = "total_size",
        /// A scale is missing, or stands where nothing is quantised.
        WeightScale = "weight_scale",
        /// A scale has a dtype or shape that loaders reject.
        ScaleShape = "scale_shape",
        /// A scale is zero, negative, NaN or infinite.
        ScaleValue = "scale_value",
        /// An FP8 weight holds NaN codes.
        NanCodes = "nan_codes",
        /// A fused group is partly FP8.
        SplitGroup = "split_group",
        /// FP8 values without any configuration that covers them: codes are taken for weights.
        Unconfigured = "unconfigured",
        /// Static activations without an `input_scale`.
        MissingInputScale = "missing_input_scale",
        /// An `input_scale` that dynamic activations do not have.
        ExtraInputScale = "extra_input_scale",
        /// A BF16 layer that the configuration does not exclude.
        NotExcluded = "not_excluded",
        /// An FP8 layer that the configuration excludes.
        WronglyExcluded = "wrongly_excluded",
        /// `lm_head` is not excluded, or quantised although it is tied.
        LmHead = "lm_head",
        /// compressed-tensors names in on-disk spelling.
        Spelling = "spelling",
        /// A list of exceptions that one engine reads otherwise than the others.
        EngineSpelling = "engine_spelling",
        /// `quant_method: modelopt` in `config.json`: Transformers drops the scales.
        ModeloptMethod = "modelopt_method",
        /// A configuration that no loader recognises or that contradicts another.
        Configuration = "configuration",
        /// Something that these checks know nothing of: they neither found nor excluded that it is wrong.
        NotChecked = "not_checked",
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
    /// Whether it is about the tensors of the model and not about what is quantised: a scheme has it from its base checkpoint.
    pub fn is_of_the_model(&self) -> bool {
        matches!(
            self.code,
            Code::MissingTensor | Code::UnknownTensor | Code::TensorShape | Code::Blocks | Code::NonFinite
        )
    }

    /// Whether something is wrong, and not merely unknown to the checks.
    pub fn is_fault(&self) -> bool {
        self.code != Code::NotChecked
    }

    pub(crate) fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { code, subject: subject.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), shown::line(&self.message))
    }
}

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
        /// `config.json` states a size that is no positive integer.
        Sizes = "sizes",
        /// Blocks of the model are missing, or there are more than `config.json` says.
        Blocks = "blocks",
        /// The weight of a layer, or its bias, consists of integers or truth values that no quantiser explains.
        WeightDtype = "weight_dtype",
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
        /// The same in a directory that ModelOpt wrote itself.
        ModeloptExport = "modelopt_export",
        /// A configuration that no loader recognises or that contradicts another.
        Configuration = "configuration",
        /// A file is not what is on record of it.
        ChangedFile = "changed_file",
        /// A file that is on record, or that another file names, is not there.
        MissingFile = "missing_file",
        /// A file that is not on record, or is none that can be read.
        StrangeFile = "strange_file",
        /// The record of a scheme is missing, or was changed.
        Record = "record",
        /// What is quantised is not what the records say.
        Coverage = "coverage",
        /// Something is not what it is in the base checkpoint, or not what follows from it.
        Base = "base",
        /// The directories of a family do not go together.
        Family = "family",
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
    /// Whether it is about the model and not about what is quantised: a scheme has it from its base checkpoint.
    pub fn is_of_the_model(&self) -> bool {
        matches!(
            self.code,
            Code::MissingTensor
                | Code::UnknownTensor
                | Code::TensorShape
                | Code::Blocks
                | Code::Sizes
                | Code::WeightDtype
                | Code::NonFinite
                | Code::MissingFile
        )
    }

    /// Whether something is wrong, and not merely worth knowing: unknown to the checks, or ModelOpt's own way to say what not all
    /// loaders read.
    pub fn is_fault(&self) -> bool {
        !matches!(self.code, Code::NotChecked | Code::ModeloptExport)
    }

    pub(crate) fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { code, subject: subject.into(), message: message.into() }
    }
}

impl Code {
    /// What to do about a finding, in one sentence without a full stop.
    pub fn hint(self) -> &'static str {
        match self {
            Code::Unreadable => "write or download the directory again: no loader reads it as it is",
            Code::ExtraTensor => "take the tensor out of the file, or write the directory again",
            Code::MissingTensor | Code::UnknownTensor => {
                "compare the names with those of the base checkpoint (`--base DIR`), or write the directory again"
            }
            Code::TensorShape | Code::Sizes | Code::Blocks => {
                "give the directory the config.json that belongs to its weights, or write it again"
            }
            Code::WeightDtype | Code::NonFinite | Code::NanCodes => {
                "write the directory again; if the base checkpoint has it too, take that from its source again"
            }
            Code::TotalSize => "correct total_size in the index, or write the directory again",
            Code::WeightScale | Code::ScaleShape | Code::ScaleValue => {
                "write the directory again; scales cannot be guessed from codes"
            }
            Code::SplitGroup => "quantise all layers that loaders fuse, or none of them",
            Code::Unconfigured => {
                "put back the quantization_config, or the hf_quant_config.json, that the directory had"
            }
            Code::MissingInputScale | Code::ExtraInputScale => {
                "choose static activations with an input scale for each layer, or dynamic ones without any"
            }
            Code::NotExcluded
            | Code::WronglyExcluded
            | Code::LmHead
            | Code::Spelling
            | Code::EngineSpelling => {
                "correct the list of exceptions in the configuration, or write the directory again"
            }
            Code::ModeloptMethod => "choose the dialect universal, which all engines read",
            Code::ModeloptExport => {
                "serve it with vLLM, SGLang or TensorRT-LLM; qlua writes the same for Transformers, too, in the dialect universal"
            }
            Code::Configuration => "correct the configuration, or write the directory again",
            Code::ChangedFile | Code::MissingFile => {
                "put the file back as it was, or repeat the run that wrote the directory, which repairs it"
            }
            Code::StrangeFile => "move the file out of the directory",
            Code::Record => "write the directory again, so that its files are on record",
            Code::Coverage => "write the directory again: weights and records are of different schemes",
            Code::Base => "name the checkpoint that the directory was made from, or write it again",
            Code::Family => {
                "verify each directory alone, and write again those that are not what they are called"
            }
            Code::NotChecked => "compare it with what it was made from (`--base DIR`) where that is at hand",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), shown::line(&self.message))
    }
}

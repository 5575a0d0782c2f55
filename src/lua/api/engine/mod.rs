//! `qlua.engine`: runs models, to calibrate, score, measure and generate.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use mlua::AnyUserData;

use super::threads::threads;
use crate::engine::inputs::{
    DEFAULT_MAX_LENGTH, MOST_SAMPLES, PairsFile, PreparedKind, Processor, Samples, captions, pairs, prepared,
    windows,
};
use crate::engine::{Counted, Cpu, Forgotten, Network, NetworkRun, Quality, Unobserved, model_identity};
use crate::lua::declare::{Class, Function, Namespace, Options, PathUse};
use crate::lua::rows::{row, rows};
use crate::lua::step_progress::in_steps;
use crate::lua::{Call, Handle, Type, Verbosity, verbosity};
use crate::model::Model;
use crate::tensor::{Dtype, Tensor};
use crate::words::words;

mod generate;
mod scores;
mod scoring;

words! {
    /// The option that says where samples come from.
    enum SamplesOption: "source of samples" {
        Captions = "captions",
        Pairs = "pairs",
        Inputs = "inputs",
        Text = "text",
    }
}

/// A model that can be run.
pub(super) struct OpenedEngine {
    model: Arc<Model>,
    processor: OnceCell<Processor>,
    /// The hash of configuration and weights, once it was asked for.
    identity: OnceCell<blake3::Hash>,
}

/// An example that begins with an opened engine and samples.
macro_rules! with_engine {
    ($rest:literal $(,)?) => {
        concat!(
            "local engine = qlua.engine.open(qlua.checkpoint.demo(\"demo\").model)\n",
            "qlua.fs.write(\"captions.txt\", \"A cat on a mat.\\nTwo dogs in the sun.\\n\")\n",
            "local samples = engine:samples{ captions = \"captions.txt\" }\n",
            $rest
        )
    };
}

use with_engine;

/// Logits and loss of a sample.
struct Forwarded {
    loss: f64,
    tokens: usize,
    logits: Tensor,
}

row! {
    /// What a model says of one sample.
    const FORWARD = "Forward" for |forwarded: &Forwarded| {
        /// mean negative logarithm of the probability of each next token
        loss: Type::NumberIn("nats a token") => forwarded.loss,
        /// tokens of the sample
        tokens: Type::Integer => forwarded.tokens,
        /// the logits, F32 [tokens, vocabulary]
        logits: Type::Handle("Tensor") => Handle(forwarded.logits.clone()),
    }
}
/// What was measured of one scheme, and what it may be compared with.
struct ComparableQuality {
    quality: Quality,
    on: String,
}

row! {
    /// How the predictions of a scheme differ from those of the checkpoint that it was made from.
    const QUALITY = "Quality" for |measured: &ComparableQuality| {
        /// samples
        samples: Type::Integer => measured.quality.samples,
        /// positions at which predictions were compared
        tokens: Type::Integer => measured.quality.tokens,
        /// KL(base ‖ scheme), mean over all positions
        kl: Type::NumberIn("nats a token") => measured.quality.divergence.mean,
        /// its standard error
        kl_error: Type::NumberIn("nats a token") => measured.quality.divergence.standard_error,
        /// perplexity of the scheme
        perplexity: Type::Number => measured.quality.perplexity.mean,
        /// its standard error
        perplexity_error: Type::Number => measured.quality.perplexity.standard_error,
        /// perplexity of the base
        base_perplexity: Type::Number => measured.quality.base_perplexity.mean,
        /// share of positions at which both find the same token likeliest, 0 to 1
        agreement: Type::Number => measured.quality.agreement.mean,
        /// its standard error
        agreement_error: Type::Number => measured.quality.agreement.standard_error,
        /// a hash of base, samples, and where their predictions count: figures with the same one can be compared
        measured_on: Type::String => measured.on.as_str(),
    }
}

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "engine",
        "Runs models, quantised or not: calibration, sensitivity scores, quality and answers to prompts, on the CPU in F32. Qwen2-VL, Qwen2.5-VL, \
         Qwen3-VL, Qwen2, Qwen3, Llama and Mistral.",
    )
    .function(
        Function::new("open", "Opens a checkpoint to run it. A quantised one is run as its loader would: code × scale, inputs rounded.")
            .param("path", Type::Path, "the directory")
            .used_for(PathUse::ReadTree)
            .options(
                Options::new()
                    .default("device", Type::Choice(&["auto", "cpu"]), "auto", "where it runs: on the CPU, so far")
                    .described("threads", Type::Integer, "all cores", "threads of this process; the first that says decides"),
            )
            .returns(Type::Handle("Engine"), "the engine")
            .raises("it cannot be read, or its architecture is not computed")
            .example("local engine = qlua.engine.open(qlua.checkpoint.demo(\"demo\").model)\nassert(engine.has_vision)"),
        |call| {
            threads(call)?;
            let model = Arc::new(Model::open(call.get::<String>("path")?)?);
            Network::open(&model)?;
            Ok(Handle(OpenedEngine { model, processor: OnceCell::new(), identity: OnceCell::new() }))
        },
    )
    .class(engine_class())
    .class(
        Class::<Samples>::new("Samples", "Samples to run a model with.")
            .text(|this| format!("Samples({} from {})", this.samples.len(), this.source.file))
            .field("count", Type::Integer, "how many", |this, _| Ok(this.samples.len()))
            .field("tokens", Type::Integer, "tokens of all together", |this, _| {
                Ok(this.samples.iter().map(|sample| sample.tokens.len()).sum::<usize>())
            })
            .field("has_pictures", Type::Boolean, "whether there are pictures", |this, _| Ok(this.shows_pictures()))
            .field("kind", Type::String, "`captions`, `pairs`, `prepared` or `text`", |this, _| Ok(this.source.kind.word()))
            .field("hashes", Type::List(&Type::String), "a hash of each sample", |this, _| Ok(this.hashes())),
    )
    .class(scores::class())
}

fn engine_class() -> Class<OpenedEngine> {
    Class::new("Engine", "A model that can be run.")
        .text(|this: &OpenedEngine| format!("Engine({})", this.model.directory().display()))
        .field("path", Type::Path, "its checkpoint", |this, _| Ok(this.model.directory().display().to_string()))
        .field("model_type", Type::String, "its architecture, such as `qwen2_5_vl`", |this, _| {
            Ok(this.model.model_type().unwrap_or("unknown").to_string())
        })
        .field("bytes", Type::IntegerIn("bytes"), "the size of its tensors", |this, _| Ok(this.model.bytes()))
        .field("has_vision", Type::Boolean, "whether it has a vision tower", |this, _| {
            Ok(Network::open(&this.model)?.vision_blocks() > 0)
        })
        .method(
            Function::new(
                "samples",
                "Reads samples with the tokenizer, chat template and picture settings of the checkpoint. Exactly one of \
                 `captions`, `pairs`, `inputs` and `text` is given.",
            )
            .long()
            .options(
                Options::new()
                    .option("captions", Type::Path, "a text file, a caption a line")
                    .used_for(PathUse::Read)
                    .option("pairs", Type::Path, "an SQLite file with the table `vlm_calib_samples`; `images` says where its pictures are")
                    .used_for(PathUse::Read)
                    .option("images", Type::Path, "the folder that the paths of `pairs` begin in")
                    .used_for(PathUse::ReadTree)
                    .option("split", Type::String, "only pairs of this split")
                    .option("inputs", Type::Path, "prepared tensors, `text.N.*` and `vlm.N.*`, in a safetensors file")
                    .used_for(PathUse::Read)
                    .default("kind", Type::Choice(PreparedKind::WORDS), "vlm", "which of the prepared tensors")
                    .option("text", Type::Path, "a long text, cut into windows of `max_length` tokens of which the second half counts, as llama.cpp's perplexity tool does")
                    .used_for(PathUse::Read)
                    .default("count", Type::Integer, MOST_SAMPLES as i64, "at most so many")
                    .default("max_length", Type::Integer, DEFAULT_MAX_LENGTH as i64, "tokens of a sample, the rest is cut off"),
            )
            .returns(Type::Handle("Samples"), "the samples")
            .raises("a file cannot be read, is empty, or does not fit the model")
            .example(with_engine!("assert(samples.count == 2 and not samples.has_pictures)")),
            |this, call| Ok(Handle(samples(this, call)?)),
        )
        .method(
            Function::new("forward", "Runs samples through the model.")
                .param("samples", Type::Handle("Samples"), "the samples")
                .long()
                .returns(Type::List(&Type::Record(&FORWARD)), "loss and logits of each sample")
                .example(with_engine!("local said = engine:forward(samples)[1]\nassert(said.loss > 0 and said.logits.shape[1] == said.tokens)")),
            |this, call| {
                let samples = call.handle::<Samples>("samples")?;
                let forwarded = this.model.unchanged(forward(&this.model, &samples))?;
                rows(call.lua(), &forwarded)
            },
        )
        .method(
            Function::new("quality", "How the predictions of schemes differ from those of this checkpoint, which runs once for all of them.")
                .param("schemes", Type::List(&Type::Handle("Engine")), "the schemes, or any checkpoints with the same vocabulary")
                .param("samples", Type::Handle("Samples"), "what all are run with")
                .long()
                .returns(Type::List(&Type::Record(&QUALITY)), "KL, perplexity and agreement of each")
                .raises("the vocabularies differ")
                .example(with_engine!("assert(engine:quality({ engine }, samples)[1].kl == 0)")),
            |this, call| {
                let handles: Vec<AnyUserData> = call.get("schemes")?;
                let schemes = handles.iter().map(|handle| Ok(handle.borrow::<OpenedEngine>()?.model.clone()));
                let schemes = schemes.collect::<mlua::Result<Vec<Arc<Model>>>>()?;
                let samples = call.handle::<Samples>("samples")?;
                let measured = quality(verbosity(call.lua()), &this.model, &schemes, &samples);
                let measured = this.model.unchanged(measured)?;
                let on = this.measured_on(&samples)?;
                let measured: Vec<ComparableQuality> =
                    measured.into_iter().map(|quality| ComparableQuality { quality, on: on.clone() }).collect();
                rows(call.lua(), &measured)
            },
        )
        .method(
            Function::new("identity", "A hash of configuration and weights: models with the same one give the same results.")
                .returns(Type::String, "32 hexadecimal digits")
                .example(with_engine!("assert(#engine:identity() == 32)")),
            |this, _| Ok(short(this.identity()?)),
        )
        .method(generate::generate(), generate::run_generate)
        .method(scoring::calibrate(), scoring::run_calibrate)
        .method(scoring::sensitivity(), scoring::run_sensitivity)
}

impl OpenedEngine {
    fn processor(&self) -> crate::Result<&Processor> {
        if let Some(processor) = self.processor.get() {
            return Ok(processor);
        }
        let opened = Processor::open(&self.model)?;
        Ok(self.processor.get_or_init(|| opened))
    }

    fn identity(&self) -> crate::Result<&blake3::Hash> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity);
        }
        let found = self.model.unchanged(model_identity(&self.model))?;
        Ok(self.identity.get_or_init(|| found))
    }

    fn measured_on(&self, samples: &Samples) -> crate::Result<String> {
        let parts = [*self.identity()?.as_bytes(), *samples.identity().as_bytes()];
        Ok(short(&blake3::hash(parts.as_flattened())))
    }
}

/// The first 128 bits of a hash, in hexadecimal.
fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..32].to_string()
}

/// A positive whole number.
fn positive(call: &Call, name: &str) -> anyhow::Result<usize> {
    let number: i64 = call.get(name)?;
    match usize::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(call.refuse(name, "must be 1 or more")),
    }
}

fn samples(engine: &OpenedEngine, call: &Call) -> anyhow::Result<Samples> {
    let given: Vec<SamplesOption> =
        SamplesOption::ALL.iter().copied().filter(|source| call.given(source.word())).collect();
    let [source] = given[..] else {
        return Err(crate::Error::usage("give exactly one of captions, pairs, inputs and text")
            .with_hint("captions = \"captions.txt\", for instance")
            .into());
    };
    let (count, length) = (positive(call, "count")?, positive(call, "max_length")?);
    let path: String = call.get(source.word())?;
    let (path, processor) = (Path::new(&path), engine.processor()?);
    let made = match source {
        SamplesOption::Captions => captions(processor, path, length, count)?,
        SamplesOption::Text => windows(processor, path, length, count)?,
        SamplesOption::Inputs => prepared(processor, path, call.word("kind")?, count)?,
        SamplesOption::Pairs => {
            let images: Option<String> = call.get("images")?;
            let Some(images) = images else {
                return Err(crate::Error::usage("pairs need images")
                    .with_hint("images is the folder that the paths in the database begin in")
                    .into());
            };
            let split: Option<String> = call.get("split")?;
            let file = PairsFile { database: path, images: Path::new(&images), split: split.as_deref() };
            pairs(processor, file, length, count)?
        }
    };
    Ok(made)
}

fn forward(model: &Model, samples: &Samples) -> crate::Result<Vec<Forwarded>> {
    let network = Network::open(model)?;
    let run = NetworkRun::new(&network, &Cpu, &samples.samples)?;
    let hidden = run.forward(&mut Unobserved, &mut Forgotten)?;
    let logits = run.logits(&hidden, &mut Unobserved)?;
    let losses = run.losses(&hidden, &mut Unobserved)?;
    let tensor = |values: Vec<f32>| {
        let shape = vec![values.len() / network.vocabulary(), network.vocabulary()];
        Tensor::owned(Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    };
    let forwarded = |((logits, loss), sample): ((Vec<f32>, _), &crate::engine::Sample)| {
        let loss: crate::engine::Loss = loss;
        Forwarded { loss: loss.mean, tokens: sample.tokens.len(), logits: tensor(logits) }
    };
    Ok(logits.into_iter().zip(losses).zip(&samples.samples).map(forwarded).collect())
}

fn quality(
    verbosity: Verbosity,
    base: &Model,
    schemes: &[Arc<Model>],
    samples: &Samples,
) -> crate::Result<Vec<Quality>> {
    let base = Network::open(base)?;
    let base = NetworkRun::new(&base, &Cpu, &samples.samples)?;
    // A comparison of logits after each scheme.
    let steps = base.forward_steps() * (1 + schemes.len()) + schemes.len();
    in_steps(verbosity, "measured", steps, |done| {
        let hidden = base.forward(&mut Counted(done), &mut Forgotten)?;
        let mut measure = |scheme: &Arc<Model>| {
            let network = Network::open(scheme)?;
            let run = NetworkRun::new(&network, &Cpu, &samples.samples)?;
            let scheme_hidden = run.forward(&mut Counted(done), &mut Forgotten)?;
            let measured = base.quality(&hidden, &run, &scheme_hidden, samples.counted_from);
            done();
            scheme.unchanged(measured)
        };
        schemes.iter().map(&mut measure).collect()
    })
}

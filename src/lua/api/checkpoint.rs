//! `qlua.checkpoint`: Hugging Face directories, read-only, and the demo.

use std::path::Path;
use std::sync::Arc;

use crate::demo::{self, Demo};
use crate::dialect::{Foreign, TensorRole};
use crate::diff::{TensorDiff, TensorOutcome, diff_checkpoints};
use crate::lua::declare::{Class, Function, Namespace, PathUse};
use crate::lua::rows::{row, rows};
use crate::lua::{Handle, Plain, Row, Selector, Type};
use crate::model::Model;
use crate::tensor::Tensor;

/// An example that begins with an opened checkpoint.
macro_rules! with_model {
    ($rest:literal $(,)?) => {
        concat!("local model = qlua.checkpoint.open(qlua.checkpoint.demo(\"demo\").model)\n", $rest)
    };
}

struct StoredTensor<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    shard: &'a str,
    role: TensorRole,
}

struct ShardSize<'a> {
    name: &'a str,
    bytes: usize,
}

row! {
    /// One tensor of a checkpoint.
    const TENSOR_ROW = "TensorRow" for |stored: &StoredTensor<'_>| {
        /// on-disk name
        name: Type::String => stored.name,
        /// element type, such as `BF16`
        dtype: Type::String => stored.tensor.dtype().name(),
        /// sizes of the dimensions, outermost first
        shape: Type::List(&Type::Integer) => stored.tensor.shape().to_vec(),
        /// size of the data
        bytes: Type::IntegerIn("bytes") => stored.tensor.bytes().len(),
        /// the file that holds it
        shard: Type::String => stored.shard,
        /// what it is there for: `plain`, `codes` (of a quantised weight), or `quantiser` (scales and the like)
        role: Type::Choice(TensorRole::WORDS) => stored.role.word(),
    }
}
row! {
    /// One weight file of a checkpoint.
    const SHARD_ROW = "ShardRow" for |shard: &ShardSize<'_>| {
        /// file name
        name: Type::String => shard.name,
        /// size of the file
        bytes: Type::IntegerIn("bytes") => shard.bytes,
    }
}
row! {
    /// A tensor that is not the same in two checkpoints.
    const TENSOR_DIFF = "TensorDiff" for |found: &TensorDiff| {
        /// its name in the first, or in the second where it is there alone
        name: Type::String => found.name(),
        /// what it is there for: `plain`, `codes` (of a quantised weight), or `quantiser` (scales and the like)
        role: Type::Choice(TensorRole::WORDS) => found.role.word(),
        /// how both compare; `same_values` are stored differently, `unread` as well and it is not known what they stand for
        outcome: Type::Choice(TensorOutcome::WORDS) => found.outcome.word(),
        /// element type in the first; nil where it has no such tensor
        dtype_a: Type::Optional(&Type::String) => found.a.as_ref().map(|spec| spec.dtype.name()),
        /// element type in the second; nil where it has no such tensor
        dtype_b: Type::Optional(&Type::String) => found.b.as_ref().map(|spec| spec.dtype.name()),
        /// size in the first; nil where it has no such tensor
        bytes_a: Type::Optional(&Type::IntegerIn("bytes")) => found.a.as_ref().map(|spec| spec.bytes()),
        /// size in the second; nil where it has no such tensor
        bytes_b: Type::Optional(&Type::IntegerIn("bytes")) => found.b.as_ref().map(|spec| spec.bytes()),
        /// largest difference between two elements, codes multiplied by their scales; nil where values are not compared
        max_difference: Type::Optional(&Type::Number) => found.values().map(|values| values.max_difference),
        /// signal to noise, the first being the signal; nil where values are not compared
        sqnr_db: Type::Optional(&Type::NumberIn("dB")) => found.values().map(|values| values.sqnr_db()),
    }
}
row! {
    /// A small seeded checkpoint with a manifest.
    const DEMO = "Demo" for |demo: &Demo| {
        /// its checkpoint directory
        model: Type::Path => demo.model.display().to_string(),
        /// its sensitivity manifest, which also carries amax values
        manifest: Type::Path => demo.manifest.display().to_string(),
        /// a manifest of the same model with other scores, as from a second run
        second_manifest: Type::Path => demo.second_manifest.display().to_string(),
        /// samples to run it with, as prepared tensors
        inputs: Type::Path => demo.inputs.display().to_string(),
        /// whether it was built just now rather than found
        built: Type::Boolean => demo.built,
    }
}

pub(super) fn declare() -> Namespace {
    Namespace::new("checkpoint", "Hugging Face checkpoint directories: memory-mapped and never written to.")
        .function(
            Function::new("open", "Opens a checkpoint directory: one file, or shards with an index; symlinked caches too.")
                .param("path", Type::Path, "the directory that holds config.json and *.safetensors")
                .used_for(PathUse::ReadTree)
                .returns(Type::Handle("Checkpoint"), "the checkpoint")
                .raises("a file is missing or damaged, or the index names a file outside the directory")
                .example(with_model!("assert(model.model_type == \"qwen2_5_vl\")")),
            |call| Ok(Handle(Arc::new(Model::open(call.get::<String>("path")?)?))),
        )
        .function(
            Function::new("demo", "Builds a small seeded checkpoint in the shape of Qwen2.5-VL, with a manifest, or finds the one built before.")
                .param("directory", Type::Path, "where it lies or will lie")
                .used_for(PathUse::WriteInside)
                .long()
                .returns(Type::Record(&DEMO), "its parts")
                .raises("the directory holds something else under the same names")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(demo.built and not qlua.checkpoint.demo(\"demo\").built)"),
            |call| Ok(Row(demo::build(Path::new(&call.get::<String>("directory")?))?)),
        )
        .function(
            Function::new("diff", "The tensors of two checkpoint directories that are not the same, the worst module first, as `qlua diff` shows them.")
                .param("a", Type::Path, "a checkpoint directory, plain or quantised by any tool")
                .used_for(PathUse::ReadTree)
                .param("b", Type::Path, "what it is compared with")
                .used_for(PathUse::ReadTree)
                .long()
                .returns(Type::List(&Type::Record(&TENSOR_DIFF)), "one row per tensor that differs; none when all are the same")
                .raises("a directory cannot be read")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(#qlua.checkpoint.diff(demo.model, demo.model) == 0)"),
            |call| {
                let open = |name| anyhow::Ok(Model::open(call.get::<String>(name)?)?);
                let found = diff_checkpoints(&open("a")?, &open("b")?)?;
                rows(call.lua(), found.tensors())
            },
        )
        .class(class())
}

fn class() -> Class<Arc<Model>> {
    Class::new("Checkpoint", "An opened checkpoint directory.")
        .text(|this: &Arc<Model>| format!("Checkpoint({})", this.directory().display()))
        .field("path", Type::Path, "the directory", |this, _| Ok(this.directory().display().to_string()))
        .field("model_type", Type::Optional(&Type::String), "`model_type` of the configuration", |this, _| {
            Ok(this.model_type().map(str::to_string))
        })
        .field("config", Type::Table, "`config.json` as a table, made anew each time; null becomes nil", |this, _| {
            Ok(Plain(this.config().clone()))
        })
        .field("bytes", Type::IntegerIn("bytes"), "sum of all tensor bytes", |this, _| Ok(this.bytes()))
        .field("shards", Type::List(&Type::Record(&SHARD_ROW)), "the weight files in index order", |this, call| {
            rows(call.lua(), this.shards().map(|(name, _, bytes)| ShardSize { name, bytes: bytes.len() }))
        })
        .field("linears", Type::List(&Type::String), "every linear layer in on-disk spelling, in file order", |this, _| {
            Ok(this.modules().linears().map(str::to_string).collect::<Vec<_>>())
        })
        .method(
            Function::new("tensor", "Looks a tensor up.")
                .param("name", Type::String, "its on-disk name")
                .returns(Type::Optional(&Type::Handle("Tensor")), "the tensor, or nil")
                .example(with_model!("assert(model:tensor(\"model.embed_tokens.weight\").dtype == \"BF16\")")),
            |this, call| Ok(this.tensor(&call.get::<String>("name")?).cloned().map(Handle)),
        )
        .method(
            Function::new("tensors", "Lists tensors in file order.")
                .optional("names", Type::Selector, "only those whose on-disk name is chosen")
                .returns(Type::List(&Type::Record(&TENSOR_ROW)), "one row per tensor")
                .example(with_model!("assert(#model:tensors(\"visual.*\") < #model:tensors())")),
            |this, call| {
                let selector: Option<Selector> = call.get("names")?;
                let names: Vec<&str> = this.tensors().map(|(name, _)| name).collect();
                let chosen = match &selector {
                    Some(selector) => selector.filter(call.lua(), names)?,
                    None => names,
                };
                let foreign = Foreign::of(this)?;
                let stored = |name| {
                    let (tensor, shard) = (this.tensor(name)?, this.shard_of(name)?);
                    Some(StoredTensor { name, tensor, shard, role: foreign.role(name) })
                };
                rows(call.lua(), chosen.into_iter().filter_map(stored))
            },
        )
        .method(
            Function::new("on_disk", "The on-disk name of a module in any spelling: as in a manifest, in memory, or in vLLM.")
                .param("module", Type::String, "a module's name")
                .returns(Type::Optional(&Type::String), "the on-disk name, or nil when there is no such module")
                .example(with_model!("assert(model:on_disk(\"language_model.layers.0.mlp.up_proj\") == \"model.layers.0.mlp.up_proj\")")),
            |this, call| Ok(this.modules().on_disk(&call.get::<String>("module")?).map(str::to_string)),
        )
        .method(
            Function::new("in_memory", "The name that Transformers gives a module in memory.")
                .param("module", Type::String, "a module's name in any spelling")
                .returns(Type::Optional(&Type::String), "the in-memory name, or nil when there is no such module")
                .example(with_model!("assert(model:in_memory(\"visual.merger.mlp.0\") == \"model.visual.merger.mlp.0\")")),
            |this, call| {
                let modules = this.modules();
                Ok(modules.on_disk(&call.get::<String>("module")?).map(|name| modules.in_memory(name)))
            },
        )
}

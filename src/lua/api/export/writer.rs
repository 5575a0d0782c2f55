//! Writers: directories put together tensor by tensor.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use mlua::Value;

use super::super::tensor::{TARGETS, dtype};
use super::super::threads::{BOUNDED, threads};
use super::{WRITTEN, file_name, max_shard_size};
use crate::format::{Granularity, Rounding};
use crate::job::{QuantizeOptions, Writer, WriterOptions};
use crate::lua::declare::{Class, Function, Namespace, Options, PathUse};
use crate::lua::{Call, Handle, Row, Selector, Type, progress};
use crate::model::Model;
use crate::tensor::Tensor;
use crate::write::DEFAULT_SHARD_SIZE;

/// An example that begins with a writer over the demo.
macro_rules! with_writer {
    ($rest:literal $(,)?) => {
        concat!(
            "local model = qlua.checkpoint.open(qlua.checkpoint.demo(\"demo\").model)\n",
            "local writer = qlua.export.writer{ out = \"copy\", base = model }\n",
            $rest
        )
    };
}

pub(super) fn declare(namespace: Namespace) -> Namespace {
    namespace
        .function(
            Function::new(
                "writer",
                "Begins a directory that is put together tensor by tensor. Nothing is read or written before `finish`, \
                 which streams; only tensors made in a script stay in memory until then.",
            )
            .options(
                Options::new()
                    .required("out", Type::Path, "the directory that will appear")
                    .used_for(PathUse::Write)
                    .option("base", Type::Union(&[Type::Path, Type::Handle("Checkpoint")]), "the checkpoint that tensors are named from")
                    .used_for(PathUse::ReadTree)
                    .default("companions", Type::Boolean, true, "whether the base's tokenizer, processor and configuration come along")
                    .default("overwrite", Type::Boolean, false, "whether an existing checkpoint directory is replaced, unless it is a link to one; what it holds beside a checkpoint's files is moved to `NAME.kept` beside it")
                    .default("max_shard_size", Type::IntegerIn("bytes"), DEFAULT_SHARD_SIZE as i64, "tensor bytes that a shard holds at most; 100000 is the least")
                    .described("threads", Type::Integer, "all cores", BOUNDED),
            )
            .returns(Type::Handle("Writer"), "a writer without tensors")
            .raises("the directory exists and `overwrite` is not set, or it would touch the base")
            .example(with_writer!("writer:copy(\"*\")\nwriter:finish()\nassert(qlua.checkpoint.open(\"copy\").bytes == model.bytes)")),
            open,
        )
        .class(class())
}

fn open(call: &Call) -> anyhow::Result<Handle<RefCell<Writer>>> {
    let base = match call.get::<Value>("base")? {
        Value::Nil => None,
        Value::UserData(handle) => Some(handle.borrow::<Arc<Model>>()?.clone()),
        _ => Some(Arc::new(Model::open(call.get::<String>("base")?)?)),
    };
    let options = WriterOptions {
        out: call.get::<String>("out")?.into(),
        overwrite: call.get("overwrite")?,
        companions: call.get("companions")?,
        max_shard_size: max_shard_size(call)?,
        threads: threads(call)?,
    };
    Ok(Handle(RefCell::new(Writer::new(options, base)?)))
}

fn class() -> Class<RefCell<Writer>> {
    let named = |name: &'static str, doc: &'static str| {
        Function::new(name, doc).param("name", Type::String, "the tensor's name")
    };
    Class::new("Writer", "A directory in the making.")
        .field("names", Type::List(&Type::String), "the tensors that were added, in order", |this: &RefCell<Writer>, _| {
            Ok(this.borrow().specs().map(|s| s.name.clone()).collect::<Vec<_>>())
        })
        .method(
            Function::new("copy", "Adds tensors of the base as they are.")
                .param("names", Type::Selector, "which, by on-disk name; those added already are left as they are")
                .returns(Type::Integer, "how many were added")
                .raises("a plain name matches nothing")
                .example(with_writer!("writer:quantize(\"model.layers.0.mlp.down_proj\")\nassert(writer:copy(\"*\") > 0)")),
            copy,
        )
        .method(
            Function::new("add", "Adds a tensor under any name.")
                .param("name", Type::String, "its name")
                .param("tensor", Type::Handle("Tensor"), "its values")
                .raises("the name is taken")
                .example(with_writer!("writer:add(\"extra\", qlua.tensor.from_list{ 1, 2 })")),
            |this, call| {
                let tensor = call.handle::<Tensor>("tensor")?.clone();
                Ok(this.borrow_mut().add(&call.get::<String>("name")?, tensor)?)
            },
        )
        .method(
            named("cast", "Adds a tensor of the base in another dtype, rounded to nearest even.")
                .param("dtype", TARGETS, "the element type")
                .raises("the base has no such tensor, or the name is taken")
                .example(with_writer!("writer:cast(\"model.norm.weight\", \"f32\")")),
            |this, call| Ok(this.borrow_mut().cast(&call.get::<String>("name")?, dtype(call, "dtype")?)?),
        )
        .method(
            Function::new("quantize", "Adds the E4M3 codes of a linear layer's weight, and its scales beside them: BF16, or for blocks F32.")
                .param("module", Type::String, "the layer's on-disk name, without `.weight`")
                .options(
                    Options::new()
                        .default("granularity", Type::Choice(Granularity::WORDS), "channel", "one scale, one per output channel, or one per block of 128×128")
                        .default("rounding", Type::Choice(Rounding::WORDS), "exact", "how quotients are rounded")
                        .option("input_scale", Type::Number, "the activation scale, for static activations"),
                )
                .raises("the base has no such layer, or its weight has no FP8 form")
                .example(with_writer!("writer:quantize(\"model.layers.0.mlp.down_proj\")\nassert(#writer.names == 2)")),
            |this, call| {
                let options = QuantizeOptions {
                    granularity: call.word("granularity")?,
                    rounding: call.word("rounding")?,
                    input_scale: call.get("input_scale")?,
                };
                Ok(this.borrow_mut().quantize(&call.get::<String>("module")?, &options)?)
            },
        )
        .method(
            Function::new("dequantize", "Adds an FP8 weight of the base as code × scale, whichever tool made it. Blocks are as large as the base's configuration says.")
                .param("name", Type::String, "the name of the tensor, or of its layer, without `.weight`")
                .default("dtype", TARGETS, "bf16", "the element type")
                .returns(Type::Boolean, "whether it has scales; without any, and where nothing tells of any, the codes are taken for the values")
                .raises("the weight is not FP8, has no scales that fit, or has something beside it whose meaning is not known")
                .example(with_writer!(
                    "writer:quantize(\"model.layers.0.mlp.down_proj\")\nwriter:copy(\"*\")\nwriter:finish()\n\
                     local back = qlua.export.writer{ out = \"back\", base = \"copy\" }\n\
                     back:dequantize(\"model.layers.0.mlp.down_proj\")\nback:finish()"
                )),
            |this, call| Ok(this.borrow_mut().dequantize(&call.get::<String>("name")?, dtype(call, "dtype")?)?),
        )
        .method(
            named("rename", "Gives an added tensor another name.")
                .param("new_name", Type::String, "the new name")
                .raises("nothing of that name was added, or the new name is taken")
                .example(with_writer!("writer:copy(\"model.norm.weight\")\nwriter:rename(\"model.norm.weight\", \"norm.weight\")")),
            |this, call| Ok(this.borrow_mut().rename(&call.get::<String>("name")?, &call.get::<String>("new_name")?)?),
        )
        .method(
            named("drop", "Takes an added tensor out again.")
                .raises("nothing of that name was added")
                .example(with_writer!("writer:copy(\"*\")\nwriter:drop(\"model.norm.weight\")")),
            |this, call| Ok(this.borrow_mut().drop_tensor(&call.get::<String>("name")?)?),
        )
        .method(
            Function::new("file", "Adds a file beside the weights; it takes the place of a companion of the same name.")
                .param("name", Type::String, "its name")
                .param("content", Type::String, "its content")
                .raises("the name is no plain file name, or that of weights")
                .example(with_writer!("writer:file(\"NOTICE\", \"Made for a test.\")")),
            |this, call| {
                let content: mlua::LuaString = call.get("content")?;
                Ok(this.borrow_mut().file(&file_name(call)?, content.as_bytes().to_vec())?)
            },
        )
        .method(
            Function::new(
                "finish",
                "Writes everything, checks the directory as every loader would, and gives it its name. `config.json` gets the \
                 `quantization_config` that FP8 layers need, and loses one when nothing is quantised any more.",
            )
            .long()
            .returns(Type::Record(&WRITTEN), "what was written")
            .raises("there is no tensor, the checks find a problem, or the disk is full; nothing is left behind then")
            .example(with_writer!("writer:copy(\"*\")\nassert(writer:finish().bytes == model.bytes)")),
            |this, call| Ok(Row(this.borrow().finish(&*progress::listener(call.lua()))?)),
        )
}

fn copy(this: &RefCell<Writer>, call: &Call) -> anyhow::Result<usize> {
    if let Value::String(name) = call.get::<Value>("names")? {
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            this.borrow_mut().copy(&name)?;
            return Ok(1);
        }
    }
    let selector: Selector = call.get("names")?;
    let base = this.borrow().base().cloned();
    let Some(base) = base else {
        return Err(call.refuse("names", "needs a writer with a base"));
    };
    let taken = || this.borrow().specs().map(|s| s.name.clone()).collect::<HashSet<String>>();
    let before = taken();
    let names = base.tensors().map(|(name, _)| name).filter(|name| !before.contains(*name));
    // A predicate may use the writer itself, so nothing of it is borrowed meanwhile.
    let mut chosen = selector.filter(call.lua(), names.collect::<Vec<_>>())?;
    let since = taken();
    chosen.retain(|name| !since.contains(*name));
    let mut writer = this.borrow_mut();
    for name in &chosen {
        writer.copy(name)?;
    }
    Ok(chosen.len())
}

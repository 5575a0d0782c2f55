//! `qlua.fp8`: E4M3 codes and scales.

use anyhow::Context;
use mlua::Value;

use super::tensor::{TARGETS, dtype};
use crate::device::Device;
use crate::format::{
    self, Encoding, Granularity, QuantisationError, QuantisedGroup, Rounding, ScaleRule, Scales, Wanted,
    WeightGroup,
};
use crate::lua::declare::{Function, Namespace, Options};
use crate::lua::rows::row;
use crate::lua::{Call, Handle, Row, Type};
use crate::tensor::{Dtype, Tensor};

row! {
    /// What quantisation did to the values of a tensor.
    const ERROR = "QuantisationError" for |error: &QuantisationError| {
        /// number of elements
        elements: Type::Integer => error.elements,
        /// mean squared error
        mse: Type::Number => error.mse(),
        /// signal to quantisation noise ratio
        sqnr: Type::NumberIn("dB") => error.sqnr_db(),
        /// largest error of an element
        max_error: Type::Number => error.max_error,
        /// share of values beyond ±448 × scale, 0 to 1
        saturated_share: Type::Number => error.saturated_share(),
        /// share of non-zero values whose code is zero, 0 to 1
        zeroed_share: Type::Number => error.zeroed_share(),
    }
}
const GRANULARITY: Type = Type::Choice(Granularity::WORDS);
const ROUNDING: Type = Type::Choice(Rounding::WORDS);
const RULE: Type = Type::Choice(ScaleRule::WORDS);

pub(super) fn declare() -> Namespace {
    Namespace::new(
        "fp8",
        "E4M3 codes and scales: a value is code × scale. Rounded to nearest even, saturated at ±448, NaN kept.",
    )
    .constant("max", Type::Number, "the largest E4M3 value, 448", |_| Ok(format::MAX))
    .function(
        Function::new("encode", "The code nearest to a number.")
            .param("value", Type::Number, "the number, rounded to F32 first")
            .returns(Type::Integer, "the code, 0 to 255")
            .example("assert(qlua.fp8.encode(1.0) == 0x38 and qlua.fp8.encode(1e9) == 0x7e)"),
        |call| Ok(format::encode(call.get::<f64>("value")? as f32)),
    )
    .function(
        Function::new("decode", "The number that a code stands for.")
            .param("code", Type::Integer, "the code, 0 to 255")
            .returns(Type::Number, "its value; NaN for 0x7f and 0xff")
            .raises("the code is not between 0 and 255")
            .example("assert(qlua.fp8.decode(0x7e) == 448)"),
        |call| {
            let code: i64 = call.get("code")?;
            let code = u8::try_from(code).map_err(|_| call.refuse("code", "must lie between 0 and 255"))?;
            Ok(format::decode(code))
        },
    )
    .function(
        Function::new("device", "Opens a device and says what it is.")
            .param("name", Type::String, "`auto`, `cpu`, `cuda` or `cuda:N`")
            .returns(Type::String, "a description; for `auto` without a GPU also the reason")
            .raises("a GPU was named and there is none")
            .example("assert(qlua.fp8.device(\"cpu\") == \"the CPU\")"),
        |call| Ok(Device::shared(call.word("name")?)?.to_string()),
    )
    .function(
        Function::new("amax", "The largest magnitudes of a BF16, F16 or F32 tensor.")
            .param("tensor", Type::Handle("Tensor"), "the values")
            .options(on_device(Options::new().default("granularity", GRANULARITY, "tensor", "over the tensor, each row, or each 128×128 block")))
            .returns(Type::Handle("Tensor"), "F32 of shape [], [out, 1] or [ceil(out / 128), ceil(in / 128)]")
            .raises("rows or blocks are asked of a tensor that is not two-dimensional, or the dtype is another")
            .example("assert(qlua.fp8.amax(qlua.tensor.from_list{ 1, -3 }):tolist()[1] == 3)"),
        |call| {
            let tensor = call.handle::<Tensor>("tensor")?.clone();
            let encoding = Encoding::e4m3(granularity(call)?, ScaleRule::F32, Rounding::Exact);
            let wanted = Wanted { codes: false, error: false };
            let done = device(call)?.quantise_one(WeightGroup::one(tensor.clone(), encoding), wanted);
            let amax = tensor.unchanged(done)??.amax.context("amax values were asked for")?;
            Ok(Handle(f32_tensor(amax.shape, &amax.values)))
        },
    )
    .function(
        quantising(
            "quantize",
            "Makes E4M3 codes of a BF16, F16 or F32 tensor.",
        )
        .returns(Type::Handle("Tensor"), "the codes, F8_E4M3 of the same shape")
        .returns(Type::Handle("Tensor"), "the scales, F32")
        .example(
            "local codes, scales = qlua.fp8.quantize(qlua.tensor.from_list{ 1, -3 })\n\
             assert(codes.dtype == \"F8_E4M3\" and math.abs(scales:tolist()[1] - 3 / 448) < 1e-9)",
        ),
        |call| {
            let mut done = quantise(call, Wanted { codes: true, error: false })?;
            let codes = done.codes.pop().context("codes were asked for")?;
            Ok((Handle(codes), Handle(f32_tensor(done.scales.shape, &done.scales.values))))
        },
    )
    .function(
        Function::new("dequantize", "The values that codes and scales stand for: code × scale in F32, then rounded.")
            .param("codes", Type::Handle("Tensor"), "F8_E4M3 codes")
            .param("scales", Type::Handle("Tensor"), "one value, one a row, or one a block of 128×128 or of `block_size`")
            .options(on_device(
                Options::new()
                    .default("dtype", TARGETS, "bf16", "the element type of the result")
                    .described(
                        "block_size",
                        Type::List(&Type::Integer),
                        "told by the shape",
                        "rows and columns of a block that one of the scales is for, as `weight_block_size` has them",
                    ),
            ))
            .returns(Type::Handle("Tensor"), "the values")
            .raises("the scales do not fit the codes, or the codes are not F8_E4M3")
            .example(
                "local codes, scales = qlua.fp8.quantize(qlua.tensor.from_list{ 448, 1 })\n\
                 assert(qlua.fp8.dequantize(codes, scales):tolist()[2] == 1)",
            ),
        |call| {
            let codes = call.handle::<Tensor>("codes")?;
            let tensor = call.handle::<Tensor>("scales")?;
            let scales = match call.get::<Option<Vec<usize>>>("block_size")? {
                None => Scales::from_tensor(&tensor, codes.shape())?,
                Some(block) => {
                    let block = block.try_into();
                    let block = block.map_err(|_| call.refuse("block_size", "must be two sizes, of rows and columns"))?;
                    Scales::of_blocks(&tensor, codes.shape(), block)?
                }
            };
            let values = device(call)?.dequantize(&codes, &scales, dtype(call, "dtype")?);
            Ok(Handle(tensor.unchanged(codes.unchanged(values)?)??))
        },
    )
    .function(
        quantising("error", "What quantising a BF16, F16 or F32 tensor does to its values.")
            .returns(Type::Record(&ERROR), "the error")
            .example("assert(qlua.fp8.error(qlua.tensor.from_list{ 448, 1 }).mse == 0)"),
        |call| {
            let mut done = quantise(call, Wanted { codes: false, error: true })?;
            Ok(Row(done.errors.pop().context("errors were asked for")?))
        },
    )
}

/// A function that quantises its tensor.
fn quantising(name: &'static str, doc: &'static str) -> Function {
    Function::new(name, doc)
        .param("tensor", Type::Handle("Tensor"), "the values")
        .options(on_device(
            Options::new()
                .default(
                    "granularity",
                    GRANULARITY,
                    "tensor",
                    "one scale for the tensor, each row, or each 128×128 block",
                )
                .default(
                    "rule",
                    RULE,
                    "f32",
                    "a scale is amax / 448 in F32, or that rounded up to a BF16 value",
                )
                .default(
                    "rounding",
                    ROUNDING,
                    "exact",
                    "the F32 quotient, or the BF16 quotient as ModelOpt has it on the CPU",
                )
                .described(
                    "scales",
                    Type::Handle("Tensor"),
                    "made from the amax",
                    "scales to use as they are",
                ),
        ))
        .raises("the dtype has no FP8 form, the tensor holds NaN or infinity, or the scales do not fit")
}

fn granularity(call: &Call) -> anyhow::Result<Granularity> {
    call.word("granularity")
}

/// The option that says where to compute.
pub(super) fn on_device(options: Options) -> Options {
    options.default(
        "device",
        Type::String,
        "cpu",
        "`cpu`, `cuda` (every GPU), `cuda:N`, or `auto`: GPUs where there are some; the bytes are the same",
    )
}

/// What [`on_device`] named.
pub(super) fn device(call: &Call) -> anyhow::Result<Device> {
    Ok(Device::shared(call.word("device")?)?)
}

fn quantise(call: &Call, wanted: Wanted) -> anyhow::Result<QuantisedGroup> {
    let tensor = call.handle::<Tensor>("tensor")?.clone();
    let (rule, rounding): (ScaleRule, Rounding) = (call.word("rule")?, call.word("rounding")?);
    let scales = match call.get::<Value>("scales")? {
        Value::Nil => None,
        _ => {
            let scales = call.handle::<Tensor>("scales")?;
            Some(scales.unchanged(Scales::from_tensor(&scales, tensor.shape())?)?)
        }
    };
    let granularity = scales.as_ref().map_or_else(|| granularity(call), |scales| Ok(scales.granularity))?;
    let group = WeightGroup {
        scales,
        ..WeightGroup::one(tensor.clone(), Encoding::e4m3(granularity, rule, rounding))
    };
    let done = tensor.unchanged(device(call)?.quantise_one(group, wanted))??;
    if !done.is_finite() {
        return Err(call.refuse("tensor", "holds NaN or infinite values, which have no FP8 form"));
    }
    Ok(done)
}

fn f32_tensor(shape: Vec<usize>, values: &[f32]) -> Tensor {
    Tensor::owned(Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

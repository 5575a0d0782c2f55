//! `qlua.tensor`: handles over tensors; the data stays in Rust.

use crate::lua::declare::{Class, Function, Namespace, Options};
use crate::lua::rows::row;
use crate::lua::{Call, Handle, Row, Type};
use crate::tensor::{Dtype, Histogram, Stats, Tensor};

row! {
    /// What a tensor's values look like; minimum, maximum, mean and std are over the finite ones.
    const STATS = "Stats" for |stats: &Stats| {
        /// number of elements
        elements: Type::Integer => stats.elements,
        /// smallest value
        min: Type::Number => stats.min,
        /// largest value
        max: Type::Number => stats.max,
        /// mean
        mean: Type::Number => stats.mean,
        /// population standard deviation
        std: Type::Number => stats.std,
        /// largest magnitude; NaN above infinity above all else
        amax: Type::Number => stats.amax,
        /// elements that are +0 or -0
        zeros: Type::Integer => stats.zeros,
        /// elements that are NaN
        nan: Type::Integer => stats.nan,
        /// elements that are infinite
        infinite: Type::Integer => stats.infinite,
    }
}
row! {
    /// Finite values counted in bins of equal width.
    const HISTOGRAM = "Histogram" for |histogram: &Histogram| {
        /// lower edge of the first bin
        min: Type::Number => histogram.min,
        /// upper edge of the last bin, which includes it
        max: Type::Number => histogram.max,
        /// width of a bin
        width: Type::Number => histogram.width(),
        /// values per bin
        counts: Type::List(&Type::Integer) => histogram.counts.clone(),
    }
}
/// The dtypes that values can be converted to.
pub(super) const TARGETS: Type = Type::Choice(&["bf16", "f16", "f32", "BF16", "F16", "F32"]);

pub(super) fn declare() -> Namespace {
    Namespace::new("tensor", "Tensors: typed views over mapped files, or values made in a script.")
        .function(
            Function::new("from_list", "Makes a tensor from numbers.")
                .param("values", Type::List(&Type::Number), "the elements, row by row")
                .options(
                    Options::new()
                        .default("dtype", TARGETS, "f32", "the element type; values are rounded to nearest even")
                        .described("shape", Type::List(&Type::Integer), "one dimension", "sizes of the dimensions, outermost first"),
                )
                .returns(Type::Handle("Tensor"), "the tensor")
                .raises("the shape does not hold as many elements")
                .example("local t = qlua.tensor.from_list({ 1, 2, 3, 4 }, { shape = { 2, 2 }, dtype = \"bf16\" })\nassert(t.dtype == \"BF16\" and t.shape[2] == 2)"),
            from_list,
        )
        .class(class())
}

fn from_list(call: &Call) -> anyhow::Result<Handle<Tensor>> {
    let values: Vec<f64> = call.get("values")?;
    let shape: Vec<usize> = call.get::<Option<_>>("shape")?.unwrap_or_else(|| vec![values.len()]);
    if shape.iter().try_fold(1, |n: usize, size| n.checked_mul(*size)) != Some(values.len()) {
        return Err(call.refuse("shape", format!("does not hold {} elements", values.len())));
    }
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(Handle(Tensor::owned(Dtype::F64, shape, bytes).cast(dtype(call, "dtype")?)?))
}

/// The dtype that the option `name` says.
pub(super) fn dtype(call: &Call, name: &str) -> anyhow::Result<Dtype> {
    let word: String = call.get(name)?;
    // What is wrong is said of the word as it was written.
    Ok(word.to_uppercase().parse().or_else(|_| word.parse())?)
}

fn equal(this: &Tensor, other: &Tensor) -> anyhow::Result<bool> {
    Ok(other.unchanged(this.unchanged(this.equal(other))?)?)
}

fn class() -> Class<Tensor> {
    Class::new("Tensor", "A dense row-major tensor. The data stays outside Lua; handles are cheap. What is computed from a file that was changed meanwhile is an error.")
        .text(|this: &Tensor| format!("Tensor({} {:?})", this.dtype(), this.shape()))
        .equal("dtype, shape and bytes are equal", equal)
        .field(
            "dtype",
            Type::String,
            "the element type as in safetensors headers, such as `BF16`",
            |this, _| Ok(this.dtype().name()),
        )
        .field("shape", Type::List(&Type::Integer), "sizes of the dimensions, outermost first", |this, _| {
            Ok(this.shape().to_vec())
        })
        .field("bytes", Type::IntegerIn("bytes"), "size of the data", |this, _| Ok(this.bytes().len()))
        .field("elements", Type::Integer, "number of elements", |this, _| Ok(this.elements()))
        .method(
            Function::new("amax", "The largest magnitude.")
                .returns(Type::Number, "NaN where there is a NaN, infinity where there is one")
                .example("assert(qlua.tensor.from_list{ 1, -3 }:amax() == 3)"),
            |this, _| {
                this.dtype().require_values()?;
                Ok(this.unchanged(Tensor::amax(this))?)
            },
        )
        .method(
            Function::new("stats", "Minimum, maximum, mean, standard deviation and counts, in one pass.")
                .returns(Type::Record(&STATS), "the statistics")
                .example("assert(qlua.tensor.from_list{ 1, -3 }:stats().mean == -1)"),
            |this, _| Ok(Row(this.unchanged(this.stats())?)),
        )
        .method(
            Function::new("histogram", "Counts the finite values in bins of equal width.")
                .default("bins", Type::Integer, 64, "number of bins")
                .returns(Type::Record(&HISTOGRAM), "the histogram")
                .raises("the number of bins is 0 or above 1048576")
                .example("assert(qlua.tensor.from_list{ 0, 1, 1 }:histogram(2).counts[2] == 2)"),
            |this, call| Ok(Row(this.unchanged(this.histogram(call.get("bins")?)?)?)),
        )
        .method(
            Function::new("tolist", "The first elements as Lua numbers.")
                .default("limit", Type::Integer, 1000, "how many at most")
                .returns(Type::List(&Type::Number), "the elements, row by row")
                .example("assert(qlua.tensor.from_list({ 5, 6, 7 }):tolist(2)[2] == 6)"),
            |this, call| {
                this.dtype().require_values()?;
                Ok(this.unchanged(this.tolist(call.get("limit")?))?)
            },
        )
        .method(
            Function::new("slice", "Some rows of the outermost dimension, without copying.")
                .param("first", Type::Integer, "the first row, counted from 1")
                .param("last", Type::Integer, "the last row, included")
                .returns(Type::Handle("Tensor"), "the rows")
                .raises("the rows do not lie within the tensor, or it is a scalar")
                .example("assert(qlua.tensor.from_list{ 5, 6, 7 }:slice(2, 3):tolist()[1] == 6)"),
            |this, call| {
                let (first, last): (usize, usize) = (call.get("first")?, call.get("last")?);
                let Some(start) = first.checked_sub(1) else {
                    return Err(call.refuse("first", "is counted from 1"));
                };
                Ok(Handle(this.slice(start..last)?))
            },
        )
        .method(
            Function::new("cast", "The same values in another dtype, rounded to nearest even.")
                .param("dtype", Type::String, "the element type: `bf16`, `f16`, `f32`, or the tensor's own; in either case")
                .returns(Type::Handle("Tensor"), "the values; shared when nothing changes")
                .raises("there is no such dtype, or it is another that tensors cannot be cast to")
                .example("local t = qlua.tensor.from_list{ 1 }\nassert(t:cast(t.dtype) == t)\nassert(qlua.tensor.from_list{ 1.00390625 }:cast(\"bf16\"):tolist()[1] == 1)"),
            |this, call| Ok(Handle(this.unchanged(this.cast(dtype(call, "dtype")?)?)?)),
        )
        .method(
            Function::new("equal", "Whether dtype, shape and every byte are equal; the same as `==`.")
                .param("other", Type::Handle("Tensor"), "the other tensor")
                .returns(Type::Boolean, "whether they are")
                .example("local t = qlua.tensor.from_list{ 1 }\nassert(t:equal(qlua.tensor.from_list{ 1 }))"),
            |this, call| equal(this, &*call.handle::<Tensor>("other")?),
        )
}

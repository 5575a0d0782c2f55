//! Dialects: the conventions of a scheme directory, one file or folder each behind the trait [`Dialect`], found by
//! [`DialectId`]; what they share lies beside them.

mod claims;
mod compressed_tensors;
mod engine;
mod expression;
mod foreign;
mod fp8_block;
mod id;
mod interface;
mod limit;
mod limits;
mod modelopt;
mod problem;
mod registry;
mod sglang;
mod spelling;
mod stored;
mod universal;
mod wholes;

pub(crate) use claims::CONFIG;
pub use claims::{Claims, ModelOptClaim};
pub use engine::Engine;
pub use expression::{Expression, ExpressionBudget, Flaw};
pub(crate) use foreign::is_calibration_state;
pub use foreign::{Decoding, Foreign, TensorRole};
pub use fp8_block::weight_block_size;
pub use id::{DialectChoice, DialectId};
pub use interface::{ClaimPlace, Dialect, QuantisationFiles};
pub use limit::{Limit, Scope};
pub use limits::{LIMITS, limits};
pub use problem::{Code, Problem};
pub use stored::{Layer, StoredLayers};

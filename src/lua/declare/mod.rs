//! The vocabulary of declarations: each Lua function, method, field and constant is declared once, here in Rust, and
//! argument checks, annotations, the manual and `qlua doc` are made from it.
//!
//! ```text
//! Namespace::new("fp8", "E4M3 codes.")
//!     .function(
//!         Function::new("encode", "The code nearest to `value`.")
//!             .param("value", Type::Number, "the number to encode")
//!             .returns(Type::Integer, "the code, 0 to 255")
//!             .example("assert(qlua.fp8.encode(1.0) == 0x38)"),
//!         |call| Ok(fp8::encode(call.get("value")?)),
//!     )
//!     .class(
//!         Class::<Manifest>::new("Manifest", "An opened manifest.")
//!             .field("path", Type::Path, "where it was read from", |this, _| Ok(this.path()))
//!             .method(Function::new("ranking", "…"), |this, call| Ok(Handle(this.ranking(…)?))),
//!     )
//! ```

mod callable;
mod class;
pub(in crate::lua) mod function;
mod namespace;

pub use callable::{Callable, Getter, Handler};
pub use class::{Class, ClassDeclaration, Operator, OperatorDeclaration};
pub use function::{FIRST_VERSION, Fallback, Field, Function, Options, Param, Return};
pub use namespace::{Api, Namespace};

pub use crate::lua::sandbox::PathUse;

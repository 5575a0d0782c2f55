//! Model families: what the modules of a checkpoint are, how they are spelled, and which belong together.
//!
//! Some of it follows from a name alone (tower, block, fused group, recipe group), the rest from a checkpoint, which
//! becomes a [`Model`] so.

mod architecture;
mod expected;
mod fused;
mod head;
mod kind;
mod known;
mod meaning;
mod modules;
mod opened;
mod order;
mod orientation;
mod pattern;
mod place;
mod recipe;
mod recorded;
mod spelling;

pub use architecture::Architecture;
pub use expected::{Expectation, ExpectedTensor, StatedSize, expected_tensors, missized};
pub use fused::{expert_group, fused_group, is_in_stack, stack_of};
pub use head::{LM_HEAD, is_head};
pub use known::Module;
pub use meaning::Meaning;
pub use modules::Modules;
pub use opened::Model;
pub use order::{in_model_order, order_in_block};
pub use pattern::fold;
pub use place::{Tower, block_of, kind_of};
pub(crate) use recipe::members;
pub use recipe::{RecipeGroup, Rule, recipe_group};
pub use recorded::{Line, Mixture, ModuleClass, recorded_with};
pub use spelling::{WRAPPERS, bare_name, canonical, has_known_root};

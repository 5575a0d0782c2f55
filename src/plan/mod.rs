//! Plans: which module is stored in which format, as plain data, with exact sizes before a byte is written.

mod budget;
mod cost;
mod draft;
mod frontier;
mod hull;
mod input_scales;
mod layout;
mod scheme;
pub mod solver;
mod tensors;

pub use budget::{Budget, BudgetSolver, Fit, Measure};
pub use cost::{BytesFrom, Cost, CostModel, Figures, GroupCost};
pub(crate) use draft::require_selected;
pub use draft::{Draft, DraftScheme, require_scheme_name};
pub use frontier::{Frontier, FrontierPoint, frontier};
pub use hull::{HullPoint, hull, knee};
pub use input_scales::InputScales;
pub use layout::{Activations, ActivationsChoice, Dialect, DialectChoice, Layout, ScaleSharing};
pub use scheme::Plan;
pub use tensors::{PlannedTensor, Role, planned_tensors};

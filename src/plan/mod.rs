//! Plans: which module is stored in which format, as plain data, with exact sizes before a byte is written.

mod budget;
mod cost;
mod frontier;
mod hull;
mod input_scales;
mod knee;
mod layout;
mod located;
mod member;
mod scheme;
pub mod solver;
mod tensors;

pub use budget::{Budget, BudgetSolver, Fit, Measure};
pub use cost::{BytesFrom, Cost, CostModel, Figures, GroupCost, cost_of_bits, effective_bits};
pub use frontier::{Frontier, FrontierPoint, frontier};
pub use hull::{HullPoint, hull, hull_knee};
pub use input_scales::InputScales;
pub use knee::{KNEE, knee};
pub use layout::{Activations, ActivationsChoice, Layout, ScaleSharing};
pub use located::{Located, LocatedGroup};
pub use scheme::Plan;
pub use tensors::{PlannedTensor, Role, module_tensors, planned_tensors};

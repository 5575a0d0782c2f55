//! Building blocks of charts: hand-written SVG that takes its colours from the style sheet of the page it stands in.
//!
//! Every drawing scales to the width it is given. Elements carry classes, never colours, so that one drawing reads well in
//! light, in dark and on paper; a `<title>` gives exact values.

mod axis;
mod canvas;
mod heat_map;
mod labels;
mod plot;

pub use axis::{Axis, power_of_ten};
pub use canvas::{Anchor, Canvas};
pub use heat_map::{HeatMap, Section, Tile};
pub use plot::{Mark, Plot, Series, Shape};

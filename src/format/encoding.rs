//! How weights become codes and scales.

use std::fmt;

use super::fp8::Rounding;
use super::id::FormatId;
use super::scale::ScaleRule;
use super::scale_grid::Granularity;

/// A format and what it leaves open: equal encodings of equal weights are equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encoding {
    /// The format.
    pub format: FormatId,
    /// How many elements share a scale.
    pub granularity: Granularity,
    /// From amax to scale.
    pub rule: ScaleRule,
    /// From quotient to code.
    pub rounding: Rounding,
}

/// Stable words: keys of stored shards are made from them.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Encoding { format, granularity, rule, rounding } = self;
        write!(f, "{} {granularity} {rule} {rounding}", format.id())
    }
}

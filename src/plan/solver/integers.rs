//! Scores and costs as integers, so that sums and products are exact.

use super::choice::Choice;

/// Products of a score and a cost stay below 2^124, so that the sum of two fits an `i128`.
const PRODUCT_BITS: u32 = 124;
/// Bits of the summed cost.
const COST_BITS: u32 = 62;
/// Bits of the summed score at most.
const SCORE_BITS: u32 = 100;

/// The units in which costs and scores are whole numbers.
///
/// Costs of a manifest (weights × bits / 16) and bytes are multiples of a common unit, so nothing is lost. Costs that span
/// more than 62 bits are rounded up and budgets down: a solution never exceeds its budget. Scores are exact unless they span
/// more than their bits, 62 at least; `score_error` says by how much a sum can be wrong then.
#[derive(Debug)]
pub(super) struct Integers {
    /// One unit of cost is 2^-`cost_shift` × `cost_factor`.
    cost_shift: i32,
    cost_factor: i128,
    /// The summed least cost of each group, before it is divided by `cost_factor`.
    floor: i128,
    score_shift: i32,
    /// An upper bound of the error of a summed score.
    pub score_error: f64,
}

#[derive(Clone, Copy)]
enum IntegerRounding {
    Nearest,
    Down,
    Up,
}

impl Integers {
    pub fn new(groups: &[Vec<Choice>]) -> Self {
        let costs = || groups.iter().flatten().map(|c| c.cost);
        let cost_shift = shift(costs(), COST_BITS, groups.len());
        let raw = |cost: f64| to_integer(cost, cost_shift, IntegerRounding::Up);
        let least = |group: &Vec<Choice>| {
            group.iter().filter(|c| c.score.is_finite()).map(|c| raw(c.cost)).min().unwrap_or(0)
        };
        let floor = groups.iter().map(least).sum();
        let (mut factor, mut total) = (0, 0);
        for group in groups {
            let least = least(group);
            for choice in group {
                factor = gcd(factor, (raw(choice.cost) - least).abs());
            }
            total += group.iter().map(|c| raw(c.cost) - least).max().unwrap_or(0);
        }
        let cost_factor = factor.max(1);
        let cost_bits = 128 - (total / cost_factor).leading_zeros();
        let score_bits = (PRODUCT_BITS - cost_bits).min(SCORE_BITS);
        let scores = || groups.iter().flatten().map(|c| c.score).filter(|s| s.is_finite());
        let score_shift = shift(scores(), score_bits, groups.len());
        let is_exact = scores().all(|s| decode(s).is_none_or(|(_, exponent)| exponent + score_shift >= 0));
        let mut integers = Integers { cost_shift, cost_factor, floor, score_shift, score_error: 0.0 };
        if !is_exact {
            // Half a unit for each group, of both the solution and the optimum.
            integers.score_error = integers.score(groups.len() as i128);
        }
        integers
    }

    /// The cost of `choice` above `least`, the least of its group.
    pub fn cost(&self, cost: f64, least: f64) -> i64 {
        let raw = |cost| to_integer(cost, self.cost_shift, IntegerRounding::Up);
        ((raw(cost) - raw(least)) / self.cost_factor) as i64
    }

    pub fn to_score(&self, score: f64) -> i128 {
        to_integer(score, self.score_shift, IntegerRounding::Nearest)
    }

    /// A difference of scores as a number again.
    pub fn score(&self, score: i128) -> f64 {
        // In two steps, as 2^-shift itself may be out of range.
        let half = self.score_shift / 2;
        score as f64 * 2f64.powi(-half) * 2f64.powi(half - self.score_shift)
    }

    /// How much `budget` leaves above the floor; `None` when it is below. A budget that equals a sum of costs but for its
    /// rounding, four units in the last place, is that sum.
    pub fn room(&self, budget: f64) -> Option<i64> {
        if budget.is_nan() || budget < 0.0 {
            return None;
        }
        let bound = 2f64.powi(COST_BITS as i32 + 1 - self.cost_shift);
        let budget =
            to_integer((budget + budget * 2f64.powi(-50)).min(bound), self.cost_shift, IntegerRounding::Down);
        let room = (budget - self.floor).div_euclid(self.cost_factor);
        (room >= 0).then(|| room.min(i64::MAX as i128) as i64)
    }
}

/// The power of two by which `values` are multiplied: as large as `bits` bits allow for the sum of `groups` of them, but no
/// larger than what makes all of them whole.
fn shift(values: impl Iterator<Item = f64>, bits: u32, groups: usize) -> i32 {
    let (mut top, mut bottom) = (i32::MIN, i32::MAX);
    for (mantissa, exponent) in values.filter_map(decode) {
        let length = (128 - mantissa.unsigned_abs().leading_zeros()) as i32;
        top = top.max(exponent + length);
        bottom = bottom.min(exponent);
    }
    if top == i32::MIN {
        return 0;
    }
    let count_bits = (usize::BITS - groups.leading_zeros()) as i32;
    (bits as i32 - top - count_bits).min(-bottom)
}

/// `value` = mantissa × 2^exponent with an odd mantissa; `None` for 0.
fn decode(value: f64) -> Option<(i128, i32)> {
    if value == 0.0 {
        return None;
    }
    let bits = value.to_bits();
    let fraction = (bits & ((1 << 52) - 1)) as i128;
    let (mantissa, exponent) = match (bits >> 52) & 0x7ff {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased as i32 - 1075),
    };
    let zeros = mantissa.trailing_zeros();
    let mantissa = mantissa >> zeros;
    Some((if value < 0.0 { -mantissa } else { mantissa }, exponent + zeros as i32))
}

/// `value` × 2^`shift` as an integer.
fn to_integer(value: f64, shift: i32, rounding: IntegerRounding) -> i128 {
    let Some((mantissa, exponent)) = decode(value) else { return 0 };
    let by = exponent + shift;
    if by >= 0 {
        return mantissa << by;
    }
    // Mantissas have 53 bits, so a longer shift leaves nothing but the direction of rounding.
    let by = (-by).min(100);
    let down = mantissa >> by;
    let rest = mantissa - (down << by);
    match rounding {
        IntegerRounding::Down => down,
        IntegerRounding::Up => down + i128::from(rest > 0),
        IntegerRounding::Nearest => down + i128::from(rest >= 1 << (by - 1)),
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

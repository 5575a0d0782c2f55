//! Numbers with their units, the same everywhere.

/// A size in decimal units, as disks and checkpoints are measured: `512 B`, `7.5 MB`, `4.13 GB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// A number of weights: `512`, `65.5 k`, `7.5 M`, `3.09 G`.
pub fn weights(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.1} k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        _ => format!("{:.2} G", count as f64 / 1e9),
    }
}

/// A score with four digits: `1.234e-4`, `12.34`, `0`.
pub fn score(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1.0..1_000.0).contains(&size) => format!("{value:.*}", 3 - size.log10().floor() as usize),
        _ if value.is_finite() => format!("{value:.3e}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_have_four_digits_and_no_exponent_without_need() {
        let values = [0.0, 1.12, 12.344, 999.96, 1000.0, 0.1051, 2.674e-4, -1.5, f64::INFINITY];
        let texts = ["0", "1.120", "12.34", "1000.0", "1.000e3", "1.051e-1", "2.674e-4", "-1.500", "inf"];
        assert_eq!(values.map(score), texts);
    }
}

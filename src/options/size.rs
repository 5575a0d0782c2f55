//! Sizes as people type them: `5GB`, `6 GiB`, `500_000`.

/// Units by their spelling in lower case, decimal and binary never mixed up.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads a size in bytes: a number, with or without a unit.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let &(_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.replace('_', "").parse().ok()?;
    let bytes = (number * factor as f64).round();
    (bytes >= 0.0 && bytes < i64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_binary_units_are_told_apart() {
        for (text, bytes) in [
            ("5GB", 5_000_000_000),
            ("6 GiB", 6 * 1024 * 1024 * 1024),
            ("1.5gib", 3 << 29),
            ("500_000", 500_000),
            ("12 B", 12),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "GB", "5 G", "-1GB", "5GBit", "1..2MB", "99999999TB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}

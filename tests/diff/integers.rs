//! Tensors of integers that F64 does not hold exactly, against arithmetic in 128 bits.

use safetensors::tensor::Dtype;
use serde_json::json;

use super::common::directory::Raw;
use super::{compared, found_in, odd, outcomes};

/// Integers of a dtype, as the file holds them and as they are.
fn stored(dtype: Dtype, values: &[i128]) -> Raw {
    let bytes = values.iter().flat_map(|value| match dtype {
        Dtype::I64 => i64::try_from(*value).unwrap().to_le_bytes(),
        Dtype::U64 => u64::try_from(*value).unwrap().to_le_bytes(),
        Dtype::F64 => {
            let float = *value as f64;
            assert_eq!(float as i128, *value, "F64 holds it");
            float.to_le_bytes()
        }
        other => panic!("{other} is none of these"),
    });
    Raw::new(dtype, &[values.len()], bytes.collect())
}

const EDGE: i128 = 1 << 53;

#[test]
fn integers_that_are_the_same_only_once_rounded_differ() {
    let place = tempfile::tempdir().unwrap();
    // Each pair is one number as F64.
    let pairs = [
        (Dtype::I64, [EDGE + 1, -EDGE - 1, 7], Dtype::F64, [EDGE, -EDGE, 7]),
        (Dtype::F64, [EDGE, 0, 1 << 62], Dtype::I64, [EDGE + 1, 0, (1 << 62) + 100]),
        (Dtype::I64, [i64::MAX.into(), i64::MIN.into(), 0], Dtype::F64, [1 << 63, -(1 << 63), 0]),
        (Dtype::U64, [u64::MAX.into(), EDGE + 1, 5], Dtype::F64, [1 << 64, EDGE, 5]),
        (Dtype::I64, [i64::MAX.into(), 3, 4], Dtype::U64, [1 << 63, 3, 4]),
        (Dtype::I64, [EDGE + 1, EDGE, -3], Dtype::I64, [EDGE, EDGE + 1, -3]),
    ];
    for (number, (dtype_a, a, dtype_b, b)) in pairs.into_iter().enumerate() {
        let side = |name: &str, raw: Raw| {
            odd(place.path(), &format!("{name}{number}"), &json!({}), &[("m.ids", raw)]).0
        };
        let found = compared(&side("a", stored(dtype_a, &a)), &side("b", stored(dtype_b, &b)));
        let values = found_in(&found, "m.ids").values().unwrap();
        let differing = a.iter().zip(&b).filter(|(a, b)| a != b).count() as u64;
        let largest = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max().unwrap() as f64;
        assert_eq!((values.differing, values.max_difference), (differing, largest), "{a:?} {b:?}");
        assert_eq!(outcomes(&found), [("m.ids", "other_values")].into());
    }
}

#[test]
fn the_same_integers_in_another_dtype_are_the_same_numbers() {
    let place = tempfile::tempdir().unwrap();
    let values = [EDGE, -EDGE, 1 << 62, i64::MIN.into(), 0, -1];
    let long = odd(place.path(), "long", &json!({}), &[("m.ids", stored(Dtype::I64, &values))]);
    let float = odd(place.path(), "float", &json!({}), &[("m.ids", stored(Dtype::F64, &values))]);
    for (a, b) in [(&long, &float), (&float, &long)] {
        assert_eq!(outcomes(&compared(&a.0, &b.0)), [("m.ids", "same_values")].into());
    }
}

#[test]
fn a_float_that_is_no_integer_differs_from_every_integer() {
    let place = tempfile::tempdir().unwrap();
    let floats = [0.5, f64::NAN, f64::INFINITY, 1e300, -0.0];
    let floats = Raw::new(Dtype::F64, &[5], floats.iter().flat_map(|float| float.to_le_bytes()).collect());
    let a =
        odd(place.path(), "a", &json!({}), &[("m.ids", stored(Dtype::I64, &[0, 0, i64::MAX.into(), 1, 0]))]);
    let b = odd(place.path(), "b", &json!({}), &[("m.ids", floats)]);
    let found = compared(&a.0, &b.0);
    let values = found_in(&found, "m.ids").values().unwrap();
    assert_eq!((values.differing, values.not_finite, values.max_difference), (4, 2, 1e300));
}

//! The E4M3 code against answers that other programs made: `golden/e4m3/` (numpy and ml_dtypes, see `make.py` there) and,
//! where it is there, a ModelOpt export of a small model.

use qlua::format::{
    BLOCK_SIZE, Granularity, QuantisationError, Rounding, ScaleRule, Scales, amax, decode,
    quantisation_error, quantize,
};
use qlua::tensor::{Dtype, Tensor};
use safetensors::SafeTensors;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Outcome = Result<(), Box<dyn Error>>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/e4m3").join(name)
}

#[test]
fn every_code_has_the_value_that_ml_dtypes_gives_it() -> Outcome {
    let values = fs::read(golden("decode.bin"))?;
    assert_eq!(values.len(), 1024);
    for (code, expected) in (0..=255u8).zip(values.chunks(4)) {
        assert_eq!(decode(code).to_le_bytes(), expected, "{code:#04x}");
    }
    Ok(())
}

#[test]
fn every_half_precision_weight_gets_the_code_that_ml_dtypes_gives_it() -> Outcome {
    let every: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let mut files = 0;
    for entry in fs::read_dir(golden(""))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let &[dtype, scale, rounding] = &name.split('_').collect::<Vec<_>>()[..] else { continue };
        let weights = Tensor::owned(dtype.to_uppercase().parse()?, vec![256, 256], every.clone());
        let scale = f32::from_bits(u32::from_str_radix(scale, 16)?);
        let expected = Tensor::owned(Dtype::F8E4M3, vec![256, 256], fs::read(&path)?);
        let rounding: Rounding = rounding.parse()?;
        assert!(quantize(&weights, &Scales::tensor(scale), rounding)?.equal(&expected), "{name}");
        for (granularity, shape) in [(Granularity::Channel, vec![256, 1]), (Granularity::Block, vec![2, 2])] {
            let values = vec![scale; shape.iter().product()];
            let scales = Scales { granularity, block: BLOCK_SIZE, shape, values };
            assert!(quantize(&weights, &scales, rounding)?.equal(&expected), "{name} {granularity}");
        }
        files += 1;
    }
    assert_eq!(files, 12);
    Ok(())
}

#[test]
fn modelopt_codes_of_a_whole_model_are_reproduced_bit_for_bit() -> Outcome {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let baseline = shared.join("modelopt/fp8_baseline/model.safetensors");
    let base = shared.join("tiny-qwen2_5-vl/model.safetensors");
    if !baseline.exists() || !base.exists() {
        eprintln!("SKIPPED: {} is missing", shared.display());
        return Ok(());
    }
    let (baseline, base) = (fs::read(baseline)?, fs::read(base)?);
    let (baseline, base) = (SafeTensors::deserialize(&baseline)?, SafeTensors::deserialize(&base)?);
    let (mut codes, mut different, mut tensors) = (0, 0, 0);
    let mut total = QuantisationError::default();
    for (name, view) in baseline.tensors() {
        if view.dtype() != safetensors::Dtype::F8_E4M3 {
            continue;
        }
        let source = base.tensor(&name)?;
        assert_eq!(source.dtype(), safetensors::Dtype::BF16);
        let weights = Tensor::owned(Dtype::BF16, source.shape().to_vec(), source.data().to_vec());
        let expected = Tensor::owned(Dtype::F8E4M3, view.shape().to_vec(), view.data().to_vec());
        let scales = Scales::from_amax(&amax(&weights, Granularity::Tensor)?, ScaleRule::F32);
        let stored = baseline.tensor(&format!("{name}_scale"))?;
        assert_eq!(stored.data(), scales.values[0].to_le_bytes(), "{name}");
        assert!(quantize(&weights, &scales, Rounding::ModelOpt)?.equal(&expected), "{name}");
        let exact = quantize(&weights, &scales, Rounding::Exact)?;
        different += exact.bytes().iter().zip(expected.bytes()).filter(|(one, two)| one != two).count();
        codes += expected.elements();
        tensors += 1;
        let (once, twice) = (
            quantisation_error(&weights, &exact, &scales)?,
            quantisation_error(&weights, &expected, &scales)?,
        );
        assert_eq!(once.saturated, 0, "{name}");
        assert!(once.mse() <= twice.mse(), "{name}: rounding once is never worse");
        total = total.merge(once);
    }
    assert_eq!((tensors, codes, different), (64, 6_063_360, 184_086));
    // 2.64 % RMS error is what E4M3 costs weights of a bell-shaped distribution.
    let relative = (total.sum_squared_error / total.sum_squares).sqrt();
    assert!((relative - 0.0264).abs() < 0.001, "{relative}");
    Ok(())
}

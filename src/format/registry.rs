//! Every format by its id, and by what manifests call it.

use super::encoding::Encoding;
use super::fp8::{Fp8Format, Rounding};
use super::fp8_block::Fp8BlockFormat;
use super::id::FormatId;
use super::interface::Format;
use super::scale::ScaleRule;
use super::scale_grid::Granularity;

impl FormatId {
    /// What the format says of itself.
    pub fn format(self) -> &'static dyn Format {
        match self {
            FormatId::Fp8 => &Fp8Format,
            FormatId::Fp8Block => &Fp8BlockFormat,
        }
    }

    /// The format that a manifest of ModelOpt calls `name`, with or without its `(effective-bits: …)`, and the scales that
    /// it means. Nothing for other names: `CUSTOM_0` says only that the run had a configuration of its own.
    pub fn of_manifest(name: &str) -> Option<(FormatId, Granularity)> {
        let name = name.split_once('(').map_or(name, |(name, _)| name).trim();
        FormatId::ALL.iter().find_map(|&id| {
            let known = id.format().manifest_names().iter().find(|(known, _)| *known == name);
            known.map(|(_, granularity)| (id, *granularity))
        })
    }

    /// The format that has scales of `granularity`: what scales are shared by tells them apart.
    pub fn with_scales(granularity: Granularity) -> FormatId {
        let has = |id: &FormatId| id.format().granularities().contains(&granularity);
        FormatId::ALL.iter().copied().find(has).unwrap_or(FormatId::ALL[0])
    }

    /// What the manifests of ModelOpt call the format with scales of `granularity`; nothing when it has no such scales.
    pub fn manifest_name(self, granularity: Granularity) -> Option<&'static str> {
        let known = self.format().manifest_names().iter().find(|(_, known)| *known == granularity);
        known.map(|(name, _)| *name)
    }
}

impl Encoding {
    /// E4M3 codes under scales of `granularity`, in the format that has those.
    pub fn e4m3(granularity: Granularity, rule: ScaleRule, rounding: Rounding) -> Self {
        Encoding { format: FormatId::with_scales(granularity), granularity, rule, rounding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{ModuleTensorKind, ScaleShape, ScaleStorage};
    use crate::tensor::Dtype;
    use crate::{Error, Result};

    #[test]
    fn ids_are_read_as_they_are_stored_and_shown_as_people_write_them() {
        for (id, stored, shown) in
            [(FormatId::Fp8, "fp8", "FP8"), (FormatId::Fp8Block, "fp8_block", "FP8_BLOCK")]
        {
            assert_eq!((id.id(), id.to_string().as_str()), (stored, shown));
            assert_eq!(stored.parse::<FormatId>().ok(), Some(id));
            assert_eq!(id.format().id(), id);
        }
        let error = "fp8block".parse::<FormatId>().err().and_then(|error| error.hint());
        assert_eq!(error.as_deref(), Some("did you mean `fp8_block`? The words are fp8, fp8_block"));
    }

    #[test]
    fn every_granularity_belongs_to_one_format() {
        for &granularity in Granularity::ALL {
            let has = |id: &&FormatId| id.format().granularities().contains(&granularity);
            let all: Vec<&FormatId> = FormatId::ALL.iter().filter(has).collect();
            assert_eq!(all, [&FormatId::with_scales(granularity)]);
        }
    }

    #[test]
    fn every_name_of_a_manifest_leads_to_one_format_and_back() {
        for &id in FormatId::ALL {
            for (name, granularity) in id.format().manifest_names() {
                assert_eq!(FormatId::of_manifest(name), Some((id, *granularity)));
                assert_eq!(id.manifest_name(*granularity), Some(*name));
                assert!(id.format().granularities().contains(granularity));
            }
        }
        let named = "FP8_DEFAULT_CFG(effective-bits: 8.0)";
        assert_eq!(FormatId::of_manifest(named), Some((FormatId::Fp8, Granularity::Tensor)));
        for other in ["NONE(effective-bits: 16.0)", "INT8_DEFAULT_CFG", "CUSTOM_0(effective-bits: 8.0)", ""] {
            assert_eq!(FormatId::of_manifest(other), None, "{other}");
        }
    }

    /// Name, dtype and shape of each tensor of a module `m` whose weight is 256×384.
    fn tensors(
        granularity: Granularity,
        rule: ScaleRule,
        shape: ScaleShape,
        input_scale: bool,
    ) -> Result<Vec<(String, Dtype, Vec<usize>)>> {
        let encoding = Encoding::e4m3(granularity, rule, Rounding::Exact);
        let storage = ScaleStorage { shape, input_scale };
        let tensors = encoding.format.format().tensors(&[256, 384], &encoding, &storage)?;
        assert_eq!(tensors[0].kind, ModuleTensorKind::Codes);
        Ok(tensors.iter().map(|t| t.spec("m")).map(|s| (s.name, s.dtype, s.shape)).collect())
    }

    #[test]
    fn modules_have_the_tensors_that_published_checkpoints_have() -> Result<()> {
        let named = |name: &str, dtype, shape: &[usize]| (format!("m.{name}"), dtype, shape.to_vec());
        let codes = named("weight", Dtype::F8E4M3, &[256, 384]);
        // compressed-tensors, static and dynamic; ModelOpt, static and dynamic; Qwen3 and DeepSeek in block FP8.
        assert_eq!(
            tensors(Granularity::Tensor, ScaleRule::Bf16Up, ScaleShape::WithOnes, true)?,
            [
                codes.clone(),
                named("weight_scale", Dtype::BF16, &[1]),
                named("input_scale", Dtype::BF16, &[1])
            ]
        );
        assert_eq!(
            tensors(Granularity::Channel, ScaleRule::Bf16Up, ScaleShape::WithOnes, false)?,
            [codes.clone(), named("weight_scale", Dtype::BF16, &[256, 1])]
        );
        assert_eq!(
            tensors(Granularity::Tensor, ScaleRule::F32, ScaleShape::WithoutOnes, true)?,
            [codes.clone(), named("weight_scale", Dtype::F32, &[]), named("input_scale", Dtype::F32, &[])]
        );
        assert_eq!(
            tensors(Granularity::Channel, ScaleRule::F32, ScaleShape::WithoutOnes, false)?,
            [codes.clone(), named("weight_scale", Dtype::F32, &[256])]
        );
        assert_eq!(
            tensors(Granularity::Block, ScaleRule::F32, ScaleShape::WithoutOnes, false)?,
            [codes, named("weight_scale_inv", Dtype::F32, &[2, 3])]
        );
        Ok(())
    }

    #[test]
    fn what_a_format_does_not_have_is_refused() {
        let storage = |input_scale| ScaleStorage { shape: ScaleShape::WithOnes, input_scale };
        let of = |id: FormatId, granularity, rule, shape: &[usize], input| {
            let encoding = Encoding { format: id, ..Encoding::e4m3(granularity, rule, Rounding::Exact) };
            id.format().tensors(shape, &encoding, &storage(input)).err().map(|error: Error| error.to_string())
        };
        let (fp8, block) = (FormatId::Fp8, FormatId::Fp8Block);
        assert!(of(fp8, Granularity::Block, ScaleRule::F32, &[128, 128], false).is_some());
        assert!(of(fp8, Granularity::Channel, ScaleRule::F32, &[2, 2, 2], false).is_some());
        assert!(of(block, Granularity::Tensor, ScaleRule::F32, &[128, 128], false).is_some());
        assert!(of(block, Granularity::Block, ScaleRule::Bf16Up, &[128, 128], false).is_some());
        assert!(of(block, Granularity::Block, ScaleRule::F32, &[128, 128], true).is_some());
        assert!(of(block, Granularity::Block, ScaleRule::F32, &[128, 128], false).is_none());

        let refuses = |id: FormatId, dtype, shape: &[usize]| id.format().refuses(dtype, shape);
        assert_eq!(refuses(fp8, Dtype::BF16, &[3, 5]), None);
        assert!(refuses(fp8, Dtype::BF16, &[3, 5, 1]).is_some());
        assert!(refuses(fp8, Dtype::F8E4M3, &[3, 5]).is_some());
        assert_eq!(refuses(block, Dtype::F32, &[256, 1024]), None);
        for odd in [[256, 1000], [1000, 256], [64, 128]] {
            let reason = refuses(block, Dtype::BF16, &odd).unwrap_or_default();
            assert!(reason.contains("multiple of 128"), "{odd:?}: {reason}");
        }
    }
}

//! The coverage manifest, `<scheme>_coverage_from_baseline.json`: which groups a scheme quantises.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Order, Percent, Selection};
use crate::error::Result;
use crate::input::{self, InputKind};
use crate::json;

/// A selected layer that stays in BF16 all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLayer {
    /// The group's key, as in `selected_layers`.
    pub layer: String,
    /// Why no exporter quantises it, as a phrase.
    pub reason: String,
}

/// A coverage manifest. The keys up to `dropped_layers` are the published ones, in the published order; those after it are
/// qlua's own, and a published file reads as if they were empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The directory of the baseline that the scheme is cut from, where there is one.
    pub baseline_dir: Option<String>,
    /// The manifest that was ranked.
    pub baseline_manifest: Option<String>,
    /// The scheme's name, which is its directory's.
    pub scheme_name: String,
    /// The percentage that was asked for; an integer when whole.
    pub top_percent: Percent,
    /// The same as a share of 1.
    pub coverage_fraction: f64,
    /// The number of ranked groups.
    pub num_layers_total: usize,
    /// The number of selected groups.
    pub num_layers_selected: usize,
    /// The number of ranked groups that are not selected.
    pub num_layers_dropped: usize,
    /// The keys of the selected groups in ranking order.
    pub selected_layers: Vec<String>,
    /// The keys of the dropped groups in ranking order.
    pub dropped_layers: Vec<String>,
    /// The ranking's order.
    #[serde(default)]
    pub order: Order,
    /// The selected layers that stay in BF16, and why.
    #[serde(default)]
    pub kept_in_bf16: Vec<KeptLayer>,
    /// The keys of the groups that were never scored.
    #[serde(default)]
    pub unscored_layers: Vec<String>,
}

impl Coverage {
    /// The coverage manifest of `selection`. Where the baseline lies and what stays in BF16
    /// is the caller's to fill in.
    pub fn new(scheme_name: impl Into<String>, selection: &Selection) -> Self {
        let selected_layers: Vec<String> = selection.selected().map(|g| g.key().into_owned()).collect();
        let dropped_layers: Vec<String> = selection.dropped().map(|g| g.key().into_owned()).collect();
        Coverage {
            baseline_dir: None,
            baseline_manifest: None,
            scheme_name: scheme_name.into(),
            top_percent: selection.percent,
            coverage_fraction: selection.percent.fraction(),
            num_layers_total: selection.total,
            num_layers_selected: selected_layers.len(),
            num_layers_dropped: dropped_layers.len(),
            selected_layers,
            dropped_layers,
            order: selection.order,
            kept_in_bf16: Vec::new(),
            unscored_layers: selection.unscored.clone(),
        }
    }

    /// Reads the coverage manifest at `path`.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when it cannot be read, [`crate::Error::Format`] when it is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::parse(path.as_ref(), &input::read(path.as_ref(), InputKind::Record)?)
    }

    /// Parses the coverage manifest that `text` (of `path`, named in errors) is.
    ///
    /// # Errors
    /// [`crate::Error::Format`] when it is none.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        json::parse(path, text)
    }

    /// The file's content: indented by 2, keys in the published order.
    pub fn to_json(&self) -> Vec<u8> {
        json::pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, RankingOptions};

    fn coverage(percent: f64) -> Coverage {
        let text = br#"{"layer_sensitivity": {
            "b.quant_recipe": {"formats": ["F(effective-bits: 8.0)"], "scores": [2], "costs": [1]},
            "a.quant_recipe": {"formats": ["F(effective-bits: 8.0)"], "scores": [1], "costs": [1]},
            "z.quant_recipe": {"formats": ["F(effective-bits: 8.0)"], "scores": [0], "costs": [1]}}}"#;
        let manifest = Manifest::parse("m.json", text).unwrap();
        let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
        Coverage::new("s", &ranking.lowest(percent).unwrap())
    }

    #[test]
    fn keys_come_in_the_published_order_and_extra_keys_after_them() {
        let mut coverage = coverage(10.0);
        coverage.baseline_manifest = Some("m.json".into());
        coverage.kept_in_bf16 = vec![KeptLayer { layer: "a.quant_recipe".into(), reason: "a Conv3d".into() }];
        let expected = r#"{
  "baseline_dir": null,
  "baseline_manifest": "m.json",
  "scheme_name": "s",
  "top_percent": 10,
  "coverage_fraction": 0.1,
  "num_layers_total": 2,
  "num_layers_selected": 1,
  "num_layers_dropped": 1,
  "selected_layers": [
    "a.quant_recipe"
  ],
  "dropped_layers": [
    "b.quant_recipe"
  ],
  "order": "ascending",
  "kept_in_bf16": [
    {
      "layer": "a.quant_recipe",
      "reason": "a Conv3d"
    }
  ],
  "unscored_layers": [
    "z.quant_recipe"
  ]
}
"#;
        assert_eq!(String::from_utf8(coverage.to_json()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Coverage>(expected).unwrap(), coverage);
    }

    #[test]
    fn a_fractional_percentage_stays_exact() {
        let coverage = coverage(12.5);
        let text = String::from_utf8(coverage.to_json()).unwrap();
        assert!(text.contains("\"top_percent\": 12.5,\n  \"coverage_fraction\": 0.125,"), "{text}");
    }
}

//! Where static activation scales come from: an FP8 baseline's `input_scale` tensors, or recorded amax values.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::ScaleRule;
use crate::input::Watched;
use crate::manifest::RecordedAmax;
use crate::model::{Model, canonical, expert_group, stack_of};
use crate::tensor::Dtype;
use crate::units::counted;

/// What tools call the scale of a layer's inputs: ModelOpt and compressed-tensors, AutoFP8, Ministral's, ComfyUI.
const LEAVES: [&str; 4] = [".input_scale", ".act_scale", ".activation_scale", ".scale_input"];
const AMAX_SUFFIX: &str = ".input_quantizer";
/// As ModelOpt calls that of a stack of experts: `….experts.gate_up_proj_input_quantizer`.
const STACK_SUFFIX: &str = "_input_quantizer";

/// The magnitudes between which the largest input of a layer lies. The largest that were ever seen are near 1e6 (Gemma 3); what
/// comes near the ends of BF16 (3.4e38) is no measurement, and its scale would make every code 0 or the largest.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;
/// The largest magnitude of an FP8 code.
const LARGEST_CODE: f64 = 448.0;

/// What was given for the inputs of a module.
#[derive(Debug, Clone)]
struct GivenScale {
    scale: f32,
    /// Why it is no use, in words.
    problem: Option<String>,
}

/// Activation scales by module: of a model, once they are resolved in it, and by what all spellings share until then.
#[derive(Debug, Clone)]
pub struct InputScales {
    origin: PathBuf,
    /// As they were spelled.
    given: BTreeMap<String, GivenScale>,
    /// By names on disk where they are resolved, and canonical ones where they are not.
    by_module: HashMap<String, GivenScale>,
    is_resolved: bool,
    /// The files that they were read from, as they were then.
    watched: Vec<Watched>,
}

impl InputScales {
    /// Reads the `input_scale` tensors (one float each, under whatever name its tool has for them) of the FP8 baseline in
    /// `directory`.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`]; [`Error::Format`] when there is no such tensor or one is not a single positive
    /// finite number.
    pub fn from_baseline(directory: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(directory)?;
        let mut given = BTreeMap::new();
        for (name, tensor) in checkpoint.tensors() {
            let Some(module) = LEAVES.iter().find_map(|leaf| name.strip_suffix(leaf)) else { continue };
            let is_float = tensor.dtype().is_quantisable() || tensor.dtype() == Dtype::F64;
            if !is_float || tensor.elements() != 1 {
                let problem = format!(
                    "holds `{name}`, which is {} of shape {:?}, not one float",
                    tensor.dtype(),
                    tensor.shape()
                );
                return Err(Error::format(directory, problem));
            }
            let value = tensor.to_f64_iter().next().unwrap_or(f64::NAN) as f32;
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::format(
                    directory,
                    format!("holds `{name}` = {value}, which is no usable scale"),
                ));
            }
            let amax = f64::from(value) * LARGEST_CODE;
            let problem = (!PLAUSIBLE.contains(&amax))
                .then(|| format!("the scale {value:e}, so inputs of up to {amax:e}"));
            let other = given.insert(module.to_string(), GivenScale { scale: value, problem });
            if other.is_some_and(|other| other.scale != value) {
                return Err(two_scales(directory, module));
            }
        }
        if given.is_empty() {
            return Err(Error::format(
                directory,
                "holds no `input_scale` tensor, so it is no static FP8 baseline",
            )
            .with_hint("pass a static FP8 export, or --activations dynamic, which needs no calibration"));
        }
        checkpoint.require_unchanged()?;
        Ok(InputScales { watched: checkpoint.watched(), ..InputScales::unresolved(directory, given) })
    }

    /// Takes the `<module>.input_quantizer` entries of `amax`; `origin` is named in errors. The scale is amax/448 in F32. An
    /// amax of 0, or one that no inputs reach, is remembered and refused by [`InputScales::require_usable`].
    ///
    /// # Errors
    /// [`Error::Format`] when there is no such entry or an amax is not a non-negative finite number.
    pub fn from_amax(origin: &Path, amax: &RecordedAmax) -> Result<Self> {
        let mut given = BTreeMap::new();
        for (key, amax) in amax.iter() {
            let Some(module) = key.strip_suffix(AMAX_SUFFIX).or_else(|| key.strip_suffix(STACK_SUFFIX))
            else {
                continue;
            };
            if !(amax.is_finite() && amax >= 0.0) {
                let problem =
                    format!("gives `{key}` the amax {amax}, which is no non-negative finite number");
                return Err(Error::format(origin, problem));
            }
            let problem = (!PLAUSIBLE.contains(&amax)).then(|| format!("the amax {}", in_words(amax)));
            let scale = ScaleRule::F32.scale(amax as f32);
            given.insert(module.to_string(), GivenScale { scale, problem });
        }
        if given.is_empty() {
            return Err(Error::format(origin, format!("holds no `<module>{AMAX_SUFFIX}` amax")).with_hint(
                "a file of `{\"<module>.input_quantizer\": amax}`, or a manifest with an `amax` key",
            ));
        }
        let watched = amax.watched().cloned().into_iter().collect();
        Ok(InputScales { watched, ..InputScales::unresolved(origin, given) })
    }

    fn unresolved(origin: &Path, given: BTreeMap<String, GivenScale>) -> Self {
        let by_module = given.iter().map(|(name, scale)| (canonical(name), scale.clone())).collect();
        InputScales {
            origin: origin.to_path_buf(),
            given,
            by_module,
            is_resolved: false,
            watched: Vec::new(),
        }
    }

    /// The files that they were read from, as they were then; none where they are part of a manifest.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Finds the modules of `model` that the names mean, as those of a manifest are found: on disk, in memory, and in what all
    /// spellings share. A name that is spelled out on disk goes before all others. All parts of a tensor that is split in memory
    /// see the same inputs, and so do all experts of a mixture: an expert without a scale of its own has that of the stack that
    /// holds it in memory.
    ///
    /// # Errors
    /// [`Error::Format`] when a module has two different scales, under two spellings.
    pub fn resolve(&mut self, model: &Model) -> Result<()> {
        let modules = model.modules();
        let mut by_module: HashMap<String, GivenScale> = HashMap::new();
        for (name, scale) in &self.given {
            let Some(module) =
                modules.on_disk(name).filter(|module| module == name || !self.given.contains_key(*module))
            else {
                continue;
            };
            let other = by_module.insert(module.to_string(), scale.clone());
            if other.is_some_and(|other| other.scale != scale.scale) {
                return Err(two_scales(&self.origin, module));
            }
        }
        let mut of_parts: HashMap<&str, &GivenScale> = HashMap::new();
        for (name, scale) in &self.given {
            let Some(whole) = modules.whole_of(name).filter(|whole| !by_module.contains_key(*whole)) else {
                continue;
            };
            let largest = of_parts.entry(whole).or_insert(scale);
            if scale.scale > largest.scale {
                *largest = scale;
            }
        }
        by_module.extend(of_parts.into_iter().map(|(whole, scale)| (whole.to_string(), scale.clone())));
        for module in modules.linears().filter(|module| expert_group(module).is_some()) {
            if !by_module.contains_key(module)
                && let Some(scale) = self.of_stack(model, module)
            {
                by_module.insert(module.to_string(), scale);
            }
        }
        (self.by_module, self.is_resolved) = (by_module, true);
        Ok(())
    }

    /// What was given for the stack that the expert `module` is in, as its mixture is called on disk or in memory.
    fn of_stack(&self, model: &Model, module: &str) -> Option<GivenScale> {
        let (parent, whole) = expert_group(module)?;
        let stack = module.rsplit('.').next().and_then(stack_of)?;
        let modules = model.modules();
        let mixtures = [format!("{parent}.{whole}")].into_iter().chain(modules.mixtures_in_memory(module));
        let stacks = mixtures.map(|mixture| format!("{mixture}.{stack}"));
        let mut stacks = modules.stacks_in_memory(module).into_iter().chain(stacks);
        // Until now the scales are those by what all spellings share.
        stacks.find_map(|stack| self.by_module.get(&canonical(&stack)).cloned())
    }

    /// The scale of a module: by its name on disk where the scales are resolved, and in any spelling where they are not.
    pub fn get(&self, module: &str) -> Option<f32> {
        self.found(module).map(|given| given.scale)
    }

    fn found(&self, module: &str) -> Option<&GivenScale> {
        if self.is_resolved { self.by_module.get(module) } else { self.by_module.get(&canonical(module)) }
    }

    /// Fails when the scale of one of `modules` is no use: 0, or far from what inputs reach, so that every code would be 0 or
    /// the largest one.
    ///
    /// # Errors
    /// [`Error::Format`] naming the first such module and how many there are.
    pub fn require_usable<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let found = |module: &'a str| Some((module, self.found(module)?.problem.as_ref()?));
        let mut unusable = modules.into_iter().filter_map(found);
        let Some((module, given)) = unusable.next() else { return Ok(()) };
        let more = match unusable.count() {
            0 => String::new(),
            others => format!(", as are those of {} more", counted(others, "layer")),
        };
        let problem =
            format!("gives the inputs of `{module}` {given}, which is nothing that was measured{more}");
        Err(Error::format(&self.origin, problem)
            .with_hint("calibrate it again, leave these layers out, or choose --activations dynamic"))
    }

    /// The directory or file that they were read from.
    pub fn origin(&self) -> &Path {
        &self.origin
    }
}

fn two_scales(origin: &Path, module: &str) -> Error {
    Error::format(origin, format!("has two input scales for `{module}`"))
}

/// A number that may be very large or very small.
fn in_words(value: f64) -> String {
    if value == 0.0 { "0".into() } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<InputScales> {
        let path = Path::new("amax.json");
        InputScales::from_amax(path, &RecordedAmax::parse(path, text.as_bytes())?)
    }

    #[test]
    fn amax_becomes_a_scale_by_modelopts_rule_in_any_spelling() {
        let scales = from(
            r#"{"amax": {"model.visual.blocks.0.attn.qkv.input_quantizer": 3.5, "layers.0.mlp.up_proj.input_quantizer": 448,
                "layers.0.mlp.up_proj.weight_quantizer": 1}}"#,
        )
        .unwrap();
        assert_eq!(scales.get("visual.blocks.0.attn.qkv"), Some(3.5 / 448.0));
        assert_eq!(scales.get("model.language_model.layers.0.mlp.up_proj"), Some(1.0));
        assert_eq!(scales.get("model.layers.1.mlp.up_proj"), None);
    }

    #[test]
    fn experts_take_the_scale_of_their_stack() {
        let directory = tempfile::tempdir().unwrap();
        let names =
            ["gate_proj", "up_proj", "down_proj"].map(|leaf| format!("model.layers.0.mlp.experts.1.{leaf}"));
        let weight = [0u8; 8];
        let view =
            || safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![2, 2], &weight).unwrap();
        let tensors: Vec<_> = names.iter().map(|name| (format!("{name}.weight"), view())).collect();
        safetensors::serialize_to_file(tensors, None, &directory.path().join("model.safetensors")).unwrap();
        std::fs::write(directory.path().join("config.json"), "{}").unwrap();
        let mut scales = from(
            r#"{"amax": {"model.layers.0.mlp.experts.gate_up_proj_input_quantizer": 448, "model.layers.0.mlp.experts.down_proj_input_quantizer": 896}}"#,
        )
        .unwrap();
        scales.resolve(&Model::open(directory.path()).unwrap()).unwrap();
        assert_eq!(names.map(|name| scales.get(&name)), [Some(1.0), Some(1.0), Some(2.0)]);
    }

    #[test]
    fn what_no_inputs_reach_is_refused_for_the_layers_that_need_it() {
        for (amax, shown) in [("0", "the amax 0,"), ("1e38", "1e38"), ("1e300", "1e300"), ("1e-30", "1e-30")]
        {
            let scales = from(&format!(
                r#"{{"layers.0.a.input_quantizer": {amax}, "layers.1.a.input_quantizer": 5e5, "layers.2.a.input_quantizer": {amax}}}"#
            ))
            .unwrap();
            scales.require_usable(["layers.1.a"]).unwrap();
            let error = scales.require_usable(["layers.1.a", "model.layers.0.a", "layers.2.a"]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("`model.layers.0.a`") && text.contains(shown), "{text}");
            assert!(text.contains("as are those of 1 layer more"), "{text}");
        }
    }

    #[test]
    fn unusable_files_are_named() {
        let weights = from(r#"{"a.weight_quantizer": 1}"#).unwrap_err().to_string();
        assert!(weights.contains("holds no `<module>.input_quantizer` amax"), "{weights}");
        let nan = from(r#"{"a.input_quantizer": NaN}"#).unwrap_err().to_string();
        assert!(nan.contains("`a.input_quantizer`"), "{nan}");
    }
}

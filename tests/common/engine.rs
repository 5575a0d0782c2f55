//! Samples and golden answers of models that the engine computes.

use std::collections::HashMap;
use std::path::Path;

use qlua::engine::{LayerScore, Picture, Sample, Sensitivity};
use qlua::model::canonical;
use safetensors::{Dtype, SafeTensors};

/// The tensors of one file.
pub struct Golden(Vec<u8>);

impl Golden {
    pub fn read(path: &Path) -> Self {
        Golden(std::fs::read(path).unwrap())
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap()
    }

    /// F32 values.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let file = self.tensors();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::F32);
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// I64 values.
    pub fn integers(&self, name: &str) -> Vec<usize> {
        let file = self.tensors();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I64);
        tensor.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as usize).collect()
    }

    /// The samples called `0`, `1`, … after `prefix`, at most `most`.
    pub fn samples(&self, prefix: &str, most: usize) -> Vec<Sample> {
        let file = self.tensors();
        let names = file.names();
        let has = |name: &String| names.contains(&name.as_str());
        (0..most)
            .map_while(|number| Some(format!("{prefix}{number}")).filter(|n| has(&format!("{n}.input_ids"))))
            .map(|name| {
                let tokens =
                    self.integers(&format!("{name}.input_ids")).into_iter().map(|t| t as u32).collect();
                let pictures = match has(&format!("{name}.pixel_values")) {
                    true => self.pictures(&name),
                    false => vec![],
                };
                Sample { tokens, pictures }
            })
            .collect()
    }

    fn pictures(&self, name: &str) -> Vec<Picture> {
        let values = self.floats(&format!("{name}.pixel_values"));
        let grids = self.integers(&format!("{name}.image_grid_thw"));
        let grids: Vec<[usize; 3]> = grids.as_chunks::<3>().0.to_vec();
        let patches: usize = grids.iter().map(|grid| grid.iter().product::<usize>()).sum();
        let width = values.len() / patches;
        let mut rest = values.as_slice();
        let cut = |grid: &[usize; 3]| {
            let (patches, after) = rest.split_at(grid.iter().product::<usize>() * width);
            rest = after;
            Picture { grid: *grid, patches: patches.to_vec() }
        };
        grids.iter().map(cut).collect()
    }
}

/// The largest difference.
pub fn worst_difference(want: &[f32], found: &[f32]) -> f64 {
    assert_eq!(want.len(), found.len());
    want.iter().zip(found).map(|(want, found)| f64::from((want - found).abs())).fold(0.0, f64::max)
}

/// |found / want − 1|; 0 where both are 0.
pub fn relative(want: f64, found: f64) -> f64 {
    if want == found { 0.0 } else { ((found - want) / want).abs() }
}

/// The layers by names of any spelling.
pub struct Layers<'a>(HashMap<&'a str, &'a LayerScore>);

impl<'a> Layers<'a> {
    pub fn of(sensitivity: &'a Sensitivity) -> Self {
        Layers(sensitivity.layers.iter().map(|layer| (layer.name.as_str(), layer)).collect())
    }

    pub fn get(&self, module: &str) -> &'a LayerScore {
        self.0.get(canonical(module).as_str()).unwrap_or_else(|| panic!("`{module}` was not scored"))
    }
}

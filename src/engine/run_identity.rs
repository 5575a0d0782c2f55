//! What a scoring run is made from, as one hash: a record of one run is never taken for that of another.

use super::backend::Backend;
use super::candidate::CandidateFormat;
use super::model_identity::{hash_part as part, model_identity};
use super::network::NetworkRun;
use crate::error::Result;
use crate::interrupt;
use crate::tensor::Kernel;

impl<B: Backend> NetworkRun<'_, B> {
    /// The hash of all that scores follow from: the weights, the configuration, the samples, the candidates, `method`, the groups
    /// that `group_of` makes, and who computes: another version of qlua or another instruction set may round otherwise.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`].
    pub(super) fn identity(
        &self,
        method: &str,
        candidates: &[CandidateFormat],
        group_of: &dyn Fn(&str) -> String,
    ) -> Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        let computes = [env!("CARGO_PKG_VERSION"), std::any::type_name::<B>(), Kernel::best().name()];
        for text in computes.into_iter().chain([std::env::consts::ARCH, method]) {
            part(&mut hasher, text.as_bytes());
        }
        part(&mut hasher, format!("{candidates:?}").as_bytes());
        part(&mut hasher, model_identity(self.network.tensors.checkpoint())?.as_bytes());
        for name in self.network.tensors.names() {
            part(&mut hasher, group_of(name.strip_suffix(".weight").unwrap_or(name)).as_bytes());
        }
        for layer in self.calibration.iter().flat_map(|calibration| &calibration.layers) {
            part(&mut hasher, layer.name.as_bytes());
            hasher.update(&layer.input_amax.to_bits().to_le_bytes());
            hasher.update(&layer.input_rms.to_bits().to_le_bytes());
        }
        for sample in self.samples {
            interrupt::check()?;
            let tokens: Vec<u8> = sample.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            part(&mut hasher, &tokens);
            hasher.update(&(sample.pictures.len() as u64).to_le_bytes());
            for picture in &sample.pictures {
                part(&mut hasher, format!("{:?}", picture.grid).as_bytes());
                let values: Vec<u8> = picture.patches.iter().flat_map(|value| value.to_le_bytes()).collect();
                part(&mut hasher, &values);
            }
        }
        Ok(hasher.finalize())
    }
}

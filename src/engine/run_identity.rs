//! What a scoring run is made from, as one hash: a record of one run is never taken for that of another.

use super::backend::Backend;
use super::candidate::CandidateFormat;
use super::network::NetworkRun;
use crate::error::Result;
use crate::interrupt;
use crate::tensor::Kernel;

/// Bytes that are hashed between two looks at whether somebody wants to stop.
const PIECE: usize = 64 << 20;

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
        // Each part with its length, so that no two lists of parts are one row of bytes.
        fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        let computes = [env!("CARGO_PKG_VERSION"), std::any::type_name::<B>(), Kernel::best().name()];
        for text in computes.into_iter().chain([std::env::consts::ARCH, method]) {
            part(&mut hasher, text.as_bytes());
        }
        part(&mut hasher, format!("{candidates:?}").as_bytes());
        part(&mut hasher, self.network.tensors.checkpoint().config_text());
        for (name, _, bytes) in self.network.tensors.checkpoint().shards() {
            part(&mut hasher, name.as_bytes());
            let mut content = blake3::Hasher::new();
            for piece in bytes.chunks(PIECE) {
                interrupt::check()?;
                content.update_rayon(piece);
            }
            part(&mut hasher, content.finalize().as_bytes());
        }
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

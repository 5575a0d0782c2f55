//! Batches put together by hand, with results that are read where the GPU left them.

use super::lane::{BatchResults, Lane};
use crate::Result;
use crate::device::accelerator::through_lanes;
use crate::format::{Wanted, WeightGroup};

/// Quantises `batches` on the GPUs of `lanes` and hands the results to `take`, with the number of the batch, in order.
///
/// A second thread reads the weights (mapped files are read here) and submits them to whichever lane is free, so lanes of
/// several GPUs share the work by the bytes of the batches. `take` runs on the calling thread, while later batches are on
/// their way; the memory in use is that of the lanes.
///
/// # Errors
/// The first error of a batch or of `take`, and [`crate::Error::Interrupted`]; what was on its way then is dropped.
pub fn quantise_batches(
    lanes: Vec<Lane>,
    batches: impl IntoIterator<Item = Vec<WeightGroup>, IntoIter: Send>,
    wanted: Wanted,
    mut take: impl FnMut(usize, &BatchResults) -> Result<()>,
) -> Result<()> {
    let submit =
        |lane: &mut Lane, (_, groups): &(usize, Vec<WeightGroup>)| lane.submit(groups.clone(), wanted);
    let take = |lane: &mut Lane, (number, _): (usize, Vec<WeightGroup>)| take(number, &lane.wait()?);
    through_lanes(lanes, batches.into_iter().enumerate(), submit, take)
}

/// Cuts groups into batches of about `bytes`, in order; a larger group is a batch of its own.
pub fn into_batches(groups: &[WeightGroup], bytes: usize) -> Vec<Vec<WeightGroup>> {
    let mut batches: Vec<Vec<WeightGroup>> = vec![];
    let mut filled = usize::MAX;
    for group in groups {
        filled = filled.saturating_add(group.bytes());
        match batches.last_mut() {
            Some(batch) if filled <= bytes => batch.push(group.clone()),
            _ => {
                filled = group.bytes();
                batches.push(vec![group.clone()]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Encoding, Granularity, Rounding, ScaleRule};
    use crate::tensor::{Dtype, Tensor};

    #[test]
    fn batches_hold_every_group_once_and_in_order() {
        let groups: Vec<WeightGroup> = [3usize, 50, 4, 4, 0, 90, 1]
            .map(|elements| {
                let weight = Tensor::owned(Dtype::BF16, vec![elements], vec![0; 2 * elements]);
                WeightGroup::one(weight, Encoding::e4m3(Granularity::Tensor, ScaleRule::F32, Rounding::Exact))
            })
            .into();
        let sizes = |bytes| -> Vec<Vec<usize>> {
            let sizes = |batch: Vec<WeightGroup>| batch.iter().map(WeightGroup::bytes).collect();
            into_batches(&groups, bytes).into_iter().map(sizes).collect()
        };
        assert_eq!(sizes(20), [vec![6], vec![100], vec![8, 8, 0], vec![180], vec![2]]);
        assert_eq!(sizes(0).concat(), [6, 100, 8, 8, 0, 180, 2]);
        assert_eq!(sizes(1000).len(), 1);
    }
}

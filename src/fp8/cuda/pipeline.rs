//! Many batches through a few lanes: reading, copying, computing and writing at the same time, in bounded memory.

use std::sync::mpsc::sync_channel;

use super::lane::{Finished, Lane};
use crate::fp8::{Wanted, WeightGroup};
use crate::{Result, interrupt};

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
    mut take: impl FnMut(usize, &Finished) -> Result<()>,
) -> Result<()> {
    let count = lanes.len();
    let (give_back, free) = sync_channel(count);
    let (submitted, busy) = sync_channel::<Result<Lane>>(count + 1);
    for lane in lanes {
        // There is room for all lanes, and `free` is alive.
        let _ = give_back.send(lane);
    }
    let batches = batches.into_iter();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for groups in batches {
                // Nobody gives lanes back any more when the other side has failed.
                let Ok(mut lane) = free.recv() else { return };
                let result = interrupt::check().and_then(|()| lane.submit(groups, wanted)).map(|()| lane);
                let failed = result.is_err();
                if submitted.send(result).is_err() || failed {
                    return;
                }
            }
        });
        for (number, lane) in busy.into_iter().enumerate() {
            let mut lane = lane?;
            take(number, &lane.wait()?)?;
            // The other side may have no batch left.
            let _ = give_back.send(lane);
        }
        Ok(())
    })
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
    use crate::fp8::{Granularity, Rounding, ScaleRule};
    use crate::tensor::{Dtype, Tensor};

    #[test]
    fn batches_hold_every_group_once_and_in_order() {
        let groups: Vec<WeightGroup> = [3usize, 50, 4, 4, 0, 90, 1]
            .map(|elements| {
                let weight = Tensor::owned(Dtype::BF16, vec![elements], vec![0; 2 * elements]);
                WeightGroup::one(weight, Granularity::Tensor, ScaleRule::F32, Rounding::Exact)
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

use super::stand_in::StandIn;
use super::*;
use crate::format::{Encoding, Granularity, Rounding, ScaleRule};
use crate::tensor::{Dtype, Tensor};

const WANTED: Wanted = Wanted { codes: true, error: true };
const MIB: usize = 1 << 20;

/// Groups of one F32 weight each, of these sizes in bytes.
fn groups(sizes: &[usize]) -> Vec<WeightGroup> {
    let group = |(number, &bytes): (usize, &usize)| {
        let values = (0..bytes / 4).map(|i| (i % 1009) as f32 * 0.003 - number as f32);
        let bytes = values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        let weight = Tensor::owned(Dtype::F32, vec![bytes.len() / 4], bytes);
        WeightGroup::one(weight, Encoding::e4m3(Granularity::Tensor, ScaleRule::F32, Rounding::Exact))
    };
    sizes.iter().enumerate().map(group).collect()
}

/// The same group several times; its bytes are there once.
fn copies(count: usize, bytes: usize) -> Vec<WeightGroup> {
    vec![groups(&[bytes]).remove(0); count]
}

/// Quantises through `device`; gives the results and why the CPU has to do the rest.
fn run(device: &StandIn, groups: &[WeightGroup]) -> Result<(Vec<Option<QuantisedGroup>>, Option<Error>)> {
    let work = InOrder::new(groups);
    let reason = quantise_all(device, &work, WANTED)?;
    Ok((work.into_results(), reason))
}

fn require_right(groups: &[WeightGroup], results: &[Option<QuantisedGroup>]) {
    assert_eq!(results.len(), groups.len());
    for (group, result) in groups.iter().zip(results) {
        let (expected, found) = (group.quantise(WANTED).unwrap(), result.as_ref().unwrap());
        assert_eq!(found.scales, expected.scales);
        assert_eq!(found.codes[0].bytes(), expected.codes[0].bytes());
        assert_eq!(found.errors, expected.errors);
    }
}

#[test]
fn batches_hold_what_fits_and_larger_groups_are_alone() {
    let groups = groups(&[80 * MIB, 40 * MIB, 9 * MIB, 200 * MIB, 4, 0, 4]);
    let device = StandIn::new();
    let (results, reason) = run(&device, &groups).unwrap();
    assert!(reason.is_none());
    assert_eq!(device.bytes(), [120 * MIB, 9 * MIB, 200 * MIB, 8]);
    require_right(&groups, &results);
}

#[test]
fn several_devices_share_the_batches() {
    let groups = copies(8, 70 * MIB);
    let device = StandIn { devices: 3, ..StandIn::new() };
    require_right(&groups, &run(&device, &groups).unwrap().0);
    assert_eq!(device.used_devices(), [0, 1, 2].into());
}

#[test]
fn what_is_tried_gets_smaller_batches_first_then_fewer_lanes() {
    let mut load = Some(Load { batch_bytes: BATCH_BYTES, lanes: LANES });
    let mut tried = vec![];
    while let Some(now) = load {
        tried.push((now.batch_bytes / MIB, now.lanes));
        load = now.less();
    }
    assert_eq!(tried, [(128, 3), (32, 3), (8, 3), (0, 3), (0, 2), (0, 1)]);
}

#[test]
fn little_memory_suffices_with_less_at_a_time() {
    let groups = groups(&[6 * MIB; 40]);
    for (memory, largest) in [(usize::MAX, 126), (100, 30), (20, 6), (18, 6), (12, 6), (6, 6)] {
        let device = StandIn { memory: memory.saturating_mul(MIB), ..StandIn::new() };
        let (results, reason) = run(&device, &groups).unwrap();
        assert!(reason.is_none(), "{memory} MiB");
        require_right(&groups, &results);
        let bytes = device.bytes();
        assert_eq!(bytes.iter().sum::<usize>(), 240 * MIB, "{memory} MiB: every group once");
        assert!(bytes.iter().all(|bytes| *bytes <= largest * MIB), "{memory} MiB: {bytes:?}");
    }
}

#[test]
fn without_memory_for_one_group_the_rest_is_left_to_the_cpu_unless_the_device_was_named() {
    let groups = groups(&[MIB, MIB, 9 * MIB, MIB]);
    let device = StandIn { memory: 6 * MIB, required: false, ..StandIn::new() };
    let (results, reason) = run(&device, &groups).unwrap();
    let found: Vec<bool> = results.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, true, false, false]);
    assert!(matches!(reason, Some(Error::Device { bytes: Some(bytes), .. }) if bytes == 9 * MIB));
    let device = StandIn { required: true, memory: 6 * MIB, ..StandIn::new() };
    let error = run(&device, &groups).err().unwrap();
    assert_eq!(error.to_string(), format!("{} bytes of memory could not be allocated", 9 * MIB));
}

/// All lanes are busy or lost when a batch fails; nobody may wait for them.
#[test]
fn a_batch_that_fails_ends_everything() {
    for failing in [0, 1, 4] {
        for devices in [1, 2] {
            let groups = copies(5, 100 * MIB);
            let device = StandIn { devices, failing_batch: Some(failing), ..StandIn::new() };
            let error = run(&device, &groups).err().unwrap();
            assert_eq!(error.to_string(), "the device is on fire");
            assert_eq!(device.bytes().len(), failing);
        }
    }
}

#[test]
fn a_failure_to_take_ends_everything() {
    let take = |_: &mut u8, batch: usize| if batch == 1 { Err(Error::argument("enough")) } else { Ok(()) };
    let result = through_lanes(vec![0u8], 0..10usize, |_, _| Ok(()), take);
    assert_eq!(result.unwrap_err().to_string(), "enough");
}

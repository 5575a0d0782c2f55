//! Which tensors go into one shard: those that the same schemes hold, those of each form apart; and in which order a
//! directory numbers its shards.

use std::collections::BTreeMap;

use super::items::Items;
use super::key::content_key;
use crate::write::content::{Form, OutputTensor};
use crate::write::weights::deal_into_shards;

/// A family of `n` schemes has at most `max(2 × (n + 1), FEW)` shared buckets; schemes that have nothing to do with one
/// another would otherwise be cut into dust.
const FEW: usize = 64;

/// A shard of a family before it is written.
pub(crate) struct PlannedShard {
    /// What its content depends on; equal keys, equal bytes, given the same source.
    pub key: String,
    /// In no particular order; a file sorts them.
    pub tensors: Vec<OutputTensor>,
    /// The schemes that hold it, ascending.
    pub schemes: Vec<usize>,
    /// Tensor bytes.
    pub bytes: u64,
    /// Where its files come in their directories.
    pub order: FileOrder,
}

/// Where a shard comes among those of a directory, which numbers its files in ascending order: by the first of its tensors,
/// whose order is that of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileOrder {
    first_item: usize,
    /// So that nothing is left to chance.
    key: String,
}

impl FileOrder {
    /// For the shard `key` of these `items`, ascending.
    pub fn of(items: &[usize], key: &str) -> Self {
        FileOrder { first_item: items.first().copied().unwrap_or(0), key: key.into() }
    }
}

struct Bucket {
    schemes: Vec<usize>,
    items: Vec<usize>,
    bytes: u64,
}

/// Puts the items that each scheme still `needs` (ascending positions) into shards of at most `max_shard_size` tensor
/// bytes. Nested coverage points give at most two buckets a point; of unrelated schemes, only the buckets that save most
/// are shared, and each scheme keeps the rest to itself. The shards come in an order that depends on their content only.
pub(crate) fn plan_shards(items: &Items, needs: &[Vec<usize>], max_shard_size: u64) -> Vec<PlannedShard> {
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); items.tensors.len()];
    for (scheme, needed) in needs.iter().enumerate() {
        needed.iter().for_each(|&item| holders[item].push(scheme));
    }
    let mut by_signature: BTreeMap<(&[usize], Form), Vec<usize>> = BTreeMap::new();
    for (item, schemes) in holders.iter().enumerate().filter(|(_, schemes)| !schemes.is_empty()) {
        by_signature.entry((schemes, items.tensors[item].form())).or_default().push(item);
    }
    let buckets =
        by_signature.into_iter().map(|((schemes, _), members)| bucket(items, schemes.to_vec(), members));
    let mut buckets = without_dust(items, buckets.collect(), needs.len());
    buckets.sort_by_key(|bucket| bucket.items[0]);
    let mut shards = Vec::new();
    for bucket in buckets {
        let specs = bucket.items.iter().map(|&item| &items.tensors[item].spec);
        let mut rest = &bucket.items[..];
        for count in deal_into_shards(specs, max_shard_size) {
            let (here, later) = rest.split_at(count);
            rest = later;
            let tensors: Vec<OutputTensor> = here.iter().map(|&item| items.tensors[item].clone()).collect();
            let (key, schemes) = (content_key(&tensors), bucket.schemes.clone());
            let order = FileOrder::of(here, &key);
            shards.push(PlannedShard { key, tensors, schemes, bytes: items.bytes(here), order });
        }
    }
    shards
}

fn bucket(items: &Items, schemes: Vec<usize>, members: Vec<usize>) -> Bucket {
    Bucket { bytes: items.bytes(&members), schemes, items: members }
}

/// Keeps the shared buckets that save most, and gives every scheme one of its own for all the others.
fn without_dust(items: &Items, mut buckets: Vec<Bucket>, schemes: usize) -> Vec<Bucket> {
    let limit = FEW.max(2 * (schemes + 1));
    if buckets.len() <= limit {
        return buckets;
    }
    let saved = |b: &Bucket| b.bytes * (b.schemes.len() as u64 - 1);
    buckets.sort_by(|a, b| saved(b).cmp(&saved(a)).then(a.items[0].cmp(&b.items[0])));
    let dust = buckets.split_off(limit.saturating_sub(schemes).max(1));
    let own = (0..schemes).filter_map(|scheme| {
        let mine = dust.iter().filter(|b| b.schemes.contains(&scheme));
        let mut members: Vec<usize> = mine.flat_map(|b| b.items.iter().copied()).collect();
        members.sort_unstable();
        (!members.is_empty()).then(|| bucket(items, vec![scheme], members))
    });
    buckets.extend(own);
    buckets
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::{Encoding, FormatId, Granularity, Rounding, ScaleRule};
    use crate::tensor::{Dtype, Tensor, TensorSpec};
    use crate::write::content::{Content, Member, ScaleGroup};

    /// The codes of `name` under scales of `granularity`.
    fn codes(name: &str, granularity: Granularity) -> OutputTensor {
        let weight = Tensor::owned(Dtype::BF16, vec![128, 128], vec![0; 2 * 128 * 128]);
        let encoding = Encoding::e4m3(granularity, ScaleRule::F32, Rounding::Exact);
        let group = Arc::new(ScaleGroup { weights: vec![(name.into(), weight)], encoding });
        let spec = TensorSpec::new(name, Dtype::F8E4M3, [128, 128]);
        OutputTensor { spec, content: Content::Codes(Member { group, index: 0 }) }
    }

    #[test]
    fn formats_of_one_name_and_dtype_are_told_apart_and_never_share_a_shard() {
        let one = vec![codes("a.weight", Granularity::Channel), codes("b.weight", Granularity::Block)];
        let two = vec![codes("a.weight", Granularity::Block), codes("b.weight", Granularity::Block)];
        let items = Items::collect(vec![one, two]);
        assert_eq!(items.tensors.len(), 3);
        let shards = plan_shards(&items, &items.of_scheme, 1 << 30);
        let held: Vec<(Form, &[usize])> =
            shards.iter().map(|shard| (shard.tensors[0].form(), &shard.schemes[..])).collect();
        let (fp8, block) = (Form::Quantised(FormatId::Fp8), Form::Quantised(FormatId::Fp8Block));
        assert_eq!(held, [(fp8, &[0][..]), (block, &[1][..]), (block, &[0, 1][..])]);
        assert!(shards[0].key != shards[1].key, "the same name and dtype, other bytes");
        let mut files: Vec<&FileOrder> = shards.iter().map(|shard| &shard.order).collect();
        files.sort();
        assert!(files.iter().eq(&[&shards[0].order, &shards[1].order, &shards[2].order]));
    }
}

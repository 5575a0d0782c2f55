//! The weight files of a family before they are written: names, sizes to the last byte, and who shares them.

use super::family::{Family, Scheme};
use crate::error::Result;
use crate::write::outputs::scheme_outputs;
use crate::write::shard::ShardLayout;
use crate::write::store::bucket::plan_shards;
use crate::write::store::items::Items;
use crate::write::weights::shard_name;

/// A weight file of a scheme that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// File name inside the directory.
    pub file: String,
    /// Size in bytes, header included.
    pub bytes: u64,
    /// How many schemes of the family hold it, this one included.
    pub schemes: usize,
}

impl Family {
    /// The weight files of each scheme, in the order in which the schemes were added, when nothing of the family is there
    /// yet. Exact: it follows from the layout of every file.
    ///
    /// # Errors
    /// Those of [`Family::decide`]; [`crate::Error::Argument`] when a file would need too long a header.
    pub fn files(&self) -> Result<Vec<Vec<PlannedFile>>> {
        let shards = self.shards()?;
        let of_scheme = |scheme: usize| {
            let mine: Vec<&Shard> = shards.iter().filter(|s| s.schemes.contains(&scheme)).collect();
            let file = |(index, shard): (usize, &&Shard)| PlannedFile {
                file: shard_name(index, mine.len()),
                bytes: shard.bytes,
                schemes: shard.schemes.len(),
            };
            mine.iter().enumerate().map(file).collect()
        };
        Ok((0..self.schemes().len()).map(of_scheme).collect())
    }

    /// Bytes of the weight files of all schemes together, each shared file counted once.
    ///
    /// # Errors
    /// As for [`Family::files`].
    pub fn unique_bytes(&self) -> Result<u64> {
        Ok(self.shards()?.iter().map(|shard| shard.bytes).sum())
    }

    /// Bytes of the weight files of all schemes together, each file counted in every directory that holds it.
    ///
    /// # Errors
    /// As for [`Family::files`].
    pub fn copied_bytes(&self) -> Result<u64> {
        Ok(self.shards()?.iter().map(|shard| shard.bytes * shard.schemes.len() as u64).sum())
    }

    /// Every shard of the family, in the order in which directories number them.
    fn shards(&self) -> Result<Vec<Shard>> {
        let layout = self.decide()?.layout;
        let outputs = |s: &Scheme| scheme_outputs(self.model(), &s.plan, &layout, self.input_scales());
        let items = Items::collect(self.schemes().iter().map(outputs).collect::<Result<_>>()?);
        let index = items.index();
        let mut shards = Vec::new();
        for shard in plan_shards(&items, &items.of_scheme, self.options().max_shard_size, &layout) {
            let positions = shard.tensors.iter().map(|t| index[&(t.spec.name.as_str(), t.spec.dtype)]);
            let first = positions.min().unwrap_or(0);
            let layout = ShardLayout::new(shard.tensors.iter().map(|t| t.spec.clone()).collect())?;
            shards.push(((first, shard.key), Shard { bytes: layout.length(), schemes: shard.schemes }));
        }
        shards.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(shards.into_iter().map(|(_, shard)| shard).collect())
    }
}

/// A shard by its size and holders.
struct Shard {
    bytes: u64,
    schemes: Vec<usize>,
}

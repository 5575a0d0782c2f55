//! Finding out what is left to do of a run, before a byte is written: which shards finished schemes have already, which are to be
//! made, how directories will share them, and what lies on the disk then.

use std::collections::HashMap;
use std::fs;

use super::work::PendingWork;
use super::{Pending, Run};
use crate::error::{Error, Result};
use crate::job::on_disk::{FileIdentity, NamedFile, OnDisk, new_file, reused_file};
use crate::record::ProvenanceRecord;
use crate::write::shard::ShardLayout;
use crate::write::shard_name;
use crate::write::store::bucket::{FileOrder, plan_shards};
use crate::write::store::link::{Link, foresee};
use crate::write::store::reuse::{ReusedShard, Sibling, siblings, take_from_siblings};

impl<'a> Run<'a> {
    /// Finds out what is to be done for the schemes at the positions `pending`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the output folder cannot share files in the way that was asked for; [`Error::Io`],
    /// [`Error::Interrupted`].
    pub(super) fn work(&self, pending: Vec<usize>) -> Result<PendingWork> {
        let mut needs: Vec<Vec<usize>> =
            pending.iter().map(|&scheme| self.items.of_scheme[scheme].clone()).collect();
        let reused = self.reused(&pending, &mut needs)?;
        let shards = plan_shards(self.items, &needs, self.options.max_shard_size);
        let is_shared = !reused.is_empty() || shards.iter().any(|shard| shard.schemes.len() > 1);
        let link = is_shared.then(|| foresee(&self.options.out, self.options.link)).transpose()?;
        Ok(PendingWork { pending, reused, shards, link })
    }

    /// Takes from `needs` what finished schemes hold; those that this run replaces are not asked.
    fn reused(&self, pending: &[usize], needs: &mut [Vec<usize>]) -> Result<Vec<ReusedShard>> {
        let replaced = |s: &Sibling| pending.iter().any(|&at| self.schemes[at].directory == s.directory());
        let siblings: Vec<Sibling> = siblings(&self.options.out)
            .into_iter()
            .filter(|sibling| !replaced(sibling) && self.sources.may_be(sibling.source()))
            .collect();
        if siblings.is_empty() {
            return Ok(vec![]);
        }
        take_from_siblings(&siblings, &self.sources.finish()?, self.items, needs, self.options.max_shard_size)
    }

    /// What the weight files of all schemes of the family take when the run is over.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] where the record of a finished scheme cannot be read any more.
    pub(super) fn foreseen_on_disk(&self) -> Result<OnDisk> {
        let mut made = HashMap::new();
        for (number, &at) in self.work.pending.iter().enumerate() {
            made.insert(at, self.files_to_be(number)?);
        }
        let of = |(at, scheme): (usize, &Pending)| match made.remove(&at) {
            Some(files) => Ok(files),
            None => lying(scheme),
        };
        let files: Vec<Vec<NamedFile>> = self.schemes.iter().enumerate().map(of).collect::<Result<_>>()?;
        Ok(OnDisk::of(&files.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }

    /// The files of the pending scheme `number`, in the order in which its directory numbers them.
    fn files_to_be(&self, number: usize) -> Result<Vec<NamedFile>> {
        let PendingWork { reused, shards, link, .. } = &self.work;
        let mut files: Vec<(FileOrder, u64, FileIdentity)> = Vec::new();
        for (at, shard) in shards.iter().enumerate().filter(|(_, shard)| shard.schemes.contains(&number)) {
            let bytes = ShardLayout::new(shard.tensors.iter().map(|t| t.spec.clone()).collect())?.length();
            files.push((shard.order.clone(), bytes, new_file(at, number, *link == Some(Link::Hardlink))));
        }
        for shard in reused.iter().filter(|shard| shard.schemes.contains(&number)) {
            let metadata =
                fs::metadata(&shard.path).map_err(|error| Error::io("read", &shard.path, error))?;
            let order = FileOrder::of(&shard.items, &shard.weight.content);
            files.push((
                order,
                shard.weight.bytes,
                reused_file(&metadata, number, link.unwrap_or(Link::Copy)),
            ));
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let count = files.len();
        let named =
            |(index, (_, bytes, identity))| NamedFile { file: shard_name(index, count), bytes, identity };
        Ok(files.into_iter().enumerate().map(named).collect())
    }

    /// What the weight files of all schemes of the family take now that the run is over.
    ///
    /// # Errors
    /// As for [`Run::foreseen_on_disk`].
    pub(super) fn on_disk(&self) -> Result<OnDisk> {
        let files: Vec<Vec<NamedFile>> = self.schemes.iter().map(lying).collect::<Result<_>>()?;
        Ok(OnDisk::of(&files.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }
}

/// The weight files of a scheme that is there.
fn lying(scheme: &Pending) -> Result<Vec<NamedFile>> {
    let record = ProvenanceRecord::read(scheme.directory);
    let record =
        record.ok_or_else(|| Error::format(scheme.directory, "has lost the record that a run left there"))?;
    NamedFile::lying_in(scheme.directory, &record.weights)
}

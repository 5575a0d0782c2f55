//! The store of a family: every tensor of a sweep is written once, into shards that several schemes share.
//!
//! Tensors are put together by the set of schemes that hold them in the same form (see [`bucket`]); shards of finished
//! directories are taken where they fit ([`reuse`]); the rest is written into a hidden directory that survives a kill
//! ([`workplace`]), the blocks of each unfinished one on record ([`block_journal`]) and the replacement of the source by a copy
//! told ([`restored`]); every scheme gets its shards under ordinary names ([`link`]).

mod block_journal;
pub(crate) mod bucket;
pub(crate) mod items;
pub(crate) mod key;
pub(crate) mod link;
pub(crate) mod restored;
pub(crate) mod reuse;
pub(crate) mod workplace;

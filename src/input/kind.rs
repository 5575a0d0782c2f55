//! The kinds of files that are read whole.

/// The kinds of files that are read whole, with the most bytes that one may have. Each limit is far above what any tool writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// `config.json`, `hf_quant_config.json` and other configurations.
    Configuration,
    /// The index of a sharded checkpoint.
    Index,
    /// A sensitivity manifest or a file of amax values; a million groups take about half of it.
    Manifest,
    /// A coverage manifest, provenance, journal or report of qlua's own.
    Record,
    /// A script, or a module of one.
    Script,
    /// What a script reads.
    Data,
}

impl InputKind {
    /// The most bytes that such a file may have.
    pub const fn most_bytes(self) -> u64 {
        match self {
            InputKind::Configuration => 64 << 20,
            InputKind::Index => 512 << 20,
            InputKind::Manifest => 1 << 30,
            InputKind::Record => 1 << 30,
            InputKind::Script => 16 << 20,
            InputKind::Data => 4 << 30,
        }
    }

    /// What such a file is called, with its article.
    pub(super) const fn name(self) -> &'static str {
        match self {
            InputKind::Configuration => "a configuration",
            InputKind::Index => "an index",
            InputKind::Manifest => "a manifest or amax file",
            InputKind::Record => "a record",
            InputKind::Script => "a script",
            InputKind::Data => "a file of data",
        }
    }
}

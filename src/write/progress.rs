//! What an export tells about itself while it runs; the terminal and the tests listen in their own ways.

/// Receives progress from several threads at once.
pub trait Progress: Sync {
    /// A scheme begins that will write `bytes` bytes of weights.
    fn begin(&self, scheme: &str, bytes: u64);
    /// Another `bytes` bytes of it are written.
    fn advance(&self, bytes: u64);
    /// Something that the user should know, in one short sentence.
    fn note(&self, _sentence: &str) {}
    /// The scheme is complete, or failed.
    fn end(&self);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

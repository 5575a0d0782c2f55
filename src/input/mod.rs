//! Files that come from elsewhere. Only regular files are opened, so that nothing blocks on a pipe or fills the memory from a
//! device, and only so many bytes of each kind are read. Somebody may write to them meanwhile: what they were when they were
//! first read is kept ([`Watched`]) and compared before anything is said or published that was made from them.

mod bus_error;
mod identity;
mod kind;
mod mapped;
mod regular;
mod watched;

pub use identity::Identity;
pub use kind::InputKind;
pub use mapped::MappedFile;
pub use regular::{is_missing, no_directory, open, read, require_regular, special};
pub use watched::{Sameness, Watched, read_watched};

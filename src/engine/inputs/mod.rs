//! What users have, made into [`Sample`](crate::engine::Sample)s: captions, pairs of pictures and captions, prepared tensors, a long
//! text, or one prompt.
//!
//! Tokens and pixels are those that Transformers 5.24 makes of the same files with the processor of the checkpoint.

mod bounded;
mod captions;
mod chat_template;
mod dates;
mod end_tokens;
mod jpeg_colours;
mod jpeg_pixels;
mod json_filter;
mod pairs;
mod patches;
mod picture_file;
mod picture_settings;
mod picture_size;
mod pixel_levels;
mod png_transparency;
mod prepared;
mod processor;
mod resample;
mod samples;
mod text_file;
mod text_stream;
mod tokens;
mod vision_tokens;
mod windows;

pub use captions::captions;
pub use chat_template::ChatTemplate;
pub use end_tokens::end_tokens;
pub use pairs::{PairsFile, pairs};
pub use picture_file::{RgbPicture, Upright};
pub use picture_settings::{MeanAndDeviation, PictureSettings};
pub use prepared::{PreparedKind, prepared};
pub use processor::Processor;
pub use resample::resize_bicubic;
pub use samples::{SampleKind, SampleSource, Samples, sample_hash};
pub use text_stream::TextStream;
pub use tokens::TextTokenizer;
pub use vision_tokens::VisionTokens;
pub use windows::windows;

/// The most samples that a run takes.
pub const MOST_SAMPLES: usize = 4096;
/// The most tokens of a sample where nobody says.
pub const DEFAULT_MAX_LENGTH: usize = 512;

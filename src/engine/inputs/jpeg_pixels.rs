//! The pixels of JPEG files as Pillow has them.
//!
//! The standard of JPEG leaves decoders free to round, and models are calibrated and served with the pixels of libjpeg-turbo: those
//! of its exact inverse transform, and of its triangle filter where colours are stored at half the size. mozjpeg has both from
//! there, so they are the same bit by bit.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Width, height and red, green and blue of each pixel, row by row. Grey is three times the same.
///
/// # Errors
/// What is wrong with the file, in words.
pub(super) fn pixels(bytes: &[u8]) -> Result<(usize, usize, Vec<u8>), String> {
    let decode = || {
        let mut picture = mozjpeg::Decompress::new_mem(bytes)?.rgb()?;
        let (width, height) = (picture.width(), picture.height());
        let pixels = picture.read_scanlines()?;
        picture.finish()?;
        Ok((width, height, pixels))
    };
    // The library leaves its C code by unwinding. Nothing outlives that: the decoder is made and dropped in here.
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(found) => found.map_err(|error: std::io::Error| error.to_string()),
        Err(said) => Err(match said.downcast::<String>() {
            Ok(said) => *said,
            Err(_) => "is broken".into(),
        }),
    }
}

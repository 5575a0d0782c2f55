//! PNG and JPEG files, decoded.
//!
//! Their pixels are those that Pillow gives them, bit by bit.

use std::io::Cursor;
use std::path::Path;

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::png_transparency::has_transparent_colour;
use super::{jpeg_colours, jpeg_pixels};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::units;

/// The most bytes that the file of a picture may have.
const MOST_BYTES: u64 = 256 << 20;
/// The most bytes of what a picture carries beside its pixels, such as a colour profile, unpacked.
const MOST_BESIDE: u64 = 64 << 20;
/// The most pixels of a picture: where Pillow takes it for a bomb.
const MOST_PIXELS: u64 = 178_956_970;

/// A picture with 8 bits of red, green and blue for each pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// `[height, width, 3]`, row-major.
    pub pixels: Vec<u8>,
}

/// Whether a picture is turned as its camera noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upright {
    /// As the note (EXIF) says, as Transformers does with a file that it opens itself.
    Turned,
    /// As the pixels lie in the file, as Transformers does with a picture that somebody opened for it.
    AsStored,
}

impl RgbPicture {
    /// Reads the PNG or JPEG file `path`. Transparency is dropped, and pixels keep the colour below it; grey becomes three times the
    /// same.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a file; [`Error::Format`] for a broken one, another format, 16 bits a channel, inks (CMYK) or too
    /// many pixels; [`Error::Refused`] for one transparent colour, of which Transformers makes white since 5.x and nothing in 4.x.
    pub fn read(path: &Path, upright: Upright) -> Result<Self> {
        let length = match input::Watched::at(path) {
            Err(error) if input::is_missing(&error) => {
                return Err(Error::not_found(format!("the picture `{}` does not exist", path.display()))
                    .with_hint("give the folder that the pictures' paths begin in"));
            }
            other => other?.identity().length(),
        };
        if length > MOST_BYTES {
            let most = units::bytes(MOST_BYTES);
            return Err(Error::format(
                path,
                format!("is larger than {most}, the most that a picture may have"),
            ));
        }
        Self::decode(path, &input::read(path, InputKind::Data)?, upright)
    }

    /// Decodes `bytes`, which are those of `path`.
    fn decode(path: &Path, bytes: &[u8], upright: Upright) -> Result<Self> {
        let wrong = |problem: String| {
            Error::format(path, problem).with_hint("save it as PNG or JPEG with 8 bits a channel")
        };
        let broken = |e: image::ImageError| {
            Error::format(path, format!("is no picture that can be read: {e}"))
                .with_hint("save it again, or leave it out")
        };
        let format = match image::guess_format(bytes) {
            Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
            _ => return Err(wrong("is neither PNG nor JPEG".into())),
        };
        if format == ImageFormat::Jpeg && jpeg_colours::components(bytes) == Some(4) {
            return Err(wrong("has the colours of a printer (CMYK)".into()));
        }
        if format == ImageFormat::Jpeg && !jpeg_colours::is_whole(bytes) {
            return Err(Error::format(path, "is cut short: its end is missing")
                .with_hint("fetch it again, or leave it out"));
        }
        if format == ImageFormat::Png && has_transparent_colour(bytes) {
            let problem = format!(
                "`{}` has one transparent colour (tRNS), which some releases of Transformers make white and others keep",
                path.display()
            );
            return Err(
                Error::refused(problem).with_hint("save it without transparency, or with an alpha channel")
            );
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MOST_BESIDE);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(broken)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(wrong(format!("has {width} × {height} pixels, too many")));
        }
        if !matches!(
            decoder.color_type(),
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8
        ) {
            return Err(wrong("has 16 bits a channel".into()));
        }
        let orientation = decoder.orientation().map_err(broken)?;
        // A JPEG file has been read to its end before the decoder in C sees it.
        let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
        if format == ImageFormat::Jpeg {
            let (width, height, pixels) = jpeg_pixels::pixels(bytes)
                .map_err(|problem| wrong(format!("is no picture that can be read: {problem}")))?;
            let rgb = RgbImage::from_raw(width as u32, height as u32, pixels);
            picture = DynamicImage::ImageRgb8(
                rgb.filter(|rgb| rgb.dimensions() == (picture.width(), picture.height()))
                    .ok_or_else(|| wrong("has two sizes".into()))?,
            );
        }
        if upright == Upright::Turned {
            picture.apply_orientation(orientation);
        }
        let picture = picture.into_rgb8();
        let (width, height) = picture.dimensions();
        Ok(RgbPicture { height: height as usize, width: width as usize, pixels: picture.into_raw() })
    }
}

//! The one transparent colour that a PNG file without an alpha channel may have.

/// Whether the PNG file `bytes` makes one colour transparent (`tRNS`): a grey, a colour, or one entry of a palette of which all others
/// are opaque, as Pillow tells it. Several transparencies in a palette are something else: everybody drops these.
pub(super) fn has_transparent_colour(bytes: &[u8]) -> bool {
    let mut palette = false;
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some(chunk) = PngChunk::first(rest) {
        match chunk.name {
            b"IHDR" => palette = chunk.content.get(9) == Some(&3),
            b"tRNS" if palette => {
                let transparent = chunk.content.iter().filter(|alpha| **alpha == 0).count();
                return transparent == 1 && chunk.content.iter().all(|alpha| matches!(alpha, 0 | 255));
            }
            b"tRNS" => return true,
            // It stands before the pixels.
            b"IDAT" | b"IEND" => return false,
            _ => {}
        }
        rest = chunk.after;
    }
    false
}

/// A chunk of a PNG file, and what comes after it.
struct PngChunk<'a> {
    name: &'a [u8; 4],
    content: &'a [u8],
    after: &'a [u8],
}

impl<'a> PngChunk<'a> {
    /// The first chunk in `bytes`; nothing where none is whole.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let end = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?.checked_add(8)?;
        // A sum of four bytes follows.
        Some(PngChunk {
            name: bytes.get(4..8)?.first_chunk()?,
            content: bytes.get(8..end)?,
            after: bytes.get(end + 4..)?,
        })
    }
}

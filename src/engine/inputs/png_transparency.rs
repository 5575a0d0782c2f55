//! The one transparent colour that a PNG file without an alpha channel may have.

/// Whether the PNG file `bytes` makes one colour transparent (`tRNS`): a grey, a colour, or one entry of a palette of which all others
/// are opaque, as Pillow tells it. Several transparencies in a palette are something else: everybody drops these.
pub(super) fn has_transparent_colour(bytes: &[u8]) -> bool {
    let mut palette = false;
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((chunk, after)) = chunk(rest) {
        match chunk {
            (b"IHDR", content) => palette = content.get(9) == Some(&3),
            (b"tRNS", content) if palette => {
                let transparent = content.iter().filter(|alpha| **alpha == 0).count();
                return transparent == 1 && content.iter().all(|alpha| matches!(alpha, 0 | 255));
            }
            (b"tRNS", _) => return true,
            // It stands before the pixels.
            (b"IDAT" | b"IEND", _) => return false,
            _ => {}
        }
        rest = after;
    }
    false
}

/// Name and content of the first chunk, and what comes after it.
fn chunk(bytes: &[u8]) -> Option<((&[u8; 4], &[u8]), &[u8])> {
    let length = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let name = bytes.get(4..8)?.first_chunk()?;
    let content = bytes.get(8..8usize.checked_add(length)?)?;
    Some(((name, content), bytes.get(8 + length + 4..)?))
}

//! The colours of a JPEG file, as far as they decide whether it can be read as others read it.

/// How many components the picture of a JPEG file has: 1 grey, 3 colours, 4 inks. Nothing where it is no JPEG file.
pub(super) fn components(bytes: &[u8]) -> Option<u8> {
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    loop {
        let [0xff, marker, tail @ ..] = rest else { return None };
        match *marker {
            // Fill bytes, and markers without a segment.
            0xff => rest = &rest[1..],
            0x01 | 0xd0..=0xd7 => rest = tail,
            _ => {
                let length = usize::from(u16::from_be_bytes(*tail.first_chunk()?));
                // Frames: all of these but the tables among them.
                if matches!(*marker, 0xc0..=0xcf) && !matches!(*marker, 0xc4 | 0xc8 | 0xcc) {
                    return tail.get(7).copied();
                }
                rest = tail.get(length.max(2)..)?;
            }
        }
    }
}

//! What the markers of a JPEG file tell: its colours, as far as they decide whether it can be read as others read it, and whether it
//! is whole.

/// Whether the file comes to the marker of its end. Decoders take what is missing for grey, without an error.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(b"\xff\xd8") else { return false };
    loop {
        // Behind a scan its data come before the next marker; in them, 0xff is followed by 0 or by the number of a restart.
        let Some(at) = rest.iter().position(|byte| *byte == 0xff) else { return false };
        let [_, marker, tail @ ..] = &rest[at..] else { return false };
        match *marker {
            0xd9 => return true,
            0xff => rest = &rest[at + 1..],
            0x00 | 0x01 | 0xd0..=0xd8 => rest = tail,
            _ => {
                let Some(length) = tail.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))
                else {
                    return false;
                };
                let Some(after) = tail.get(length.max(2)..) else { return false };
                rest = after;
            }
        }
    }
}

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

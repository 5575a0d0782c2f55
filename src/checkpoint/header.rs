//! The header of one safetensors file, checked strictly before any byte of data is believed.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use safetensors::{SafeTensorError, SafeTensors};

use crate::error::{Error, Result};
use crate::input;
use crate::tensor::Dtype;

/// One tensor of a safetensors header.
#[derive(Debug, Clone)]
pub struct HeaderEntry {
    /// On-disk name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Byte range in the file.
    pub range: Range<usize>,
}

/// Parses and checks the header of the safetensors file whose whole content is `bytes`; entries come in file order.
///
/// # Errors
/// [`Error::Format`] naming `path` (for the message only) when the file is truncated, offsets overlap, leave holes or
/// run past the end, a shape does not fit its offsets, or a dtype is not known.
pub fn read_header(path: &Path, bytes: &[u8]) -> Result<Vec<HeaderEntry>> {
    let (header_length, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| describe(path, bytes, e))?;
    let start = 8 + header_length;
    let data_end = bytes.len() - start;
    let mut entries = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let spelt = info.dtype.to_string();
        let dtype: Dtype = spelt.parse().map_err(|_| Error::format(path, unknown(&name, &spelt)))?;
        let (begin, end) = info.data_offsets;
        if end > data_end {
            return Err(truncated(path, start + end, bytes.len()));
        }
        entries.push(HeaderEntry {
            name,
            dtype,
            shape: info.shape.clone(),
            range: start + begin..start + end,
        });
    }
    match entries.last().map_or(start, |e| e.range.end) {
        end if end == bytes.len() => Ok(entries),
        end => Err(Error::format(path, format!("has {} bytes after its last tensor", bytes.len() - end))),
    }
}

/// What the file `bytes` says of itself beside its tensors (`__metadata__`), by name; empty where it says nothing or has no header.
pub fn header_metadata(bytes: &[u8]) -> BTreeMap<String, String> {
    let said = SafeTensors::read_metadata(bytes).ok().and_then(|(_, header)| header.metadata().clone());
    said.into_iter().flatten().collect()
}

/// The bytes of the header that the file `bytes` says it has, as far as they are there.
pub(super) fn header_length(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    usize::try_from(length).unwrap_or(usize::MAX).saturating_add(8).min(bytes.len())
}

/// The names of the tensors in the safetensors file at `path`, of which nothing but the header is read, and nothing checked.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] when the header is none.
pub fn names_in(path: &Path) -> Result<Vec<String>> {
    let no_header = || Error::format(path, "is not a safetensors file: its header does not parse");
    let mut file = input::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|e| Error::io("read", path, e))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(no_header());
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(|e| Error::io("read", path, e))?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|_| no_header())?;
    Ok(header.into_iter().map(|(name, _)| name).filter(|name| name != "__metadata__").collect())
}

/// No header of the format is longer.
const LONGEST_HEADER: u64 = 100_000_000;

/// The next step for a file that was never one of tensors.
const OTHER_FILE: &str = "give a file of tensors, whose name ends in .safetensors";

/// The next step for a file that lost its end on the way.
const AGAIN: &str = "download or copy the file again";

fn truncated(path: &Path, expected: usize, found: usize) -> Error {
    Error::format(path, format!("is truncated: its header describes {expected} bytes, the file has {found}"))
        .with_hint(AGAIN)
}

/// Whether `bytes`, which no length of a header begins, begin as JSON.
fn is_json(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(8)];
    let is_text = start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    is_text && matches!(bytes.trim_ascii_start(), [b'{' | b'[', ..])
}

fn describe(path: &Path, bytes: &[u8], error: SafeTensorError) -> Error {
    use SafeTensorError as E;
    let problem = match error {
        E::HeaderTooSmall | E::HeaderTooLarge if is_json(bytes) => {
            return Error::format(path, "is JSON, not a safetensors file").with_hint(OTHER_FILE);
        }
        E::HeaderTooSmall if bytes.is_empty() => {
            return Error::format(path, "is empty, and no safetensors file").with_hint(AGAIN);
        }
        E::HeaderTooSmall => {
            return Error::format(path, "is too short to be a safetensors file").with_hint(AGAIN);
        }
        E::HeaderTooLarge => {
            return Error::format(path, "claims a header of more than 100 MB: not a safetensors file")
                .with_hint(OTHER_FILE);
        }
        E::InvalidHeaderLength => {
            return Error::format(path, "is truncated inside its header").with_hint(AGAIN);
        }
        E::InvalidHeader(_) | E::InvalidHeaderDeserialization(_) => match unknown_dtype(bytes) {
            Some((name, dtype)) => unknown(&name, &dtype),
            None => {
                return Error::format(path, "is not a safetensors file: its header does not parse")
                    .with_hint(AGAIN);
            }
        },
        E::MetadataIncompleteBuffer => return incomplete(path, bytes),
        E::InvalidOffset(name) => {
            format!("is damaged: the offsets of tensor `{name}` overlap or leave a hole")
        }
        E::MisalignedSlice => "is damaged: the packed elements of a tensor end inside a byte".into(),
        E::TensorInvalidInfo => "is damaged: a tensor's shape does not fit its offsets".into(),
        other => format!("is not a readable safetensors file: {other}"),
    };
    Error::format(path, problem)
}

fn unknown(name: &str, dtype: &str) -> String {
    format!("is not usable: tensor `{name}` has the unknown dtype `{dtype}`")
}

/// The header as plain JSON, nothing where it is none.
fn plain_header(bytes: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    serde_json::from_slice(bytes.get(8..end)?).ok()
}

/// The first tensor whose dtype neither the crate nor qlua knows; the crate says only that the header does not parse.
fn unknown_dtype(bytes: &[u8]) -> Option<(String, String)> {
    plain_header(bytes)?.into_iter().find_map(|(name, tensor)| {
        let dtype = tensor["dtype"].as_str()?;
        dtype.parse::<Dtype>().is_err().then(|| (name, dtype.to_string()))
    })
}

/// The crate says only that the buffer does not end where the last tensor does: say in which direction and by how much.
fn incomplete(path: &Path, bytes: &[u8]) -> Error {
    let header = plain_header(bytes).unwrap_or_default();
    let header_length = u64::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; 8])) as usize;
    let ends = header.iter().filter_map(|(_, t)| t["data_offsets"][1].as_u64());
    let expected = 8 + header_length + ends.max().unwrap_or(0) as usize;
    if expected > bytes.len() {
        truncated(path, expected, bytes.len())
    } else {
        Error::format(path, format!("has {} bytes after its last tensor", bytes.len() - expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn message(header: &str, data: usize) -> String {
        read_header(Path::new("x.safetensors"), &file(header, data)).unwrap_err().to_string()
    }

    #[test]
    fn entries_come_in_file_order() {
        let header = r#"{"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[],"data_offsets":[4,5]}}"#;
        let entries = read_header(Path::new("x"), &file(header, 5)).unwrap();
        assert_eq!(entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(entries[1].range.len(), 1);
    }

    #[test]
    fn damage_is_described() {
        let one = |shape: &str, a: usize, b: usize| {
            format!(r#"{{"a":{{"dtype":"BF16","shape":{shape},"data_offsets":[{a},{b}]}}}}"#)
        };
        assert!(message(&one("[2]", 0, 4), 3).contains("is truncated: its header describes"));
        assert!(message(&one("[2]", 0, 4), 6).contains("has 2 bytes after its last tensor"));
        assert!(message(&one("[3]", 0, 4), 4).contains("does not fit its offsets"));
        assert!(message("{\"a\":", 4).contains("does not parse"));
        let unknown = r#"{"a":{"dtype":"F3","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(message(unknown, 1).ends_with("tensor `a` has the unknown dtype `F3`"));
        assert!(message(&one("[2]", 2, 6), 6).contains("overlap or leave a hole"));
        let overlapping = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
        assert!(message(overlapping, 6).contains("overlap or leave a hole"));
    }

    #[test]
    fn a_short_file_is_no_panic() {
        for n in 0..20 {
            assert!(read_header(Path::new("x"), &vec![0xff; n]).is_err());
            assert!(read_header(Path::new("x"), &vec![0; n]).is_err());
        }
    }
}

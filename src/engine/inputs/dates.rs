//! The date that chat templates ask for, in the words of the C library, as Python's `strftime` gives it.

use std::ffi::CString;

/// The most bytes of a date.
const LONGEST: usize = 256;

/// Now, in local time, by a format of `strftime`; nothing for a format that is none, or too long.
pub(super) fn now(format: &str) -> Option<String> {
    let format = CString::new(format).ok()?;
    let mut text = vec![0u8; LONGEST];
    // SAFETY: all pointers are to live values of the right types, the format ends with a zero, and no more than the length of
    // `text` is written. An all-zero `tm` is a valid one.
    let length = unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        let mut time: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const seconds, &raw mut time).is_null() {
            return None;
        }
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &raw const time)
    };
    text.truncate(length);
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_of_this_century() {
        let year: u32 = now("%Y").unwrap().parse().unwrap();
        assert!((2024..2100).contains(&year), "{year}");
        assert_eq!(now("a\0b"), None);
    }
}

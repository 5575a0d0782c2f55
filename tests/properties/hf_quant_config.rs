//! ModelOpt's `hf_quant_config.json`, in a directory whose other files are as they should be.

use super::scheme;

pub fn check(bytes: &[u8]) {
    scheme::check_with("hf_quant_config.json", bytes);
}

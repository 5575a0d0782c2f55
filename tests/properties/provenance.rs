//! Records of what a scheme was made from.

use qlua::record::FoundRecord;

use super::scheme;

pub fn check(bytes: &[u8]) {
    if let FoundRecord::Read(record) = FoundRecord::parse(bytes) {
        let count = record.weights.len() + record.files.as_ref().map_or(0, Vec::len);
        assert_eq!(record.all_files().count(), count);
        if record.files.is_some() {
            // Whatever is changed in a sealed record is noticed: the first byte, one in the middle, one more at the end.
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1;
                assert!(
                    !matches!(FoundRecord::parse(&changed), FoundRecord::Read(found) if found.files.is_some())
                );
            }
            let longer = [bytes, b" "].concat();
            assert!(matches!(FoundRecord::parse(&longer), FoundRecord::Damaged(_)));
        }
    }
    scheme::check_with("layer-sensitivity/provenance.json", bytes);
}

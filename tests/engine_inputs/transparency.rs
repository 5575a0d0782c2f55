//! Transparency of PNG files: dropped where every release of Transformers drops it, and refused by name where they differ. The files
//! and the answers come from `tests/golden/inputs/transparency.py`.

use std::fs;

use qlua::engine::inputs::{RgbPicture, Upright};
use serde_json::Value;

use super::golden;

#[test]
fn what_releases_of_transformers_disagree_on_is_refused_and_the_rest_has_the_pixels_of_pillow() {
    let answers: Value = serde_json::from_slice(&fs::read(golden("transparency.json")).unwrap()).unwrap();
    let releases: Vec<&Value> = answers["transformers"].as_object().unwrap().values().collect();
    assert!(releases.len() > 1);
    let (mut read, mut refused) = (0, 0);
    for (name, pixels) in answers["pixels"].as_object().unwrap() {
        let found = RgbPicture::read(&golden("transparency").join(name), Upright::AsStored);
        if releases.iter().all(|release| release[name] == "keeps the colour") {
            let pixels: Vec<u8> =
                pixels.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u8).collect();
            assert_eq!(found.unwrap().pixels[..pixels.len()], pixels[..], "{name}");
            read += 1;
        } else {
            let error = found.unwrap_err();
            assert!(
                error.to_string().contains(&format!("{name}` has one transparent colour (tRNS)")),
                "{error}"
            );
            assert!(error.hint().is_some());
            refused += 1;
        }
    }
    assert_eq!((read, refused), (5, 3));
}

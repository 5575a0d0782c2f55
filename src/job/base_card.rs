//! What model cards take from the card of the base checkpoint.

use crate::checkpoint::CARD;
use crate::error::Result;
use crate::input::InputKind;
use crate::model::Model;
use crate::report::card::CarriedMetadata;

/// The longest card of a base checkpoint that is looked into, in bytes; those of the Hub are far shorter.
const LONGEST_CARD: u64 = 4 << 20;

/// What comes along from the card of `model`, which is watched from now on; nothing where it has none that can be read.
///
/// # Errors
/// Those of [`crate::checkpoint::Checkpoint::read_beside`].
pub(super) fn carried(model: &Model) -> Result<CarriedMetadata> {
    let path = model.directory().join(CARD);
    if !path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LONGEST_CARD) {
        return Ok(CarriedMetadata::default());
    }
    let text = model.read_beside(CARD, InputKind::Configuration)?;
    Ok(text
        .map_or_else(CarriedMetadata::default, |text| CarriedMetadata::of(&String::from_utf8_lossy(&text))))
}

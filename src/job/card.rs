//! The model card of a scheme that is being written.

use std::collections::BTreeMap;
use std::path::Path;

use super::engines::serving;
use super::options::FamilyOptions;
use super::planned::PlannedScheme;
use super::quality::{ShownScheme, read_quality};
use super::sweeps::policy_name;
use crate::checkpoint::{CARD, has_own_card};
use crate::dialect::DialectId;
use crate::error::Result;
use crate::format::Granularity;
use crate::manifest::Manifest;
use crate::model::{Model, Tower};
use crate::plan::{Layout, Plan};
use crate::record::ProvenanceRecord;
use crate::report::card::{CardPart, CarriedMetadata, ModelCard, for_any_machine, with_quality};
use crate::report::sweep::SchemeOrigin;
use crate::write::{Amended, amend};

/// What the card of a scheme is made from.
pub(super) struct CardSources<'a> {
    pub model: &'a Model,
    pub manifest: &'a Manifest,
    pub options: &'a FamilyOptions,
    pub dialect: DialectId,
    pub layout: Layout,
    pub carried: &'a CarriedMetadata,
    pub scheme: &'a PlannedScheme,
    /// The key of what the scheme is made from.
    pub inputs: &'a str,
}

/// The card of a scheme.
pub(super) fn card(from: &CardSources) -> String {
    let &CardSources { model, options, scheme, layout, .. } = from;
    let figures = &scheme.figures;
    let request = &options.request;
    let shown = ShownScheme { name: &scheme.name, bytes: figures.bytes, inputs: Some(from.inputs) };
    let layers = scheme.plan.formats.keys().map(AsRef::as_ref);
    let files = from.dialect.dialect().files(model, &scheme.plan, &layout);
    let method = files.quantization_config.as_ref().and_then(|said| said["quant_method"].as_str());
    let mut libraries: Vec<String> = method.map(String::from).into_iter().collect();
    if files.hf_quant_config.is_some() {
        libraries.push("modelopt".into());
    }
    libraries.retain(|library| library != "fp8");
    let card = ModelCard {
        scheme: &scheme.name,
        base: model.name(),
        is_on_hub: model.hub().is_some(),
        commit: model.hub().map(|hub| hub.commit.as_str()),
        carried: from.carried.clone(),
        architecture: model.modules().architecture().and(model.architecture()),
        libraries,
        format: format_in_words(&layout),
        parts: parts(model, &scheme.plan),
        parameters: (figures.parameters, figures.quantised_parameters),
        bytes: (model.bytes(), figures.bytes),
        effective_bits: figures.effective_bits,
        manifest: from
            .manifest
            .path()
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        quality: read_quality(&options.out, &[shown]).rows,
        origin: SchemeOrigin {
            command: for_any_machine(&request.command),
            policy: request.policy.as_ref().map(|policy| policy_name(&policy.file)),
            dialect: from.dialect.to_string(),
            activations: layout.activations.to_string(),
            rounding: layout.encoding.rounding.to_string(),
            serving: serving(model.architecture(), from.dialect, layout.activations, layers),
        },
    };
    card.markdown()
}

/// Has the model card of the scheme in `directory` say what was measured of it, by the file beside the directory. A card that is not
/// as qlua wrote it, or that of the base, stays as it is.
///
/// # Errors
/// [`crate::Error::Exists`] when another process writes to the directory; [`crate::Error::Io`]; those of [`Model::open`].
pub fn refresh_card(directory: &Path) -> Result<Amended> {
    let directory = &directory.components().collect::<std::path::PathBuf>();
    let (Some(record), Some(name)) = (ProvenanceRecord::read(directory), directory.file_name()) else {
        return Ok(Amended::Absent);
    };
    if !has_own_card(directory)? {
        return Ok(Amended::Absent);
    }
    let bytes = Model::open(directory)?.bytes();
    let shown = ShownScheme { name: &name.to_string_lossy(), bytes, inputs: Some(&record.inputs) };
    let beside = directory.parent().filter(|beside| !beside.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let rows = read_quality(beside, &[shown]).rows;
    match rows.is_empty() {
        true => Ok(Amended::Same),
        false => amend(directory, CARD, |card| with_quality(card, &rows)),
    }
}

fn format_in_words(layout: &Layout) -> String {
    let name = layout.encoding.format.format().codes_in_words();
    let scales = match layout.granularity() {
        Granularity::Tensor => "each tensor",
        Granularity::Channel => "each output channel",
        Granularity::Block => "each block of 128×128",
    };
    format!("{name} with a scale for {scales} and {} activations", layout.activations)
}

/// The parts of the model, with their layers.
fn parts(model: &Model, plan: &Plan) -> Vec<CardPart> {
    let formats = &plan.formats;
    let mut parts: BTreeMap<Tower, (usize, usize)> = BTreeMap::new();
    let is_quantised = |module: &str| formats.keys().any(|key| &**key == module);
    let quantised = formats.keys().map(|key| (&**key, 1));
    let kept = model.modules().linears().filter(|module| !is_quantised(module)).map(|module| (module, 0));
    for (module, count) in quantised.chain(kept) {
        let part = parts.entry(Tower::of(module)).or_default();
        *part = (part.0 + count, part.1 + 1);
    }
    let part =
        |(tower, (quantised, layers)): (Tower, _)| CardPart { name: tower.to_string(), quantised, layers };
    parts.into_iter().map(part).collect()
}

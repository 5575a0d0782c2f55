//! Whether a manifest and a baseline are those of the model, and what of the model the manifest leaves out.

use std::collections::HashSet;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::model::{Model, ModuleClass};
use crate::plan::Located;
use crate::units::counted;

/// Fails when a group costs another number of weights than the model has in it: costs are numbers of weights, so the manifest
/// is one of another model.
///
/// A cost of one weight stands where the number is not known, and so does one that is the same for all groups while their
/// sizes differ: manifests that were put together by hand have such costs.
///
/// # Errors
/// [`Error::Refused`] with the first such group and how many there are.
pub(super) fn require_same_weights(manifest: &Manifest, located: &Located, model: &Model) -> Result<()> {
    let groups = manifest.groups().iter().zip(located.groups());
    let compared: Vec<(&str, u64, u64)> = groups
        .filter_map(|(group, found)| {
            let stated = group.parameters().filter(|&stated| found.is_whole && stated > 1)?;
            Some((group.name.as_str(), stated, found.weights(model)))
        })
        .collect();
    let all_alike = |number: fn(&(&str, u64, u64)) -> u64| {
        compared.windows(2).all(|pair| number(&pair[0]) == number(&pair[1]))
    };
    if all_alike(|group| group.1) && !all_alike(|group| group.2) {
        return Ok(());
    }
    // A cost is a sum of floating-point numbers.
    let differs = |stated: u64, there: u64| stated.abs_diff(there) as f64 > 1e-6 * there as f64;
    let mut others = compared.into_iter().filter(|(_, stated, there)| differs(*stated, *there));
    let first = others.next();
    let others = others.count() + 1;
    let Some((name, stated, there)) = first else { return Ok(()) };
    let more =
        if others > 1 { format!(", and {} differ so", counted(others, "group")) } else { String::new() };
    Err(Error::refused(format!(
        "the manifest `{}` is of another model: its costs give `{name}` {stated} weights, and `{}` has {there} there{more}",
        manifest.path().display(),
        model.directory().display(),
    ))
    .with_hint("give the manifest that was made from this checkpoint; `qlua inspect` shows what each of the two holds"))
}

/// Fails when a weight of the FP8 baseline in `directory` has another shape than the model's: its input scales are those of
/// another model.
///
/// # Errors
/// [`Error::Refused`] with both shapes; those of [`Checkpoint::open`].
pub(super) fn require_same_shapes(directory: &Path, model: &Model) -> Result<()> {
    let baseline = Checkpoint::open(directory)?;
    for (name, tensor) in baseline.tensors() {
        let Some(module) = name.strip_suffix(".weight") else { continue };
        let Some(weight) = model.modules().on_disk(module).and_then(|on_disk| model.weight(on_disk)) else {
            continue;
        };
        if weight.shape() != tensor.shape() {
            return Err(Error::refused(format!(
                "the baseline `{}` is of another model: `{name}` has the shape {:?} there and {:?} in `{}`",
                directory.display(),
                tensor.shape(),
                weight.shape(),
                model.directory().display()
            ))
            .with_hint(
                "give the FP8 export of this checkpoint, or --activations dynamic, which needs none",
            ));
        }
    }
    Ok(())
}

/// What is to be said of what stays as it is whatever is selected: layers that the manifest does not name, experts in one
/// tensor, and what is not known of the architecture.
pub(super) fn left_out(located: &Located, model: &Model) -> Vec<String> {
    let modules = model.modules();
    let mut notes = Vec::new();
    if modules.architecture().is_none() {
        let name = model.architecture().or(model.model_type()).unwrap_or("without a name");
        notes.push(format!(
            "the architecture ({name}) is not known: only what the manifest names and what is a linear layer by its name and \
             shape is quantised, and everything else is listed as ignored"
        ));
    }
    let named: HashSet<&str> = located
        .groups()
        .iter()
        .flat_map(|group| group.stored.iter().chain(&group.in_part))
        .map(String::as_str)
        .collect();
    let unnamed: Vec<&str> = modules.linears().filter(|module| !named.contains(module)).collect();
    if let Some(first) = unnamed.first() {
        notes.push(format!(
            "{} of the model {}, such as `{first}`",
            counted(unnamed.len(), "linear layer"),
            match unnamed.len() {
                1 => "is not in the manifest and stays as it is",
                _ => "are not in the manifest and stay as they are",
            },
        ));
    }
    let elements = |stacks: bool| -> u64 {
        let is_stack = |name: &str| modules.class(name) == Some(ModuleClass::Experts);
        model.tensors().filter(|(name, _)| !stacks || is_stack(name)).map(|(_, t)| t.elements() as u64).sum()
    };
    let stacked = elements(true);
    if stacked > 0 {
        notes.push(format!(
            "experts in one tensor stay as they are ({}): {:.1} % of all weights",
            counted(modules.stacked_mixtures().count(), "mixture"),
            100.0 * stacked as f64 / elements(false) as f64
        ));
    }
    notes
}

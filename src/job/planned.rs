//! What a family will be, worked out once from headers alone: dry run, JSON, run, report and verify read the same object.

use std::path::PathBuf;

use super::base_card::carried;
use super::basis::Basis;
use super::decision::{LayoutDecision, decide};
use super::on_disk::{NamedFile, OnDisk, SchemeFile, new_file, shares_files};
use super::options::FamilyOptions;
use super::scheme::Scheme;
use crate::checkpoint::CARD;
use crate::dialect::DialectId;
use crate::error::{Error, Result};
use crate::manifest::{Coverage, Selection};
use crate::plan::{CostModel, Figures, Layout, Plan};
use crate::write::shard::ShardLayout;
use crate::write::store::bucket::plan_shards;
use crate::write::store::items::Items;
use crate::write::{Companions, scheme_outputs, shard_name};

const MANIFEST_ALONE: &str =
    "planned from the manifest alone: sizes are those of its costs, without scales, embeddings and norms";

/// What is to be said of schemes that quantise nothing, because all that was selected for them stays as it is.
fn unquantised(schemes: &[Scheme]) -> impl Iterator<Item = String> {
    schemes.iter().filter(|scheme| scheme.plan.formats.is_empty()).map(|scheme| {
        let reason = scheme.plan.kept.first().map_or("", |kept| kept.reason.as_str());
        format!(
            "`{}` has no quantised layer: all that was selected for it stays as it is ({reason})",
            scheme.name
        )
    })
}

/// What is to be said of schemes that quantise the same layers as one before them.
fn twins(schemes: &[Scheme]) -> impl Iterator<Item = String> {
    schemes.iter().enumerate().filter_map(|(at, scheme)| {
        let is_same = |other: &&Scheme| {
            other.plan.formats.len() == scheme.plan.formats.len() && other.plan.formats == scheme.plan.formats
        };
        let first = schemes[..at].iter().find(is_same).filter(|_| !scheme.plan.formats.is_empty())?;
        let (name, first) = (&scheme.name, &first.name);
        Some(format!("`{name}` quantises the same layers as `{first}`: their weights are the same"))
    })
}

/// A family before anything of it is written. Sizes and names are exact: they follow from headers and from the layout of
/// every file.
pub struct Planned {
    /// The conventions of every directory; nothing when there is only a manifest.
    pub dialect: Option<DialectId>,
    /// How quantised layers are laid out; nothing when there is only a manifest.
    pub layout: Option<Layout>,
    /// One sentence for each choice that `auto` made.
    pub notes: Vec<String>,
    /// The schemes, in the order in which they were added.
    pub schemes: Vec<PlannedScheme>,
    /// What each group costs in this layout.
    pub costs: CostModel,
    /// The tensors of all schemes and the files that they go into; nothing when there is only a manifest.
    pub(super) files: Option<PlannedFiles>,
}

/// One scheme as planned.
#[derive(Debug, Clone)]
pub struct PlannedScheme {
    /// The name, which is its directory's.
    pub name: String,
    /// The directory that it is or will be written to; nothing when there is only a manifest.
    pub directory: Option<PathBuf>,
    /// The groups that it quantises.
    pub selection: Selection,
    /// The modules that this amounts to, and their formats.
    pub plan: Plan,
    /// What it amounts to in numbers.
    pub figures: Figures,
    /// Its weight files when nothing of the family is there yet; empty when there is only a manifest.
    pub files: Vec<SchemeFile>,
}

/// The tensors of a family and the files that they go into.
pub(super) struct PlannedFiles {
    /// Every different tensor once, and which scheme holds which.
    pub items: Items,
    /// Bytes of the files of all schemes together when all are written anew, each shared one counted once.
    pub unique_bytes: u64,
    /// The same without sharing.
    pub copied_bytes: u64,
}

impl Planned {
    /// Plans `schemes`.
    ///
    /// # Errors
    /// Those of [`decide`] and [`scheme_outputs`]; [`Error::Argument`] when a file would need too long a header.
    pub(super) fn of(options: &FamilyOptions, basis: &Basis, schemes: &[Scheme]) -> Result<Self> {
        let Some(model) = &basis.model else {
            let costs = CostModel::of_manifest(&basis.manifest, &basis.located);
            let rows = schemes.iter().map(|scheme| planned(scheme, &costs, None)).collect();
            let shapes = options.dialect.format().format().unknown_shapes().map(String::from);
            let notes = [MANIFEST_ALONE.to_string()].into_iter().chain(shapes).chain(basis.notes.clone());
            let notes = notes.chain(unquantised(schemes)).chain(twins(schemes)).collect();
            return Ok(Planned { dialect: None, layout: None, notes, schemes: rows, costs, files: None });
        };
        let LayoutDecision { dialect, layout, mut notes } = decide(options, basis, schemes)?;
        notes.extend(basis.notes.clone());
        notes.extend(unquantised(schemes));
        notes.extend(twins(schemes));
        notes.extend(Companions::beside(model)?.note());
        if options.card {
            let note = carried(model)?.note;
            notes.extend(note.map(|note| format!("the model card `{CARD}` of the base checkpoint {note}")));
        }
        let costs = CostModel::of_model(&basis.manifest, &basis.located, model, &layout)?;
        let outputs =
            |scheme: &Scheme| scheme_outputs(model, &scheme.plan, &layout, basis.input_scales.as_ref());
        let items = Items::collect(schemes.iter().map(outputs).collect::<Result<_>>()?);
        let directory = |scheme: &Scheme| Some(options.out.join(&scheme.name));
        let mut schemes: Vec<PlannedScheme> =
            schemes.iter().map(|scheme| planned(scheme, &costs, directory(scheme))).collect();
        let OnDisk { unique_bytes, copied_bytes, files } = all_anew(schemes.len(), &items, options)?;
        schemes.iter_mut().zip(files).for_each(|(scheme, files)| scheme.files = files);
        let files = Some(PlannedFiles { items, unique_bytes, copied_bytes });
        Ok(Planned { dialect: Some(dialect), layout: Some(layout), notes, schemes, costs, files })
    }

    /// Fails when no scheme has a quantised layer: each would be the base checkpoint.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first reason.
    pub(super) fn require_quantised(&self) -> Result<()> {
        if self.schemes.iter().any(|scheme| !scheme.plan.formats.is_empty()) {
            return Ok(());
        }
        let kept = self.schemes.iter().find_map(|scheme| scheme.plan.kept.first());
        let why = kept.map_or(String::new(), |kept| format!(" (`{}`: {})", kept.layer, kept.reason));
        Err(Error::refused(format!("nothing that was selected can be quantised{why}")).with_hint(
            "select linear layers; the coverage manifest of a scheme says what stays as it is and why",
        ))
    }

    /// The scheme called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub fn scheme(&self, name: &str) -> Result<&PlannedScheme> {
        let scheme = self.schemes.iter().find(|scheme| scheme.name == name);
        scheme.ok_or_else(|| Error::not_found(format!("the family has no scheme `{name}`")))
    }

    /// Bytes of the weight files of all schemes together if all were written anew, each file counted once: shards are shared but
    /// where they are to be copied or reflinked. Nothing when there is only a manifest.
    pub fn unique_bytes(&self) -> Option<u64> {
        self.files.as_ref().map(|files| files.unique_bytes)
    }

    /// The same with each file counted in every directory that holds it.
    pub fn copied_bytes(&self) -> Option<u64> {
        self.files.as_ref().map(|files| files.copied_bytes)
    }
}

impl PlannedScheme {
    /// Its coverage manifest, without the places that it was made from.
    pub(super) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::new(&self.name, &self.selection);
        coverage.kept_in_bf16 = self.plan.kept.clone();
        coverage
    }
}

fn planned(scheme: &Scheme, costs: &CostModel, directory: Option<PathBuf>) -> PlannedScheme {
    let Scheme { name, selection, plan } = scheme.clone();
    let figures = costs.figures(selection.selected());
    PlannedScheme { name, directory, selection, plan, figures, files: Vec::new() }
}

/// What the files of `schemes` schemes take if all are written anew.
fn all_anew(schemes: usize, items: &Items, options: &FamilyOptions) -> Result<OnDisk> {
    let mut shards = plan_shards(items, &items.of_scheme, options.max_shard_size);
    shards.sort_by(|a, b| a.order.cmp(&b.order));
    let is_shared = shares_files(options.link);
    let mut held: Vec<Vec<(usize, u64)>> = vec![Vec::new(); schemes];
    for (at, shard) in shards.iter().enumerate() {
        let bytes = ShardLayout::new(shard.tensors.iter().map(|t| t.spec.clone()).collect())?.length();
        shard.schemes.iter().for_each(|&scheme| held[scheme].push((at, bytes)));
    }
    let named = |(number, mine): (usize, &Vec<(usize, u64)>)| -> Vec<NamedFile> {
        let file = |(index, &(shard, bytes)): (usize, &(usize, u64))| NamedFile {
            file: shard_name(index, mine.len()),
            bytes,
            identity: new_file(shard, number, is_shared),
        };
        mine.iter().enumerate().map(file).collect()
    };
    let named: Vec<Vec<NamedFile>> = held.iter().enumerate().map(named).collect();
    Ok(OnDisk::of(&named.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

//! What the report of a directory shows: the schemes that are on record there, whatever run wrote them, and those of a family that
//! are planned and not there yet. Schemes of one base checkpoint whose groups have the same scores are one sweep.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::basis::Basis;
use super::engines::serving;
use super::on_disk::NamedFile;
use super::options::FamilyOptions;
use super::planned::Planned;
use super::quality::{ShownScheme, read_quality};
use super::recorded::{RecordedScheme, RecordedSchemes};
use super::sweep_facts::{layer_errors, layout_facts, sharing};
use crate::error::{Error, Result};
use crate::manifest::{Coverage, Group, Manifest, RankingOptions, Selection};
use crate::plan::{BytesFrom, CostModel, Figures, Frontier, frontier};
use crate::record::{LayoutWords, Source};
use crate::report::directory::DirectoryReport;
use crate::report::sweep::{SchemeOrigin, Sharing, SweepReport};
use crate::write::WeightErrors;

/// The base checkpoint of a sweep: the hash of its configuration, and its weight files, with hashes where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BaseKey {
    config_sha256: String,
    shards: Vec<(String, u64)>,
    hashes: Option<Vec<String>>,
}

/// Schemes that have groups, scores and base in common.
struct Sweep {
    title: String,
    base: BaseKey,
    base_bytes: Option<u64>,
    manifest: Arc<Manifest>,
    costs: CostModel,
    report: SweepReport,
    schemes: Vec<ShownMember>,
    sharing: Option<Sharing>,
}

/// A scheme of a sweep.
struct ShownMember {
    name: String,
    selection: Selection,
    figures: Figures,
    origin: Option<SchemeOrigin>,
    family: FamilyKey,
    /// Its weight files, where it is written.
    weights: Option<Vec<NamedFile>>,
    inputs: Option<String>,
    errors: WeightErrors,
}

/// What the schemes of a family have in common: policy, ranked groups, order and layout.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FamilyKey {
    policy: Option<String>,
    ranked: BTreeSet<String>,
    order: String,
    layout: [String; 4],
}

impl FamilyKey {
    fn of(policy: Option<String>, coverage: &Coverage, layout: Option<&LayoutWords>) -> Self {
        let ranked = coverage.selected_layers.iter().chain(&coverage.dropped_layers);
        let words = |l: &LayoutWords| {
            [&l.dialect, &l.activations, &l.rounding, &l.scale_sharing].map(ToString::to_string)
        };
        FamilyKey {
            policy,
            ranked: ranked.cloned().collect(),
            order: coverage.order.to_string(),
            layout: layout.map(words).unwrap_or_default(),
        }
    }
}

impl BaseKey {
    /// Whether the two are one checkpoint as far as is known: files that nobody hashed are told by their sizes.
    fn is_same(&self, other: &BaseKey) -> bool {
        let hashes = (&self.hashes, &other.hashes);
        self.config_sha256 == other.config_sha256
            && self.shards == other.shards
            && !matches!(hashes, (Some(a), Some(b)) if a != b)
    }
}

/// What the report of all schemes on record in `directory` shows.
///
/// # Errors
/// [`Error::NotFound`] when no scheme is on record there; [`Error::Io`] when it cannot be listed; [`Error::Interrupted`].
pub fn report_directory(directory: &Path) -> Result<DirectoryReport> {
    let recorded = RecordedSchemes::below(directory)?;
    if recorded.schemes.is_empty() {
        let problem = match recorded.notes.first() {
            Some(note) => format!("no scheme of `{}` can be shown: {note}", directory.display()),
            None => format!("`{}` holds no scheme that is on record", directory.display()),
        };
        return Err(Error::not_found(problem)
            .with_hint("name the directory that schemes were written to, as --out had it"));
    }
    Ok(assemble(directory, recorded, None))
}

/// What the report of a family shows beside whatever is on record where it goes.
pub(super) fn gather(options: &FamilyOptions, basis: &Basis, planned: &Planned) -> Result<DirectoryReport> {
    let recorded = match options.out.is_dir() {
        true => RecordedSchemes::below(&options.out)?,
        false => RecordedSchemes::default(),
    };
    Ok(assemble(&options.out, recorded, Some((options, basis, planned))))
}

fn assemble(
    directory: &Path,
    recorded: RecordedSchemes,
    family: Option<(&FamilyOptions, &Basis, &Planned)>,
) -> DirectoryReport {
    let mut sweeps: Vec<Sweep> = Vec::new();
    let names: HashSet<String> = recorded.schemes.iter().map(|scheme| scheme.name.clone()).collect();
    for scheme in recorded.schemes {
        add_recorded(&mut sweeps, scheme);
    }
    if let Some((options, basis, planned)) = family {
        add_planned(&mut sweeps, options, basis, planned, |name| names.contains(name));
    }
    sweeps.iter_mut().for_each(Sweep::sort);
    sweeps.sort_by(|a, b| a.first_name().cmp(b.first_name()));
    let mut notes = recorded.notes;
    let reports = sweeps.into_iter().map(|sweep| {
        let (report, note) = sweep.finish(directory);
        notes.extend(note);
        report
    });
    let sweeps: Vec<SweepReport> = reports.collect();
    DirectoryReport { sweeps, notes }
}

/// Adds `scheme` to the sweep of its base and scores, or begins one.
fn add_recorded(sweeps: &mut Vec<Sweep>, scheme: RecordedScheme) {
    let shards = &scheme.record.model.shards;
    let base = BaseKey {
        config_sha256: scheme.record.model.config_sha256.clone(),
        shards: shards.iter().map(|shard| (shard.file.clone(), shard.bytes)).collect(),
        hashes: Some(shards.iter().map(|shard| shard.blake3.clone()).collect()),
    };
    let title = title(&scheme.manifest, &scheme.record.model.directory);
    let at = sweep_of(sweeps, base, title, &scheme.manifest, &scheme.costs);
    let sweep = &mut sweeps[at];
    sweep.base_bytes = sweep.base_bytes.or(scheme.record.base_bytes);
    let layers: Vec<&str> = scheme.quantised().collect();
    let Some(selection) = selection(&sweep.manifest, &scheme.coverage) else { return };
    let mut figures = sweep.costs.figures(selection.selected());
    (figures.bytes, figures.bytes_from) = (scheme.model.bytes(), BytesFrom::Checkpoint);
    figures.bits_on_disk = Some(8.0 * figures.bytes as f64 / scheme.elements as f64);
    let policy = scheme.record.policy.as_ref().map(|policy| policy.file.clone());
    let origin = SchemeOrigin {
        command: scheme.record.command.clone(),
        policy: policy.as_deref().map(policy_name),
        dialect: scheme.dialect.to_string(),
        activations: scheme.activations.to_string(),
        rounding: scheme.record.layout.rounding.clone(),
        serving: serving(
            scheme.model.architecture(),
            scheme.dialect,
            scheme.activations,
            layers.iter().copied(),
        ),
    };
    let family = FamilyKey::of(policy, &scheme.coverage, Some(&scheme.record.layout));
    sweep.schemes.push(ShownMember {
        name: scheme.name,
        selection,
        figures,
        origin: Some(origin),
        family,
        // Nothing where one was taken away just now.
        weights: NamedFile::lying_in(scheme.model.directory(), &scheme.record.weights).ok(),
        inputs: Some(scheme.record.inputs),
        errors: scheme.errors,
    });
}

/// Adds the schemes of `planned` that are not on record, as they will be.
fn add_planned(
    sweeps: &mut Vec<Sweep>,
    options: &FamilyOptions,
    basis: &Basis,
    planned: &Planned,
    is_recorded: impl Fn(&str) -> bool,
) {
    let base = match &basis.model {
        Some(model) => {
            let source = Source::of(model, Vec::new());
            let shards = model.shards().map(|(name, _, bytes)| (name.to_string(), bytes.len() as u64));
            BaseKey { config_sha256: source.config_sha256, shards: shards.collect(), hashes: None }
        }
        None => BaseKey { config_sha256: String::new(), shards: Vec::new(), hashes: None },
    };
    let path = basis.model.as_ref().map_or(basis.manifest.path(), |model| model.named());
    let title = title(&basis.manifest, &path.display().to_string());
    let base_bytes = basis.model.as_ref().map(|model| model.bytes());
    let is_all_planned = planned.schemes.iter().all(|scheme| !is_recorded(&scheme.name));
    let unwritten: Vec<_> = planned.schemes.iter().filter(|scheme| !is_recorded(&scheme.name)).collect();
    if unwritten.is_empty() && !sweeps.is_empty() {
        return;
    }
    let at = sweep_of(sweeps, base, title, &basis.manifest, &planned.costs);
    let sweep = &mut sweeps[at];
    sweep.base_bytes = sweep.base_bytes.or(base_bytes);
    if let (Some(unique_bytes), Some(copied_bytes), true, true) =
        (planned.unique_bytes(), planned.copied_bytes(), is_all_planned, sweep.schemes.is_empty())
    {
        sweep.sharing = Some(Sharing { unique_bytes, copied_bytes });
    }
    let layout = planned.dialect.zip(planned.layout);
    let words = layout.map(|(dialect, layout)| LayoutWords::of(dialect, &layout));
    let policy = options.request.policy.as_ref().map(|policy| policy.file.clone());
    for scheme in unwritten {
        let Some(own) = selection(&sweep.manifest, &scheme.coverage()) else { continue };
        let layers: Vec<&str> = scheme.plan.formats.keys().map(AsRef::as_ref).collect();
        let architecture = basis.model.as_ref().and_then(|model| model.architecture());
        let origin = layout.map(|(dialect, layout)| SchemeOrigin {
            command: options.request.command.clone(),
            policy: policy.as_deref().map(policy_name),
            dialect: dialect.to_string(),
            activations: layout.activations.to_string(),
            rounding: layout.encoding.rounding.to_string(),
            serving: serving(architecture, dialect, layout.activations, layers.iter().copied()),
        });
        sweep.schemes.push(ShownMember {
            name: scheme.name.clone(),
            selection: own,
            figures: scheme.figures,
            origin,
            family: FamilyKey::of(policy.clone(), &scheme.coverage(), words.as_ref()),
            weights: None,
            inputs: None,
            errors: WeightErrors::default(),
        });
    }
}

/// The place of the sweep over `base` with the groups of `manifest` and their scores; a new one where there is none.
fn sweep_of(
    sweeps: &mut Vec<Sweep>,
    base: BaseKey,
    title: String,
    manifest: &Arc<Manifest>,
    costs: &CostModel,
) -> usize {
    let report = SweepReport::new(&title, manifest, costs);
    // Scores that are no numbers are not equal to themselves.
    let groups = |report: &SweepReport| format!("{:?}", report.groups);
    let own = groups(&report);
    let is_same = |sweep: &Sweep| sweep.base.is_same(&base) && groups(&sweep.report) == own;
    sweeps.iter().position(is_same).unwrap_or_else(|| {
        sweeps.push(Sweep {
            title,
            base,
            base_bytes: None,
            manifest: Arc::clone(manifest),
            costs: costs.clone(),
            report,
            schemes: Vec::new(),
            sharing: None,
        });
        sweeps.len() - 1
    })
}

/// The selection of `coverage` among all groups of `manifest`; nothing where nothing can be ranked.
fn selection(manifest: &Manifest, coverage: &Coverage) -> Option<Selection> {
    let options = RankingOptions { include_unscored: true, ..RankingOptions::default() };
    let names = coverage.selected_layers.iter().filter_map(|key| manifest.group(key));
    let selected: HashSet<&str> = names.map(|group| group.name.as_str()).collect();
    let ranking = manifest.ranking(&options).ok()?;
    let mut selection = ranking.filter(|group| Ok(selected.contains(group.name.as_str()))).ok()?;
    selection.percent = coverage.top_percent;
    Some(selection)
}

impl Sweep {
    fn first_name(&self) -> &str {
        self.schemes.first().map_or("", |scheme| scheme.name.as_str())
    }

    /// Families one after another, each by rising coverage: the order says nothing of which run came first.
    fn sort(&mut self) {
        let mut families: Vec<(FamilyKey, String)> = Vec::new();
        for scheme in &self.schemes {
            match families.iter_mut().find(|(family, _)| *family == scheme.family) {
                Some((_, first)) if scheme.name < *first => *first = scheme.name.clone(),
                Some(_) => {}
                None => families.push((scheme.family.clone(), scheme.name.clone())),
            }
        }
        families.sort_by(|a, b| a.1.cmp(&b.1));
        let family = |scheme: &ShownMember| families.iter().position(|(key, _)| *key == scheme.family);
        self.schemes.sort_by(|a, b| {
            let by_coverage = a.selection.percent.as_f64().total_cmp(&b.selection.percent.as_f64());
            family(a).cmp(&family(b)).then(by_coverage).then(a.name.cmp(&b.name))
        });
    }

    /// What the report shows of it, and what is to be said of the quality that was measured.
    fn finish(mut self, directory: &Path) -> (SweepReport, Option<String>) {
        let mut report = self.report;
        report.title = self.title;
        report.base_bytes = self.base_bytes;
        let mut families: Vec<&FamilyKey> = Vec::new();
        for scheme in &self.schemes {
            let family = families.iter().position(|family| **family == scheme.family).unwrap_or_else(|| {
                families.push(&scheme.family);
                families.len() - 1
            });
            report.add(&scheme.name, &scheme.selection, scheme.figures);
            if let Some(row) = report.schemes.last_mut() {
                (row.family, row.origin) = (family, scheme.origin.clone());
            }
        }
        report.facts.extend(layout_facts(self.schemes.iter().filter_map(|scheme| scheme.origin.as_ref())));
        report.sharing =
            self.sharing.or_else(|| sharing(self.schemes.iter().map(|scheme| scheme.weights.as_deref())));
        let errors = self.schemes.iter_mut().flat_map(|scheme| std::mem::take(&mut scheme.errors));
        report.layer_errors = layer_errors(errors);
        let shown: Vec<ShownScheme> = self
            .schemes
            .iter()
            .map(|scheme| ShownScheme {
                name: &scheme.name,
                bytes: scheme.figures.bytes,
                inputs: scheme.inputs.as_deref(),
            })
            .collect();
        let quality = read_quality(directory, &shown);
        report.quality = quality.rows;
        report.facts.extend(quality.note.map(|note| ("Quality".to_string(), note)));
        match least_scores(&self.manifest, &self.costs, &self.schemes) {
            Ok(frontier) => report.frontier = frontier,
            Err(error) => report.facts.push(("Pareto frontier".into(), format!("none: {error}"))),
        }
        (report, None)
    }
}

/// What people call the policy in `file`: its name without folder and ending.
/// The name of the policy in the script `file`.
pub(super) fn policy_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".lua").unwrap_or(name).to_string()
}

/// The last part of the model's name: paths differ from machine to machine.
fn title(manifest: &Manifest, path: &str) -> String {
    let name = manifest.model_id().unwrap_or(path).trim_end_matches(['/', '\\']);
    name.rsplit(['/', '\\']).next().unwrap_or(name).to_string()
}

/// The least summed scores that the groups of the manifest can have, at the size of each scheme and between. A group that was
/// never scored may be chosen where some scheme has it.
fn least_scores(manifest: &Manifest, costs: &CostModel, schemes: &[ShownMember]) -> Result<Frontier> {
    let selections: Vec<&Selection> = schemes.iter().map(|scheme| &scheme.selection).collect();
    let selected: HashSet<&str> = selections.iter().flat_map(|s| s.selected_names()).collect();
    let may_choose = |group: &Group| Ok(group.is_scored() || selected.contains(group.name.as_str()));
    let options =
        RankingOptions { include_unscored: true, predicate: Some(&may_choose), ..RankingOptions::default() };
    frontier(costs, &manifest.ranking(&options)?, &selections)
}

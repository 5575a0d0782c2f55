//! What a scoring run has finished, on the disk, so that a run that was killed goes on: for each border what goes over it, and on
//! the way back the gradients and scores as they are.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::borders::{Border, Borders};
use super::forward::ForwardState;
use super::layer_score::LayerScore;
use super::network::Features;
use super::reverse::ReverseState;
use super::step_file::{BufferRole, StepFile, StepFindings, write_step};
use crate::error::{Error, Result};

/// The file of the way back, and that of groups.
const REVERSE: &str = "reverse";
const GROUPS: &str = "groups";

/// How much work may be lost when the machine stops. When the process is killed, none of a finished block is.
const SYNC_EVERY: Duration = Duration::from_secs(30);

/// Where a scoring run keeps its record.
#[derive(Clone, Copy)]
pub struct ScoringRecord<'r> {
    /// A directory that is there, and that no other process works in meanwhile.
    pub directory: &'r Path,
    /// Bytes of borders that are kept in memory as well.
    pub memory: u64,
    /// Told in a sentence what became of a record that was there.
    pub note: &'r dyn Fn(&str),
}

/// The record of one run.
pub(super) struct Recording<'r> {
    directory: &'r Path,
    memory: u64,
    made_from: String,
    /// All borders, in order.
    borders: Vec<Border>,
    /// How many features of DeepStack are on record.
    deep: Cell<usize>,
    /// When the record was last made to survive that the machine stops.
    synced: Cell<Instant>,
}

/// How far a record goes.
pub(super) enum RecordedProgress {
    /// There is none.
    Nothing,
    /// Forward to the border of this number.
    Forward(usize),
    /// Back to the border of this number.
    Reverse(usize, StepFile),
    /// Through some groups.
    Groups(StepFile),
}

/// Why a record is not used.
enum Unusable {
    Another,
    Damaged,
}

fn file_name(border: Border) -> String {
    match border {
        Border::Vision(number) => format!("vision-{number:04}"),
        Border::Text(number) => format!("text-{number:04}"),
    }
}

impl<'r> Recording<'r> {
    /// The record of a run over `borders` that is made from what has the hash `made_from`, and how far it goes. That of another run
    /// and a damaged one are removed, and the user is told.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(
        record: &ScoringRecord<'r>,
        made_from: blake3::Hash,
        borders: Vec<Border>,
    ) -> Result<(Self, RecordedProgress)> {
        let recording = Recording {
            directory: record.directory,
            memory: record.memory,
            made_from: made_from.to_hex().to_string(),
            borders,
            deep: Cell::new(0),
            synced: Cell::new(Instant::now()),
        };
        let place = record.directory.display();
        let blocks = |count: usize| match count {
            1 => "1 finished block".to_string(),
            count => format!("{count} finished blocks"),
        };
        let why = match recording.recorded()? {
            Ok(found) => {
                let forward = recording.borders.len() - 1;
                match &found {
                    RecordedProgress::Nothing | RecordedProgress::Forward(0) => {}
                    RecordedProgress::Forward(at) => {
                        (record.note)(&format!("`{place}`: scoring goes on after {}", blocks(*at)));
                    }
                    RecordedProgress::Reverse(at, _) => {
                        let done = forward + (forward - at);
                        (record.note)(&format!("`{place}`: scoring goes on after {}", blocks(done)));
                    }
                    RecordedProgress::Groups(found) => {
                        let count = found.findings.groups;
                        (record.note)(&format!("`{place}`: scoring goes on after {count} finished groups"));
                    }
                }
                return Ok((recording, found));
            }
            Err(Unusable::Another) => "of another run: of other weights, samples or options",
            Err(Unusable::Damaged) => "damaged",
        };
        (record.note)(&format!("the record in `{place}` is {why}; it is not used, and replaced"));
        recording.clear()?;
        Ok((recording, RecordedProgress::Nothing))
    }

    /// How far the record goes, of which all that is needed to go on is whole.
    fn recorded(&self) -> Result<Result<RecordedProgress, Unusable>> {
        let mut names: Vec<String> = self.borders.iter().map(|border| file_name(*border)).collect();
        let forward = names.len();
        names.extend([REVERSE.into(), GROUPS.into()]);
        let mut files = vec![];
        for name in &names {
            files.push(match StepFile::find(self.directory, name)? {
                None => None,
                Some(None) => return Ok(Err(Unusable::Damaged)),
                Some(Some(found)) if found.made_from != self.made_from => return Ok(Err(Unusable::Another)),
                Some(found) => found,
            });
        }
        let (groups, reverse) = (files.pop().flatten(), files.pop().flatten());
        let back = match &reverse {
            Some(found) => match names[..forward].iter().position(|name| *name == found.findings.at) {
                Some(at) => Some(at),
                None => return Ok(Err(Unusable::Damaged)),
            },
            None => None,
        };
        // What goes over the border that the way back has come to is not needed any more.
        let needed = match (&groups, back) {
            (None, Some(at)) => at,
            (Some(_), _) => forward,
            (None, None) => files.iter().take_while(|file| file.is_some()).count(),
        };
        let others = groups.iter().chain(&reverse);
        let are_there = files[..needed].iter().all(Option::is_some);
        if !are_there || !files[..needed].iter().flatten().chain(others).all(StepFile::is_whole) {
            return Ok(Err(Unusable::Damaged));
        }
        Ok(Ok(match (groups, reverse, back) {
            (Some(groups), ..) => RecordedProgress::Groups(groups),
            (None, Some(reverse), Some(at)) => RecordedProgress::Reverse(at, reverse),
            _ if needed == 0 => RecordedProgress::Nothing,
            _ => RecordedProgress::Forward(needed - 1),
        }))
    }

    /// Removes every file of a record, whatever run it is of.
    fn clear(&self) -> Result<()> {
        let failed = |e| Error::io("read", self.directory, e);
        for entry in fs::read_dir(self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let is_ours = |name: &str| {
                let name = name.strip_suffix(".new").unwrap_or(name);
                let numbered = ["vision-", "text-"].iter().find_map(|word| name.strip_prefix(word));
                let is_number =
                    |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
                [REVERSE, GROUPS].contains(&name) || numbered.is_some_and(is_number)
            };
            if name.to_str().is_some_and(is_ours) {
                self.remove(&self.directory.join(name))?;
            }
        }
        File::open(self.directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    fn write<B: Backend>(
        &self,
        name: &str,
        findings: &StepFindings,
        backend: &B,
        buffers: &[(BufferRole, usize, &B::Buffer)],
    ) -> Result<()> {
        let durable = self.synced.get().elapsed() >= SYNC_EVERY;
        write_step(self.directory, name, &self.made_from, findings, backend, buffers, durable)?;
        if durable {
            self.synced.set(Instant::now());
        }
        Ok(())
    }

    fn damaged(&self, name: &str) -> Error {
        Error::format(self.directory.join(name), "is not what was written there")
            .with_hint("remove the directory that it is in, and run again")
    }

    /// The file of a border.
    fn border_file(&self, border: Border) -> Result<StepFile> {
        let name = file_name(border);
        let found = StepFile::find(self.directory, &name)?.flatten();
        found.filter(|found| found.made_from == self.made_from).ok_or_else(|| self.damaged(&name))
    }

    /// What went over a border.
    fn hidden<B: Backend>(&self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        let values = self.border_file(border)?.values(BufferRole::Hidden, Some(chunk));
        let (_, values) =
            values.and_then(|mut all| all.pop()).ok_or_else(|| self.damaged(&file_name(border)))?;
        Ok(backend.upload(values))
    }

    /// Notes a border that was reached on the way forward.
    pub fn put_forward<B: Backend>(
        &self,
        backend: &B,
        state: &ForwardState<B>,
        layers: &[LayerScore],
    ) -> Result<()> {
        let known = self.deep.get();
        let mut buffers = vec![];
        for (chunk, (hidden, features)) in state.hidden.iter().zip(&state.features).enumerate() {
            buffers.extend(hidden.iter().map(|hidden| (BufferRole::Hidden, chunk, hidden)));
            buffers.extend(features.deep.iter().skip(known).map(|deep| (BufferRole::Deep, chunk, deep)));
        }
        let findings =
            StepFindings { at: file_name(state.at), layers: layers.to_vec(), ..Default::default() };
        self.write(&findings.at, &findings, backend, &buffers)?;
        self.deep.set(state.features.iter().map(|features| features.deep.len()).max().unwrap_or(0));
        Ok(())
    }

    /// Where the run stood at the border of number `at`, and what it knew.
    pub fn forward<B: Backend>(
        &self,
        backend: &B,
        at: usize,
        chunks: usize,
    ) -> Result<(ForwardState<B>, Vec<LayerScore>)> {
        let border = self.borders[at];
        let mut features: Vec<Features<B>> = (0..chunks).map(|_| Features::none()).collect();
        for border in &self.borders[..=at] {
            let deep = self.border_file(*border)?.values(BufferRole::Deep, None);
            for (chunk, values) in deep.ok_or_else(|| self.damaged(&file_name(*border)))? {
                features[chunk].deep.push(backend.upload(values));
            }
        }
        self.deep.set(features.iter().map(|features| features.deep.len()).max().unwrap_or(0));
        let file = self.border_file(border)?;
        let mut hidden: Vec<Option<B::Buffer>> = (0..chunks).map(|_| None).collect();
        let values = file.values(BufferRole::Hidden, None);
        for (chunk, values) in values.ok_or_else(|| self.damaged(&file_name(border)))? {
            hidden[chunk] = Some(backend.upload(values));
        }
        Ok((ForwardState { at: border, hidden, features }, file.findings.layers))
    }

    /// Notes a border that was reached on the way back; what went over it and those behind is not needed any more.
    pub fn put_reverse<B: Backend>(
        &self,
        backend: &B,
        state: &ReverseState<B>,
        layers: &[LayerScore],
        losses: &[f64],
    ) -> Result<()> {
        let mut buffers = vec![];
        for (chunk, (gradients, deep)) in state.gradients.iter().zip(&state.deep).enumerate() {
            buffers.extend(gradients.iter().map(|gradients| (BufferRole::Gradient, chunk, gradients)));
            buffers.extend(deep.iter().map(|deep| (BufferRole::DeepGradient, chunk, deep)));
        }
        let findings = StepFindings {
            at: file_name(state.at),
            layers: layers.to_vec(),
            losses: losses.to_vec(),
            groups: 0,
        };
        self.write(REVERSE, &findings, backend, &buffers)?;
        self.remove(&self.directory.join(&findings.at))
    }

    /// Where the run stood on the way back.
    pub fn reverse<B: Backend>(
        &self,
        backend: &B,
        at: usize,
        file: &StepFile,
        chunks: usize,
    ) -> Result<ReverseState<B>> {
        let mut gradients: Vec<Option<B::Buffer>> = (0..chunks).map(|_| None).collect();
        let mut deep: Vec<Vec<B::Buffer>> = (0..chunks).map(|_| vec![]).collect();
        let read = |role| file.values(role, None).ok_or_else(|| self.damaged(REVERSE));
        for (chunk, values) in read(BufferRole::Gradient)? {
            gradients[chunk] = Some(backend.upload(values));
        }
        for (chunk, values) in read(BufferRole::DeepGradient)? {
            deep[chunk].push(backend.upload(values));
        }
        Ok(ReverseState { at: self.borders[at], gradients, deep })
    }

    /// Notes that so many groups have their scores.
    pub fn put_groups<B: Backend>(
        &self,
        backend: &B,
        groups: usize,
        layers: &[LayerScore],
        losses: &[f64],
    ) -> Result<()> {
        let findings =
            StepFindings { at: GROUPS.into(), layers: layers.to_vec(), losses: losses.to_vec(), groups };
        self.write(GROUPS, &findings, backend, &[])
    }

    /// Borders that are on record already, some of them in memory as well.
    pub fn borders<B: Backend>(&'r self) -> RecordedBorders<'r, B> {
        RecordedBorders { recording: self, held: 0, kept: HashMap::new() }
    }
}

/// Borders that are on record by the time that they are put here.
pub(super) struct RecordedBorders<'r, B: Backend> {
    recording: &'r Recording<'r>,
    held: u64,
    kept: HashMap<(Border, usize), B::Buffer>,
}

impl<B: Backend> Borders<B> for RecordedBorders<'_, B> {
    fn put(&mut self, backend: &B, border: Border, chunk: usize, values: B::Buffer) -> Result<()> {
        let bytes = backend.length(&values) as u64 * 4;
        if self.held + bytes <= self.recording.memory {
            self.held += bytes;
            self.kept.insert((border, chunk), values);
        }
        Ok(())
    }

    fn take(&mut self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        match self.kept.remove(&(border, chunk)) {
            Some(values) => {
                self.held -= backend.length(&values) as u64 * 4;
                Ok(values)
            }
            None => self.recording.hidden(backend, border, chunk),
        }
    }

    fn copy(&self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        match self.kept.get(&(border, chunk)) {
            Some(values) => Ok(backend.copy(values)),
            None => self.recording.hidden(backend, border, chunk),
        }
    }
}

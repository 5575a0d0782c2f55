//! `qlua diff`: what sets two checkpoints or two manifests apart, with exit code 3 when something does.

mod checkpoints;
mod manifests;
mod tables;

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};

use super::built_in::Said;
use super::console::{answer, as_json, json_flag};
use super::directories;
use crate::checkpoint::hub;
use crate::diff::{diff_checkpoints, diff_manifests};
use crate::error::{Error, Result};
use crate::input;
use crate::manifest::Manifest;
use crate::model::Model;

/// Exit code when something differs.
const DIFFERENT: u8 = 3;

pub(super) fn declare(command: Command) -> Command {
    let side = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .value_name(name)
            .required(true)
            .value_hint(ValueHint::AnyPath)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    command
        .arg(side("A", "A checkpoint directory, plain or quantised by any tool, or a manifest"))
        .arg(side("B", "What it is compared with, of the same kind; differences are those from A"))
        .arg(json_flag("Print everything that differs as JSON; without it, tables show the worst few"))
        .arg(directories::threads())
        .after_help("Exit code 0 when they are the same, 3 when they differ.")
}

pub(super) fn diff(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    directories::bound_threads(&mut values)?;
    let (Some(a), Some(b)) = (values.remove_one::<PathBuf>("A"), values.remove_one::<PathBuf>("B")) else {
        return Ok(2);
    };
    let is_json = as_json(&values);
    said.debug(|| format!("compares {} with {}", a.display(), b.display()));
    let is_same = match (kind(&a)?, kind(&b)?) {
        (ComparedKind::Checkpoint, ComparedKind::Checkpoint) => {
            let found = diff_checkpoints(&Model::open(&a)?, &Model::open(&b)?)?;
            answer(said, is_json.then(|| found.to_json()).as_ref(), &checkpoints::text(&found))?;
            found.is_same()
        }
        (ComparedKind::Manifest, ComparedKind::Manifest) => {
            let found = diff_manifests(&Manifest::open(&a)?, &Manifest::open(&b)?)?;
            answer(said, is_json.then(|| found.to_json()).as_ref(), &manifests::text(&found))?;
            found.is_same()
        }
        (one, _) => {
            let (directory, file) = if one == ComparedKind::Checkpoint { (a, b) } else { (b, a) };
            let problem = format!("`{}` is a directory and `{}` a file", directory.display(), file.display());
            return Err(Error::usage(problem)
                .with_hint("compare a checkpoint directory with another, or a manifest with another")
                .into());
        }
    };
    Ok(if is_same { 0 } else { DIFFERENT })
}

/// What a path is taken for.
#[derive(Clone, Copy, PartialEq)]
enum ComparedKind {
    Checkpoint,
    Manifest,
}

fn kind(path: &Path) -> Result<ComparedKind> {
    let directory = hub::directory(path)?;
    let found = directory.metadata().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("`{}` does not exist", path.display()))
            .with_hint("name two checkpoint directories or two manifests"),
        _ => Error::io("read", path, error),
    })?;
    if found.is_dir() {
        return Ok(ComparedKind::Checkpoint);
    }
    input::require_regular(path, found.file_type())?;
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let problem = format!("`{}` is a weight file, not a manifest", path.display());
        return Err(Error::usage(problem).with_hint("name the directory that it is in"));
    }
    Ok(ComparedKind::Manifest)
}

//! `qlua.fs`: files and paths. Nothing here removes anything.

mod search;

use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mlua::{BString, LuaString};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::interrupt::Cleanup;
use crate::lua::declare::{Function, Namespace, Options, PathUse};
use crate::lua::{Call, Type, state};
use crate::write::{require_no_dangling_link, require_writable};
use search::search;

pub(super) fn declare() -> Namespace {
    Namespace::new("fs", "Files and paths. Lists are sorted, files are written whole or not at all, nothing is removed.")
        .function(
            read("exists", "Whether there is something at `path`; a broken link is nothing.")
                .returns(Type::Boolean, "true for a file or directory")
                .example("assert(not qlua.fs.exists(\"missing.json\"))"),
            |call| Ok(call.get::<PathBuf>("path")?.exists()),
        )
        .function(
            read("is_dir", "Whether `path` is a directory, or a link to one.")
                .returns(Type::Boolean, "true for a directory")
                .example("assert(qlua.fs.is_dir(\".\"))"),
            |call| Ok(call.get::<PathBuf>("path")?.is_dir()),
        )
        .function(
            read("list", "The names in a directory, sorted byte by byte, without `.` and `..`.")
                .returns(Type::List(&Type::String), "names without the directory")
                .raises("`path` is no directory or cannot be read")
                .example("assert(#qlua.fs.list(\".\") == 0)"),
            list,
        )
        .function(
            Function::new("glob", "The files and directories that a pattern matches, sorted byte by byte.")
                .param(
                    "pattern",
                    Type::String,
                    "`*` and `?` match within a name, `[ab]` a set, `**` any number of directories, links to some not counted",
                )
                .returns(Type::List(&Type::Path), "paths; empty when nothing matches")
                .raises("the pattern does not parse")
                .raises("a directory cannot be read")
                .example("assert(#qlua.fs.glob(\"*.json\") == 0)"),
            glob_paths,
        )
        .function(
            read("read", "The content of a file, as it is.")
                .returns(Type::Bytes, "all bytes")
                .raises("the file cannot be read, is no regular file, or is larger than 4 GiB")
                .example("qlua.fs.write(\"note.txt\", \"hello\")\nassert(qlua.fs.read(\"note.txt\") == \"hello\")"),
            |call| {
                let path: PathBuf = call.get("path")?;
                Ok(BString::from(input::read(&path, InputKind::Data)?))
            },
        )
        .function(
            path(
                "write",
                "Writes a file: whole or not at all. Only a regular file is replaced, and keeps its mode; of a link, what it \
                 leads to.",
            )
                .used_for(PathUse::Write)
                .param("content", Type::Bytes, "all bytes")
                .options(
                    Options::new()
                        .default("overwrite", Type::Boolean, false, "whether to replace a file that is there")
                        .default("parents", Type::Boolean, false, "whether to make missing directories"),
                )
                .raises("the file is there already and `overwrite` is not set")
                .raises("the file cannot be written")
                .example(
                    "qlua.fs.write(\"a.txt\", \"one\")\n\
                     assert(not pcall(qlua.fs.write, \"a.txt\", \"two\"))\n\
                     qlua.fs.write(\"a.txt\", \"two\", { overwrite = true })",
                ),
            |call| {
                let (path, content): (PathBuf, LuaString) = (call.get("path")?, call.get("content")?);
                if call.get("parents")? {
                    let folder = folder_of(&path);
                    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
                }
                let overwrite = call.get("overwrite")?;
                Ok(call.uninterrupted(|| write_whole(&path, &content.as_bytes(), overwrite))?)
            },
        )
        .function(
            path("check_place", "Raises where `write` would, and writes nothing: for what takes long to make.")
                .used_for(PathUse::Write)
                .options(Options::new().default("overwrite", Type::Boolean, false, "whether to replace a file that is there"))
                .raises("the file is there already and `overwrite` is not set")
                .raises("the file could not be written")
                .example("qlua.fs.check_place(\"a.txt\")\nassert(not qlua.fs.exists(\"a.txt\"))"),
            |call| {
                let path: PathBuf = call.get("path")?;
                Ok(require_place(&path, call.get("overwrite")?)?)
            },
        )
        .function(
            Function::new("join", "Joins parts of a path; a part that begins with `/` begins anew.")
                .param("first", Type::Path, "the first part")
                .used_for(PathUse::Text)
                .variadic("...", Type::Path, "further parts")
                .used_for(PathUse::Text)
                .returns(Type::Path, "the path")
                .example("assert(qlua.fs.join(\"models\", \"qwen\", \"config.json\") == \"models/qwen/config.json\")"),
            |call| {
                let mut path: PathBuf = call.get("first")?;
                for part in call.rest() {
                    path.push(mlua::FromLua::from_lua(part.clone(), call.lua()).map(|p: PathBuf| p)?);
                }
                Ok(path)
            },
        )
        .function(
            text("basename", "The last part of a path; a trailing `/` does not count.")
                .returns(Type::String, "the name; empty for `/` and `..`")
                .example("assert(qlua.fs.basename(\"models/qwen/\") == \"qwen\")"),
            |call| Ok(call.get::<PathBuf>("path")?.file_name().unwrap_or_default().to_os_string()),
        )
        .function(
            text("dirname", "A path without its last part.")
                .returns(Type::Path, "the directory; `.` where the path has one part only")
                .example("assert(qlua.fs.dirname(\"models/qwen\") == \"models\")\nassert(qlua.fs.dirname(\"a\") == \".\")"),
            |call| Ok(folder_of(&call.get::<PathBuf>("path")?).to_path_buf()),
        )
}

fn path(name: &'static str, doc: &'static str) -> Function {
    Function::new(name, doc).param("path", Type::Path, "relative to the current directory, or absolute")
}

fn read(name: &'static str, doc: &'static str) -> Function {
    path(name, doc).used_for(PathUse::Read)
}

fn text(name: &'static str, doc: &'static str) -> Function {
    path(name, doc).used_for(PathUse::Text)
}

fn list(call: &Call) -> anyhow::Result<Vec<BString>> {
    let path: PathBuf = call.get("path")?;
    let entries = std::fs::read_dir(&path).map_err(|e| Error::io("read", &path, e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read", &path, e))?;
        names.push(BString::from(entry.file_name().into_vec()));
    }
    names.sort();
    Ok(names)
}

fn glob_paths(call: &Call) -> anyhow::Result<Vec<BString>> {
    let pattern: String = call.get("pattern")?;
    let found = state::with(call.lua(), |state| search(&pattern, state.roots.as_ref()))
        .map_err(|e| call.refuse("pattern", format!("does not parse: {}", e.msg)))??;
    let mut paths: Vec<BString> =
        found.into_iter().map(|path| BString::from(path.into_os_string().into_vec())).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Fails when [`write_whole`] would: what takes long to make is not made for nothing.
///
/// # Errors
/// [`Error::Exists`] and [`Error::Refused`] as there; [`Error::NotFound`] when there is no such folder.
pub(super) fn require_place(path: &Path, overwrite: bool) -> Result<()> {
    require_no_dangling_link(path)?;
    let there = std::fs::metadata(path).ok();
    match there.map(|there| input::special(there.file_type())) {
        Some(Some(what)) => {
            return Err(Error::exists(path, format!("is {what}, and only regular files are replaced")));
        }
        Some(None) if !overwrite => return Err(exists_already(path)),
        _ => {}
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(Error::not_found(format!("there is no directory `{}`", folder.display()))
            .with_hint("make it first; a relative path begins in the current directory"));
    }
    require_writable(folder)
}

fn exists_already(path: &Path) -> Error {
    Error::exists(path, "exists already").with_hint("pass { overwrite = true } to replace it")
}

/// Writes `content` beside `path` first and renames it into place, so that nobody sees half a file.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and `overwrite` is false, or is no regular file; [`Error::Refused`] when it is a link to
/// nothing; [`Error::Io`] when it cannot be written.
pub(super) fn write_whole(path: &Path, content: &[u8], overwrite: bool) -> Result<()> {
    write_whole_by(None, path, content, overwrite)
}

/// [`write_whole`] by way of a file in the directory `staging`, which lies on the same file system as the place of `path`: who is
/// killed leaves nothing elsewhere.
pub(super) fn write_whole_by(
    staging: Option<&Path>,
    path: &Path,
    content: &[u8],
    overwrite: bool,
) -> Result<()> {
    let fail = |e| Error::io("write", path, e);
    require_no_dangling_link(path)?;
    let there = std::fs::metadata(path).ok();
    if let Some(what) = there.as_ref().and_then(|there| input::special(there.file_type())) {
        return Err(Error::exists(path, format!("is {what}, and only regular files are replaced")));
    }
    // What a link leads to is replaced, not the link.
    let resolved = if path.is_symlink() { std::fs::canonicalize(path).map_err(fail)? } else { path.into() };
    // What a link leads to may lie elsewhere.
    let staging = staging.filter(|_| !path.is_symlink());
    let path = &*resolved;
    let make = || {
        tempfile::Builder::new()
            .prefix(".qlua-")
            // The umask applies, as for any new file.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(staging.unwrap_or_else(|| folder_of(path)))
            .map_err(fail)
    };
    // Who ends the process at once leaves nothing behind.
    let removal = |file: &NamedTempFile| {
        let unfinished = file.path().to_path_buf();
        move || drop(std::fs::remove_file(&unfinished))
    };
    let (mut file, cleanup) = Cleanup::make(make, removal)?;
    if let Some(there) = there {
        file.as_file().set_permissions(there.permissions()).map_err(fail)?;
    }
    file.write_all(content).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    let rename = || if overwrite { file.persist(path) } else { file.persist_noclobber(path) };
    let renamed = cleanup.conclude(rename);
    match renamed {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists_already(path)),
        Err(e) => Err(fail(e.error)),
    }
}

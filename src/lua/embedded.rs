//! The scripts that are part of the binary.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A script that is part of the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Its path in the repository, such as `scripts/all_layers_topx.lua`.
    pub path: &'static str,
    /// Its text.
    pub source: &'static str,
}

impl Embedded {
    /// The name on the command line: the file's name without `.lua`.
    pub fn name(&self) -> &'static str {
        let file = self.path.rsplit('/').next().unwrap_or(self.path);
        file.strip_suffix(".lua").unwrap_or(file)
    }

    /// The first `--- …` line, without the dashes.
    pub fn headline(&self) -> &'static str {
        let line = self.source.lines().find(|line| !line.starts_with("#!")).unwrap_or("");
        line.strip_prefix("---").map_or("", |text| text.trim_start_matches('-').trim())
    }

    /// The name of its chunk, as positions show it.
    pub fn chunk_name(&self) -> String {
        format!("@built-in:{}", self.path)
    }

    /// Whether it is a module for `require` instead of a script to run.
    pub fn is_module(&self) -> bool {
        self.path.matches('/').count() > 1
    }
}

/// The scripts that can be run by name: policies first, then examples, each by name.
pub fn scripts() -> impl Iterator<Item = &'static Embedded> + Clone {
    let folder =
        |folder: &'static str| EMBEDDED.iter().filter(move |e| !e.is_module() && e.path.starts_with(folder));
    folder("scripts/").chain(folder("examples/"))
}

/// The script that `qlua NAME` runs.
pub fn script(name: &str) -> Option<&'static Embedded> {
    scripts().find(|e| e.name() == name)
}

/// The script or module at `path` in the repository.
pub fn at(path: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|e| e.path == path)
}

/// The module that `require "lib.…"` finds when no file beside the script has that name.
pub fn module(name: &str) -> Option<&'static Embedded> {
    let path = format!("scripts/{}.lua", name.replace('.', "/"));
    EMBEDDED.iter().find(|e| e.is_module() && e.path == path)
}

/// The names of all modules, as `require` takes them.
pub fn modules() -> impl Iterator<Item = String> {
    EMBEDDED.iter().filter(|e| e.is_module()).filter_map(|e| {
        let path = e.path.strip_prefix("scripts/")?.strip_suffix(".lua")?;
        Some(path.replace('/', "."))
    })
}

//! Which file uses which: every path is followed through aliases and re-exports to the file that defines what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::source::{PlacedPath, Source, UsedName, joined};

/// A file by its module path below the crate, such as `write::pass::target`; lib.rs is the empty one.
pub type Module = String;

/// So many aliases of aliases are followed.
const ALIASES: usize = 8;

/// Something that names others.
enum Read<'a> {
    Use(&'a UsedName),
    Path(&'a PlacedPath),
}

/// The files of the crate, but main.rs and what is compiled for tests alone.
pub struct Crate {
    pub sources: BTreeMap<Module, Source>,
}

impl Crate {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let below = path.strip_prefix(&root).unwrap().with_extension("");
                    let mut parts: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).collect();
                    if matches!(parts.last(), Some(&"mod")) || parts == ["lib"] {
                        parts.pop();
                    }
                    if parts != ["main"] {
                        files.push((parts.join("::"), fs::read_to_string(&path).unwrap()));
                    }
                }
            }
        }
        Self::of(files.iter().map(|(module, text)| (&**module, &**text)))
    }

    /// A crate of these modules and their texts.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources: BTreeMap<Module, Source> =
            files.into_iter().map(|(module, text)| (module.to_string(), Source::of(module, text))).collect();
        let tests: Vec<Module> = sources.values().flat_map(|source| source.tests.clone()).collect();
        let is_test = |module: &str| {
            let below = |test: &String| {
                module.strip_prefix(&**test).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            tests.iter().any(below)
        };
        sources.retain(|module, _| !is_test(module));
        Crate { sources }
    }

    /// What each file uses, by the files that define it. One that uses lib.rs itself, and not what lib.rs passes on, uses the
    /// empty module.
    pub fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        self.collect(|_, _| true)
    }

    /// What each file needs: what it uses, but not what is below it and only passed on. Files `naming` do not need what they
    /// call by the name of a module right below them either.
    pub fn needs(&self, naming: &[&str]) -> BTreeMap<Module, BTreeSet<Module>> {
        let below = |path: &PlacedPath, target: &Module| {
            target
                .strip_prefix(&*path.module)
                .is_some_and(|rest| path.module.is_empty() || rest.starts_with("::"))
        };
        let is_named = |path: &PlacedPath| {
            let file = self.file_around(&path.module);
            naming.contains(&file) && self.sources.contains_key(&joined(&path.module, &path.path[0]))
        };
        let is_passed_on = |used: &UsedName, target: &Module| used.passed_on && below(&used.from, target);
        self.collect(|read, target| match read {
            Read::Use(used) => !is_passed_on(used, target),
            Read::Path(path) => !is_named(path),
        })
    }

    fn collect(&self, counts: impl Fn(&Read, &Module) -> bool) -> BTreeMap<Module, BTreeSet<Module>> {
        let arrows = self.sources.iter().map(|(module, source)| {
            let mut files = BTreeSet::new();
            for read in source.uses.iter().map(Read::Use).chain(source.paths.iter().map(Read::Path)) {
                let path = match read {
                    Read::Use(used) => &used.from,
                    Read::Path(path) => path,
                };
                let targets = self.absolute(path, ALIASES);
                let targets = targets.iter().flat_map(|path| self.files_of(path, ALIASES));
                files.extend(targets.filter(|target| target != module && counts(&read, target)));
            }
            (module.clone(), files)
        });
        arrows.collect()
    }

    /// What is brought into `module`, which may be one that is written out in a file, under `name`.
    fn used(&self, module: &str, name: &str) -> impl Iterator<Item = &UsedName> {
        let file = self.file_around(module);
        let uses = self.sources.get(file).into_iter().flat_map(|source| &source.uses);
        uses.filter(move |used| used.name == name && used.from.module == module)
    }

    /// The file that `module` is written in.
    fn file_around<'a>(&self, module: &'a str) -> &'a str {
        let mut file = module;
        while !file.is_empty() && !self.sources.contains_key(file) {
            file = file.rsplit_once("::").map_or("", |(outer, _)| outer);
        }
        file
    }

    /// The paths from the crate's root that `placed` may mean; none for other crates. There are several where a name is brought
    /// in more than once, such as a macro and a module of one name.
    fn absolute(&self, placed: &PlacedPath, aliases: usize) -> Vec<Vec<String>> {
        let PlacedPath { module, path } = placed;
        let mut base: Vec<String> =
            module.split("::").filter(|part| !part.is_empty()).map(String::from).collect();
        let mut rest = &path[..];
        match &*path[0] {
            "::" => return Vec::new(),
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" | "super" => {
                while let Some(first) = rest.first().filter(|part| matches!(&***part, "self" | "super")) {
                    if first == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
            }
            first => return self.by_name(module, first, &rest[1..], aliases),
        }
        base.extend(rest.iter().filter(|part| *part != "self").cloned());
        vec![base]
    }

    /// What `name` followed by `rest` means in `module`: a module below it, or what `use` brings in.
    fn by_name(&self, module: &str, name: &str, rest: &[String], aliases: usize) -> Vec<Vec<String>> {
        let Some(aliases) = aliases.checked_sub(1) else { return Vec::new() };
        let with_rest = |mut path: Vec<String>| {
            path.extend(rest.iter().filter(|part| *part != "self").cloned());
            path
        };
        let mut found: Vec<Vec<String>> = self
            .used(module, name)
            .flat_map(|used| self.absolute(&used.from, aliases))
            .map(with_rest)
            .collect();
        let child = joined(module, name);
        if self.sources.contains_key(&child) {
            found.push(with_rest(child.split("::").map(String::from).collect()));
        }
        if found.is_empty() {
            for glob in self.used(module, "*") {
                for mut target in self.absolute(&glob.from, aliases) {
                    target.pop();
                    let target = target.join("::");
                    let is_there = self.sources.contains_key(&joined(&target, name))
                        || self.used(&target, name).next().is_some();
                    if target != module && is_there {
                        found.extend(self.by_name(&target, name, rest, aliases));
                    }
                }
            }
        }
        found
    }

    /// The files that define what `path` names: where it is passed on, those that it comes from.
    fn files_of(&self, path: &[String], aliases: usize) -> BTreeSet<Module> {
        let depth =
            (0..=path.len()).rev().find(|&n| self.sources.contains_key(&path[..n].join("::"))).unwrap_or(0);
        let module = path[..depth].join("::");
        let own = || BTreeSet::from([module.clone()]);
        let (Some(item), Some(aliases)) =
            (path.get(depth).filter(|item| *item != "*"), aliases.checked_sub(1))
        else {
            return own();
        };
        let Some(source) = self.sources.get(&module) else { return own() };
        let mut files = BTreeSet::new();
        if source.defines(item) {
            files.insert(module.clone());
        }
        for used in self.used(&module, item) {
            for mut target in self.absolute(&used.from, aliases) {
                target.extend_from_slice(&path[depth + 1..]);
                if target != path {
                    files.extend(self.files_of(&target, aliases));
                }
            }
        }
        if files.is_empty() {
            for glob in self.used(&module, "*") {
                for mut target in self.absolute(&glob.from, aliases) {
                    target.pop();
                    let outer = target.join("::");
                    target.extend_from_slice(&path[depth..]);
                    let holds = |file: &Module| *file != outer || self.sources[file].defines(item);
                    if outer != module && self.sources.contains_key(&outer) {
                        files.extend(self.files_of(&target, aliases).into_iter().filter(holds));
                    }
                }
            }
        }
        if files.is_empty() { own() } else { files }
    }
}

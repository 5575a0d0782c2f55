//! Who reads a page and tries all of it, in a folder with the files that the pages speak of.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::page::{Block, blocks};
use super::root;

/// First words of commands that are run.
const RUN: &[&str] = &["qlua"];

/// First words of commands that no test runs, and why. What is in neither list fails the test.
const LEFT_OUT: &[(&str, &str)] = &[
    ("cargo", "builds qlua, or runs the tests; `cargo run --release -- SCRIPT` is run as `qlua SCRIPT`"),
    ("export", "sets up the `cargo` after it"),
    ("vllm", "needs vLLM; that the scheme is there and is read by it is looked at"),
    ("python", "needs SGLang; that the scheme is there and is read by it is looked at"),
    ("docker", "needs a daemon"),
    ("bwrap", "needs bubblewrap"),
];

/// Languages of blocks that are shown and not run.
const SHOWN: &[&str] = &["", "json", "python"];

/// What stands before the path of a served scheme, by engine.
const SERVING: [(&str, &str); 2] =
    [("vllm", "vllm serve "), ("sglang", "python -m sglang.launch_server --model-path ")];

/// How much of a page was run.
#[derive(Debug, Default)]
pub struct Tally {
    pub commands: usize,
    pub scripts: usize,
    /// How many commands were left out, by first word.
    pub left_out: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.commands += other.commands;
        self.scripts += other.scripts;
        for (word, count) in other.left_out {
            *self.left_out.entry(word).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} commands and {} blocks of Lua run", self.commands, self.scripts)?;
        for (at, (word, count)) in self.left_out.iter().enumerate() {
            write!(f, "{}{count} of {word}", if at == 0 { "; left out: " } else { ", " })?;
        }
        Ok(())
    }
}

/// A folder to try a page in.
pub struct Reader(TempDir);

impl Reader {
    /// With everything that the pages take for granted.
    pub fn new() -> Self {
        let reader = Reader(tempfile::tempdir().unwrap());
        let demo = reader.path("demo");
        qlua::demo::build(&demo).unwrap();
        fs::create_dir_all(reader.path("models/qwen")).unwrap();
        for entry in fs::read_dir(demo.join("model")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), reader.path("models/qwen").join(entry.file_name())).unwrap();
        }
        fs::copy(demo.join("manifest.json"), reader.path("models/qwen.json")).unwrap();
        fs::rename(demo.join("model"), reader.path("Qwen2.5-VL-3B-Instruct")).unwrap();
        fs::rename(demo.join("manifest.json"), reader.path("manifest.json")).unwrap();
        fs::remove_dir_all(demo).unwrap();
        for folder in ["scripts", "examples"] {
            symlink(root().join(folder), reader.path(folder)).unwrap();
        }
        fs::create_dir(reader.path("out")).unwrap();
        fs::create_dir(reader.path("coco")).unwrap();
        fs::write(reader.path("captions.txt"), "A cat on a mat.\nTwo dogs in the sun.\n").unwrap();
        fs::write(reader.path("layers.txt"), "*.o_proj\n!*.layers.0.*\n").unwrap();
        fs::write(reader.path("wiki.test.raw"), "The sea is wide and the night is long. ".repeat(60))
            .unwrap();
        picture(&reader.path("cat.png"), 5);
        reader.pairs("coco.db", &["A red bus.", "The sea at night."]);
        reader.pairs("val.db", &["A man with a kite.", "Three cups on a table."]);
        reader
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Pictures with captions, as an SQLite file.
    fn pairs(&self, name: &str, captions: &[&str]) {
        let database = rusqlite::Connection::open(self.path(name)).unwrap();
        let table =
            "CREATE TABLE vlm_calib_samples (id INTEGER, split TEXT, image_relpath TEXT, caption TEXT)";
        database.execute(table, []).unwrap();
        for (at, caption) in captions.iter().enumerate() {
            let file = format!("{name}-{at}.png");
            picture(&self.path("coco").join(&file), at);
            let row = "INSERT INTO vlm_calib_samples VALUES (?1, 'calib', ?2, ?3)";
            database.execute(row, (at as i64, file, caption)).unwrap();
        }
    }

    fn shell(&self, command: &str) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_qlua")).parent().unwrap().to_str().unwrap();
        let paths = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("bash");
        shell.args(["-c", command]).current_dir(&self.0).stdin(Stdio::null()).env("PATH", paths);
        shell.env("XDG_DATA_HOME", self.path("data")).env_remove("COLUMNS").output().unwrap()
    }

    /// Runs `command`, which must end with `code`.
    fn run(&self, command: &str, code: i32) -> Result<(), String> {
        let output = self.shell(command);
        match output.status.code() {
            Some(found) if found == code => Ok(()),
            found => {
                let found = found.map_or("a signal".into(), |found| format!("exit code {found}"));
                let said =
                    [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
                Err(format!("`{command}` ends with {found} instead of {code}:\n{}", said.concat()))
            }
        }
    }

    /// Tries all of `page`; an error begins with the number of a line.
    pub fn read(&self, page: &str) -> Result<Tally, String> {
        let (blocks, _) = blocks(page)?;
        let mut tally = Tally::default();
        let mut served = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            let outcome = match block.language {
                "sh" | "bash" | "console" => self.commands(block, &mut tally, &mut served),
                "lua" => self.script(block, &blocks[at + 1..], &mut tally),
                "toml" => self.recipe(block, &blocks[at + 1..]),
                shown if SHOWN.contains(&shown) => Ok(()),
                other => Err(format!("a block in `{other}`, which no test knows")),
            };
            outcome.map_err(|problem| format!("{}: {problem}", block.line))?;
        }
        served.iter().try_for_each(|(line, command)| {
            self.serves(command).map_err(|problem| format!("{line}: {problem}"))
        })?;
        Ok(tally)
    }

    fn commands(
        &self,
        block: &Block,
        tally: &mut Tally,
        served: &mut Vec<(usize, String)>,
    ) -> Result<(), String> {
        for command in block.commands() {
            let command = command.replacen("cargo run --release -- ", "qlua ", 1);
            let first = command.split_whitespace().next().unwrap_or_default();
            if RUN.contains(&first) {
                self.run(&command, expected_code(&command))?;
                tally.commands += 1;
            } else if let Some((word, _)) = LEFT_OUT.iter().find(|(word, _)| *word == first) {
                *tally.left_out.entry(word).or_default() += 1;
                served.push((block.line, command));
            } else {
                return Err(format!(
                    "nobody knows the command `{first}`: run it, or say why not, in tests/documents/reader.rs"
                ));
            }
        }
        Ok(())
    }

    /// Runs a block of Lua, or saves it under the name that it has, for the blocks after it to run.
    fn script(&self, block: &Block, rest: &[Block], tally: &mut Tally) -> Result<(), String> {
        tally.scripts += 1;
        let Some(name) = block.file_name() else {
            let name = format!("block-{}.lua", block.line);
            fs::write(self.path(&name), &block.text).unwrap();
            return self.run(&format!("qlua {name}"), 0);
        };
        self.save(name, block, rest)
    }

    /// Saves a recipe, for the blocks after it to run.
    fn recipe(&self, block: &Block, rest: &[Block]) -> Result<(), String> {
        let name = block.file_name().ok_or("a recipe without a name in its first line")?;
        self.save(name, block, rest)
    }

    fn save(&self, name: &str, block: &Block, rest: &[Block]) -> Result<(), String> {
        fs::write(self.path(name), &block.text).unwrap();
        match rest.iter().any(|block| !SHOWN.contains(&block.language) && block.text.contains(name)) {
            true => Ok(()),
            false => Err(format!("`{name}` is never run")),
        }
    }

    /// Holds a command that serves a scheme against the report of its folder.
    fn serves(&self, command: &str) -> Result<(), String> {
        let command = command.split(" #").next().unwrap().trim();
        let found = SERVING.iter().find_map(|(engine, before)| Some((engine, command.strip_prefix(before)?)));
        let Some((engine, directory)) = found else { return Ok(()) };
        let (folder, name) = directory.rsplit_once('/').unwrap_or((".", directory));
        if !self.path(directory).join("config.json").exists() {
            return Err(format!("no block writes {directory}, which `{command}` serves"));
        }
        let output = self.shell(&format!("qlua -q report --json {folder}"));
        let report: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
        let sweeps = report["sweeps"].as_array().unwrap();
        let mut schemes = sweeps.iter().flat_map(|sweep| sweep["schemes"].as_array().unwrap());
        let scheme =
            schemes.find(|scheme| scheme["name"] == name).ok_or(format!("{name} is on no record"))?;
        let serving = scheme["origin"]["serving"].as_array().unwrap();
        let told = serving.iter().find(|serving| serving["engine"] == *engine).unwrap();
        let here = command.replace(&format!("{folder}/"), "./");
        match told["reads"] == true && told["command"] == here {
            true => Ok(()),
            false => Err(format!("`{command}`: the report says {told}")),
        }
    }
}

/// The exit code that a command's comment tells of: `# … (exit code 3)`; 0 where it tells of none.
fn expected_code(command: &str) -> i32 {
    let comment = command.split_once(" #").map_or("", |(_, comment)| comment);
    let told = comment.split_once("(exit code ").and_then(|(_, code)| code.split_once(')')?.0.parse().ok());
    told.unwrap_or(0)
}

/// A small picture with a gradient.
fn picture(path: &Path, seed: usize) {
    let (width, height) = (56, 56);
    let mut encoder = png::Encoder::new(BufWriter::new(fs::File::create(path).unwrap()), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let pixel = |at: u32| [(at % width * 4) as u8, (at / width * 4) as u8, (seed * 40 % 256) as u8];
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

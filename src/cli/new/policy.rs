//! The text of a new policy: that of a built-in script under another name, with what its lines do.

use std::fmt::Write as _;
use std::path::Path;

use crate::lua::embedded::Embedded;

/// What has a shell run a script by its name.
const SHEBANG: &str = "#!/usr/bin/env qlua";

/// What schemes of built-in policies begin with.
const SCHEMES: &str = "\"fp8_autoquant_";

/// What stands above the first line that has the code before it.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "require \"lib.sweep\"",
        "What all policies share: the options of the command line, the ranking, the run. It is part of qlua.",
    ),
    (
        "sweep.options(",
        "The command line: name, what the policy does, and options beside those that every policy has, such as\n\
         { name = \"keep\", type = \"integer\", default = 1, doc = \"blocks that stay in BF16\" } for `--keep`, then `opts.keep`.",
    ),
    (
        "sweep.family(",
        "`opts.exclude` and `opts.include` are lists of globs. Without its first dashes the next line adds to one:\n\
         opts.exclude[#opts.exclude + 1] = \"*.o_proj\"   -- leaves these layers in BF16\n\
         The schemes of this run, which share their files. `family.manifest.groups` are all recipe groups; a group has\n\
         `name`, `tower`, `block`, `kind`, `score`, `parameters`, … (`qlua doc Group`).",
    ),
    (
        "sweep.ranking(",
        "The groups in the order in which they become FP8: least sensitive first, unless --order says otherwise. A\n\
         third argument, such as `function(group) return group.kind ~= \"o_proj\" end`, leaves out the groups for which it\n\
         gives false.",
    ),
    (
        "family:add(",
        "One scheme: the name of its directory, and what becomes FP8 in it. All else stays as in the base checkpoint.\n\
         Selections come from a ranking: ranking:first(10) is the first 10 %, ranking:select(\"*.mlp.*\") what a glob or a\n\
         function chooses; `a | b`, `a & b` and `a - b` put selections together (`qlua doc Ranking`, `qlua doc Selection`).",
    ),
    (
        "sweep.fit(",
        "One scheme: the selection that loses least within a budget, solved exactly (`qlua doc plan.solve`).",
    ),
    (
        "sweep.run(",
        "Plans, writes and checks the schemes, writes the report and prints the table; --dry-run prints alone.",
    ),
];

/// Whether `script` is a policy that writes schemes: it runs on the demo without any options.
pub(super) fn is_sweep(script: &Embedded) -> bool {
    script.source.contains("sweep.run(")
}

/// The text of the script `name`, which is to lie at `path`.
pub(super) fn text(script: &Embedded, name: &str, path: &Path) -> String {
    let own = script.name();
    let path = path.display();
    let mut explained: Vec<&(&str, &str)> = EXPLAINED.iter().collect();
    let mut out = format!("{SHEBANG}\n");
    for line in script.source.lines().filter(|line| *line != SHEBANG) {
        if let Some(headline) = line.strip_prefix("---").filter(|_| !out.contains("\n--- ")) {
            let _ = write!(out, "---{headline}\n--\n-- Made by `qlua new` from the built-in script {own}.\n");
            if is_sweep(script) {
                let _ = writeln!(
                    out,
                    "--   qlua {path}                               on a small demo, which is built"
                );
                let _ = writeln!(
                    out,
                    "--   qlua {path} --dry-run                     the plan, and nothing written"
                );
                let _ = writeln!(out, "--   qlua {path} --model DIR --manifest FILE   the real job");
            }
            let _ = writeln!(out, "--   qlua {path} --help                        all options\n");
            continue;
        }
        if let Some(at) = explained.iter().position(|(code, _)| line.contains(code)) {
            let indent = &line[..line.len() - line.trim_start().len()];
            for comment in explained.remove(at).1.lines() {
                let _ = writeln!(out, "{indent}-- {}", comment.trim_start());
            }
        }
        let line = line
            .replace(SCHEMES, &format!("\"{name}_"))
            .replace(&format!("\"{own}\""), &format!("\"{name}\""));
        let _ = writeln!(out, "{line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lua::embedded;

    #[test]
    fn every_built_in_script_keeps_its_code_and_every_explanation_is_used() {
        let mut unused: Vec<&str> = EXPLAINED.iter().map(|(code, _)| *code).collect();
        for script in embedded::scripts() {
            let text = text(script, "mine", Path::new("mine.lua"));
            assert!(text.starts_with("#!/usr/bin/env qlua\n--- "), "{}: {text}", script.name());
            let code = |text: &str| -> Vec<String> {
                text.lines()
                    .filter(|l| !l.trim_start().starts_with("--") && !l.is_empty() && *l != SHEBANG)
                    .map(String::from)
                    .collect()
            };
            let renamed = script
                .source
                .replace(SCHEMES, "\"mine_")
                .replace(&format!("\"{}\"", script.name()), "\"mine\"");
            assert_eq!(code(&text), code(&renamed), "{}", script.name());
            unused.retain(|code| !script.source.contains(code));
        }
        assert!(unused.is_empty(), "{unused:?}");
    }
}

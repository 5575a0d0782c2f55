//! What the embedded demo promises to the stages after it.

use qlua::demo;
use qlua::manifest::{Manifest, RankingOptions};
use qlua::model::Model;
use qlua::plan::InputScales;

#[test]
fn the_demos_manifest_speaks_of_its_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let demo = demo::build(directory.path()).unwrap();
    let checkpoint = Model::open(&demo.model).unwrap();
    checkpoint.require_unquantised().unwrap();
    let manifest = Manifest::open(&demo.manifest).unwrap();
    assert_eq!(manifest.version(), 4);
    let scales = InputScales::from_amax(&demo.manifest, manifest.amax().unwrap()).unwrap();

    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    assert_eq!(ranking.not_candidates, ["lm_head"]);
    assert!(ranking.unscored.is_empty() && ranking.not_finite.is_empty());

    let mut linears: Vec<&str> = Vec::new();
    for group in ranking.groups() {
        let mut weights = 0;
        for member in &group.members {
            assert!(scales.get(member).is_some(), "{member} has an input scale");
            let module = checkpoint.modules().on_disk(member).unwrap();
            assert_eq!(checkpoint.modules().in_memory(module), *member);
            weights += checkpoint.tensor(&format!("{module}.weight")).unwrap().elements() as u64;
            if checkpoint.modules().is_linear(module) {
                linears.push(module);
            }
        }
        assert_eq!(group.parameters(), Some(weights), "{}", group.name);
    }
    linears.sort_unstable();
    let mut expected: Vec<&str> = checkpoint.modules().linears().collect();
    expected.sort_unstable();
    assert_eq!(linears, expected, "every linear layer is ranked once");
}

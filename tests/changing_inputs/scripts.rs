//! Scripts that compute from a file which is cut short under them, and `inspect`.

use std::fs;

use super::stopped::Running;

/// Every way to compute from a tensor, in a checkpoint whose weights were cut short since it was opened.
const SCRIPT: &str = r#"
local qlua = require "qlua"
local model = qlua.checkpoint.open("model")
local name = "model.layers.0.mlp.down_proj.weight"
local weight = model:tensor(name)
local scale = qlua.tensor.from_list{ 1 }
local own = qlua.tensor.from_list({ 1, 2, 3, 4 }, { dtype = "bf16" })
for number = 1, 2 do
  assert(os.execute(("truncate -s 9000 model/model-0000%d-of-00002.safetensors"):format(number)))
end
local uses = {
  amax = function() return weight:amax() end,
  stats = function() return weight:stats() end,
  histogram = function() return weight:histogram(8) end,
  tolist = function() return weight:tolist(4) end,
  cast = function() return weight:cast("f32") end,
  equal = function() return weight:equal(own) or weight == weight:slice(1, 2) end,
  ["fp8.amax"] = function() return qlua.fp8.amax(weight) end,
  ["fp8.quantize"] = function() return qlua.fp8.quantize(weight) end,
  ["fp8.error"] = function() return qlua.fp8.error(weight) end,
  ["fp8.quantize with scales"] = function() return qlua.fp8.quantize(weight, { scales = scale }) end,
  from_weights = function() return qlua.manifest.from_weights(model, "weights.json") end,
  copy = function()
    local writer = qlua.export.writer{ out = "copy", base = "model2" }
    writer:add("x", weight)
    writer:copy("*")
    writer:finish()
  end,
}
for use, compute in pairs(uses) do
  local ok, err = pcall(compute)
  print(use, ok, ok or err.kind, ok or err.message)
end
"#;

#[test]
fn whatever_a_script_computes_from_a_file_that_was_cut_short_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    qlua::demo::build(place.path()).unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-r", "model", "model2"])
        .current_dir(place.path())
        .status()
        .unwrap();
    assert!(copied.success());
    fs::write(place.path().join("uses.lua"), SCRIPT).unwrap();
    let ended = Running::start(place.path(), &["uses.lua"]).go_on();
    assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.said);
    let lines: Vec<&str> = ended.said.lines().collect();
    assert_eq!(lines.len(), 12, "{}", ended.said);
    for line in lines {
        assert!(
            line.contains("\tfalse\tchanged\t") && line.contains(".safetensors` was cut short"),
            "{line}"
        );
    }
    assert!(!place.path().join("copy").exists() && !place.path().join("weights.json").exists());
}

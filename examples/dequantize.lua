#!/usr/bin/env qlua
--- Turn any FP8 checkpoint (ModelOpt, compressed-tensors, or fp8 in blocks of any size) back into a plain one: code × scale.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "dequantize",
  about = "Turns an FP8 checkpoint (ModelOpt, compressed-tensors, or fp8 in blocks) back into a plain one: code × scale.",
  options = {
    { name = "dtype", choices = { "bf16", "f16", "f32" }, default = "bf16", doc = "the element type of the weights" },
    { name = "overwrite", flag = true, doc = "replace an existing output" },
  },
  arguments = {
    { name = "dir", type = "directory", required = true, doc = "the FP8 checkpoint" },
    { name = "out", type = "path", required = true, doc = "the directory that will appear" },
  },
}:parse()

local model = qlua.checkpoint.open(opts.dir)
local writer = qlua.export.writer{ out = opts.out, base = model, overwrite = opts.overwrite }
local layers = 0
for _, row in ipairs(model:tensors()) do
  local module, leaf = row.name:match("^(.*)%.([%w_]+)$")
  if row.dtype == "F8_E4M3" then
    writer:dequantize(module, opts.dtype)
    layers = layers + 1
  elseif leaf ~= "weight_scale" and leaf ~= "weight_scale_inv" and leaf ~= "input_scale" then
    writer:copy(row.name)
  end
end
local written = writer:finish()
print(("%s: %s dequantised, %s"):format(written.directory, qlua.report.count(layers, "layer"), qlua.report.bytes(written.bytes)))

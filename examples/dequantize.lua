#!/usr/bin/env qlua
--- Turn an FP8 checkpoint of any tool back into a plain one: code × scale.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "dequantize",
  about = "Turns an FP8 checkpoint of any tool back into a plain one: code × scale.",
  options = {
    { name = "dtype", choices = { "bf16", "f16", "f32" }, default = "bf16", doc = "the element type of the weights" },
    { name = "overwrite", flag = true, doc = "replace an existing output" },
  },
  arguments = {
    { name = "dir", type = "checkpoint", required = true, doc = "the FP8 checkpoint" },
    { name = "out", type = "path", required = true, doc = "the directory that will appear" },
  },
}:parse()

local model = qlua.checkpoint.open(opts.dir)
local writer = qlua.export.writer{ out = opts.out, base = model, overwrite = opts.overwrite }
local layers, unscaled = 0, 0
for _, row in ipairs(model:tensors()) do
  if row.role == "codes" then
    if not writer:dequantize(row.name, opts.dtype) then unscaled = unscaled + 1 end
    layers = layers + 1
  elseif row.role == "plain" then
    writer:copy(row.name)
  end
end
if unscaled > 0 then
  qlua.log.warn("%s without scales, and nothing says how it was made: the codes are taken for the values", qlua.report.count(unscaled, "FP8 tensor"))
end
local written = writer:finish()
print(("%s: %s dequantised, %s"):format(written.directory, qlua.report.count(layers, "layer"), qlua.report.bytes(written.bytes)))

#!/usr/bin/env qlua
--- Score every group by what quantisation does to its weights: a manifest without a calibration run.
local qlua = require "qlua"
local words = require "lib.words"

local opts = qlua.cli.parser{
  name = "weight_sensitivity",
  about = "Scores every group by what quantisation does to its weights: a manifest without a calibration run.",
  options = {
    { name = "out", metavar = "FILE", type = "path", default = "weight_error_quant_manifest.json", doc = "where the manifest goes" },
    { name = "formats", metavar = "LIST", default = "tensor,channel,block", doc = "scales for a tensor, each row, each 128×128 block" },
    { name = "compare", metavar = "FILE", type = "path", doc = "an AutoQuant manifest: prints the rank correlation with it" },
    { name = "device", metavar = "NAME", default = "auto", doc = "auto, cpu, cuda or cuda:N" },
    { name = "overwrite", flag = true, doc = "replace an existing manifest" },
  },
  arguments = { { name = "model", type = "path", required = true, doc = "the base checkpoint" } },
}:parse()

if qlua.fs.exists(opts.out) and not opts.overwrite then
  error{ kind = "usage", message = ("`%s` exists already"):format(opts.out), hint = "pass --overwrite, or another --out" }
end
qlua.log.info("scoring on %s", qlua.fp8.device(opts.device))
local formats = {}
for name in opts.formats:gmatch("[^,%s]+") do formats[#formats + 1] = name end
local model = qlua.checkpoint.open(opts.model)
local manifest = qlua.manifest.from_weights(model, opts.out, {
  formats = formats, device = opts.device, overwrite = opts.overwrite,
})
print(("%s scored in %s: %s"):format(words.count(#manifest.groups, "group"), words.count(#formats, "format"), opts.out))
if opts.compare then
  local agreement = qlua.manifest.correlation(manifest, qlua.manifest.open(opts.compare))
  print(("rank correlation with %s: %s (Spearman) over %s"):format(
    opts.compare, words.number(agreement.spearman), words.count(agreement.groups, "group")))
end

#!/usr/bin/env qlua
--- Score every group by what quantisation does to its weights: a manifest without a calibration run.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "weight_sensitivity",
  about = "Scores every group by what quantisation does to its weights: a manifest without a calibration run.",
  options = {
    { name = "out", metavar = "FILE", type = "path", default = "weight_error_quant_manifest.json", doc = "where the manifest goes" },
    { name = "formats", metavar = "LIST", type = "granularity list", default = "tensor,channel,block", doc = "scales for a tensor, each row, each 128×128 block" },
    { name = "compare", metavar = "FILE", type = "file", doc = "an AutoQuant manifest: prints the rank correlation with it" },
    { name = "device", type = "device", metavar = "NAME", default = "auto", doc = "where to compute; cuda:N is one GPU" },
    { name = "threads", metavar = "N", type = "threads", doc = "threads (default: all cores)" },
    { name = "overwrite", flag = true, doc = "replace an existing manifest" },
  },
  arguments = { { name = "model", type = "checkpoint", required = true, doc = "the base checkpoint" } },
}:parse()

if qlua.fs.exists(opts.out) and not opts.overwrite then
  error{ kind = "usage", message = ("`%s` exists already"):format(opts.out), hint = "pass --overwrite, or another --out" }
end
qlua.log.info("scoring on %s", qlua.fp8.device(opts.device))
local model = qlua.checkpoint.open(opts.model)
local manifest = qlua.manifest.from_weights(model, opts.out, {
  formats = opts.formats, device = opts.device, threads = opts.threads, overwrite = opts.overwrite,
})
local count = qlua.report.count
print(("%s scored in %s: %s"):format(count(#manifest.groups, "group"), count(#opts.formats, "format"), opts.out))
if opts.compare then
  local agreement = qlua.manifest.correlation(manifest, qlua.manifest.open(opts.compare))
  print(("rank correlation with %s: %s (Spearman) over %s"):format(
    opts.compare, qlua.report.number(agreement.spearman, { decimals = 3 }), count(agreement.groups, "group")))
end

#!/usr/bin/env qlua
--- Quantise by several manifests of one model: the union, the intersection or the weighted mean of what they say.
local qlua = require "qlua"
local sweep = require "lib.sweep"

local opts = sweep.options("combine",
  "Quantises by several manifests of one model, such as runs on captions and on image-text pairs, and prints how far they agree.", {
    { name = "with", metavar = "FILE", type = "file", repeated = true, doc = "a further manifest (the demo has a second one)" },
    { name = "mode", choices = { "mean", "union", "intersection" }, default = "mean", doc = "mean of the scores, or set algebra of the selections" },
    { name = "weights", metavar = "LIST", type = "number list", doc = "weights of the mean, --manifest first (default: all the same)" },
    { name = "normalise", choices = { "median", "none" }, default = "median", doc = "how scores are made comparable for the mean" },
    table.unpack(sweep.coverage_points),
  })
local manifests = { qlua.manifest.open(opts.manifest) }
if opts.demo and #opts.with == 0 then opts.with = { opts.demo.second_manifest } end
for _, path in ipairs(opts.with) do
  manifests[#manifests + 1] = qlua.manifest.open(path)
end
if #manifests < 2 then error{ kind = "usage", message = "--with is missing", hint = "pass a further manifest of the same model" } end

local agreement = {}
for i = 2, #manifests do
  local row = qlua.manifest.correlation(manifests[1], manifests[i])
  local count, number = qlua.report.count, qlua.report.number
  qlua.log.info("%s and %s: Spearman %s, Kendall %s over %s that both scored", manifests[1].path, manifests[i].path,
    number(row.spearman, { decimals = 3 }), number(row.kendall, { decimals = 3 }), count(row.groups, "group"))
  row.manifest = manifests[i].path
  agreement[#agreement + 1] = row
end
if opts.mode == "mean" then
  opts.manifest = qlua.manifest.combine(manifests, { weights = opts.weights, normalise = opts.normalise })
  manifests = { opts.manifest }
end
local family = sweep.family(opts)
for _, percent in ipairs(opts.top) do
  local selection
  for _, manifest in ipairs(manifests) do
    local one = sweep.rank(manifest, opts):first(percent)
    if not selection then selection = one
    elseif opts.mode == "union" then selection = selection | one
    else selection = selection & one end
  end
  if #selection == 0 then
    qlua.log.warn("top%s: the manifests have no layer in common", percent)
  else
    family:add(sweep.name(("fp8_autoquant_%s_top"):format(opts.mode), percent, opts.suffix), selection)
  end
end
sweep.run(family, opts, { agreement = agreement })

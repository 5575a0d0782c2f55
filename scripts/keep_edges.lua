#!/usr/bin/env qlua
--- Quantise the least sensitive X % of the layers between the first and last N blocks, which stay in BF16.
local sweep = require "lib.sweep"

local opts = sweep.options("keep_edges",
  "Quantises the least sensitive X % of the layers; the first and last N blocks of every tower stay in BF16.", {
    { name = "keep", metavar = "N", type = "integer", least = 0, default = 1, doc = "blocks at either end that stay in BF16" },
    table.unpack(sweep.coverage_points),
  })
local family = sweep.family(opts)
local last = {}
for _, group in ipairs(family.manifest.groups) do
  last[group.tower] = group.block and math.max(last[group.tower] or 0, group.block) or last[group.tower]
end
if not next(last) then
  error{ kind = "refused", message = "no group of the manifest is in a numbered block, so there are no edges to keep", hint = "all_layers_topx takes any names" }
end
local ranking = sweep.ranking(family, opts, function(group)
  return not group.block or group.block >= opts.keep and group.block <= last[group.tower] - opts.keep
end)
for _, percent in ipairs(opts.top) do
  family:add(sweep.name(("fp8_autoquant_edges%d_top"):format(opts.keep), percent, opts.suffix), ranking:first(percent))
end
sweep.run(family, opts)

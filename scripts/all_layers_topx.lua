#!/usr/bin/env qlua
--- Quantise the least sensitive X % of all layers to FP8, one checkpoint per coverage point.
local sweep = require "lib.sweep"

local opts = sweep.options("all_layers_topx",
  "Quantises the least sensitive X % of all layers to FP8, one checkpoint per coverage point.", sweep.coverage_points)
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts)
for _, percent in ipairs(opts.top) do
  family:add(sweep.name("fp8_autoquant_all_layers_top", percent, opts.suffix), ranking:first(percent))
end
sweep.run(family, opts)

#!/usr/bin/env qlua
--- Quantise the most sensitive X % of all layers: the descending reading of "top-X %", to compare with.
local sweep = require "lib.sweep"

local opts = sweep.options("most_sensitive_first",
  "Quantises the most sensitive X % of all layers to FP8: the descending reading of top-X %, to compare with.", sweep.top)
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts)
for _, percent in ipairs(opts.top) do
  family:add(sweep.name("fp8_autoquant_most_sensitive_top", percent, opts.suffix), ranking:highest(percent))
end
sweep.run(family, opts)

#!/usr/bin/env qlua
--- Quantise the least sensitive X % of the language model's layers to FP8; vision, merger and head stay in BF16.
local sweep = require "lib.sweep"

local opts = sweep.options("lm_only_topx",
  "Quantises the least sensitive X % of the language model's layers to FP8; vision, merger and head stay in BF16.",
  sweep.coverage_points)
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts, function(group) return group.tower == "language" end)
for _, percent in ipairs(opts.top) do
  family:add(sweep.name("fp8_autoquant_top", percent, opts.suffix), ranking:first(percent))
end
sweep.run(family, opts)

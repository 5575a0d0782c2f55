#!/usr/bin/env qlua
--- Quantise the least sensitive layers up to X % of the parameters, bytes or score, one checkpoint per coverage point.
local qlua = require "qlua"
local sweep = require "lib.sweep"

local opts = sweep.options("top_params",
  "Quantises the least sensitive layers that together hold X % of the parameters, bytes or score that can go to FP8.", {
    { name = "by", choices = { "parameters", "bytes", "score" }, default = "parameters", doc = "what is covered" },
    table.unpack(sweep.coverage_points),
  })
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts)
for _, percent in ipairs(opts.top) do
  family:add(sweep.name("fp8_autoquant_" .. opts.by, percent, opts.suffix), qlua.plan.cover(family, ranking, percent, { by = opts.by }))
end
sweep.run(family, opts)

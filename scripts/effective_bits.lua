#!/usr/bin/env qlua
--- Quantise what loses least within a budget of effective bits, one checkpoint per budget.
local sweep = require "lib.sweep"

local opts = sweep.options("effective_bits",
  "Quantises what loses least within a budget of effective bits (ModelOpt's cost model), one checkpoint per budget.", {
    { name = "bits", metavar = "LIST", type = "number list", least = 1, default = "11,10", doc = "budgets in effective bits per weight" },
  })
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts)
for _, bits in ipairs(opts.bits) do
  sweep.fit(family, ranking, sweep.name("fp8_autoquant_bits", bits, opts.suffix), { effective_bits = bits })
end
sweep.run(family, opts)

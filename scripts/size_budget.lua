#!/usr/bin/env qlua
--- Quantise what loses least so that the tensors fit a size, one checkpoint per size.
local sweep = require "lib.sweep"

local opts = sweep.options("size_budget",
  "Quantises what loses least so that all tensors together fit a size, one checkpoint per size.", {
    { name = "fit", metavar = "LIST", type = "size list", doc = "sizes such as 6GiB or 5.5GB (the demo has 2.5MB)" },
  })
opts.fit = opts.fit or opts.demo and { 2500000 }
if not opts.fit then error{ kind = "usage", message = "--fit is missing", hint = "pass a size, such as --fit 6GiB" } end
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts)
for _, bytes in ipairs(opts.fit) do
  sweep.fit(family, ranking, sweep.name("fp8_autoquant_fit", sweep.size(bytes), opts.suffix), { bytes = bytes })
end
sweep.run(family, opts)

#!/usr/bin/env qlua
--- Print the Pareto frontier of size and sensitivity, and quantise up to its knee.
local qlua = require "qlua"
local sweep = require "lib.sweep"

local opts = sweep.options("pareto", "Prints the Pareto frontier of size and sensitivity, and quantises up to its knee.")
local family = sweep.family(opts)
local frontier = qlua.plan.frontier(family, sweep.ranking(family, opts))
if not frontier.knee then error("the frontier has too few points for a knee") end
local points = frontier.points
for at, point in ipairs(points) do
  point.to_fp8 = table.concat(point.added, ", ") .. (at == frontier.knee and "  (the knee)" or "")
end
if not opts.json then
  print(qlua.report.table(points, {
    { key = "groups", title = "FP8 groups" }, { key = "effective_bits", title = "effective bits", unit = "bits" },
    { key = "bytes", title = "size", unit = "bytes" }, { key = "score", unit = "score" }, { key = "to_fp8", title = "next to FP8" },
  }))
end
family:add("fp8_autoquant_knee_" .. opts.suffix, frontier:selection(frontier.knee))
sweep.run(family, opts, { frontier = points, knee = frontier.knee })

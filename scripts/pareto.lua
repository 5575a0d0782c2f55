#!/usr/bin/env qlua
--- Print the hull of the Pareto frontier of size and sensitivity, and quantise up to its knee.
local qlua = require "qlua"
local sweep = require "lib.sweep"

local opts = sweep.options("pareto", "Prints the convex hull of the Pareto frontier of size and sensitivity, and quantises up to its knee.")
local family = sweep.family(opts)
local hull = qlua.plan.frontier(family, sweep.ranking(family, opts))
if not hull.knee then
  local why = #hull.points < 3 and "has too few points for a knee" or "has no knee"
  error{ kind = "refused", message = ("the hull of the frontier (%s) %s"):format(qlua.report.count(#hull.points, "point"), why),
    hint = "a knee needs several groups with finite scores that differ, and a finite sum; `qlua inspect MANIFEST` shows them, and all_layers_topx takes any" }
end
local points = hull.points
for at, point in ipairs(points) do
  point.to_fp8 = table.concat(point.added, ", ") .. (at == hull.knee and "  (the knee)" or "")
end
if not opts.json then
  print(qlua.report.table(points, {
    { key = "groups" }, { key = "effective_bits", title = "bits", unit = "bits" }, { key = "bytes", title = "size", unit = "bytes" },
    { key = "score", unit = "score" }, { key = "to_fp8", title = "next to FP8" },
  }, { format = "terminal" }))
end
family:add(sweep.name("fp8_autoquant_", "knee", opts.suffix), hull:selection(hull.knee))
sweep.run(family, opts, { frontier = points, knee = hull.knee })

#!/usr/bin/env qlua
--- Quantise a different share of each tower: language, vision and merger.
local qlua = require "qlua"
local sweep = require "lib.sweep"

local opts = sweep.options("per_tower", "Quantises the least sensitive layers of each tower, to a share of its own.", {
  { name = "language", metavar = "PERCENT", type = "percent", default = 80, doc = "share of the language model's layers" },
  { name = "vision", metavar = "PERCENT", type = "percent", default = 30, doc = "share of the vision encoder's layers" },
  { name = "merger", metavar = "PERCENT", type = "percent", default = 0, doc = "share of the merger's layers" },
})
local family = sweep.family(opts)
local all = sweep.ranking(family, opts)
local selection, ranked = all:select{}, {}
for _, group in ipairs(all.groups) do ranked[group.tower] = true end
for _, tower in ipairs{ "language", "vision", "merger" } do
  if opts[tower] > 0 and ranked[tower] then
    selection = selection | sweep.ranking(family, opts, function(group) return group.tower == tower end):lowest(opts[tower])
  elseif opts[tower] > 0 then
    qlua.log.warn("no layer of the %s tower is ranked, so all of it stays in BF16", tower)
  end
end
local shares = ("language%s_vision%s_merger%s"):format(opts.language, opts.vision, opts.merger)
family:add(sweep.name("fp8_autoquant_", shares, opts.suffix), selection)
sweep.run(family, opts)

#!/usr/bin/env qlua
--- Show which linear layers have heavy tails: amax against standard deviation, and what FP8 costs them.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "outliers",
  about = "Shows which linear layers have heavy tails: amax against standard deviation, and what FP8 costs them.",
  options = { { name = "show", type = "integer", least = 1, default = 20, doc = "how many layers" } },
  arguments = { { name = "dir", type = "checkpoint", required = true, doc = "a BF16 checkpoint" } },
}:parse()

local model = qlua.checkpoint.open(opts.dir)
local rows = {}
for i, layer in ipairs(model.linears) do
  local weight = assert(model:tensor(layer .. ".weight"))
  local stats = weight:stats()
  rows[i] = {
    order = i, layer = layer, tail = stats.amax / stats.std, amax = stats.amax,
    tensor = qlua.fp8.error(weight).sqnr, channel = qlua.fp8.error(weight, { granularity = "channel" }).sqnr,
  }
end
table.sort(rows, function(a, b) return a.tail > b.tail or a.tail == b.tail and a.order < b.order end)
print(qlua.report.table(table.move(rows, 1, math.min(opts.show, #rows), 1, {}), {
  { key = "layer" }, { key = "tail", title = "amax / std", decimals = 1 }, { key = "amax", decimals = 4 },
  { key = "tensor", title = "SQNR per tensor (dB)", decimals = 1 },
  { key = "channel", title = "SQNR per channel (dB)", decimals = 1 },
}))

#!/usr/bin/env qlua
--- Quantise every layer that has an FP8 candidate: one checkpoint of full coverage.
local sweep = require "lib.sweep"

local opts = sweep.options("all_layers_baseline", "Quantises every layer that has an FP8 candidate: one checkpoint of full coverage.")
local family = sweep.family(opts)
family:add(sweep.name("fp8_autoquant_all_layers", "_fp8", opts.suffix), sweep.ranking(family, opts):lowest(100))
sweep.run(family, opts)

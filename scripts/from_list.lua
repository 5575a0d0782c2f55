#!/usr/bin/env qlua
--- Quantise exactly the layers of a list: names or globs, from a file or the command line.
local list = require "lib.list"
local sweep = require "lib.sweep"

local opts = sweep.options("from_list", "Quantises exactly the layers that a list names.", {
  { name = "list", metavar = "FILE", type = "file", doc = "a name or glob a line; ! leaves out again, # is a remark" },
  { name = "layers", metavar = "GLOB", type = "string", repeated = true, doc = "the same on the command line (the demo has *.mlp.*)" },
  { name = "name", metavar = "TEXT", default = "list", doc = "the middle part of the directory's name" },
})
if opts.demo and not opts.list and #opts.layers == 0 then opts.layers = { "*.mlp.*" } end
local family = sweep.family(opts)
local ranking = sweep.ranking(family, opts)
local chosen, left_out = list.read(opts.layers, opts.list)
if #chosen == 0 then error{ kind = "usage", message = "the list names no layer", hint = "pass --list FILE or --layers GLOB" } end
local selection = ranking:select(chosen)
if #left_out > 0 then selection = selection - ranking:select(left_out) end
family:add(sweep.name("fp8_autoquant_", opts.name, opts.suffix), selection)
sweep.run(family, opts)

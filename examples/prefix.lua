#!/usr/bin/env qlua
--- Rename tensors: replace one prefix of their names by another.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "prefix",
  about = "Copies a checkpoint and replaces one prefix of its tensors' names by another.",
  arguments = {
    { name = "dir", type = "checkpoint", required = true, doc = "the checkpoint" },
    { name = "out", type = "path", required = true, doc = "the directory that will appear" },
    { name = "from", required = true, doc = "the prefix to replace, such as `model.`" },
    { name = "to", required = true, doc = "what stands in its place; may be empty" },
  },
}:parse()

local writer = qlua.export.writer{ out = opts.out, base = opts.dir }
writer:copy("*")
local renamed = 0
for _, name in ipairs(writer.names) do
  if name:sub(1, #opts.from) == opts.from then
    writer:rename(name, opts.to .. name:sub(#opts.from + 1))
    renamed = renamed + 1
  end
end
writer:finish()
print(("%s: %s renamed"):format(opts.out, qlua.report.count(renamed, "tensor")))

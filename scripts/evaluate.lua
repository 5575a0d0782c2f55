#!/usr/bin/env qlua
--- Measure what schemes cost in quality: KL divergence from the base, perplexity and agreement, on text and on pictures.
local qlua = require "qlua"
local demo = require "lib.demo"
local quality = require "lib.quality"
local samples = require "lib.samples"

local opts = qlua.cli.parser{
  name = "evaluate",
  about = "Measures what schemes cost in quality: KL divergence from the base, perplexity and agreement, on text and on pictures.",
  options = samples.options{
    { name = "model", metavar = "DIR", type = "checkpoint", doc = "the base checkpoint; without it the demo and its schemes" },
    { name = "text", metavar = "FILE", type = "file", doc = "a long text in windows, as llama.cpp's perplexity tool cuts them" },
    { name = "samples", metavar = "N", type = "integer", least = 1, default = 64, doc = "at most so many of each kind" },
    { name = "max-length", metavar = "N", type = "integer", least = 2, default = 512, doc = "tokens of a sample, or of a window" },
    { name = "within", metavar = "KL", type = "number", least = 0, doc = "name the smallest scheme whose KL is at most this" },
    { name = "calibration-samples", flag = true, doc = "measure on samples that the scores were made from" },
    { name = "threads", metavar = "N", type = "threads", doc = "threads (default: all cores)" },
    { name = "json", flag = true, doc = "print JSON instead of a table" },
  },
  arguments = { { name = "schemes", type = "directory", repeated = true, doc = "scheme directories" } },
}:parse()

if not opts.model then
  demo.refuse(opts, { "text", table.unpack(samples.names) })
  local built = demo.take()
  opts.model, opts.inputs, opts.calibration_samples = built.model, built.inputs, true
  if #opts.schemes == 0 then
    for _, config in ipairs(qlua.fs.glob(demo.folder .. "/quantized/*/config.json")) do
      table.insert(opts.schemes, qlua.fs.dirname(config))
    end
  end
end
-- `OUT/*/` also names the folder of the policies' --autoquant.
local schemes, named = {}, {}
for _, path in ipairs(opts.schemes) do
  local name = qlua.fs.basename(path)
  if not qlua.fs.exists(qlua.fs.join(path, "config.json")) and #qlua.fs.glob(path .. "/*_quant_manifest.json") > 0 then
    qlua.log.warn("%s holds scores and no checkpoint, so it is left out", path)
  elseif named[name] then
    error{ kind = "usage", message = ("`%s` and `%s` have one name, and rows are told apart by it"):format(named[name], path),
      hint = "measure them one after the other" }
  else
    named[name], schemes[#schemes + 1] = path, path
  end
end
opts.schemes = schemes
if #opts.schemes == 0 then
  error{ kind = "usage", message = "there is no scheme to measure", hint = "qlua evaluate --model BASE --captions FILE SCHEME…" }
end

local opened = quality.open(opts.model, opts)
for _, scheme in ipairs(opts.schemes) do quality.refuse(opened, scheme, samples.scored_for(scheme)) end
local rows, problem = quality.measure(opened, opts.schemes)
if not problem then quality.refresh_cards(opts.schemes) end
local chosen = opts.within and quality.within(rows, opts.within)
if opts.json then
  print(qlua.json.encode({ rows = rows, within = chosen }, { indent = 2, allow_nan = true }))
else
  print(quality.table(rows))
  if opts.within then print(chosen and ("smallest within KL %g: %s"):format(opts.within, chosen) or ("no scheme is within KL %g"):format(opts.within)) end
end
-- The rows are measured, whatever became of the file.
if problem then error(problem, 0) end

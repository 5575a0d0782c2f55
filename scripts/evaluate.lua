#!/usr/bin/env qlua
--- Measure what schemes cost in quality: KL divergence from the base, perplexity and agreement, on text and on pictures.
local qlua = require "qlua"
local samples = require "lib.samples"

local opts = qlua.cli.parser{
  name = "evaluate",
  about = "Measures what schemes cost in quality: KL divergence from the base, perplexity and agreement, on text and on pictures.",
  options = samples.options{
    { name = "model", metavar = "DIR", type = "directory", doc = "the base checkpoint; without it the demo and its schemes" },
    { name = "text", metavar = "FILE", type = "file", doc = "a long text in windows, as llama.cpp's perplexity tool cuts them" },
    { name = "samples", metavar = "N", type = "integer", least = 1, default = 64, doc = "at most so many of each kind" },
    { name = "max-length", metavar = "N", type = "integer", least = 2, default = 512, doc = "tokens of a sample, or of a window" },
    { name = "within", metavar = "KL", type = "number", doc = "name the smallest scheme whose KL is at most this" },
    { name = "calibration-samples", flag = true, doc = "measure on samples that the scores were made from" },
    { name = "json", flag = true, doc = "print JSON instead of a table" },
  },
  arguments = { { name = "schemes", type = "directory", repeated = true, doc = "scheme directories" } },
}:parse()

if not opts.model then
  local demo = qlua.checkpoint.demo("qlua-demo")
  opts.model, opts.inputs, opts.calibration_samples = demo.model, demo.inputs, true
  if #opts.schemes == 0 then
    for _, config in ipairs(qlua.fs.glob("qlua-demo/quantized/*/config.json")) do
      table.insert(opts.schemes, qlua.fs.dirname(config))
    end
  end
end
if #opts.schemes == 0 then
  error{ kind = "usage", message = "there is no scheme to measure", hint = "qlua evaluate --model BASE --captions FILE SCHEME…" }
end

--- The hashes of the samples that the scores of `scheme` were made from.
local function calibration_hashes(scheme)
  local path = qlua.fs.join(scheme, "layer-sensitivity/manifest.json")
  if not qlua.fs.exists(path) then return {} end
  local dataset = qlua.json.read(path).dataset
  return type(dataset) == "table" and dataset.sample_hashes or {}
end

local base, schemes = qlua.engine.open(opts.model), {}
for i, path in ipairs(opts.schemes) do schemes[i] = qlua.engine.open(path) end

local rows = {}
local function measure(kind, read)
  local seen = {}
  for _, hash in ipairs(read.hashes) do seen[hash] = true end
  for _, scheme in ipairs(opts.calibration_samples and {} or opts.schemes) do
    for _, hash in ipairs(calibration_hashes(scheme)) do
      if seen[hash] then
        error{ kind = "usage", message = ("`%s` was scored on samples that it is to be measured with"):format(scheme),
          hint = "use others, or pass --calibration-samples" }
      end
    end
  end
  for i, quality in ipairs(base:quality(schemes, read)) do
    local row = { scheme = qlua.fs.basename(opts.schemes[i]), kind = kind, bytes = schemes[i].bytes }
    for key, value in pairs(quality) do row[key] = value end
    rows[#rows + 1] = row
  end
end

local kinds = {}
if opts.captions then kinds[#kinds + 1] = { "text", { captions = opts.captions } } end
if opts.text then kinds[#kinds + 1] = { "text", { text = opts.text } } end
if opts.pairs then kinds[#kinds + 1] = { "image_text", { pairs = opts.pairs, images = opts.images, split = opts.split } } end
if opts.inputs then
  kinds[#kinds + 1] = { "text", { inputs = opts.inputs }, "text" }
  if base.has_vision then kinds[#kinds + 1] = { "image_text", { inputs = opts.inputs }, "vlm" } end
end
if #kinds == 0 then
  error{ kind = "usage", message = "there are no samples to measure with", hint = "pass --captions, --pairs, --inputs or --text" }
end
for _, kind in ipairs(kinds) do
  kind[2].samples, kind[2].max_length = opts.samples, opts.max_length
  measure(kind[1], samples.read(base, kind[2], kind[3]))
end

local folder = qlua.fs.dirname(opts.schemes[1])
qlua.json.write(qlua.fs.join(folder, "quality.json"), { base = qlua.fs.basename(opts.model), rows = rows }, { indent = 2, overwrite = true })

--- The smallest scheme whose every KL is at most `limit`.
local function within(limit)
  local worst, size = {}, {}
  for _, row in ipairs(rows) do
    worst[row.scheme], size[row.scheme] = math.max(worst[row.scheme] or 0, row.kl), row.bytes
  end
  local best
  for _, scheme in ipairs(opts.schemes) do
    local name = qlua.fs.basename(scheme)
    if worst[name] <= limit and (not best or size[name] < size[best]) then best = name end
  end
  return best
end

local chosen = opts.within and within(opts.within)
if opts.json then
  print(qlua.json.encode({ rows = rows, within = chosen }, { indent = 2 }))
else
  print(qlua.report.table(rows, {
    { key = "scheme" }, { key = "kind" }, { key = "bytes", title = "size", unit = "bytes" },
    { key = "kl", title = "KL", unit = "score" }, { key = "kl_error", title = "±", unit = "score" },
    { key = "perplexity", decimals = 3 }, { key = "agreement", decimals = 4 }, { key = "agreement_error", title = "±", decimals = 4 },
  }))
  if opts.within then print(chosen and ("smallest within KL %g: %s"):format(opts.within, chosen) or ("no scheme is within KL %g"):format(opts.within)) end
end

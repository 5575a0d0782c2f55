#!/usr/bin/env qlua
--- Score every layer on captions or pictures: the sensitivity manifest that the policies start from, and an FP8 baseline.
local qlua = require "qlua"
local demo = require "lib.demo"
local samples = require "lib.samples"
local scores = require "lib.scores"

local opts = qlua.cli.parser{
  name = "autoquant",
  about = "Scores every layer on captions or pictures: the sensitivity manifest that the policies start from, and an FP8 baseline.",
  options = samples.options{
    { name = "model", metavar = "DIR", type = "checkpoint", doc = "the base checkpoint; without it a small demo is scored" },
    { name = "out", metavar = "DIR", type = "path", doc = "where the results go (default: baseline)" },
    { name = "coverage", choices = { "all-layers", "lm-only" }, default = "all-layers", doc = "what is scored; lm-only leaves the vision tower as it is" },
    { name = "samples", metavar = "N", type = "integer", least = 1, default = 4096, doc = "at most so many captions or pairs" },
    { name = "max-length", metavar = "N", type = "integer", least = 2, default = 512, doc = "tokens of a caption or pair" },
    { name = "score-steps", metavar = "N", type = "integer", least = 1, default = 128, doc = "samples that score; all calibrate" },
    { name = "method", choices = { "gradient", "kl_div" }, default = "gradient", doc = "how layers are scored; kl_div takes a pass for each group" },
    { name = "formats", metavar = "LIST", type = "granularity list", default = "tensor", doc = "scales for a tensor, each row, each 128×128 block" },
    { name = "effective-bits", metavar = "N", type = "number", default = 11, doc = "what the search solves for" },
    { name = "name", metavar = "NAME", type = "name part", doc = "the scheme's name (default: fp8_autoquant_<coverage>_fp8)" },
    { name = "device", type = "device", metavar = "NAME", default = "auto", doc = "where the baseline is quantised; scores are computed on the CPU" },
    { name = "threads", metavar = "N", type = "threads", doc = "threads (default: all cores)" },
    { name = "no-baseline", flag = true, doc = "do not write the FP8 checkpoint" },
    { name = "overwrite", flag = true, doc = "replace existing results" },
  },
}:parse()

if not opts.model then
  demo.refuse(opts, samples.names)
  local built = demo.take()
  opts.model, opts.inputs = built.model, built.inputs
  -- What was scored before under a name of one's own may be of another model.
  opts.out, opts.overwrite = opts.out or demo.folder .. "/baseline", opts.overwrite or not opts.out
end
opts.out = opts.out or "baseline"
local name = opts.name and opts.name ~= "" and opts.name or scores.name(opts.coverage)
local path = scores.path(opts.out, name)
local folder = qlua.fs.join(opts.out, "fp8_baseline")
local function refuse_existing(there)
  if qlua.fs.exists(there) and not opts.overwrite then
    error{ kind = "usage", message = ("`%s` exists already"):format(there), hint = "pass --overwrite, or another --out" }
  end
end
if not opts.no_baseline then
  refuse_existing(folder)
  -- A GPU that is not there is missed before anything is computed.
  qlua.fp8.device(opts.device)
end
local is_there = qlua.fs.exists(path)
-- Files of a run that was killed while it wrote them are its own.
if not is_there and not scores.is_unfinished(path) then refuse_existing(qlua.fs.join(opts.out, "per-layer-sensitivity.json")) end
if opts.no_baseline then refuse_existing(path) end

local engine, read = scores.open(opts)
-- A run that scored and could not write its baseline goes on with that.
if is_there and not opts.overwrite and scores.is_scored(path, engine, read, opts) then
  qlua.log.info("scored before from the same model and samples: %s", path)
else
  refuse_existing(path)
  print(scores.write(engine, read, opts, name))
end
if not opts.no_baseline then
  local family = qlua.export.family{
    model = opts.model, manifest = path, out = opts.out, dialect = "modelopt", rounding = "modelopt", device = opts.device, threads = opts.threads, overwrite = opts.overwrite,
  }
  family:add("fp8_baseline", family.manifest:ranking():lowest(100))
  family:run()
  print("the FP8 baseline is " .. folder)
end

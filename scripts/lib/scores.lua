--- Sensitivity manifests of one's own: scored, or found where they were written before.
local qlua = require "qlua"
local samples = require "lib.samples"

local scores = {}

--- The manifest's place in the folder `out`, for the scheme `name`.
function scores.path(out, name)
  return qlua.fs.join(out, name .. "_quant_manifest.json")
end

--- Whether a run that was to write the manifest `path` was killed, and can go on: its files may be there in part.
function scores.is_unfinished(path)
  local folder, name = path:match("^(.-)([^/]+)$")
  return qlua.fs.exists(("%s.%s.scoring.partial"):format(folder, name)) and not qlua.fs.exists(path)
end

--- The name of a scheme that was not given one.
function scores.name(coverage)
  return ("fp8_autoquant_%s_fp8"):format(coverage:gsub("-", "_"))
end

--- Opens the model and reads the samples that `opts` name: everything that can be wrong with them is said here.
function scores.open(opts)
  local named = {}
  for _, format in ipairs(opts.formats or {}) do
    if named[format] then
      error{ kind = "usage", message = ("--formats names `%s` twice"):format(format), hint = "name each format once" }
    end
    named[format] = true
  end
  if opts.effective_bits < 8 or opts.effective_bits > 16 then
    error{ kind = "usage", message = ("%g effective bits cannot be solved for"):format(opts.effective_bits), hint = "8, all in FP8, at least, and 16 at most" }
  end
  local engine = qlua.engine.open(opts.model, { threads = opts.threads })
  local pictures = opts.coverage == "all-layers" and engine.has_vision
  if pictures and opts.captions then
    error{ kind = "usage", message = "captions alone never reach the vision tower, so its layers would get the score 0 and rank first",
      hint = "use --pairs, or --coverage lm-only" }
  end
  return engine, samples.read(engine, opts, pictures and "vlm" or "text")
end

--- Scores the layers as `opts` say, writes the files of the run into `opts.out`, and says so in a line.
function scores.write(engine, read, opts, name)
  local scored = engine:sensitivity(read, {
    method = opts.method, formats = opts.formats, score_steps = opts.score_steps, record = scores.path(opts.out, name),
  })
  local manifest = scored:write(opts.out, {
    name = name, coverage = opts.coverage, effective_bits = opts.effective_bits, overwrite = opts.overwrite,
  })
  return ("%s scored on %s: %s"):format(
    qlua.report.count(#manifest.groups, "group"), qlua.report.count(read.count, "sample"), scores.path(opts.out, name))
end

--- Whether `a` and `b` are lists of the same texts.
local function same(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- Whether the weights of the model at `directory` have the largest magnitudes that `amax` has on record: a model that was
--- trained further has others, and its name alone would not tell.
local function has_weights(directory, amax)
  local model, compared = qlua.checkpoint.open(directory), 0
  for quantiser, value in pairs(amax) do
    local module = tostring(quantiser):match("^(.*)%.weight_quantizer$")
    if module then
      local name = model:on_disk(module)
      local weight = name and model:tensor(name .. ".weight")
      if not weight or qlua.fp8.amax(weight):tolist()[1] ~= value then return false end
      compared = compared + 1
    end
  end
  return compared > 0
end

--- Whether the manifest at `path` holds what a run by `opts` would score: the model of `engine`, the samples `read`, the same options.
function scores.is_scored(path, engine, read, opts)
  local made = qlua.fs.exists(path) and qlua.json.read(path)
  local run = type(made) == "table" and type(made.run_config) == "table" and made.run_config
  if not run then return false end
  return run.coverage == opts.coverage and run.method == (opts.method or "gradient") and run.scores == "as ModelOpt's"
    and run.effective_bits == opts.effective_bits and run.score_steps == math.min(opts.score_steps or 128, read.count)
    and type(run.scales) == "table" and same(run.scales, opts.formats or { "tensor" })
    and same(samples.scored(path), read.hashes) and run.model_identity == engine:identity()
    and type(made.amax) == "table" and has_weights(opts.model, made.amax)
end

--- What the policies' `--autoquant` asks for: the manifest in `out` by the samples of `file`, found there or to be scored by
--- `scores.finish`. One that was made from another model, other samples or in another way is replaced with `overwrite` alone.
--- Captions score the language model alone.
function scores.prepare(model, file, out, overwrite)
  local opts = {
    model = model, out = out, overwrite = overwrite, coverage = file.captions and "lm-only" or "all-layers", effective_bits = 11,
  }
  for key, value in pairs(file) do opts[key] = value end
  local name = scores.name(opts.coverage)
  local job = { opts = opts, name = name, path = scores.path(out, name) }
  job.engine, job.samples = scores.open(opts)
  if qlua.fs.exists(job.path) then
    job.found = scores.is_scored(job.path, job.engine, job.samples, opts)
    if not job.found and not overwrite then
      error{ kind = "refused", message = ("`%s` was made from another model, from other samples or in another way"):format(job.path),
        hint = "pass --overwrite to score anew, or another --out, or use it as --manifest" }
    end
  end
  return job
end

--- The path of the manifest that `job` was prepared for.
function scores.finish(job)
  qlua.log.info("%s", job.found and "scored before from the same model and samples: " .. job.path
    or scores.write(job.engine, job.samples, job.opts, job.name))
  return job.path
end

return scores

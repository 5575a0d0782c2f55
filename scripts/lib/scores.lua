--- Sensitivity manifests of one's own: scored, or found where they were written before.
local qlua = require "qlua"
local samples = require "lib.samples"

local scores = {}

--- The manifest's place in the folder `out`, for the scheme `name`.
function scores.path(out, name)
  return qlua.fs.join(out, name .. "_quant_manifest.json")
end

--- The name of a scheme that was not given one.
function scores.name(coverage)
  return ("fp8_autoquant_%s_fp8"):format(coverage:gsub("-", "_"))
end

--- Opens the model and reads the samples that `opts` name: everything that can be wrong with them is said here.
function scores.open(opts)
  local engine = qlua.engine.open(opts.model)
  local pictures = opts.coverage == "all-layers" and engine.has_vision
  if pictures and opts.captions then
    error{ kind = "usage", message = "captions alone never reach the vision tower, so its layers would get the score 0 and rank first",
      hint = "use --pairs, or --coverage lm-only" }
  end
  return engine, samples.read(engine, opts, pictures and "vlm" or "text")
end

--- Scores the layers as `opts` say, writes the files of the run into `opts.out`, and says so in a line.
function scores.write(engine, read, opts, name)
  local scored = engine:sensitivity(read, { method = opts.method, formats = opts.formats, score_steps = opts.score_steps })
  local manifest = scored:write(opts.out, {
    name = name, coverage = opts.coverage, effective_bits = opts.effective_bits, overwrite = opts.overwrite,
  })
  return ("%s scored on %s: %s"):format(
    qlua.report.count(#manifest.groups, "group"), qlua.report.count(read.count, "sample"), scores.path(opts.out, name))
end

--- Whether `a` and `b` are lists of the same texts.
local function same(a, b)
  return #a == #b and table.concat(a, "\n") == table.concat(b, "\n")
end

--- Whether the weights of the model at `directory` have the largest magnitudes that `amax` has on record: a model that was
--- trained further has others, and its name alone would not tell.
local function has_weights(directory, amax)
  local model, compared = qlua.checkpoint.open(directory), 0
  for quantiser, value in pairs(amax) do
    local module = quantiser:match("^(.*)%.weight_quantizer$")
    if module then
      local name = model:on_disk(module)
      local weight = name and model:tensor(name .. ".weight")
      if not weight or qlua.fp8.amax(weight):tolist()[1] ~= value then return false end
      compared = compared + 1
    end
  end
  return compared > 0
end

--- The manifest for the policies' `--autoquant`: the one that lies in `out`, where it was made from the same model and samples
--- in the same way, or a new one. Captions score the language model alone.
function scores.of_file(model, file, out)
  local opts = { model = model, out = out, coverage = file.captions and "lm-only" or "all-layers", effective_bits = 11 }
  for key, value in pairs(file) do opts[key] = value end
  local name = scores.name(opts.coverage)
  local path = scores.path(out, name)
  local engine, read = scores.open(opts)
  if qlua.fs.exists(path) then
    local made = qlua.json.read(path)
    local run = type(made.run_config) == "table" and made.run_config or {}
    local is_ours = run.coverage == opts.coverage and run.method == "gradient" and run.scores == "as ModelOpt's"
    if not (is_ours and same(samples.scored(path), read.hashes) and type(made.amax) == "table" and has_weights(model, made.amax)) then
      error{ kind = "refused", message = ("`%s` was made from another model, from other samples or in another way"):format(path),
        hint = "move it away, use it as --manifest, or choose another --out" }
    end
    qlua.log.info("scored before from the same model and samples: %s", path)
    return path
  end
  qlua.log.info("%s", scores.write(engine, read, opts, name))
  return path
end

return scores

--- What the sweep policies share: their options, the family that they plan or write, and the tables that they print.
local qlua = require "qlua"
local demo = require "lib.demo"
local quality = require "lib.quality"
local samples = require "lib.samples"
local scores = require "lib.scores"

-- A copy of this file may lie beside a policy, changed; both are then known to an editor.
---@diagnostic disable: duplicate-doc-field, duplicate-set-field

---@class lib.sweep
local sweep = {}

--- What `sweep.options` gives: the options that all policies share, and those of the policy itself.
---@class lib.sweep.Opts
---@field model? string the base checkpoint; nil where a dry run plans from the manifest alone
---@field manifest any the path of the sensitivity manifest, or the manifest
---@field autoquant? string samples to score on first
---@field evaluate? string samples to measure the written schemes on
---@field images? string the folder that the paths of pairs begin in
---@field calibration_samples boolean whether to measure on samples that the scores were made from
---@field baseline? string an FP8 baseline whose input scales are used
---@field amax? string amax values that input scales are made from
---@field state? string an AutoQuant state that is copied along
---@field out string where the schemes go
---@field dialect string the conventions of the directories
---@field format_from? string the format by whose scores is ranked and counted
---@field activations string how inputs are scaled
---@field rounding string how quotients become codes
---@field scale_sharing string whether fused modules share scales
---@field include string[] only groups that match
---@field exclude string[] leave out groups that match
---@field unscored boolean also select groups that were never scored
---@field suffix string the last part of the directories' names
---@field link string how schemes share files
---@field max_shard_size integer the largest weight file, in bytes
---@field threads? integer threads; nil for all cores
---@field device string where to quantise
---@field dry_run boolean print the plan and write nothing
---@field overwrite boolean replace schemes that are there
---@field no_card boolean no model card
---@field json boolean print JSON instead of a table
---@field demo? qlua.Demo the demo, where there is no `--model`
---@field [string] any the options of the policy itself

local function options(extra)
  local list = {
    { name = "model", metavar = "DIR", type = "checkpoint", doc = "the base checkpoint, or its name on the Hugging Face Hub; without it a small demo is built" },
    { name = "manifest", metavar = "FILE", type = "file", doc = "the sensitivity manifest; with --dry-run it is enough" },
    { name = "autoquant", metavar = "FILE", type = "file", doc = "instead of --manifest: captions (.txt), pairs (.db, .sqlite) or prepared tensors (.safetensors) to score on first" },
    { name = "evaluate", metavar = "FILE", type = "file", doc = "samples of the same kinds to measure the written schemes on" },
    { name = "images", metavar = "DIR", type = "directory", doc = "the folder that the paths of pairs begin in" },
    { name = "calibration-samples", flag = true, doc = "measure on samples that the scores were made from" },
    { name = "baseline", metavar = "DIR", type = "checkpoint", doc = "an FP8 baseline whose input scales are used" },
    { name = "amax", metavar = "FILE", type = "file", doc = "amax values that input scales are made from" },
    { name = "state", metavar = "FILE", type = "saved state", doc = "an AutoQuant state that is copied along" },
    { name = "out", metavar = "DIR", type = "path", doc = "where the schemes go (default: quantized)" },
    { name = "dialect", type = "dialect", default = "auto", doc = "the conventions of the directories" },
    { name = "for", metavar = "LIST", type = "engine list", doc = "refuse what one of these engines would get wrong" },
    { name = "format-from", metavar = "NAME", doc = "rank and count by this format's scores, although another one is written" },
    { name = "activations", type = "activations", default = "auto", doc = "how inputs are scaled" },
    { name = "rounding", type = "rounding", default = "exact", doc = "how quotients become codes" },
    { name = "scale-sharing", type = "scale sharing", default = "group", doc = "whether fused modules share scales" },
    { name = "include", metavar = "GLOB", type = "glob", repeated = true, doc = "only groups that match" },
    { name = "exclude", metavar = "GLOB", type = "glob", repeated = true, doc = "leave out groups that match" },
    { name = "unscored", flag = true, doc = "also select groups that were never scored" },
    { name = "suffix", metavar = "TEXT", type = "name part", default = "coco2017", doc = "the last part of the directories' names" },
    { name = "link", type = "link", default = "auto", doc = "how schemes share files" },
    { name = "max-shard-size", metavar = "SIZE", type = "size", least = 100000, default = "5GB", doc = "the largest weight file" },
    { name = "threads", metavar = "N", type = "threads", doc = "threads (default: all cores)" },
    { name = "device", type = "device", metavar = "NAME", default = "auto", doc = "where to quantise; cuda:N is one GPU" },
    { name = "dry-run", flag = true, doc = "print the plan and write nothing" },
    { name = "overwrite", flag = true, doc = "replace schemes that are there, up to date or not, but no links to some; what qlua did not write so is moved to NAME.kept" },
    { name = "no-card", flag = true, doc = "no model card: README.md stays that of the base checkpoint" },
    { name = "json", flag = true, doc = "print JSON instead of a table" },
  }
  local own = table.move(extra, 1, #extra, 1, {})
  return table.move(list, 1, #list, #own + 1, own)
end

--- The options of policies with coverage points: `--top` and `--order`.
---@type qlua.CliOption[]
sweep.coverage_points = {
  { name = "top", metavar = "LIST", type = "coverage point list", default = "10..100:10", doc = "coverage points in percent" },
  { name = "order", type = "order", default = "ascending", doc = "ascending: the least sensitive groups go to FP8 first" },
}

--- `--top` alone, for policies whose order is their own.
---@type qlua.CliOption[]
sweep.top = { sweep.coverage_points[1] }

--- How many samples `--evaluate` measures on, and how long they are: as `qlua evaluate` does.
local MEASURED = { samples = 64, max_length = 512 }

--- Scores on the samples `score_on` and reads those of `measure_on`, where there are some. What is wrong with either is said
--- before anything is computed.
local function prepare(opts, score_on, measure_on)
  -- A GPU that is not there is missed before anything is computed.
  if score_on then qlua.fp8.device(opts.device) end
  for _, options in ipairs{ score_on or {}, measure_on or {} } do options.threads = opts.threads end
  local job = score_on and scores.prepare(opts.model, score_on, qlua.fs.join(opts.out, "autoquant"), opts.overwrite)
  if measure_on then
    for key, value in pairs(MEASURED) do measure_on[key] = value end
    measure_on.calibration_samples = opts.calibration_samples or opts.demo ~= nil
    opts.measured = quality.open(opts.model, measure_on)
    if job then quality.refuse(opts.measured, opts.autoquant, job.samples.hashes) end
    local manifests = { table.unpack(opts.with or {}) }
    manifests[#manifests + 1] = opts.manifest
    for _, path in ipairs(manifests) do quality.refuse(opts.measured, path, samples.scored(path)) end
  end
  if job then opts.manifest = scores.finish(job) end
end

--- Reads the command line of the policy `name`. Without `--model` the options are those of the demo (then `opts.demo` is it),
--- unless a dry run has a manifest to plan from.
---@param name string the policy's name, as it is typed
---@param about string what it does, for `--help`
---@param extra? qlua.CliOption[] the options of the policy itself
---@return lib.sweep.Opts # the values by name, `dry-run` as `dry_run`
function sweep.options(name, about, extra)
  local opts = qlua.cli.parser{ name = name, about = about, options = options(extra or {}) }:parse()
  if opts.format_from and not opts.format_from:find("%S") then
    error{ kind = "usage", message = "the value of `--format-from` is empty", hint = "give the name of a format of the manifest; `qlua inspect MANIFEST` shows them" }
  elseif opts.model and not opts.manifest and not opts.autoquant then
    error{ kind = "usage", message = "--model needs the --manifest that belongs to it", hint = "pass the *_quant_manifest.json of the AutoQuant run, or --autoquant FILE to score first" }
  elseif opts.autoquant and opts.manifest then
    error{ kind = "usage", message = "--autoquant and --manifest are both given, and either says what the scores are", hint = "leave one out" }
  elseif opts.autoquant and not opts.model then
    error{ kind = "usage", message = "--autoquant needs the --model that is to be scored", hint = "pass the base checkpoint; the demo has scores" }
  elseif opts.calibration_samples and not opts.evaluate then
    error{ kind = "usage", message = "--calibration-samples says what --evaluate may measure on, which is not given", hint = "add --evaluate FILE, or leave it out" }
  elseif opts.dry_run and (opts.autoquant or opts.evaluate) then
    error{ kind = "usage", message = ("--%s computes and writes, and --dry-run writes nothing"):format(opts.autoquant and "autoquant" or "evaluate"),
      hint = "leave one out; `qlua autoquant` scores alone" }
  elseif opts.manifest and not opts.model and not opts.dry_run then
    error{ kind = "usage", message = "--manifest needs the --model that it belongs to", hint = "pass the base checkpoint, or --dry-run to plan from the manifest alone" }
  end
  local fits, problem = pcall(qlua.export.require_activations, opts.dialect, opts.activations)
  ---@cast problem qlua.Error
  if not fits then error{ kind = "usage", message = problem.message, hint = problem.hint } end
  local score_on = opts.autoquant and samples.of_file("autoquant", opts.autoquant, opts.images)
  local measure_on = opts.evaluate and samples.of_file("evaluate", opts.evaluate, opts.images)
  if not opts.model and not opts.manifest then
    local built = demo.take()
    opts.model, opts.manifest, opts.demo = built.model, built.manifest, built
    opts.out, opts.overwrite = opts.out or demo.folder .. "/quantized", opts.overwrite or not opts.out
  end
  opts.out = opts.out or "quantized"
  prepare(opts, score_on, measure_on)
  return opts
end

--- Opens the family that `opts` describe: over the manifest alone where a dry run has no model.
---@param opts lib.sweep.Opts what `sweep.options` gave
---@return qlua.Family # the family
function sweep.family(opts)
  return qlua.export.family{
    model = opts.model, manifest = opts.manifest, out = opts.out,
    baseline = opts.baseline, amax = opts.amax, state = opts.state,
    dialect = opts.dialect, activations = opts.activations, for_engines = opts["for"], format_from = opts.format_from,
    rounding = opts.rounding, scale_sharing = opts.scale_sharing,
    overwrite = opts.overwrite, link = opts.link, max_shard_size = opts.max_shard_size, threads = opts.threads,
    device = opts.device, card = not opts.no_card,
  }
end

--- `1 group was`, `2 groups were`.
local function were(count)
  return qlua.report.count(count, "group") .. (count == 1 and " was" or " were")
end

--- Ranks the groups of `manifest` as `opts` say; `where` narrows them down further.
---@param manifest qlua.Manifest the manifest
---@param opts lib.sweep.Opts what `sweep.options` gave
---@param where? fun(group: qlua.Group): any only groups for which it returns true
---@return qlua.Ranking # the groups in order
function sweep.rank(manifest, opts, where)
  local ranking = manifest:ranking{
    order = opts.order, include = opts.include, exclude = opts.exclude, unscored = opts.unscored, where = where,
  }
  if #ranking.unscored > 0 then
    qlua.log.warn("%s never scored (score exactly 0) and %s, such as %s", were(#ranking.unscored),
      opts.unscored and "ranked all the same" or "left out", ranking.unscored[1])
  end
  if #ranking.not_finite > 0 then
    qlua.log.warn("%s without a finite score and ranked as the most sensitive, such as %s", were(#ranking.not_finite), ranking.not_finite[1])
  end
  if #ranking.negative > 0 then
    qlua.log.warn("%s scored below 0, which no scoring of AutoQuant gives, and ranked as they are, such as %s", were(#ranking.negative), ranking.negative[1])
  end
  return ranking
end

--- Ranks the groups of `family` as `opts` say; `where` narrows them down further.
---@param family qlua.Family the family
---@param opts lib.sweep.Opts what `sweep.options` gave
---@param where? fun(group: qlua.Group): any only groups for which it returns true
---@return qlua.Ranking # the groups in order
function sweep.ranking(family, opts, where)
  return sweep.rank(family.manifest, opts, where)
end

local gaps = {}

--- Adds the scheme `name` with the groups of `ranking` that lose least within `budget`, and says how sure that is.
---@param family qlua.Family the family
---@param ranking qlua.Ranking the groups to choose from
---@param name string the scheme's name
---@param budget qlua.plan.solve.Options the budget: `bytes` or `effective_bits`
function sweep.fit(family, ranking, name, budget)
  local fit = qlua.plan.solve(family, ranking, budget)
  if fit.is_above_ceiling then
    qlua.log.warn("%s: the budget is at or above the ceiling, so nothing needs FP8 and there is no such scheme", name)
    return
  end
  qlua.log.info("%s: %s", name, fit.gap == 0 and "no selection within the budget loses less (proven)"
    or ("proven to lose at most %.1e more than the least possible"):format(fit.gap))
  gaps[name] = fit.gap
  family:add(name, fit.selection)
end

--- `top10` for 10 %, `top5` for 5 %, `top12.5` for 12.5 %; `suffix` behind it, where there is one.
---@param prefix string what the name begins with
---@param value string|number what tells schemes of the family apart
---@param suffix string `opts.suffix`
---@return string # the name
function sweep.name(prefix, value, suffix)
  return suffix == "" and prefix .. value or ("%s%s_%s"):format(prefix, value, suffix)
end

local UNITS = { { "GiB", 1 << 30 }, { "GB", 10 ^ 9 }, { "MiB", 1 << 20 }, { "MB", 10 ^ 6 }, { "kB", 10 ^ 3 } }

--- `6GiB`, `5.5GB`: a size in the unit in which it is shortest, for names.
---@param bytes number the size
---@return string # the size with its unit
function sweep.size(bytes)
  for _, unit in ipairs(UNITS) do
    local count = ("%g"):format(bytes / unit[2])
    if bytes >= unit[2] and #count <= 5 and tonumber(count) * unit[2] == bytes then return count .. unit[1] end
  end
  return bytes .. "B"
end

local COLUMNS = {
  { key = "name", title = "scheme" },
  { key = "groups", title = "groups" },
  { key = "groups_total", title = "of" },
  { key = "fp8_layers", title = "FP8 layers", main = true },
  { key = "kept", title = "kept BF16" },
  { key = "fp8_parameters", title = "FP8 weights", unit = "weights" },
  { key = "effective_bits", title = "effective bits", unit = "bits" },
  { key = "score", title = "score", unit = "score", main = true },
  { key = "bytes", title = "size", unit = "bytes", main = true },
}

--- What a run did, in one line: `10.7 GB written, 1.2 GB reused, shared by hardlink`.
local function summary(outcome)
  local parts = {}
  for _, word in ipairs{ "written", "resumed", "reused" } do
    local bytes = outcome[word .. "_bytes"]
    if bytes > 0 then parts[#parts + 1] = ("%s %s"):format(qlua.report.bytes(bytes), word) end
  end
  if outcome.link then parts[#parts + 1] = "shared by " .. outcome.link end
  return #parts > 0 and table.concat(parts, ", ") or "everything is up to date, by the hashes of all files"
end

--- Writes the report of `family`. The schemes are there already, so what goes wrong with it is worth a warning only.
local function report(family)
  local ok, page = pcall(family.report, family)
  if ok then qlua.log.info("the report is %s", page)
  else qlua.log.warn("the schemes are written, but there is no report: %s", page) end
end

--- Measures the schemes of `plan`, where that was asked for: the rows, as far as there are some, and what went wrong, which is raised
--- when the rest of the run is done.
local function measure(opts, plan)
  if not opts.measured then return nil, nil end
  local paths = {}
  for i, scheme in ipairs(plan) do paths[i] = qlua.fs.join(opts.out, scheme.name) end
  local is_measured, rows, problem = pcall(quality.measure, opts.measured, paths)
  if not is_measured then return nil, rows end
  if not problem then quality.refresh_cards(paths) end
  return rows, problem
end

--- Plans the family, writes and verifies it and its report unless this is a dry run, and prints its schemes; `extra` goes
--- into the JSON.
---@param family qlua.Family the family
---@param opts lib.sweep.Opts what `sweep.options` gave
---@param extra? table further keys of the JSON
function sweep.run(family, opts, extra)
  local decision, plan = family:decide(), family:plan()
  for _, note in ipairs(decision.notes) do qlua.log.info("%s", note) end
  local on_disk = opts.dry_run and opts.model and #plan > 0 and family:check() or nil
  local outcome = not opts.dry_run and #plan > 0 and family:run() or nil
  local rows, problem = nil, nil
  if outcome then
    on_disk, outcome.on_disk = outcome.on_disk, nil
    rows, problem = measure(opts, plan)
    report(family)
  end
  if problem and not rows then
    qlua.log.warn("the schemes are in %s, but what they cost in quality is not known", opts.out)
    error(problem, 0)
  end
  if opts.json then
    for at, scheme in ipairs(plan) do
      scheme.formats, scheme.gap = family:formats(scheme.name), gaps[scheme.name]
      scheme.files = on_disk and on_disk.files[at]
    end
    local result = { decision = decision, schemes = plan, unique_bytes = on_disk and on_disk.unique_bytes, written = not opts.dry_run, outcome = outcome, quality = rows }
    for key, value in pairs(extra or {}) do result[key] = value end
    print(qlua.json.encode(result, { indent = 2, allow_nan = true }))
    if problem then error(problem, 0) end
    return
  end
  -- A sum that is not finite is none in the plan; the table has its word for it.
  for _, scheme in ipairs(plan) do scheme.score = scheme.score or math.huge end
  if #plan > 0 then print(qlua.report.table(plan, COLUMNS, { format = "terminal" })) end
  if rows then print(quality.table(rows)) end
  local count = qlua.report.count(#plan, "scheme")
  if #plan == 0 then
    print("No scheme is left to " .. (opts.dry_run and "plan." or "write."))
  elseif opts.dry_run then
    print(("%s planned%s."):format(count, opts.model and " for " .. opts.out or ""))
  else
    print(("%s in %s, %s against what loaders accept."):format(count, opts.out, #plan == 1 and "checked" or "each checked"))
  end
  if on_disk then
    -- What `du` counts; a file system that shares blocks takes less.
    local reflinked = outcome and outcome.link == "reflink" and " (reflinks counted in full, though they share blocks)" or ""
    print(("%s on the disk%s, %s without sharing%s."):format(qlua.report.bytes(on_disk.unique_bytes), reflinked,
      qlua.report.bytes(on_disk.copied_bytes), outcome and ":\n" .. summary(outcome) or ""))
  end
  if problem then error(problem, 0) end
end

return sweep

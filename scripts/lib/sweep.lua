--- What the sweep policies share: their options, the family that they write, and the tables that they print.
local qlua = require "qlua"

local sweep = {}

local DEMO = "qlua-demo"

local function options(extra)
  local list = {
    { name = "model", metavar = "DIR", type = "path", doc = "the base checkpoint; without it a small demo is built" },
    { name = "manifest", metavar = "FILE", type = "path", doc = "the sensitivity manifest" },
    { name = "baseline", metavar = "DIR", type = "path", doc = "an FP8 baseline whose input scales are used" },
    { name = "amax", metavar = "FILE", type = "path", doc = "amax values that input scales are made from" },
    { name = "state", metavar = "FILE", type = "path", doc = "an AutoQuant state that is copied along" },
    { name = "out", metavar = "DIR", type = "path", doc = "where the schemes go (default: quantized)" },
    { name = "dialect", choices = { "auto", "universal", "compressed-tensors", "modelopt" }, default = "auto", doc = "the conventions of the directories" },
    { name = "activations", choices = { "auto", "static", "dynamic" }, default = "auto", doc = "how inputs are scaled" },
    { name = "rounding", choices = { "exact", "modelopt" }, default = "exact", doc = "how quotients become codes" },
    { name = "scale-sharing", choices = { "group", "none" }, default = "group", doc = "whether fused modules share scales" },
    { name = "include", metavar = "GLOB", type = "glob", repeated = true, doc = "only groups that match" },
    { name = "exclude", metavar = "GLOB", type = "glob", repeated = true, doc = "leave out groups that match" },
    { name = "unscored", flag = true, doc = "also select groups that were never scored" },
    { name = "suffix", metavar = "TEXT", default = "coco2017", doc = "the last part of the directories' names" },
    { name = "threads", metavar = "N", type = "integer", doc = "threads (default: all cores)" },
    { name = "dry-run", flag = true, doc = "print the plan and write nothing" },
    { name = "overwrite", flag = true, doc = "replace existing directories" },
    { name = "json", flag = true, doc = "print JSON instead of a table" },
  }
  return table.move(extra, 1, #extra, #list + 1, list)
end

--- The options of policies with coverage points: `--top` and `--order`.
sweep.coverage_points = {
  { name = "top", metavar = "LIST", type = "percent list", default = "10..100:10", doc = "coverage points in percent" },
  { name = "order", choices = { "ascending", "descending" }, default = "ascending", doc = "ascending: the least sensitive groups go to FP8 first" },
}

--- Reads the command line of the policy `name`. Without `--model` the options are those of the demo.
function sweep.options(name, about, extra)
  local opts = qlua.cli.parser{ name = name, about = about, options = options(extra or {}) }:parse()
  if opts.model and not opts.manifest then
    error{ kind = "usage", message = "--model needs the --manifest that belongs to it", hint = "pass the *_quant_manifest.json of the AutoQuant run" }
  elseif not opts.model then
    local demo = qlua.checkpoint.demo(DEMO)
    qlua.log.info("no --model: %s the demo in ./%s/, a small seeded Qwen2.5-VL", demo.built and "built" or "using", DEMO)
    opts.model, opts.manifest = demo.model, opts.manifest or demo.manifest
    opts.out, opts.overwrite = opts.out or DEMO .. "/quantized", opts.overwrite or not opts.out
  end
  opts.out = opts.out or "quantized"
  return opts
end

--- Opens the family that `opts` describe.
function sweep.family(opts)
  return qlua.export.family{
    model = opts.model, manifest = opts.manifest, out = opts.out,
    baseline = opts.baseline, amax = opts.amax, state = opts.state,
    dialect = opts.dialect, activations = opts.activations,
    rounding = opts.rounding, scale_sharing = opts.scale_sharing,
    overwrite = opts.overwrite, threads = opts.threads,
  }
end

--- Ranks the groups of `family` as `opts` say; `where` narrows them down further.
function sweep.ranking(family, opts, where)
  local ranking = family.manifest:ranking{
    order = opts.order, include = opts.include, exclude = opts.exclude, unscored = opts.unscored, where = where,
  }
  if #ranking.unscored > 0 then
    qlua.log.warn("%d groups were never scored (score exactly 0) and are %s, such as %s",
      #ranking.unscored, opts.unscored and "ranked all the same" or "left out", ranking.unscored[1])
  end
  if #ranking.not_finite > 0 then
    qlua.log.warn("%d groups have no finite score and rank as the most sensitive, such as %s", #ranking.not_finite, ranking.not_finite[1])
  end
  return ranking
end

--- `top10` for 10 %, `top5` for 5 %, `top12.5` for 12.5 %.
function sweep.name(prefix, percent, suffix)
  return ("%s%s_%s"):format(prefix, percent, suffix)
end

local COLUMNS = {
  { key = "name", title = "scheme" },
  { key = "groups", title = "groups" },
  { key = "groups_total", title = "of" },
  { key = "fp8_layers", title = "FP8 layers" },
  { key = "kept", title = "kept BF16" },
  { key = "bytes", title = "size", unit = "bytes" },
}

--- Plans, writes and verifies the family and its report; prints its schemes.
function sweep.run(family, opts)
  local decision, plan = family:decide(), family:plan()
  for _, note in ipairs(decision.notes) do qlua.log.info("%s", note) end
  if not opts.dry_run then
    family:run()
    qlua.log.info("the report is %s", (family:report()))
  end
  if opts.json then
    print(qlua.json.encode({ decision = decision, schemes = plan, written = not opts.dry_run }, { indent = 2 }))
    return
  end
  print(qlua.report.table(plan, COLUMNS))
  print(("%d schemes %s %s, each checked against what loaders accept."):format(
    #plan, opts.dry_run and "planned for" or "written to", opts.out))
end

return sweep

--- What schemes cost in quality: measured against their base, written beside them, and printed.
local qlua = require "qlua"
local samples = require "lib.samples"

local quality = {}

--- The file beside the schemes that has the rows.
quality.FILE = "quality.json"

--- Reads what `opts` name as samples, for the checkpoint `model`: everything that can be wrong with them is said here, before
--- anything is measured.
function quality.open(model, opts)
  local base, sets = qlua.engine.open(model, { threads = opts.threads }), {}
  local function read(kind, what, tensors)
    what.samples, what.max_length = opts.samples, opts.max_length
    local file = qlua.fs.basename(what.captions or what.text or what.pairs or what.inputs)
    sets[#sets + 1] = { kind = kind, file = file, samples = samples.read(base, what, tensors) }
  end
  if opts.captions then read("text", { captions = opts.captions }) end
  if opts.text then read("text", { text = opts.text }) end
  if opts.pairs then read("image_text", { pairs = opts.pairs, images = opts.images, split = opts.split }) end
  if opts.inputs then read("text", { inputs = opts.inputs }, "text") end
  if opts.inputs and base.has_vision then read("image_text", { inputs = opts.inputs }, "vlm") end
  if #sets == 0 then
    error{ kind = "usage", message = "there are no samples to measure with", hint = "pass --captions, --pairs, --inputs or --text" }
  end
  return { model = model, base = base, sets = sets, calibration_samples = opts.calibration_samples }
end

--- Refuses samples that `scored`, a file, was scored on: their hashes are `hashes`.
function quality.refuse(opened, scored, hashes)
  local used = {}
  for _, hash in ipairs(opened.calibration_samples and {} or hashes) do used[hash] = true end
  for _, set in ipairs(opened.sets) do
    for _, hash in ipairs(set.samples.hashes) do
      if used[hash] then
        error{ kind = "usage", message = ("the scores of `%s` are made from samples that are to be measured with"):format(scored),
          hint = "use others, or pass --calibration-samples" }
      end
    end
  end
end

--- The key of what the scheme at `path` was made from: a report shows no row of another one that bore the same name.
local function inputs(path)
  local record = qlua.fs.join(path, "layer-sensitivity/provenance.json")
  return qlua.fs.exists(record) and qlua.json.read(record).inputs or nil
end

--- The rows that the file `path` holds already; it is not replaced when it is something else.
local function known(path)
  if not qlua.fs.exists(path) then return {} end
  local is_read, file = pcall(qlua.json.read, path, { seal = true })
  local rows = is_read and type(file) == "table" and file.rows
  if type(rows) ~= "table" then
    local why = is_read and ("`%s` holds no rows of quality"):format(path) or file.message
    error{ kind = "refused", message = why .. "; it is not replaced", hint = "move it elsewhere" }
  end
  return rows
end

--- The key of what was measured: rows with the same one are of the same scheme and samples.
local function key(row)
  return ("%s\n%s\n%s"):format(row.scheme, row.kind, row.measured_on)
end

--- Writes `rows` to `path`, and with them those that are there of other schemes or other samples.
local function write(path, base, rows)
  local measured, all = {}, {}
  for _, row in ipairs(rows) do measured[key(row)] = true end
  for _, row in ipairs(known(path)) do
    if type(row) == "table" and not measured[key(row)] then all[#all + 1] = row end
  end
  table.move(rows, 1, #rows, #all + 1, all)
  qlua.json.write(path, { base = qlua.fs.basename(base), rows = all }, { indent = 2, overwrite = true, allow_nan = true, seal = true })
end

--- Measures the schemes at `paths`, adds the rows to the file beside the first of them, and returns them; and what went wrong with
--- the file, if anything did: rows that took long to measure are not lost with it.
function quality.measure(opened, paths)
  local path = qlua.fs.join(qlua.fs.dirname(paths[1]), quality.FILE)
  qlua.fs.check_place(path, { overwrite = true })
  known(path)
  local schemes, rows = {}, {}
  for i, scheme in ipairs(paths) do schemes[i] = qlua.engine.open(scheme) end
  for _, set in ipairs(opened.sets) do
    for i, measured in ipairs(opened.base:quality(schemes, set.samples)) do
      local row = { scheme = qlua.fs.basename(paths[i]), kind = set.kind, bytes = schemes[i].bytes, inputs = inputs(paths[i]), samples_file = set.file }
      for name, value in pairs(measured) do row[name] = value end
      rows[#rows + 1] = row
    end
  end
  local is_written, problem = pcall(write, path, opened.model, rows)
  return rows, not is_written and problem or nil
end

--- Has the model cards of the schemes at `paths` say what was measured of them.
function quality.refresh_cards(paths)
  for _, path in ipairs(paths) do
    local ok, state = pcall(qlua.export.refresh_card, path)
    if not ok then
      qlua.log.warn("the model card of %s does not say what was measured: %s", path, state)
    elseif state == "changed" then
      qlua.log.info("%s was changed since qlua wrote it, so it stays as it is", qlua.fs.join(path, "README.md"))
    end
  end
end

--- The table of `rows`: text before pictures, and from the largest scheme to the smallest.
function quality.table(rows)
  local sorted = table.move(rows, 1, #rows, 1, {})
  table.sort(sorted, function(a, b)
    if a.kind ~= b.kind then return a.kind > b.kind end
    if a.samples_file ~= b.samples_file then return a.samples_file < b.samples_file end
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return a.scheme < b.scheme
  end)
  return qlua.report.table(sorted, {
    { key = "scheme" }, { key = "kind", main = true }, { key = "bytes", title = "size", unit = "bytes", main = true },
    { key = "kl", title = "KL", unit = "score", main = true }, { key = "kl_error", title = "±", unit = "score" },
    { key = "perplexity", decimals = 3 }, { key = "agreement", decimals = 4, main = true }, { key = "agreement_error", title = "±", decimals = 4 },
  }, { format = "terminal" })
end

--- The smallest scheme of `rows` whose every KL is at most `limit`.
function quality.within(rows, limit)
  local worst, size, best = {}, {}, nil
  for _, row in ipairs(rows) do
    -- What is not a number is within nothing.
    local kl = row.kl == row.kl and row.kl or math.huge
    worst[row.scheme], size[row.scheme] = math.max(worst[row.scheme] or 0, kl), row.bytes
  end
  for _, row in ipairs(rows) do
    if worst[row.scheme] <= limit and (not best or size[row.scheme] < size[best]) then best = row.scheme end
  end
  return best
end

return quality

--- What the scripts that run models share: where samples come from.
local qlua = require "qlua"

local samples = {}

local OPTIONS = {
  { name = "captions", metavar = "FILE", type = "file", doc = "captions, one a line" },
  { name = "pairs", metavar = "FILE", type = "file", doc = "an SQLite file with the table vlm_calib_samples: pictures and captions" },
  { name = "images", metavar = "DIR", type = "directory", doc = "the folder that the pictures' paths begin in: for --pairs" },
  { name = "split", metavar = "NAME", doc = "only rows of this split: for --pairs" },
  { name = "inputs", metavar = "FILE", type = "file", doc = "prepared tensors, text.N.* and vlm.N.*, in a safetensors file" },
}

--- The names of these options.
samples.names = {}
for at, option in ipairs(OPTIONS) do samples.names[at] = option.name end

--- What the name of a file of samples ends in, by the option that reads it.
local ENDINGS = { txt = "captions", db = "pairs", sqlite = "pairs", safetensors = "inputs" }

--- The options that say where samples come from, and `extra` after them.
function samples.options(extra)
  local list = table.move(OPTIONS, 1, #OPTIONS, 1, {})
  return table.move(extra, 1, #extra, #list + 1, list)
end

--- The options that read the file `path`, told by the end of its name; `option` is the one that named it.
function samples.of_file(option, path, images)
  local key = ENDINGS[path:lower():match("%.(%w+)$") or ""]
  if not key then
    error{ kind = "usage", message = ("`%s` of --%s is of no kind that samples are read from"):format(path, option),
      hint = "captions end in .txt, pairs in .db or .sqlite, prepared tensors in .safetensors" }
  elseif key == "pairs" and not images then
    error{ kind = "usage", message = ("`%s` of --%s holds pairs, and --images is missing"):format(path, option),
      hint = "pass the folder that the pictures' paths begin in" }
  end
  return { [key] = path, images = key == "pairs" and images or nil }
end

--- Reads the samples that `opts` name: `kind` is `text` or `vlm` for prepared tensors.
function samples.read(engine, opts, kind)
  local read = engine:samples{
    captions = opts.captions, pairs = opts.pairs, images = opts.images, split = opts.split, inputs = opts.inputs, text = opts.text,
    kind = opts.inputs and kind or nil, count = opts.samples, max_length = opts.max_length,
  }
  local seen, again = {}, 0
  for _, hash in ipairs(read.hashes) do
    again = again + (seen[hash] and 1 or 0)
    seen[hash] = true
  end
  if again > 0 then
    qlua.log.info("%d of %s there before, and each counts as often as it is there", again, qlua.report.count(read.count, "sample"))
  end
  return read
end

--- The hashes of the samples that the scores of the manifest at `path` were made from.
function samples.scored(path)
  local made = qlua.json.read(path)
  local dataset = type(made) == "table" and made.dataset
  local hashes = type(dataset) == "table" and dataset.sample_hashes
  return type(hashes) == "table" and hashes or {}
end

--- The same for the scheme at `path`, which keeps its manifest, under its own name, among its records.
function samples.scored_for(path)
  local folder, hashes = qlua.fs.join(path, "layer-sensitivity"), {}
  for _, name in ipairs(qlua.fs.is_dir(folder) and qlua.fs.list(folder) or {}) do
    if name:match("%.json$") then
      local found = samples.scored(qlua.fs.join(folder, name))
      table.move(found, 1, #found, #hashes + 1, hashes)
    end
  end
  return hashes
end

return samples

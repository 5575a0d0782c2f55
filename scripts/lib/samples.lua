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

--- The options that say where samples come from, and `extra` after them.
function samples.options(extra)
  local list = table.move(OPTIONS, 1, #OPTIONS, 1, {})
  return table.move(extra, 1, #extra, #list + 1, list)
end

--- Reads the samples that `opts` name: `kind` is `text` or `vlm` for prepared tensors.
function samples.read(engine, opts, kind)
  return engine:samples{
    captions = opts.captions, pairs = opts.pairs, images = opts.images, split = opts.split, inputs = opts.inputs, text = opts.text,
    kind = opts.inputs and kind or nil, count = opts.samples, max_length = opts.max_length,
  }
end

return samples

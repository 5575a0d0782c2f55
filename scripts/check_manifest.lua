#!/usr/bin/env qlua
--- Show what is usable from an AutoQuant run: groups, unscored groups, missing input scales, convolutions and tied layers.
local qlua = require "qlua"

local opts = qlua.cli.parser{
  name = "check_manifest",
  about = "Shows what is usable from an AutoQuant run: groups, unscored groups, missing input scales, convolutions and tied layers.",
  options = { { name = "model", metavar = "DIR", type = "checkpoint", doc = "its checkpoint; without it convolutions and heads are told by name" } },
  arguments = { { name = "file", type = "file", required = true, doc = "a sensitivity manifest, or a state exported as JSON" } },
}:parse()

local manifest = qlua.manifest.open(opts.file)
local model = opts.model and qlua.checkpoint.open(opts.model)

local function is_convolution(module)
  local weight = model and model:tensor((model:on_disk(module) or "") .. ".weight")
  return weight and #weight.shape > 2 or not model and module:find("patch_embed", 1, true) ~= nil
end

local rows, by_name = {}, {}
for i, what in ipairs{ "usable", "never scored", "only NONE", "no input scale", "convolution", "head or tied" } do
  rows[i] = { what = what, count = 0 }
  by_name[what] = rows[i]
end
local function note(what, name)
  local row = by_name[what]
  row.count, row.first = row.count + 1, row.first or name
end

for _, group in ipairs(manifest.groups) do
  note(not group.is_candidate and "only NONE" or group.is_scored and "usable" or "never scored", group.name)
  for _, module in ipairs(group.members) do
    if is_convolution(module) then note("convolution", module)
    elseif group.tower == "head" then note("head or tied", module)
    elseif group.is_candidate and not manifest:input_amax(module) then note("no input scale", module) end
  end
end

print(("%s in %s (schema v%d, scored by %s)"):format(qlua.report.count(#manifest.groups, "group"), opts.file, manifest.version, manifest.method or "unknown means"))
print(qlua.report.table(rows, {
  { key = "what", title = "groups and layers" }, { key = "count", main = true }, { key = "first", title = "such as" },
}, { format = "terminal" }))
print("Convolutions and heads stay in BF16" .. (model and model.config.tie_word_embeddings and "; the head is tied to the embedding." or "."))

--- List the keys of a JSON file, with what each one holds.
local qlua = require "qlua"

local opts = qlua.cli.parser {
  name = "json_keys",
  about = "Lists the keys of a JSON file (a config, a manifest, an index) in their order, with what each one holds.",
  options = { { name = "depth", type = "integer", least = 1, default = 1, doc = "how many levels of objects to open" } },
  arguments = { { name = "file", type = "file", required = true, doc = "the JSON file" } },
}:parse()

local rows = {}

local function is_array(value)
  return #value > 0 or next(value) == nil
end

local function describe(value)
  if type(value) == "table" then
    local count = 0
    for _ in pairs(value) do count = count + 1 end
    return (is_array(value) and "list of %d" or "object of %d"):format(count)
  end
  return qlua.json.encode(value, { allow_nan = true })
end

local function visit(object, prefix, depth)
  for key, value in pairs(object) do
    rows[#rows + 1] = { key = prefix .. key, holds = describe(value) }
    if depth > 1 and type(value) == "table" and not is_array(value) then
      visit(value, prefix .. key .. ".", depth - 1)
    end
  end
end

local document = qlua.json.read(opts.file)
if type(document) ~= "table" or is_array(document) then
  error { message = ("`%s` holds no JSON object"):format(opts.file), hint = "its outermost value must be { … }" }
end
visit(document, "", opts.depth)
io.write(qlua.report.table(rows, { { key = "key" }, { key = "holds" } }, { format = "text" }))

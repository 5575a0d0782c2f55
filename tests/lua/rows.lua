--- Rows: plain tables that raise on keys they do not have.
local demo = qlua.checkpoint.demo("demo")
local family = qlua.export.family{ model = demo.model, manifest = demo.manifest, out = "out" }
local manifest = family.manifest
local ranking = manifest:ranking()

local function problem(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return e
end

-- A typing error in a policy is told instead of selecting nothing.
local typo = problem(function() return ranking:select(function(g) return g.towr == "vision" end) end)
assert(typo.kind == "not_found" and typo.message == "`Group` has no field `towr`" and typo.hint == "did you mean `tower`?")
for _, option in ipairs{ "where", "include", "exclude", "by" } do
  local e = problem(manifest.ranking, manifest, { [option] = function(g) return g.towr end })
  assert(e.message == typo.message, option)
end

-- Every row of the API, in and out as a plain table.
family:add("half", ranking:lowest(50))
local outcome = family:run()
local model = qlua.checkpoint.open(demo.model)
local weight = model:tensor("model.norm.weight")
local rows = {
  Group = manifest.groups[1], Decision = family:decide(), PlannedScheme = family:plan()[1], SchemeFile = family:files("half")[1], OnDisk = outcome.on_disk,
  Outcome = outcome, Written = outcome.schemes[1], Fit = qlua.plan.solve(family, ranking, { effective_bits = 12 }),
  HullPoint = qlua.plan.frontier(family, ranking).points[2], Correlation = qlua.manifest.correlation(manifest, manifest),
  TensorRow = model:tensors()[1], ShardRow = model.shards[1], Demo = demo, Stats = weight:stats(), Histogram = weight:histogram(4),
  QuantisationError = qlua.fp8.error(weight),
}
qlua.fs.write("broken/config.json", "{}", { parents = true })
rows.Problem = qlua.verify.directory("broken")[1]
for name, row in pairs(rows) do
  assert(type(row) == "table" and #row == 0 and next(row) ~= nil)
  local e = problem(function() return row.nothing_like_this end)
  assert(e.message == ("`%s` has no field `nothing_like_this`"):format(name), e.message)
  local line = tostring(row)
  assert(line:sub(1, #name + 1) == name .. "(" and line:sub(-1) == ")" and not line:find("\n"), line)
  row.mine = 7
  assert(row.mine == 7 and tostring(row):find("mine = 7", 1, true))
  row.mine = nil
end

-- A row that holds itself, or is held by what it holds, is shown to its end.
local own = family:decide()
own.other, own.own = manifest.groups[1], own
own.other.back = own
local shown = tostring(own)
assert(shown:find("own = Decision(…)", 1, true) and shown:find("other = Group(", 1, true), shown)
assert(shown:find("back = Decision(…)", 1, true), shown)
assert(tostring(own) == shown, "what was shown once is shown again")
local deep = manifest.groups[2]
for _ = 1, 1000 do
  local outer = family:decide()
  outer.one, outer.two, deep = deep, deep, outer
end
assert(#tostring(deep) < 1e6)

-- The same text as ever in JSON, tables and loops.
local written = rows.Written
assert(qlua.json.encode(written) == ('{"bytes":%d,"directory":"out/half","name":"half","up_to_date":false}'):format(written.bytes))
assert(qlua.json.object(written) == written)
local keys = {}
for key in pairs(written) do keys[#keys + 1] = key end
assert(table.concat(keys, " ") == "name directory bytes up_to_date")
assert(qlua.report.table({ written }, { { key = "name" }, { key = "mine" } }):find("half"))
assert(tostring(written):find('Written(name = "half", directory = "out/half", bytes = ', 1, true), tostring(written))
local text = tostring(rows.Group)
assert(text:find("members = list of %d") and text:find('tower = "vision"', 1, true), text)
assert(tostring(rows.Fit):find("selection = Selection(", 1, true))

-- What may be nil is nil; what is then done with it is told by name.
local patch = manifest:group("model.visual.patch_embed.proj")
assert(patch.block == nil and patch.parameters > 0 and patch.bytes == 2 * patch.parameters)
for _, early in ipairs{
  function(g) return g.block < 2 end, function(g) return 2 > g.block end, function(g) local b = g.block; return b <= 1 end,
} do
  local e = problem(ranking.select, ranking, early)
  local sentence = "^`model%.visual%.[%w_.]+` has no `block`: it is nil for a group that is in no block %(attempt to compare "
  assert(e.message:find(sentence), e.message)
  assert(e.hint == "test it first: `group.block and …`" and e.traceback:find("rows.lua:%d+"))
end
assert(#ranking:select(function(g) return g.block and g.block < 2 end) > 0)
assert(problem(manifest.ranking, manifest, { by = function(g) return -g.block end }).message:find("perform arithmetic"))

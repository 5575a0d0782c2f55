--- Errors of qlua as scripts see them.
local qlua = require "qlua"

local function raised(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return e
end

-- A table with kind, message, hint and traceback, that works as text.
local e = raised(qlua.fs.read, "missing")
assert(type(e) == "table" and e.kind == "io")
assert(tostring(e) == e.message and e.message:find("cannot read `missing`", 1, true))
assert("x" .. e == "x" .. e.message and "x" .. tostring(e) == "x" .. e.message)
assert(e.traceback:find("errors.lua:%d+"))

-- The same through xpcall, coroutines, error(e) and to-be-closed variables.
local seen
local ok, result = xpcall(qlua.fs.read, function(problem) seen = problem; return "handled" end, "missing")
assert(not ok and result == "handled" and seen.kind == "io")
local co = coroutine.create(function() qlua.fs.read("missing") end)
ok, e = coroutine.resume(co)
assert(not ok and e.kind == "io")
ok, e = coroutine.close(co)
assert(not ok and e.kind == "io")
local wrapped = coroutine.wrap(function() qlua.fs.read("missing") end)
assert(raised(wrapped).kind == "io")
local first = raised(qlua.fs.read, "missing")
assert(rawequal(raised(error, first), first))
local closed
raised(function()
  local _ <close> = setmetatable({}, { __close = function(_, problem) closed = problem end })
  qlua.fs.read("missing")
end)
assert(closed.kind == "io")

-- pcall stays yieldable.
local yields = coroutine.wrap(function()
  pcall(function() coroutine.yield(1) error("late", 0) end)
  coroutine.yield(2)
end)
assert(yields() == 1 and yields() == 2)
-- What Lua itself raises is such a table too, and works as the text that scripts expect; other values stay as they are.
local function deep() local x; return x.y end
e = raised(function() local n = 1 + deep() return n end)
assert(e.kind == "script" and e.message == "attempt to index a nil value (local 'x')" and e.hint == nil, e.message)
assert(tostring(e) == e.message and e:find("nil value", 1, true) and e:upper() == e.message:upper())
local lines = {}
for line in e.traceback:gmatch("[^\n]+") do lines[#lines + 1] = line:match("^errors%.lua:%d+$") or line:match("errors.lua:%d+$") end
assert(#lines >= 3 and lines[1] ~= lines[2] and not e.traceback:find("[C]", 1, true) and not e.traceback:find("[qlua]", 1, true), e.traceback)
assert(raised(error, "text").message == "text" and raised(error, "text", 0).kind == "script")
assert(rawequal(raised(error, e), e) and raised(error, "again: " .. e).message == "again: " .. e.message)
ok, result = xpcall(deep, debug.traceback)
assert(not ok and result:find("^attempt to index a nil value.-\nstack traceback:\n\t.-errors%.lua:%d+"), result)
local late = coroutine.create(deep)
ok, e = coroutine.resume(late)
assert(not ok and e.message:find("attempt to index", 1, true) and e.traceback:find("errors%.lua:%d+"))
assert(raised(error) == nil and raised(error, 7) == 7)
assert(not pcall(xpcall, print))
assert(select("#", pcall(function() return nil, nil end)) == 3)

-- Unknown names raise with a suggestion; nothing can be assigned.
e = raised(function() return qlua.fs.raed end)
assert(e.message == "qlua.fs has no field or function `raed`" and e.hint == "did you mean `read`?", e.hint)
e = raised(function() return qlua.jsn end)
assert(e.hint == "did you mean `json`?")
e = raised(function() qlua.fs.read = print end)
assert(e.message:find("read-only", 1, true))
e = raised(function() qlua.new = 1 end)
assert(e.message:find("read-only", 1, true))
local parser = qlua.cli.parser { name = "x" }
assert(raised(function() return parser.nmae end).hint == "did you mean `name`?")
assert(raised(function() parser.name = "y" end).message:find("Parser is read-only", 1, true))
assert(raised(parser.help).hint == "write handle:help(…), with a colon")
assert(tostring(parser) == "Parser" and getmetatable(parser) == false and getmetatable(qlua.fs) == false)

-- Arguments.
assert(raised(qlua.fs.read).message == "`path` of qlua.fs.read is missing: it must be a path")
assert(raised(qlua.fs.read, 3).message == "`path` of qlua.fs.read must be a path, not 3")
assert(raised(qlua.fs.read, "a", "b").message == "qlua.fs.read takes one argument, but 2 were given")
assert(raised(qlua.fs.read, "").message == "`path` of qlua.fs.read is an empty path")
e = raised(qlua.fs.write, "a", "b", { overwrit = true })
assert(e.message == "`overwrit` is no option of qlua.fs.write" and e.hint == "did you mean `overwrite`?")
e = raised(qlua.fs.write, "a", "b", { overwrite = 1 })
assert(e.message == "option `overwrite` of qlua.fs.write must be true or false, not 1", e.message)
e = raised(qlua.fs.write, "a", "b", true)
assert(e.message == "the options of qlua.fs.write must be a table, not true", e.message)
assert(not qlua.fs.exists("a"))
e = raised(qlua.cli.parser, { name = "x", options = { { name = "a" }, { name = "b", typ = "path" } } })
assert(e.message == "option `options[2]` of qlua.cli.parser has the unknown key `typ`", e.message)
assert(e.hint == "did you mean `type`?")
e = raised(qlua.cli.parser, { name = "x", options = { { name = "a", type = "pth" } } })
assert(e.message:find("`options[1].type`", 1, true) and e.hint == 'did you mean "path"?', e.message)

-- Modules.
e = raised(require, "lib.missing")
assert(e.message == "there is no module `lib.missing`")
assert(require "qlua" == qlua)

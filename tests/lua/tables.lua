--- qlua.report, and what arguments of the wrong type are answered with.
local qlua = require "qlua"

local function raised(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return e
end

-- Numbers of a column have as many decimals as they need, and all the same.
local rows = { { x = 0.1 + 0.2, n = 4e9, s = 1.12, w = 3 }, { x = 12.25, n = 1, s = 1e-7, w = 0.000001 } }
local text = qlua.report.table(rows, {
  { key = "x" }, { key = "n", unit = "bytes" }, { key = "s", unit = "score" }, { key = "w", decimals = 2 },
})
local function cells(line) return (line:gsub("%s+", " ")) end
local lines = {}
for line in text:gmatch("[^\n]+") do lines[#lines + 1] = cells(line) end
assert(lines[3] == "| 0.30 | 4.00 GB | 1.120 | 3.00 |", lines[3])
assert(lines[4] == "| 12.25 | 1 B | 1.000e-7 | 1.000e-6 |", lines[4])
assert(qlua.report.table({ { x = 1.0 }, { x = 2 } }, { { key = "x" } }):find("|   1 |", 1, true))

assert(qlua.report.count(0, "group") == "0 groups" and qlua.report.count(1, "group") == "1 group")

-- A number in quotes is answered alike everywhere, and every wrong type has a next step.
local t = qlua.tensor.from_list { 1, 2 }
local hint = "use tonumber(…) to turn a string into a number"
assert(raised(qlua.report.bytes, "5").hint == hint)
assert(raised(t.histogram, t, "5").hint == hint)
assert(raised(qlua.manifest.open, 5).hint == "`qlua doc manifest.open` says what it takes")

-- A tensor can be cast to the dtype that it says it has.
assert(t:cast(t.dtype) == t and t:cast("BF16").dtype == "BF16")
local codes = qlua.fp8.quantize(t)
assert(codes:cast(codes.dtype) == codes)
local e = raised(t.cast, t, "bf61")
assert(e.kind == "usage" and e.message == "there is no dtype `bf61`" and e.hint:find("the words are BOOL", 1, true), e.hint)

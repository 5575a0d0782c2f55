--- qlua.report, and what arguments of the wrong type are answered with.
local qlua = require "qlua"

local function raised(f, ...)
  local ok, e = pcall(f, ...)
  assert(not ok, "no error was raised")
  return e
end

local rows = { { n = 0.1 + 0.2, b = 7509245952, s = 1.12 }, { n = 3, b = nil, s = 1 / 0 }, { n = 2, b = 12, s = 0 / 0 } }

local function cells(columns, options)
  local lines = {}
  for line in qlua.report.table(rows, columns, options):gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

-- Numbers have no digits that say nothing, and missing ones are a dash.
local lines = cells({ { key = "n" }, { key = "b", unit = "bytes" }, { key = "s", title = "score", unit = "score" } })
assert(lines[1] == "|   n |       b |      score |", lines[1])
assert(lines[3] == "| 0.3 | 7.51 GB |       1.12 |", lines[3])
assert(lines[4] == "|   3 |       – | not finite |", lines[4])
assert(lines[5] == "|   2 |    12 B | not finite |", lines[5])

-- `decimals` holds for every number of the column, whole ones too.
lines = cells({ { key = "n", decimals = 2 }, { key = "b", unit = "bytes", decimals = 1 } }, { format = "text" })
assert(lines[1] == "   n       b", lines[1])
assert(lines[2] == "0.30  7.5 GB" and lines[3] == "3.00       –" and lines[4] == "2.00    12 B", lines[2])
lines = cells({ { key = "n", decimals = 0 } }, { format = "text" })
assert(lines[2] == "0" and lines[3] == "3", lines[2])

-- What makes no sense is refused.
local function refused(columns, part, given)
  local e = raised(qlua.report.table, given or rows, columns)
  assert(e.message:find(part, 1, true), e.message)
end
refused({ { key = "n", decimals = -1 } }, "must be from 0 to 17")
refused({ { key = "n", decimals = 1.5 } }, "decimals")
refused({ { key = "n", decimal = 1 } }, "unknown key `decimal`")
refused({ { key = "x" } }, "a table", { { x = {} } })

assert(qlua.report.count(0, "group") == "0 groups" and qlua.report.count(1, "group") == "1 group")
local number = qlua.report.number
assert(number(0.1 + 0.2) == "0.3" and number(3) == "3" and number(nil) == "–" and number(0 / 0) == "not a number")
assert(number(2 / 3, { decimals = 3 }) == "0.667" and number(nil, { decimals = 3 }) == "–")
assert(raised(number, 1, { decimals = 18 }).message:find("must be from 0 to 17", 1, true))

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

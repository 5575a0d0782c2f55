-- Tables as a careful user expects them.
local qlua = require "qlua"

local rows = { { n = 0.1 + 0.2, b = 7509245952, s = 1.12 }, { n = 3, b = nil, s = 1 / 0 }, { n = 2, b = 12, s = 0 / 0 } }

local function cells(columns, options)
  local lines = {}
  for line in qlua.report.table(rows, columns, options):gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

-- Numbers have no digits that say nothing, and missing ones are a dash.
local lines = cells({ { key = "n" }, { key = "b", unit = "bytes" }, { key = "s", title = "score", unit = "score" } })
assert(lines[1] == "|   n |       b |        score |", lines[1])
assert(lines[3] == "| 0.3 | 7.51 GB |         1.12 |", lines[3])
assert(lines[4] == "|   3 |       – |     infinite |", lines[4])
assert(lines[5] == "|   2 |    12 B | not a number |", lines[5])

-- `decimals` holds for every number of the column, whole ones too.
lines = cells({ { key = "n", decimals = 2 }, { key = "b", unit = "bytes", decimals = 1 } }, { format = "text" })
assert(lines[1] == "   n       b", lines[1])
assert(lines[2] == "0.30  7.5 GB" and lines[3] == "3.00       –" and lines[4] == "2.00    12 B", lines[2])
lines = cells({ { key = "n", decimals = 0 } }, { format = "text" })
assert(lines[2] == "0" and lines[3] == "3", lines[2])

-- What makes no sense is refused.
local function refused(columns, part, given)
  local ok, problem = pcall(qlua.report.table, given or rows, columns)
  assert(not ok and tostring(problem):find(part, 1, true), tostring(problem))
end
refused({ { key = "n", decimals = -1 } }, "must be from 0 to 17")
refused({ { key = "n", decimals = 1.5 } }, "decimals")
refused({ { key = "n", decimal = 1 } }, "unknown key `decimal`")
refused({ { key = "x" } }, "a table", { { x = {} } })

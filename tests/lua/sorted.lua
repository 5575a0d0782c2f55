--- qlua.sorted and the table qlua itself.
local keys = {}
for key, value in qlua.sorted { 10, 20, b = 1, a = 2, [0.5] = 3 } do keys[#keys + 1] = key .. "=" .. value end
assert(table.concat(keys, " ") == "0.5=3 1=10 2=20 a=2 b=1", table.concat(keys, " "))
assert(not pcall(qlua.sorted, { [true] = 1 }))
local names = {}
for name in pairs(qlua.fs) do names[#names + 1] = name end
assert(table.concat(names, " "):find("^basename check_place dirname exists"))
assert(_G.qlua == qlua and qlua.version:find("^%d+%.%d+%.%d+$"))

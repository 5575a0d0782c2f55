--- What the host changes in Lua's standard library.

-- Binary chunks are refused, whatever the mode says.
local binary = string.dump(function() return 1 end)
local f, message = load(binary)
assert(f == nil and message:find("attempt to load a binary chunk"))
assert(load(binary, "x", "b") == nil and load(binary, "x", "bt") == nil)
local file <close> = assert(io.open("binary.lua", "wb"))
file:write(binary)
file:flush()
assert(loadfile("binary.lua") == nil and loadfile("binary.lua", "b") == nil)
assert(not pcall(dofile, "binary.lua"))
assert(load("return ...", "x", "t", {})(4) == 4)
assert(load("return y", "x", "t", { y = 5 })() == 5)
assert(load("return 6")() == 6)
local parts = { "return ", "7" }
assert(load(function() return table.remove(parts, 1) end)() == 7)

-- Finalizers are refused; to-be-closed variables work.
assert(not pcall(setmetatable, {}, { __gc = function() end }))
assert(not pcall(setmetatable, {}, { __gc = true }))
assert(getmetatable(io.stdout) == false)
local closed = false
do local _ <close> = setmetatable({}, { __close = function() closed = true end }) end
assert(closed)

assert(debug.traceback("message"):find("^message\nstack traceback:\n\t.*host.lua:%d+"))
assert(debug.traceback({}) ~= nil and debug.getinfo == nil)
assert(package.cpath == "" and not package.path:find("/usr/", 1, true))

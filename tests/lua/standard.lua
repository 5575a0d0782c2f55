--- Functions of Lua's that qlua stands in front of: a mistake is told with the name and the place that the script knows.

local function says(expected, f)
  local ok, message = pcall(f)
  assert(not ok, "no error was raised: " .. expected)
  assert(message.message == expected and message.traceback:find("standard%.lua:%d+"), message)
end

says("bad argument #1 to 'popen' (string expected, got table)", function() io.popen({}) end)
says("bad argument #1 to 'popen' (string expected, got no value)", function() io.popen() end)
says("bad argument #2 to 'popen' (invalid mode)", function() io.popen("true", "q") end)
says("bad argument #1 to 'execute' (string expected, got table)", function() os.execute({}) end)
says("bad argument #1 to 'load' (function expected, got nil)", function() load() end)
says("bad argument #2 to 'load' (string expected, got table)", function() load("x", {}) end)
says("bad argument #1 to 'loadfile' (string expected, got table)", function() loadfile({}) end)
says("bad argument #1 to 'dofile' (string expected, got table)", function() dofile({}) end)
says("bad argument #1 to 'require' (string expected, got table)", function() require({}) end)
says("bad argument #1 to 'setmetatable' (table expected, got number)", function() setmetatable(1, {}) end)
says("bad argument #2 to 'setmetatable' (nil or table expected, got number)", function() setmetatable({}, 1) end)
says("cannot change a protected metatable", function()
  setmetatable(setmetatable({}, { __metatable = false }), {})
end)
says("bad argument #1 to 'pcall' (value expected)", function() pcall() end)
says("bad argument #2 to 'xpcall' (function expected, got nil)", function() xpcall(print) end)
says("bad argument #1 to 'create' (function expected, got number)", function() coroutine.create(1) end)
says("bad argument #1 to 'wrap' (function expected, got number)", function() coroutine.wrap(1) end)
says("bad argument #1 to 'resume' (thread expected, got number)", function() coroutine.resume(1) end)
says("bad argument #1 to 'close' (thread expected, got number)", function() coroutine.close(1) end)
says("cannot close a running coroutine", function() coroutine.close(coroutine.running()) end)
says("bad argument #1 to 'write' (string expected, got table)", function() io.write({}) end)
says("bad argument #2 to 'write' (string expected, got table)", function() io.write("", {}) end)
says("bad argument #1 to 'write' (string expected, got table)", function() io.stderr:write({}) end)
says("bad argument #2 to 'write' (string expected, got table)", function() io.stderr:write("", {}) end)
says("bad argument #1 to 'write' (FILE* expected, got table)", function() io.stderr.write({}) end)
says("bad argument #1 to 'flush' (FILE* expected, got table)", function() io.stderr.flush({}) end)

local closed = assert(io.open("/dev/null", "w"))
closed:close()
says("attempt to use a closed file", function() closed:write("x") end)
says("attempt to use a closed file", function() closed:flush() end)

-- What a script raises itself is passed on as it is.
local own = {}
local ok, raised = pcall(coroutine.wrap(function() error(own) end))
assert(not ok and rawequal(raised, own))
ok, raised = load(function() error(own) end)
assert(ok == nil and rawequal(raised, own))

-- A coroutine resumes another as deep as in Lua alone.
local function deep(left)
  if left == 0 then return "bottom" end
  return select(2, assert(coroutine.resume(coroutine.create(deep), left - 1)))
end
assert(deep(150) == "bottom")

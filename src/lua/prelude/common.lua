-- Runs once in each new Lua state, before any script. `host` holds functions written in Rust; what is returned here is
-- used by Rust, and by standard.lua or sandbox.lua, one of which runs next. Standard functions are replaced where a script
-- could otherwise swallow a stop (Ctrl-C, os.exit, a closed pipe, a limit), see a Rust error as userdata, or load binary code.
local host = ...
local error, type, select, tostring, rawget, next = error, type, select, tostring, rawget, next
local getmetatable = getmetatable
local sort = table.sort
local stopping, convert, to_table = host.stopping, host.convert, host.caught
local exports = {}

-- Functions written in Rust return `true, results…` or `false, error`, because what Rust raises itself would arrive as
-- userdata.
local function finish(ok, ...)
  if ok then return ... end
  error((...), 0)
end

local function wrap(f)
  return function(...) return finish(f(...)) end
end
exports.wrap = wrap

-- Functions of Lua's that stand behind others call themselves as they are called there, so they are given the name and the
-- place that the script knows.
local raw_pcall, raw_xpcall = pcall, xpcall
local called = host.called
local function named(name, f)
  local function passed(ok, ...)
    if ok then return ... end
    error(called(name, (...)), 0)
  end
  return function(...) return passed(raw_pcall(f, ...)) end
end
exports.named = named

-- Protected calls ----------------------------------------------------------------------------------------------------
local raw_resume, raw_close = coroutine.resume, named("close", coroutine.close)
exports.pcall = raw_pcall

local function settle(ok, ...)
  if ok then return true, ... end
  local stop = stopping()
  if stop then error(stop, 0) end
  return false, to_table((...))
end

-- Where an error is raised, its whole stack is still there.
local function caught(e)
  if stopping() then return e end
  return to_table(e)
end

function pcall(...)
  if select("#", ...) == 0 then error("bad argument #1 to 'pcall' (value expected)", 2) end
  return settle(raw_xpcall((...), caught, select(2, ...)))
end

-- What a handler of the script gives stays as it is.
local function settle_handled(ok, ...)
  if ok then return true, ... end
  local stop = stopping()
  if stop then error(stop, 0) end
  return false, convert((...))
end

function xpcall(f, handler, ...)
  if type(handler) ~= "function" then
    error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2)
  end
  local function guarded(e)
    if stopping() then return e end
    return handler(to_table(e))
  end
  return settle_handled(raw_xpcall(f, guarded, ...))
end

-- The hook counts the instructions of each coroutine anew, so each pays beforehand for what goes uncounted.
local raw_create, raw_wrap = named("create", coroutine.create), named("wrap", coroutine.wrap)
local count_coroutine = host.count_coroutine
function coroutine.create(...)
  count_coroutine()
  return raw_create(...)
end
function coroutine.wrap(...)
  count_coroutine()
  return raw_wrap(...)
end
-- One that resumes another goes as deep as Lua lets it, without a protected call more for each.
function coroutine.resume(thread, ...)
  if type(thread) ~= "thread" then
    error("bad argument #1 to 'resume' (thread expected, got " .. type(thread) .. ")", 2)
  end
  return settle(raw_resume(thread, ...))
end
function coroutine.close(...) return settle(raw_close(...)) end

function exports.guard(f, ...) return raw_xpcall(f, host.describe, ...) end

-- Errors work as text: scripts look into them with the methods of strings.
local texts = {}
for name, f in next, string do texts[name] = f end

exports.error_metatable = {
  __name = "qlua.Error",
  __metatable = false,
  __index = function(_, key)
    local f = texts[key]
    return f and function(e, ...) return f(tostring(e), ...) end
  end,
  __tostring = function(e) return tostring(rawget(e, "message")) end,
  __concat = function(a, b) return tostring(a) .. tostring(b) end,
}

-- Loading ------------------------------------------------------------------------------------------------------------
local raw_load = load
exports.raw_load = raw_load

local function loaded(f, ...)
  if f == nil then
    local stop = stopping()
    if stop then error(stop, 0) end
  end
  return f, ...
end
exports.loaded = loaded

local named_load = named("load", load)
function load(chunk, name, _, ...) return loaded(named_load(chunk, name, "t", ...)) end

-- Finalizers would run without the hook that makes scripts interruptible.
local raw_setmetatable, named_setmetatable = setmetatable, named("setmetatable", setmetatable)
exports.raw_setmetatable = raw_setmetatable
function setmetatable(t, metatable)
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
    error("__gc is not available in qlua; use a to-be-closed variable (`local x <close> = …`)", 2)
  end
  return named_setmetatable(t, metatable)
end

-- The table `qlua` and its handles -----------------------------------------------------------------------------------
function exports.index(getters, methods, unknown)
  return function(self, key)
    local method = methods[key]
    if method ~= nil then return method end
    local getter = getters[key]
    if getter ~= nil then return getter(self) end
    return unknown(self, key)
  end
end

-- A proxy, so that replacing an existing member raises too.
-- A plain list is given as a copy: scripts share nothing that they can change.
local function own(member)
  if type(member) ~= "table" or getmetatable(member) ~= nil then return member end
  local copy = {}
  for key, value in next, member do copy[key] = value end
  return copy
end

function exports.namespace(name, members, unknown, assigned)
  local names = {}
  for member in next, members do names[#names + 1] = member end
  sort(names)
  local function each()
    local i = 0
    return function()
      i = i + 1
      return names[i], own(members[names[i]])
    end
  end
  return raw_setmetatable({}, {
    __name = name,
    __metatable = false,
    __index = function(_, key)
      local member = members[key]
      if member ~= nil then return own(member) end
      return unknown(key)
    end,
    __newindex = function(_, key) assigned(key) end,
    __pairs = each,
    __tostring = function() return name end,
  })
end

return exports

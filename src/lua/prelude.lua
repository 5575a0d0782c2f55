-- Runs once in each new Lua state, before any script. `host` holds functions written in Rust; what is returned here is
-- used by Rust. Standard functions are replaced where a script could otherwise swallow a stop (Ctrl-C, os.exit, a
-- closed pipe), see a Rust error as userdata, or load binary code.
local host = ...
local error, type, select, tostring, rawget, next = error, type, select, tostring, rawget, next
local concat, sort, unpack = table.concat, table.sort, table.unpack
local gmatch, gsub = string.gmatch, string.gsub
local stopping, convert = host.stopping, host.convert
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

-- Protected calls ----------------------------------------------------------------------------------------------------
local raw_pcall, raw_xpcall = pcall, xpcall
local raw_resume, raw_close = coroutine.resume, coroutine.close
exports.pcall = raw_pcall

local function settle(ok, ...)
  if ok then return true, ... end
  local stop = stopping()
  if stop then error(stop, 0) end
  return false, convert((...))
end

function pcall(...) return settle(raw_pcall(...)) end

function xpcall(f, handler, ...)
  if type(handler) ~= "function" then
    error("bad argument #2 to 'xpcall' (function expected, got " .. type(handler) .. ")", 2)
  end
  local function guarded(e)
    if stopping() then return e end
    return handler(convert(e))
  end
  return settle(raw_xpcall(f, guarded, ...))
end

function coroutine.resume(...) return settle(raw_resume(...)) end
function coroutine.close(...) return settle(raw_close(...)) end

function exports.guard(f, ...) return raw_xpcall(f, host.describe, ...) end

exports.error_metatable = {
  __name = "qlua.Error",
  __tostring = function(e) return tostring(rawget(e, "message")) end,
  __concat = function(a, b) return tostring(a) .. tostring(b) end,
}

-- Loading ------------------------------------------------------------------------------------------------------------
local raw_load, raw_loadfile = load, loadfile

local function loaded(f, ...)
  if f == nil then
    local stop = stopping()
    if stop then error(stop, 0) end
  end
  return f, ...
end

function load(chunk, name, _, ...) return loaded(raw_load(chunk, name, "t", ...)) end
function loadfile(name, _, ...) return loaded(raw_loadfile(name, "t", ...)) end

local syntax_error, missing_module = wrap(host.syntax_error), wrap(host.missing_module)

function dofile(name)
  local f, message = raw_loadfile(name, "t")
  if not f then syntax_error("@" .. tostring(name or "stdin"), message) end
  return f()
end

local embedded = host.embedded

-- Like package.searchpath, but what is no regular file raises instead of blocking.
local source_of = wrap(host.source_of)
local function search(name)
  local file = gsub(gsub(name, "%.", "/"), "%%", "%%%%")
  for template in gmatch(package.path, "[^;]+") do
    local path = gsub(template, "%?", file)
    local source = source_of(path)
    if source then return path, source end
  end
end

package.cpath = ""
package.searchers = {
  package.searchers[1],
  function(name)
    local path, source = search(name)
    if not path then return nil end
    local f, message = raw_load(source, "@" .. path, "t")
    if not f then syntax_error("@" .. path, message) end
    return f, path
  end,
  function(name)
    local source, chunk = embedded(name)
    if not source then return missing_module(name) end
    local f, message = raw_load(source, chunk, "t")
    if not f then syntax_error(chunk, message) end
    return f, chunk
  end,
}

local require = require
function exports.load_module(name, module) _G[name] = require(module) end

-- Finalizers would run without the hook that makes scripts interruptible.
local raw_setmetatable = setmetatable
function setmetatable(t, metatable)
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
    error("__gc is not available in qlua; use a to-be-closed variable (`local x <close> = …`)", 2)
  end
  return raw_setmetatable(t, metatable)
end

-- Output -------------------------------------------------------------------------------------------------------------
local stdout, current_output = io.stdout, io.output
local closed_pipe = wrap(host.closed_pipe)
local file_metatable = getmetatable(stdout)
local raw_write, raw_io_write = file_metatable.__index.write, io.write
local EPIPE = 32

local function written(to, f, message, code)
  if f == nil and code == EPIPE and to == stdout then closed_pipe() end
  return f, message, code
end

-- What goes to a terminal does nothing to it; a pipe or a file gets every byte as it is.
local on_terminal = { [stdout] = host.is_terminal(1), [io.stderr] = host.is_terminal(2) }
local function shown(f, ...)
  if not on_terminal[f] then return ... end
  local texts = { ... }
  for i, text in ipairs(texts) do
    if type(text) == "string" then texts[i] = host.shown(text) end
  end
  return unpack(texts)
end

file_metatable.__index.write = function(f, ...) return written(f, raw_write(f, shown(f, ...))) end
file_metatable.__metatable = false
function io.write(...) return written(current_output(), raw_io_write(shown(current_output(), ...))) end

function print(...)
  local count = select("#", ...)
  local texts = { ... }
  for i = 1, count do texts[i] = tostring(texts[i]) end
  local f, message = written(stdout, raw_write(stdout, shown(stdout, concat(texts, "\t", 1, count)), "\n"))
  if f == nil then error("cannot write to the standard output: " .. tostring(message), 0) end
end

os.exit = wrap(host.exit)

debug = { traceback = host.traceback }

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
function exports.namespace(name, members, unknown, assigned)
  local names = {}
  for member in next, members do names[#names + 1] = member end
  sort(names)
  local function each()
    local i = 0
    return function()
      i = i + 1
      return names[i], members[names[i]]
    end
  end
  return raw_setmetatable({}, {
    __name = name,
    __metatable = false,
    __index = function(_, key)
      local member = members[key]
      if member ~= nil then return member end
      return unknown(key)
    end,
    __newindex = function(_, key) assigned(key) end,
    __pairs = each,
    __tostring = function() return name end,
  })
end

return exports

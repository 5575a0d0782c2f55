-- Runs after common.lua in a sandbox: a state that was made without the libraries io, os, package and debug. What is not on
-- the lists here is taken out of the globals, and what scripts would otherwise share with qlua they get as copies.
local host, exports = ...
local error, type, tostring, select, next, pairs, getmetatable = error, type, tostring, select, next, pairs, getmetatable
local concat, randomseed = table.concat, exports.named("randomseed", math.randomseed)
local raw_load, wrap, raw_setmetatable = exports.raw_load, exports.wrap, exports.raw_setmetatable

local GLOBALS = {}
for name in ([[_G _VERSION assert coroutine error getmetatable ipairs load math pcall rawequal rawlen select setmetatable
  string table tonumber tostring type utf8 xpcall]]):gmatch("%g+") do
  GLOBALS[name] = true
end
local CLOSED = {}
for name in ([[io os package debug dofile loadfile rawset rawget collectgarbage warn]]):gmatch("%g+") do
  CLOSED[name] = true
end
for name in pairs(_G) do
  if not GLOBALS[name] then _G[name] = nil end
end
string.dump = nil

-- Methods of strings are those of Lua, whatever a script makes of its own table `string`.
local methods = {}
for name, f in next, string do methods[name] = f end
local strings = getmetatable("")
strings.__index = methods
strings.__metatable = false

-- The same order and the same numbers in every run.
randomseed(0, 0)
function math.randomseed(...)
  if select("#", ...) == 0 then return randomseed(0, 0) end
  return randomseed(...)
end

local ordered, orders_itself = wrap(host.ordered), host.orders_itself

-- A plain table in the order of its keys, and a table with an order of its own in that.
function _G.pairs(t)
  if orders_itself(t) then return pairs(t) end
  return ordered(t)
end

function _G.next(t, key)
  if key ~= nil then error("`next` gives only a first key in a sandbox; use `pairs`", 2) end
  if type(t) ~= "table" then error("bad argument #1 to 'next' (table expected, got " .. type(t) .. ")", 2) end
  return ordered(t)(t, nil)
end

-- Loading: what is part of qlua, and nothing else.
local loaded, loading = {}, {}
local syntax_error, missing_module, embedded = wrap(host.syntax_error), wrap(host.missing_module), host.embedded

function _G.require(name)
  local module = loaded[name]
  if module ~= nil then return module end
  if type(name) ~= "string" then error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2) end
  local source, chunk = embedded(name)
  if not source then return missing_module(name) end
  if loading[name] then error("the module `" .. name .. "` needs itself", 2) end
  local f, message = raw_load(source, chunk, "t")
  if not f then syntax_error(chunk, message) end
  loading[name] = true
  module = f(name, chunk)
  loading[name] = nil
  if module == nil then module = true end
  loaded[name] = module
  return module, chunk
end

function exports.provide(name, value) loaded[name] = value end

local require = require
function exports.load_module(name, module) _G[name] = require(module) end

-- Output
local print_line = wrap(host.print_line)
function _G.print(...)
  local count = select("#", ...)
  local texts = { ... }
  for i = 1, count do texts[i] = tostring(texts[i]) end
  print_line(concat(texts, "\t", 1, count))
end

-- What is closed says so.
local closed = wrap(host.closed)
raw_setmetatable(_G, {
  __metatable = false,
  __index = function(_, name)
    if CLOSED[name] then closed(name) end
  end,
})

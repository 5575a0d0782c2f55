-- Runs after common.lua in a state with all of Lua's safe libraries: modules, files, and output.
local host, exports = ...
local error, type, tostring, select, ipairs = error, type, tostring, select, ipairs
local concat, unpack = table.concat, table.unpack
local gmatch, gsub = string.gmatch, string.gsub
local wrap, named, raw_load = exports.wrap, exports.named, exports.raw_load

-- Loading ------------------------------------------------------------------------------------------------------------
local raw_loadfile, file_of = named("loadfile", loadfile), named("dofile", loadfile)
function loadfile(name, _, ...) return exports.loaded(raw_loadfile(name, "t", ...)) end

local syntax_error, missing_module = wrap(host.syntax_error), wrap(host.missing_module)

function dofile(name)
  local f, message = file_of(name, "t")
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

function exports.provide(name, value) package.loaded[name] = value end

-- Output -------------------------------------------------------------------------------------------------------------
local stdout, current_output = io.stdout, io.output
local closed_pipe, unwritable = wrap(host.closed_pipe), wrap(host.unwritable)
local file_metatable = getmetatable(stdout)
local raw_write, raw_io_write = named(":write", file_metatable.__index.write), named("write", io.write)
local raw_flush, raw_io_flush = named(":flush", file_metatable.__index.flush), named("flush", io.flush)
local EPIPE = 32

-- Few scripts look at what `write` returns, and what they print is their result: where it gets lost, they end.
local function written(to, f, message, code)
  if f == nil and to == stdout then
    if code == EPIPE then closed_pipe() end
    unwritable(code)
  end
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
file_metatable.__index.flush = function(f) return written(f, raw_flush(f)) end
function io.flush() return written(current_output(), raw_io_flush()) end
function io.write(...) return written(current_output(), raw_io_write(shown(current_output(), ...))) end

function print(...)
  local count = select("#", ...)
  local texts = { ... }
  for i = 1, count do texts[i] = tostring(texts[i]) end
  written(stdout, raw_write(stdout, shown(stdout, concat(texts, "\t", 1, count)), "\n"))
end

os.exit = wrap(host.exit)

-- Commands -----------------------------------------------------------------------------------------------------------
local raw_execute, raw_popen = named("execute", os.execute), named("popen", io.popen)
local interrupted, lend_huge_pages = wrap(host.interrupted), host.lend_huge_pages

local function returned(...)
  lend_huge_pages(false)
  return ...
end

-- What a command inherits is not what qlua needs for itself.
function io.popen(...)
  lend_huge_pages(true)
  return returned(raw_popen(...))
end

-- The C library hears no Ctrl-C while a command runs; that the command ended by it is all there is to see.
function os.execute(...)
  lend_huge_pages(true)
  local ok, how, code = returned(raw_execute(...))
  if (how == "signal" and code == 2) or (how == "exit" and code == 130) then return interrupted() end
  return ok, how, code
end

debug = { traceback = host.traceback }


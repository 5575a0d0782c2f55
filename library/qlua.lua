---@meta qlua
-- Made from the declarations in src/lua/api; `QLUA_BLESS=1 cargo test --test lua_api` writes it anew.

---The toolkit: `local qlua = require "qlua"`, also a global.
---@class qlua
---@field version string The version of qlua, such as `"0.1.0"`.
qlua = {}

---Iterates over a table in the order of its keys: numbers first, then strings. The order of `pairs` differs from run to run, so it must never decide about an output.
---
---Raises when a key is neither a number nor a string.
---
---```lua
---local names = {}
---for name in qlua.sorted{ b = 1, a = 2 } do names[#names + 1] = name end
---assert(table.concat(names) == "ab")
---```
---
---Since 0.1.0.
---@param table table any table whose keys are numbers and strings
---@return fun(): any, any # an iterator over keys and values, for `for`
function qlua.sorted(table) end

---An option (`--name VALUE`) or argument of a script.
---@class qlua.CliOption
---@field name string the name without dashes: `dry-run`; its key in the result is `dry_run`
---@field doc? string what it means, for `--help`
---@field type? "string"|"path"|"glob"|"integer"|"number"|"percent"|"string list"|"path list"|"glob list"|"integer list"|"number list"|"percent list" what the value must be (default: `"string"`); a `percent list` is `10,20,12.5` or `10..100:10`
---@field choices? string[] the words that the value may be
---@field flag? boolean takes no value; false in the result when it is not there
---@field default? string|number|number[] what is parsed when it is left out
---@field metavar? string what stands for the value in `--help`: `DIR`
---@field required? boolean must be given
---@field repeated? boolean may be given several times; the result is a list

---Options of qlua.cli.parser.
---@class qlua.cli.parser.Options
---@field name string the script's name, as it is typed
---@field about? string what the script does, for `--help`
---@field options? qlua.CliOption[] what is given as `--name VALUE`
---@field arguments? qlua.CliOption[] what is given without dashes, in order

---The command line of a script: declared once, then parsed, checked and explained by `--help`.
---@class qlua.cli
qlua.cli = {}

---Declares what a script takes on its command line; `--help` is added.
---
---Raises when the declaration contradicts itself.
---
---```lua
---local parser = qlua.cli.parser{
---  name = "demo",
---  options = {
---    { name = "model", metavar = "DIR", type = "path", doc = "the base checkpoint" },
---    { name = "top", type = "percent list", default = "10..30:10" },
---    { name = "dry-run", flag = true },
---  },
---}
---local opts = parser:parse{ "--model=m", "--top", "5,12.5" }
---assert(opts.model == "m" and opts.top[2] == 12.5 and opts.dry_run == false)
---```
---
---Since 0.1.0.
---@param options qlua.cli.parser.Options
---@return qlua.Parser # the declared command line
function qlua.cli.parser(options) end

---A declared command line.
---@class qlua.Parser
---@field name string the script's name
local Parser = {}

---Reads a command line: a plain table with a key per option (`dry-run` as `dry_run`). `--help` prints the help and ends the script with exit code 0.
---
---Raises when the words are no such command line; uncaught, that is exit code 2.
---
---```lua
---local parser = qlua.cli.parser{ name = "demo", arguments = { { name = "file" } } }
---assert(parser:parse{ "a.json" }.file == "a.json")
---local ok, problem = pcall(parser.parse, parser, { "--fast" })
---assert(not ok and problem.kind == "usage")
---```
---
---Since 0.1.0.
---@param words? string[] the words; without them, those of the global `arg`
---@return table # the values; nil for what was left out and has no default
function Parser:parse(words) end

---The text that `--help` prints.
---
---```lua
---assert(qlua.cli.parser{ name = "demo" }:help():find("usage: demo"))
---```
---
---Since 0.1.0.
---@return string # lines of text
function Parser:help() end

---Options of qlua.fs.write.
---@class qlua.fs.write.Options
---@field overwrite? boolean whether to replace a file that is there (default: `false`)
---@field parents? boolean whether to make missing directories (default: `false`)

---Files and paths. Lists are sorted, files are written whole or not at all, nothing is removed.
---@class qlua.fs
qlua.fs = {}

---Whether there is something at `path`; a broken link is nothing.
---
---```lua
---assert(not qlua.fs.exists("missing.json"))
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@return boolean # true for a file or directory
function qlua.fs.exists(path) end

---Whether `path` is a directory, or a link to one.
---
---```lua
---assert(qlua.fs.is_dir("."))
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@return boolean # true for a directory
function qlua.fs.is_dir(path) end

---The names in a directory, sorted byte by byte, without `.` and `..`.
---
---Raises when `path` is no directory or cannot be read.
---
---```lua
---assert(#qlua.fs.list(".") == 0)
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@return string[] # names without the directory
function qlua.fs.list(path) end

---The files and directories that a pattern matches, sorted byte by byte.
---
---Raises when the pattern does not parse.
---
---Raises when a directory cannot be read.
---
---```lua
---assert(#qlua.fs.glob("*.json") == 0)
---```
---
---Since 0.1.0.
---@param pattern string `*` and `?` match within a name, `[ab]` a set, `**` any number of directories
---@return string[] # paths; empty when nothing matches
function qlua.fs.glob(pattern) end

---The content of a file, as it is.
---
---Raises when the file cannot be read.
---
---```lua
---qlua.fs.write("note.txt", "hello")
---assert(qlua.fs.read("note.txt") == "hello")
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@return string # all bytes
function qlua.fs.read(path) end

---Writes a file: whole or not at all.
---
---Raises when the file is there already and `overwrite` is not set.
---
---Raises when the file cannot be written.
---
---```lua
---qlua.fs.write("a.txt", "one")
---assert(not pcall(qlua.fs.write, "a.txt", "two"))
---qlua.fs.write("a.txt", "two", { overwrite = true })
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@param content string all bytes
---@param options? qlua.fs.write.Options
function qlua.fs.write(path, content, options) end

---Joins parts of a path; a part that begins with `/` begins anew.
---
---```lua
---assert(qlua.fs.join("models", "qwen", "config.json") == "models/qwen/config.json")
---```
---
---Since 0.1.0.
---@param first string the first part
---@param ... string further parts
---@return string # the path
function qlua.fs.join(first, ...) end

---The last part of a path; a trailing `/` does not count.
---
---```lua
---assert(qlua.fs.basename("models/qwen/") == "qwen")
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@return string # the name; empty for `/` and `..`
function qlua.fs.basename(path) end

---A path without its last part.
---
---```lua
---assert(qlua.fs.dirname("models/qwen") == "models")
---assert(qlua.fs.dirname("a") == ".")
---```
---
---Since 0.1.0.
---@param path string relative to the current directory, or absolute
---@return string # the directory; `.` where the path has one part only
function qlua.fs.dirname(path) end

---Options of qlua.json.encode.
---@class qlua.json.encode.Options
---@field allow_nan? boolean whether to write NaN and infinities as Python does (default: `false`)
---@field indent? integer spaces per level (default: all on one line)

---Options of qlua.json.write.
---@class qlua.json.write.Options
---@field allow_nan? boolean whether to write NaN and infinities as Python does (default: `false`)
---@field indent? integer spaces per level (default: `2`)
---@field overwrite? boolean whether to replace a file that is there (default: `false`)

---JSON to Lua tables and back. A decoded object remembers the order of its keys: `pairs` and `encode` follow it. Integers stay integers; null is `qlua.json.null`, which is not nil and counts as true.
---@class qlua.json
---@field null qlua.Null JSON's null; compare with `==`.
qlua.json = {}

---Reads JSON text. The bare tokens `NaN`, `Infinity` and `-Infinity`, which Python writes, are accepted. Integers beyond 64 bits become floats.
---
---Raises when the text is no JSON; the message names line and column.
---
---```lua
---local t = qlua.json.decode('{"b": [1, null], "a": 2.5}')
---assert(t.b[1] == 1 and t.b[2] == qlua.json.null and t.a == 2.5)
---```
---
---Since 0.1.0.
---@param text string JSON
---@return any # a table, string, number, boolean or `qlua.json.null`
function qlua.json.decode(text) end

---Reads a JSON file, as `decode` does.
---
---Raises when the file cannot be read, or is no JSON.
---
---```lua
---qlua.fs.write("a.json", "[1, 2]")
---assert(#qlua.json.read("a.json") == 2)
---```
---
---Since 0.1.0.
---@param path string the file
---@return any # as for `decode`
function qlua.json.read(path) end

---Writes a value as JSON text, the same text for the same value. Sequences become arrays, an empty table becomes `[]` (see `object`). Keys of plain tables are sorted; those of decoded objects keep their order.
---
---Raises when the value holds a function, a handle, a mixed table, text that is not UTF-8, or itself.
---
---Raises when a number is not finite and `allow_nan` is not set.
---
---```lua
---assert(qlua.json.encode{ b = 1, a = { 1.0, true } } == '{"a":[1.0,true],"b":1}')
---```
---
---Since 0.1.0.
---@param value any a table, string, number, boolean or `qlua.json.null`
---@param options? qlua.json.encode.Options
---@return string # JSON without a final line break
function qlua.json.encode(value, options) end

---Writes a value as a JSON file, whole or not at all, with a final line break.
---
---Raises when the value cannot be encoded, or the file cannot be written.
---
---```lua
---qlua.json.write("b.json", { layers = { "a", "b" } })
---```
---
---Since 0.1.0.
---@param path string the file
---@param value any as for `encode`
---@param options? qlua.json.write.Options
function qlua.json.write(path, value, options) end

---Marks a table as an object, so that it is written as `{}` even when it is empty.
---
---Raises when the table has a metatable of its own.
---
---```lua
---assert(qlua.json.encode(qlua.json.object{}) == "{}")
---```
---
---Since 0.1.0.
---@param table table a table whose keys are strings
---@return table # the same table
function qlua.json.object(table) end

---JSON's null; the only value of its kind.
---@class qlua.Null
local Null = {}

---Messages for people, on standard error, so that standard output stays for results. With values after the message, it is a format as for `string.format`.
---@class qlua.log
qlua.log = {}

---Says what helps to find a mistake; only with `qlua -v`.
---
---```lua
---qlua.log.debug("%d groups", 230)
---```
---
---Since 0.1.0.
---@param message string the message, or a format
---@param ... any values for the format
function qlua.log.debug(message, ...) end

---Says what is going on; not with `qlua -q`.
---
---```lua
---qlua.log.info("writing %s", "top10")
---```
---
---Since 0.1.0.
---@param message string the message, or a format
---@param ... any values for the format
function qlua.log.info(message, ...) end

---Says what may be wrong.
---
---```lua
---qlua.log.warn("no layer matches the glob")
---```
---
---Since 0.1.0.
---@param message string the message, or a format
---@param ... any values for the format
function qlua.log.warn(message, ...) end

return qlua

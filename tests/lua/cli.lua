--- qlua.cli
local cli = qlua.cli

local parser = cli.parser {
  name = "demo",
  about = "Shows everything.",
  options = {
    { name = "model", metavar = "DIR", type = "path", doc = "the base checkpoint" },
    { name = "top", type = "percent list", default = "10..30:10", doc = "coverage points" },
    { name = "include", type = "glob", repeated = true },
    { name = "order", choices = { "ascending", "descending" }, default = "ascending" },
    { name = "dry-run", flag = true, doc = "write nothing" },
    { name = "limit", type = "integer", default = 5 },
    { name = "points", type = "percent list", default = { 10, 12.5 } },
  },
  arguments = { { name = "files", repeated = true, type = "path" } },
}

local opts = parser:parse {}
assert(opts.model == nil and opts.dry_run == false and opts.limit == 5 and opts.order == "ascending")
assert(#opts.include == 0 and #opts.files == 0)
assert(table.concat(opts.top, " ") == "10 20 30", "whole percentages are integers")
assert(table.concat(opts.points, " ") == "10 12.5")

opts = parser:parse { "--model", "m", "--top=5,12.5", "--include", "a.*", "--include=b.*", "--dry-run", "x", "y" }
assert(opts.model == "m" and opts.top[2] == 12.5 and opts.include[2] == "b.*" and opts.dry_run and opts.files[2] == "y")

local function problem(words)
  local ok, e = pcall(parser.parse, parser, words)
  assert(not ok and e.kind == "usage", tostring(e))
  return e.message, e.hint
end
local message, hint = problem { "--modle=x" }
assert(message == "there is no option `--modle`" and hint == "did you mean `--model`?")
assert(problem { "--limit", "many" } == "the value of `--limit` must be a whole number, not `many`")
assert(problem { "--limit=1", "--limit=2" } == "the option `--limit` was given twice")
assert(problem { "--top" }:find("needs a value"))
assert(problem { "--top", "10..x" }:find("without a step"))
assert(problem { "--top", "0..100:0.001" }:find("more than"))

local help = parser:help()
assert(help:find("--top TOP", 1, true) and help:find("(default: 10..30:10)", 1, true))

local function declaration(t)
  local ok, e = pcall(cli.parser, t)
  assert(not ok and e.kind == "argument", tostring(e))
  return e.message
end
assert(declaration { name = "x", options = { { name = "a" }, { name = "a" } } }:find("declared twice"))
assert(declaration { name = "x", options = { { name = "--a" } } }:find("without leading dashes"))
assert(declaration { name = "x", options = { { name = "a", flag = true, type = "path" } } }:find("only one of"))
assert(declaration { name = "x", options = { { name = "a", type = "integer", default = "b" } } }:find("the default of"))
assert(declaration { options = {} }:find("`name`"))

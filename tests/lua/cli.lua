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
assert(help:find("Usage: qlua demo [OPTIONS] [FILES]...", 1, true))
assert(help:find("--top <TOP>", 1, true) and help:find("[default: 10..30:10]", 1, true))

-- Kinds with words of their own, and a least value.
local words = cli.parser {
  name = "words",
  options = {
    { name = "dialect", type = "dialect", default = "auto" },
    { name = "device", type = "device" },
    { name = "formats", type = "granularity list" },
    { name = "share", type = "percent" },
    { name = "top", type = "coverage point list" },
    { name = "count", type = "integer", least = 1 },
  },
}
local function refused(list)
  local ok, e = pcall(words.parse, words, list)
  assert(not ok and e.kind == "usage" and e.hint, tostring(e))
  return e.message .. " | " .. e.hint
end
opts = words:parse { "--device=cuda:3", "--formats=tensor, block", "--share=0", "--top=0.5" }
assert(opts.dialect == "auto" and opts.device == "cuda:3" and opts.formats[2] == "block" and opts.share == 0 and opts.top[1] == 0.5)
assert(refused { "--dialect=modelop" }:find("did you mean `modelopt`?", 1, true))
assert(refused { "--device=gpu:1" }:find("did you mean `cuda:1`?", 1, true))
assert(refused { "--formats=tensor,row" }:find("must be one of tensor, channel, block, not `row`", 1, true))
assert(refused { "--top=0" }:find("it must be above 0", 1, true))
assert(refused { "--top=33.3333" }:find("more than three decimals", 1, true))
assert(refused { "--share=33.3333" }:find("more than three decimals", 1, true))
assert(refused { "--count=0" } == "the value of `--count` must be at least 1, not `0` | the least is 1")
assert(words:help():gsub("%s+", " "):find("[possible values: auto, universal, compressed-tensors, modelopt, fp8-block]", 1, true))

local function declaration(t)
  local ok, e = pcall(cli.parser, t)
  assert(not ok and e.kind == "argument", tostring(e))
  return e.message
end
assert(declaration { name = "x", options = { { name = "a" }, { name = "a" } } }:find("declared twice"))
assert(declaration { name = "x", options = { { name = "--a" } } }:find("without leading dashes"))
assert(declaration { name = "x", options = { { name = "a", flag = true, type = "path" } } }:find("only one of"))
assert(declaration { name = "x", options = { { name = "a", type = "integer", default = "b" } } }:find("the default of"))
assert(declaration { name = "x", options = { { name = "a", least = 1 } } }:find("only those can have a `least`"))
assert(declaration { name = "x", arguments = { { name = "a" }, { name = "b", required = true } } }:find("comes after `a`"))
assert(declaration { options = {} }:find("`name`"))

-- A letter for an option.
local letters = cli.parser { name = "letters", options = { { name = "tokens", short = "n", type = "integer" }, { name = "all", short = "a", flag = true } } }
opts = letters:parse { "-n", "3", "-a" }
assert(opts.tokens == 3 and opts.all and letters:parse { "--tokens=4" }.tokens == 4)
for _, wrong in ipairs {
  { { name = "tokens", short = "nn" } },
  { { name = "tokens", short = "" } },
  { { name = "tokens", short = "h" } },
  { { name = "tokens", short = "n" }, { name = "names", short = "n" } },
} do
  assert(not pcall(cli.parser, { name = "wrong", options = wrong }))
end
assert(not pcall(cli.parser, { name = "wrong", arguments = { { name = "file", short = "f" } } }))

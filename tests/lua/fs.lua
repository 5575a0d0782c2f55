--- qlua.fs
local fs = qlua.fs

local function problem(...)
  local ok, e = pcall(...)
  assert(not ok)
  return e.message, e.kind, e.hint
end

fs.write("b.txt", "two\0bytes\xff")
assert(fs.read("b.txt") == "two\0bytes\xff")
fs.write("deep/er/a.txt", "1", { parents = true })
assert(fs.is_dir("deep") and not fs.is_dir("b.txt") and fs.exists("b.txt") and not fs.exists("c"))
fs.write("A.txt", "")
assert(table.concat(fs.list("."), " ") == "A.txt b.txt deep")
assert(table.concat(fs.glob("*.txt"), " ") == "A.txt b.txt" and #fs.glob("x*") == 0)
assert(fs.glob("**/a.txt")[1] == "deep/er/a.txt")

local message, kind, hint = problem(fs.write, "b.txt", "x")
assert(message == "`b.txt` exists already" and kind == "exists" and hint:find("overwrite"))
assert(fs.read("b.txt") == "two\0bytes\xff")
fs.write("b.txt", "x", { overwrite = true })
assert(fs.read("b.txt") == "x")
assert(problem(fs.write, "deep", "x"):find("is a directory", 1, true))
assert(problem(fs.write, "none/x", "x"):find("cannot write `none/x`", 1, true))
assert(problem(fs.list, "b.txt"):find("cannot read `b.txt`", 1, true))
assert(#fs.list(".") == 3, "something was left behind")

assert(fs.join("a", "b", "c.json") == "a/b/c.json" and fs.join("a/", "/b") == "/b")
assert(fs.basename("a/b/") == "b" and fs.basename("a") == "a" and fs.basename("/") == "")
assert(fs.dirname("a/b") == "a" and fs.dirname("a") == "." and fs.dirname("/") == "/" and fs.dirname("/a") == "/")

-- A link to nothing is named with where it leads, before anything is computed.
os.execute("ln -s nowhere/it dangling")
for _, make in ipairs {
  function() fs.write("dangling", "x") end,
  function() fs.write("dangling", "x", { overwrite = true }) end,
  function() qlua.checkpoint.demo("dangling") end,
  function() qlua.export.writer{ out = "dangling" } end,
  function() qlua.export.writer{ out = "dangling/deeper", overwrite = true } end,
  function()
    qlua.manifest.from_weights(qlua.checkpoint.open(qlua.checkpoint.demo("scored").model), "dangling")
  end,
} do
  local _, e = pcall(make)
  assert(e.message == "`dangling` is a link to `nowhere/it`, which is not there" and e.kind == "refused", e.message)
end
os.remove("dangling")

-- So is a manifest that could not be written.
fs.write("there.json", "mine")
for path, said in pairs { ["missing/x.json"] = "there is no directory `missing`", ["there.json"] = "`there.json` exists already" } do
  local _, e = pcall(qlua.manifest.from_weights, qlua.checkpoint.open("scored/model"), path)
  assert(e.message == said, e.message)
end
assert(fs.read("there.json") == "mine")

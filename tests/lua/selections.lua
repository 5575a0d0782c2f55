--- Selections by name, by predicate and by set algebra.
local demo = qlua.checkpoint.demo("demo")
local manifest = qlua.manifest.open(demo.manifest)
local ranking = manifest:ranking()

local function names(selection) return table.concat(selection.names, " ") end

-- A predicate sees rows of whole groups.
local seen = ranking:select(function(group)
  assert(group.tower and group.kind and group.parameters > 0 and group.score > 0 and group.bits == 8)
  return group.tower == "language" and group.block == 0 and group.kind == "q_proj"
end)
assert(names(seen) == "model.language_model.layers.0.self_attn.q_proj" and #seen.groups[1].members == 3)
assert(seen.total == #ranking and #seen.dropped == #ranking - 1)

-- Globs, lists of globs, and the set algebra.
local mlp, vision = ranking:select("*.mlp.*"), ranking:select{ "*visual*" }
local both = ranking:select(function(g) return g.name:find("%.mlp%.") and g.tower ~= "language" end)
assert(names(mlp & vision) == names(both) and names(vision & mlp) == names(both))
assert(#(mlp | vision) == #mlp + #vision - #both and #(mlp - vision) == #mlp - #both)
assert(names((mlp | vision) - vision) == names(mlp - vision))
assert(#(mlp - mlp) == 0 and (mlp - mlp).percent == 0)
assert(names(ranking:lowest(50) | ranking:highest(50)) == names(ranking:lowest(100)))

-- Selections of two manifests of one model.
local second = qlua.manifest.open(demo.second_manifest):ranking()
assert(#(ranking:lowest(50) | second:lowest(50)) >= #ranking:lowest(50))

-- What cannot be is said in words.
local function problem(f)
  local ok, e = pcall(f)
  assert(not ok)
  return e
end
local split = problem(function() ranking:select("*.layers.1.self_attn.k_proj") end)
assert(split.kind == "refused" and split.message:find("splits the group `model.language_model.layers.1.self_attn.q_proj`", 1, true), split.message)
assert(problem(function() ranking:select("*visaul*") end).message:find("`*visaul*` matches no ranked group", 1, true))
assert(problem(function() return mlp | 1 end).message == "`|` needs a Selection handle on both sides")
assert(problem(function() return "x" - mlp end).message == "`-` needs a Selection handle on both sides")
assert(problem(function() ranking:select(function() error("mine") end) end):find("mine$"))
local family = qlua.export.family{ manifest = manifest }
assert(problem(function() family:add("none", mlp - mlp) end).message == "nothing is selected for the scheme `none`")

-- Budgets.
assert(problem(function() qlua.plan.solve(family, ranking, {}) end).message:find("only one of them"))
assert(problem(function() qlua.plan.solve(family, ranking, { effective_bits = 2 }) end).message:find("below the floor of 8.99"))
local worst = ranking:select("*patch_embed*") | ranking:highest(20)
local fit = qlua.plan.solve(family, ranking, { effective_bits = 12, always = worst })
assert(#(worst - fit.selection) == 0)
assert(fit.effective_bits <= 12 and fit.score > qlua.plan.solve(family, ranking, { effective_bits = 12 }).score)
assert(#qlua.plan.solve(family, ranking, { effective_bits = 16 }).selection == 0)

-- `include` and `exclude` take a glob, a list of globs, or a predicate.
local function vision_only(g) return g.tower == "vision" end
local by_glob = manifest:ranking{ include = "*visual*", exclude = { "*merger*", "*patch_embed*" } }
local by_predicate = manifest:ranking{ include = vision_only, exclude = function(g) return g.kind == "proj" and not g.block end }
assert(names(by_glob:lowest(100)) == names(by_predicate:lowest(100)))
assert(#manifest:ranking{ exclude = vision_only } == #ranking - #ranking:select(vision_only))
assert(#manifest:ranking{ include = {}, exclude = {} } == #ranking)
local part = problem(function() manifest:ranking{ exclude = "*.layers.1.mlp.up_proj" } end)
assert(part.kind == "refused" and part.hint:find("loaders fuse its 2 modules", 1, true))
assert(part.message == "`exclude` splits the group `model.language_model.layers.1.mlp.gate_proj`: it names "
  .. "`model.language_model.layers.1.mlp.up_proj` but not `model.language_model.layers.1.mlp.gate_proj`", part.message)
assert(#manifest:ranking{ exclude = "*.layers.1.mlp.*_proj" } == #ranking - 2)
assert(#ranking:select{} == 0)
local none = problem(function() manifest:ranking{ where = function() return false end } end)
assert(none.message:find("none of its %d+ groups is chosen") and none.hint:find("its kind down_proj, its block %d+$"), none.hint)
local listed = problem(function() for _ in ipairs(manifest:ranking()) do end end)
assert(listed.message == "Ranking is no list, so it has no item 1" and listed.hint:find("ipairs(x.groups)", 1, true), listed.hint)

-- An order of one's own.
local largest = manifest:ranking{ by = function(g) return g.parameters end, order = "descending" }
for i = 2, #largest do assert(largest.groups[i - 1].parameters >= largest.groups[i].parameters) end
assert(largest:first(10).names[1] == largest.groups[1].name and largest:highest(1).names[1] == largest.groups[1].name)
assert(names(largest:first(100) & ranking:lowest(50)) ~= names(ranking:lowest(50)), "selections keep the order of the first")
local wrong = problem(function() manifest:ranking{ by = function(g) return g.block end } end)
assert(wrong.message:find("^`by` of Manifest:ranking must return a number, not nil for `model%.visual%."), wrong.message)
assert(problem(function() manifest:ranking{ by = function() return 0 / 0 end } end).message:find("not NaN for"))

-- A share of the score instead of a count.
local half = qlua.plan.cover(family, ranking, 50, { by = "score" })
local sum, all = 0, 0
for _, group in ipairs(ranking.groups) do
  -- The convolution stays in BF16 and counts nothing.
  if group.kind ~= "proj" or group.block then all = all + group.score end
end
for _, group in ipairs(half.groups) do sum = sum + (group.name:find("patch_embed") and 0 or group.score) end
assert(sum >= all / 2 and sum - half.groups[#half].score < all / 2)

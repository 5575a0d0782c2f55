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

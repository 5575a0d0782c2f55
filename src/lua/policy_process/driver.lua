-- Runs a policy: `chunk` is its file, which returns the function. What it chooses goes to `keep` as names or as globs.
local chunk, groups, options, keep = ...
local function refuse(message)
  error({ kind = "policy", message = message, hint = "a policy is `return function(groups, options) … end`, and gives a glob, a list of names or globs, a list of groups, or a predicate" }, 0)
end

local policy = chunk()
if type(policy) ~= "function" then refuse("the policy is a " .. type(policy) .. ", not a function") end
local names = {}
for i, group in ipairs(groups) do names[i] = group.name end
local chosen = policy(groups, options)

local kind, list = "names", {}
if type(chosen) == "string" then
  kind, list = "globs", { chosen }
elseif type(chosen) == "function" then
  for i, group in ipairs(groups) do
    if chosen(group) then list[#list + 1] = names[i] end
  end
elseif type(chosen) == "table" then
  for i, one in ipairs(chosen) do
    if type(one) == "string" then
      kind, list[i] = "globs", one
    elseif type(one) == "table" and type(one.name) == "string" then
      list[i] = one.name
    else
      refuse("the policy chose a list whose item " .. i .. " is neither a name nor a group")
    end
  end
else
  refuse("the policy chose a " .. type(chosen))
end
keep(kind, list)

--- Lists of layers: a name or glob a line, `!` before what is left out again, `#` before a remark.
local qlua = require "qlua"

local list = {}

--- The globs to choose and those to leave out, from the file `path` (or nil) and from `globs` (or nil).
function list.read(path, globs)
  local chosen, left_out = {}, {}
  local lines = globs and table.move(globs, 1, #globs, 1, {}) or {}
  for line in (path and qlua.fs.read(path) or ""):gmatch("[^\r\n]+") do lines[#lines + 1] = line end
  for _, line in ipairs(lines) do
    local mark, name = line:match("^%s*(!?)%s*([^%s#]+)")
    if name then table.insert(mark == "!" and left_out or chosen, name) end
  end
  return chosen, left_out
end

return list

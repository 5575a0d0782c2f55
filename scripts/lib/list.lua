--- Lists of layers: a name or glob a line, `!` before what is left out again, `#` before a remark.
local qlua = require "qlua"

local list = {}

--- The globs to choose and those to leave out, from the list `lines` and the file `path`, where there is one.
function list.read(lines, path)
  local chosen, left_out = {}, {}
  local text = table.concat(lines, "\n") .. "\n" .. (path and qlua.fs.read(path) or "")
  for line in text:gmatch("[^\r\n]+") do
    local mark, name = line:match("^%s*(!?)%s*([^%s#]+)")
    if name then table.insert(mark == "!" and left_out or chosen, name) end
  end
  return chosen, left_out
end

return list

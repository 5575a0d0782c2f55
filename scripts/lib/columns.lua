--- Rows of cells as aligned columns of text.
local columns = {}

--- Formats rows of cells; `align` has one letter a column: `l` (left) or `r` (right).
---@param rows any[][]
---@param align? string
---@return string
function columns.format(rows, align)
  local widths, texts = {}, {}
  for r, row in ipairs(rows) do
    texts[r] = {}
    for c, cell in ipairs(row) do
      local text = tostring(cell)
      texts[r][c] = text
      widths[c] = math.max(widths[c] or 0, utf8.len(text) or #text)
    end
  end
  local lines = {}
  for _, row in ipairs(texts) do
    local cells = {}
    for c, text in ipairs(row) do
      local padding = (" "):rep(widths[c] - (utf8.len(text) or #text))
      local right = (align or ""):sub(c, c) == "r"
      cells[c] = right and padding .. text or text .. padding
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

return columns

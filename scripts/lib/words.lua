--- Numbers in sentences.
local words = {}

--- `1 group`, `2 groups`.
function words.count(count, one)
  return ("%d %s%s"):format(count, one, count == 1 and "" or "s")
end

--- `0.931`, or `–` for a number that there is not.
function words.number(number)
  return number and ("%.3f"):format(number) or "–"
end

return words

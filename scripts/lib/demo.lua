--- The demo: what scripts take when no model is named.
local qlua = require "qlua"

local demo = {}

--- Where it lies.
demo.folder = "qlua-demo"

--- Builds the demo, or finds it, and says so.
function demo.take()
  local built = qlua.checkpoint.demo(demo.folder)
  qlua.log.info("no --model: %s the demo in ./%s/, a small seeded Qwen2.5-VL", built.built and "built" or "using", demo.folder)
  return built
end

--- Refuses a run without `--model` that names what belongs to a model: the first of `names` that `opts` have. The demo would
--- take its place without a word.
function demo.refuse(opts, names)
  for _, name in ipairs(names) do
    if opts[name] then
      error{ kind = "usage", message = ("--%s needs the --model that it is for"):format(name),
        hint = "pass the base checkpoint, or leave both out for the demo" }
    end
  end
end

return demo

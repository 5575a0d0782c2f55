--- The KL of each sample by itself. Usage: `quality_samples.lua BASE SCHEME FOLDER KIND`: FOLDER has one sample of each kind a file.
local qlua = require "qlua"

local base, scheme = qlua.engine.open(arg[1], { threads = 2 }), qlua.engine.open(arg[2])
local found = {}
for _, file in ipairs(qlua.fs.glob(arg[3] .. "/*.safetensors")) do
  local measured = base:quality({ scheme }, base:samples{ inputs = file, kind = arg[4] })
  table.insert(found, measured[1].kl)
end
print(qlua.json.encode(found))

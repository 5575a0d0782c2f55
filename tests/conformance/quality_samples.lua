--- The KL of each sample by itself. Usage: `quality_samples.lua BASE FOLDER KIND SCHEME…`: FOLDER has one sample of each kind a file.
local qlua = require "qlua"

local base, kind = qlua.engine.open(arg[1], { threads = 2 }), arg[3]
local schemes = {}
for i = 4, #arg do schemes[#schemes + 1] = qlua.engine.open(arg[i]) end
local found = {}
for i = 4, #arg do found[arg[i]] = {} end
for _, file in ipairs(qlua.fs.glob(arg[2] .. "/*.safetensors")) do
  for i, measured in ipairs(base:quality(schemes, base:samples{ inputs = file, kind = kind })) do
    table.insert(found[arg[3 + i]], measured.kl)
  end
end
print(qlua.json.encode(found))

--- qlua.json
local json = qlua.json
local null = json.null

-- Both ways, in the order of the document.
local function round(text) return json.encode(json.decode(text)) end
for _, text in ipairs {
  '{"z":1,"a":{"y":[],"b":{}},"m":[1,2.5,"x",true,null]}',
  "[]", "{}", "null", '"\\u0000\\n\\"é"', "9007199254740993", "-9223372036854775808", "0.00001", "1e+300", "[[[]]]",
} do
  local again = round(text)
  assert(again == text, again)
end

local t = json.decode('{"b": 1, "a": 2, "c": null}')
assert(t.c == null and tostring(null) == "null" and t.missing == nil)
local names = {}
for name in pairs(t) do names[#names + 1] = name end
assert(table.concat(names) == "bac")
t.b, t.z, t.d = nil, 3, 4
assert(json.encode(t) == '{"a":2,"c":null,"d":4,"z":3}')
for name in pairs(t) do t[name] = nil end
assert(next(t) == nil)

-- Python's tokens are numbers; strings of the same letters stay strings.
local tokens = json.decode('[NaN, "NaN", Infinity, -Infinity]')
assert(tokens[1] ~= tokens[1] and tokens[2] == "NaN" and tokens[3] == math.huge and tokens[4] == -math.huge)
assert(json.encode(tokens, { allow_nan = true }) == '[NaN,"NaN",Infinity,-Infinity]')

-- Integers stay integers.
assert(math.type(json.decode("3")) == "integer" and math.type(json.decode("3.0")) == "float")
assert(json.encode(3) == "3" and json.encode(3.0) == "3.0" and json.encode(1 << 62) == "4611686018427387904")
assert(json.decode("18446744073709551615") == 2 ^ 64)
local long = json.decode("[36893488147419103232, -9223372036854775809]")
assert(long[1] == 2 ^ 65 and long[2] == -2 ^ 63 and math.type(long[2]) == "float")
assert(json.decode('"\\u000036893488147419103232x"') == "\00036893488147419103232x")

-- Plain tables.
assert(json.encode { b = 1, a = 2, ["10"] = 3 } == '{"10":3,"a":2,"b":1}')
assert(json.encode {} == "[]" and json.encode(json.object {}) == "{}")
assert(json.encode({ a = { 1, 2 }, e = {} }, { indent = 2 }) == '{\n  "a": [\n    1,\n    2\n  ],\n  "e": []\n}')

local function problem(...)
  local ok, e = pcall(...)
  assert(not ok)
  return e.message
end
assert(problem(json.encode, { a = { 1, print } }) == "`value.a[2]` of qlua.json.encode is a function, which JSON cannot hold")
assert(problem(json.encode, { 1, 2, x = 3 }):find("mixes names and positions", 1, true))
assert(problem(json.encode, { [1] = 1, [3] = 3 }):find("mixes names and positions", 1, true))
assert(problem(json.encode, 0 / 0):find("is NaN", 1, true))
assert(problem(json.encode, "\xff"):find("UTF-8", 1, true))
local loop = {}
loop.self = loop
assert(problem(json.encode, loop):find("contain itself", 1, true))
assert(problem(json.decode, '{"a": }'):find("line 1 column 7", 1, true))

-- Files.
json.write("a.json", { layers = { "x" } })
assert(qlua.fs.read("a.json") == '{\n  "layers": [\n    "x"\n  ]\n}\n')
assert(json.read("a.json").layers[1] == "x")
assert(problem(json.write, "a.json", 1) == "`a.json` exists already")
json.write("a.json", 1, { overwrite = true, indent = 0 })
assert(json.read("a.json") == 1)
qlua.fs.write("bad.json", "{")
assert(problem(json.read, "bad.json"):find("`bad.json` is not the JSON that was expected", 1, true))

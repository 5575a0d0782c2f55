//! Scripts that take all there is. Each runs with a second and 64 MiB.

/// What a script uses up, and how.
pub const ATTACKS: &[(&str, &str)] = &[
    ("an endless loop", "while true do end"),
    ("an endless loop of protected calls", "while true do pcall(function() while true do end end) end"),
    (
        "an endless loop of xpcall",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
    ),
    (
        "protected calls that swallow the limit",
        "local function f() pcall(f) f() end while true do pcall(f) end",
    ),
    ("an error handler that raises", "local function h() error('x') end while true do xpcall(error, h) end"),
    (
        "writing a table that is endless as JSON",
        "local t = {} for i = 1, 40 do t = { t, t } end qlua.json.write('write/x.json', t)",
    ),
    ("a suggestion for a long word", "while true do pcall(require, ('x'):rep(1e6)) end"),
    ("a coroutine that does not end", "coroutine.wrap(function() while true do end end)()"),
    (
        "coroutines that resume each other",
        "local function f() coroutine.wrap(f)() end while true do pcall(f) end",
    ),
    ("coroutines without end", "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end"),
    (
        "a coroutine closed in a loop",
        "while true do local c = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) coroutine.yield() end) coroutine.resume(c) coroutine.close(c) end",
    ),
    (
        "__close without end",
        "local x <close> = setmetatable({}, { __close = function() while true do end end }) error('x')",
    ),
    (
        "__close of many after the limit",
        "local function f() local x <close> = setmetatable({}, { __close = function() while true do end end }) f() end f()",
    ),
    (
        "a comparison that sorts without end",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end",
    ),
    ("a comparison that loops", "table.sort({ 1, 2, 3 }, function() while true do end end)"),
    (
        "a sort in C of what is not there",
        "table.sort(setmetatable({}, { __len = function() return 2^31 - 2 | 0 end, __index = math.abs }), rawequal) while true do end",
    ),
    (
        "a sort by a function of C",
        "local t = {} for i = 1, 2e6 do t[i] = i end while true do table.sort(t, rawequal) end",
    ),
    (
        "gsub that calls back without end",
        "while true do (('x'):rep(1e5)):gsub('x', function() while true do end end) end",
    ),
    ("gsub with a function of C", "local s = ('x'):rep(1e7) while true do s:gsub('', type) end"),
    ("a pattern that goes back and forth", "('a'):rep(1e5):find('.-.-.-.-b')"),
    ("a pattern with captures", "('a'):rep(3e4):match('(.-)(.-)(.-)(.-)%1b')"),
    ("gmatch that goes back and forth", "for _ in ('a'):rep(1e5):gmatch('.-.-.-b') do end"),
    ("balanced brackets", "('('):rep(1e6):find('%b().-%b().-%b()x')"),
    ("a plain search that is quadratic", "(('a'):rep(2e7)):find(('a'):rep(1e7) .. 'b', 1, true)"),
    ("rep of nothing", "(''):rep(1e18)"),
    ("rep of much", "local t = {} while true do t[#t + 1] = ('x'):rep(1e7) end"),
    ("rep of too much in a protected call", "while true do pcall(string.rep, 'x', 2e9) end"),
    ("a string that doubles", "local s = 'x' while true do s = s .. s end"),
    ("a table that grows", "local t = {} for i = 1, math.huge do t[i] = i end"),
    ("tables in tables", "local t = {} while true do t = { t } end"),
    ("keys without end", "local t = {} for i = 1, math.huge do t['k' .. i] = true end"),
    (
        "table.concat of what is not there",
        "table.concat(setmetatable({}, { __index = function() return 'xxxxxxxxxxxxxxxx' end }), '', 1, 1e15)",
    ),
    ("table.move of nothing", "table.move({}, 1, 1e15, 2)"),
    (
        "table.move by functions of C",
        "table.move(setmetatable({}, { __index = rawequal }), 1, 1e12, 1, setmetatable({}, { __newindex = type }))",
    ),
    (
        "table.insert far away",
        "table.insert(setmetatable({}, { __len = function() return 1 << 53 end }), 1, 1)",
    ),
    ("table.remove far away", "table.remove(setmetatable({}, { __len = function() return 1 << 53 end }), 1)"),
    ("table.unpack of much", "while true do pcall(table.unpack, {}, 1, 1e7) end"),
    ("recursion", "local function f() return 1 + f() end while true do pcall(f) end"),
    (
        "recursion through a metamethod",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end while true do pcall(function() return t[1] end) end",
    ),
    (
        "recursion through tostring",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(t) return tostring(t) end while true do pcall(tostring, t) end",
    ),
    (
        "an __index that goes around",
        "local a, b = {}, {} setmetatable(a, { __index = b }) setmetatable(b, { __index = a }) while true do pcall(function() return a.x end) end",
    ),
    ("arguments without end", "local function f(...) return f(1, ...) end while true do pcall(f) end"),
    ("select with many arguments", "while true do select('#', table.unpack({}, 1, 2e5)) end"),
    (
        "string.char and utf8.char of many",
        "local t = {} while true do t[#t + 1] = utf8.char(table.unpack({ ('a'):byte(1, -1) }, 1, 1)):rep(1e6) end",
    ),
    (
        "string.format with a huge width",
        "local t = {} while true do t[#t + 1] = ('%99.99f'):format(1e300):rep(1e4) end",
    ),
    ("string.pack of much", "local t = {} while true do t[#t + 1] = string.pack('c10000000', '') end"),
    (
        "load of much",
        "local t = {} for i = 1, 1e6 do t[i] = 'x' .. i .. ' = ' .. i end while true do load(table.concat(t, ' ')) end",
    ),
    ("load of deep code", "while true do load(('('):rep(1e6)) end"),
    ("load from a function without end", "load(function() return 'x = 1 ' end)"),
    (
        "JSON of deep tables",
        "local t = {} for _ = 1, 2e5 do t = { t } end while true do pcall(qlua.json.encode, t) end",
    ),
    ("JSON text that is deep", "while true do pcall(qlua.json.decode, ('['):rep(1e6)) end"),
    ("JSON of one table many times", "local t = {} for i = 1, 40 do t = { t, t } end qlua.json.encode(t)"),
    (
        "JSON text of many numbers",
        "local s = '[' .. ('1,'):rep(8e6) .. '1]' while true do local t = qlua.json.decode(s) end",
    ),
    (
        "a report of many rows",
        "local t = {} for i = 1, 2e5 do t[i] = { n = i } end while true do qlua.report.table(t, { { key = 'n' } }) end",
    ),
    ("a globals' table that raises for ever", "while true do pcall(function() return os.x end) end"),
    (
        "an error that is described for ever",
        "error(setmetatable({}, { __index = function() while true do end end, __tostring = function() while true do end end }))",
    ),
];

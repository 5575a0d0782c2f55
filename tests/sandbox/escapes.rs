//! Ways out of a sandbox. Each script prints ESCAPED, or what it read, where it gets out; none does.
//!
//! They run beside `canary.txt`, with `read/` to be read and `write/` to be written in. `PLACE` stands for the whole path of
//! where they are.

/// What a script is after, and how. One that goes through with nothing reached ends with an error of its own.
pub const ESCAPES: &[(&str, &str)] = &[
    // What tells whether something is there.
    (
        "the default of an option",
        "local function takes(path)
           return (pcall(qlua.cli.parser, { name = 'x', options = { { name = 'd', type = 'file', default = path } } }))
         end
         if takes('canary.txt') ~= takes('nothing.txt') then print('ESCAPED') end",
    ),
    (
        "a step back out of a file",
        "local function said(path)
           local _, problem = pcall(qlua.fs.read, path .. '/../read/x')
           return (tostring(problem):gsub(path, '', 1))
         end
         if said('canary.txt') ~= said('nothing.tx') then print('ESCAPED') end",
    ),
    // Libraries that are not there.
    (
        "a default that is a path",
        "local m = qlua.manifest.open('read/manifest.json') local f = qlua.export.family{ manifest = m, model = 'read/plain' } print('ESCAPED')",
    ),
    (
        "a default of an option that is looked at",
        "for _, kind in ipairs{ 'file', 'directory', 'saved state' } do for _, at in ipairs{ 'canary.txt', 'none', 'demo' } do\n\
         local ok, e = pcall(qlua.cli.parser, { name = 'x', options = { { name = 'a', type = kind, default = at } } })\n\
         if not ok then print('ESCAPED', e) end end end",
    ),
    ("dots after what is there", "qlua.fs.read('demo/../read/file.txt') print('ESCAPED')"),
    (
        "dots that tell whether a directory is there",
        "local function said(name) local _, e = pcall(qlua.fs.read, name .. '/../read/file.txt') return (tostring(e):gsub(name, '', 1)) end\n\
         if said('demo') ~= said('none') then print('ESCAPED') end",
    ),
    (
        "dots that tell whether a directory is there, by what is said of a file to write",
        "local function said(name) local _, e = pcall(qlua.fs.write, name .. '/../write/x', '') return (tostring(e):gsub(name, '', 1)) end\n\
         if said('demo') ~= said('none') then print('ESCAPED') end",
    ),
    (
        "a shared list",
        "qlua.verify.codes[1] = 'CHANGED' if qlua.verify.codes[1] == 'CHANGED' then print('ESCAPED') end",
    ),
    ("io.open", "print(io.open('canary.txt'):read('a'))"),
    ("io.lines", "for line in io.lines('canary.txt') do print(line) end"),
    ("io.popen", "print(io.popen('cat canary.txt'):read('a'))"),
    ("io through the globals", "print(_G['io'].open('canary.txt'):read('a'))"),
    ("io through _ENV", "print(_ENV.io.open('canary.txt'):read('a'))"),
    ("io by require", "print(require('io').open('canary.txt'):read('a'))"),
    ("os.execute", "os.execute('touch ESCAPED')"),
    ("os.getenv", "print('ESCAPED', os.getenv('PATH'))"),
    ("os.remove", "os.remove('canary.txt')"),
    ("os.rename", "os.rename('canary.txt', 'write/canary.txt')"),
    ("os.tmpname", "print('ESCAPED', os.tmpname())"),
    ("os by require", "require('os').remove('canary.txt')"),
    ("package.loaded", "print(package.loaded.io.open('canary.txt'):read('a'))"),
    ("package.loadlib", "package.loadlib('libc.so.6', '*')"),
    ("package.path", "package.path = './?.txt' require('canary')"),
    ("package.searchers", "package.searchers[2] = function() end"),
    ("package.preload", "package.preload.x = function() end"),
    ("debug.getregistry", "print('ESCAPED', debug.getregistry())"),
    ("debug.sethook", "debug.sethook()"),
    ("debug.getupvalue", "print('ESCAPED', debug.getupvalue(print, 1))"),
    ("debug.setmetatable", "debug.setmetatable(0, {})"),
    ("debug by require", "print('ESCAPED', require('debug').getregistry())"),
    ("debug.traceback", "print('ESCAPED', debug.traceback())"),
    ("collectgarbage", "collectgarbage('stop') print('ESCAPED')"),
    ("warn", "warn('@on') print('ESCAPED')"),
    // Code.
    ("dofile", "dofile('canary.txt')"),
    ("loadfile", "print(loadfile('canary.txt'))"),
    (
        "load of bytecode",
        "local f = load('\\27Lua\\x54\\0\\x19\\x93\\r\\n\\x1a\\n') if f then print('ESCAPED') end",
    ),
    (
        "load of bytecode with a mode",
        "if load('\\27Lua', 'x', 'b') or load('\\27Lua', 'x', 'bt') then print('ESCAPED') end",
    ),
    (
        "load of bytecode from a function",
        "local once = true if load(function() if once then once = false return '\\27Lua' end end, 'x', 'b') then print('ESCAPED') end",
    ),
    ("string.dump", "print('ESCAPED', string.dump(function() end))"),
    ("string.dump of a string", "print('ESCAPED', (''):dump())"),
    ("require of a path", "print(require('./canary'))"),
    ("require of a file beside", "require('beside') print('ESCAPED')"),
    ("require of an absolute path", "print(require('PLACE/canary.txt'))"),
    ("require with dots", "print(require('lib...beside'))"),
    (
        "load in an environment of its own",
        "local f = load('return io', 'x', 't', setmetatable({}, { __index = _G })) print('ESCAPED', f().open)",
    ),
    (
        "an environment without a metatable",
        "local env = {} for k, v in pairs(_G) do env[k] = v end if load('return io or os or debug or package', 'x', 't', env)() then print('ESCAPED') end",
    ),
    // What is shared.
    (
        "the metatable of strings",
        "getmetatable('').__index = function() return function() print('ESCAPED') end end ('x'):y()",
    ),
    ("setmetatable of a string", "setmetatable('', {}) print('ESCAPED')"),
    (
        "the table string",
        "string.format = function() return 'ESCAPED' end print(('%d'):format(1)) error('done')",
    ),
    ("rawset on qlua", "rawset(qlua, 'version', 'x') print('ESCAPED')"),
    ("rawget", "print('ESCAPED', rawget(qlua, 'fs'))"),
    ("assignment to qlua", "qlua.fs.read = nil print('ESCAPED')"),
    ("assignment of a namespace", "qlua.fs = {} print('ESCAPED')"),
    ("the metatable of qlua", "getmetatable(qlua).__index = nil print('ESCAPED')"),
    ("setmetatable on qlua", "setmetatable(qlua.fs, {}) print('ESCAPED')"),
    (
        "the metatable of a handle",
        "getmetatable(qlua.cli.parser{ name = 'x' }).__index = nil print('ESCAPED')",
    ),
    ("setmetatable on a handle", "setmetatable(qlua.cli.parser{ name = 'x' }, {}) print('ESCAPED')"),
    (
        "the metatable of an error",
        "local _, e = pcall(qlua.fs.read, 1) getmetatable(e).__tostring = nil print('ESCAPED')",
    ),
    ("setmetatable on an error", "local _, e = pcall(qlua.fs.read, 1) setmetatable(e, nil) print('ESCAPED')"),
    ("the metatable of the globals", "getmetatable(_G).__index = nil print('ESCAPED')"),
    ("setmetatable on the globals", "setmetatable(_G, nil) print('ESCAPED')"),
    ("a closure of qlua's own", "local f = qlua.fs.read string.dump(f) print('ESCAPED')"),
    (
        "a method with a handle of another class",
        "local p = qlua.cli.parser{ name = 'x' } p.parse(qlua.json.null) print('ESCAPED')",
    ),
    ("a method without its handle", "qlua.cli.parser{ name = 'x' }.parse({}) print('ESCAPED')"),
    // Ways around the hook and the limits' errors.
    ("__gc", "setmetatable({}, { __gc = function() print('ESCAPED') end })"),
    (
        "__gc put in later",
        "local m = {} setmetatable({}, m) m.__gc = function() print('ESCAPED') end for _ = 1, 1e5 do local _ = {} end error('done')",
    ),
    (
        "__gc behind __index",
        "setmetatable({}, setmetatable({}, { __index = { __gc = function() print('ESCAPED') end } })) for _ = 1, 1e5 do local _ = {} end error('done')",
    ),
    (
        "__close after an error",
        "local x <close> = setmetatable({}, { __close = function() print(io.open('canary.txt'):read('a')) end }) error('done')",
    ),
    (
        "an error that carries a function",
        "error(setmetatable({}, { __tostring = function() return io.open('canary.txt'):read('a') end }))",
    ),
    ("an error whose message is a function", "error{ message = function() print('ESCAPED') end, kind = io }"),
    ("an error that chooses an exit code", "error{ kind = 'ESCAPED', message = 'done' }"),
    (
        "a coroutine that looks for io",
        "print(coroutine.wrap(function() return io.open('canary.txt'):read('a') end)())",
    ),
    // Files.
    ("fs.read of a file outside", "print(qlua.fs.read('canary.txt'))"),
    ("fs.read of an absolute path", "print(qlua.fs.read('PLACE/canary.txt'))"),
    ("fs.read with ..", "print(qlua.fs.read('read/../canary.txt'))"),
    ("fs.read with .. and a link", "print(qlua.fs.read('read/deep/../../canary.txt'))"),
    ("fs.read through a link", "print(qlua.fs.read('read/link'))"),
    ("fs.read through a link to a directory", "print(qlua.fs.read('read/up/canary.txt'))"),
    ("fs.read through a chain of links", "print(qlua.fs.read('read/chain'))"),
    ("fs.read of a path that begins like a root", "print(qlua.fs.read('reader.txt'))"),
    ("fs.read of /proc/self/environ", "print('ESCAPED', qlua.fs.read('/proc/self/environ'))"),
    ("fs.read of /proc/self/root", "print(qlua.fs.read('/proc/self/root/PLACE/canary.txt'))"),
    ("fs.read of /proc/self/cwd", "print(qlua.fs.read('/proc/self/cwd/canary.txt'))"),
    ("fs.read of /proc/self/fd", "print('ESCAPED', qlua.fs.read('/proc/self/fd/0'))"),
    ("fs.read of /dev/stdin", "print('ESCAPED', qlua.fs.read('/dev/stdin'))"),
    ("fs.read of a pipe", "print('ESCAPED', qlua.fs.read('read/pipe'))"),
    ("fs.read with a zero byte", "print(qlua.fs.read('canary.txt\\0read'))"),
    ("fs.exists outside", "if qlua.fs.exists('canary.txt') then print('ESCAPED') end"),
    ("fs.is_dir outside", "if qlua.fs.is_dir('/etc') then print('ESCAPED') end"),
    ("fs.list outside", "print('ESCAPED', #qlua.fs.list('.'))"),
    ("fs.list through a link", "print('ESCAPED', #qlua.fs.list('read/up'))"),
    ("fs.glob outside", "if #qlua.fs.glob('*.txt') > 0 then print('ESCAPED') end error('done')"),
    (
        "fs.glob through a link",
        "for _, p in ipairs(qlua.fs.glob('read/up/*')) do print('ESCAPED', p) end error('done')",
    ),
    (
        "fs.glob through links of any name",
        "for _, pattern in ipairs{ 'read/*/*', 'read/**/*', 'read/*/*/*', 'read/u?/r*/*' } do\n\
         for _, p in ipairs(qlua.fs.glob(pattern)) do if p:find('up', 1, true) then print('ESCAPED', p) end end end error('done')",
    ),
    (
        "fs.glob of what lies beside a root",
        "for _, pattern in ipairs{ '*', '*/file.txt', 'PLACE/*', 'PLACE/re*/file.txt', 'd*/../read/file.txt' } do\n\
         for _, p in ipairs(qlua.fs.glob(pattern)) do print('ESCAPED', p) end end error('done')",
    ),
    (
        "fs.glob of the root",
        "for _, p in ipairs(qlua.fs.glob('/etc/pass*')) do print('ESCAPED', p) end error('done')",
    ),
    ("fs.write outside", "qlua.fs.write('ESCAPED', 'x')"),
    ("fs.write into what may be read", "qlua.fs.write('read/ESCAPED', 'x')"),
    ("fs.write over the canary", "qlua.fs.write('canary.txt', 'x', { overwrite = true })"),
    ("fs.write with ..", "qlua.fs.write('write/../ESCAPED', 'x')"),
    ("fs.write through a link", "qlua.fs.write('write/link', 'x', { overwrite = true })"),
    ("fs.write through a link that leads nowhere", "qlua.fs.write('write/dangling', 'x')"),
    ("fs.write through a link to a directory", "qlua.fs.write('write/up/ESCAPED', 'x')"),
    (
        "fs.write that makes directories",
        "qlua.fs.write('write/new/../../made/ESCAPED', 'x', { parents = true })",
    ),
    ("fs.write to /proc/self/mem", "qlua.fs.write('/proc/self/mem', 'x', { overwrite = true })"),
    ("fs.write to /dev/shm", "qlua.fs.write('/dev/shm/ESCAPED-from-a-sandbox', 'x')"),
    ("fs.write of the directory itself", "qlua.fs.write('write', 'x', { overwrite = true })"),
    ("json.read outside", "print(qlua.json.read('canary.json').canary)"),
    ("json.read through a link", "print(qlua.json.read('read/json-link').canary)"),
    ("json.read of what is no JSON", "print(qlua.json.read('canary.txt'))"),
    ("json.write outside", "qlua.json.write('ESCAPED', {})"),
    ("json.encode of a function", "print('ESCAPED', qlua.json.encode{ print })"),
    // Checkpoints and what is made of them.
    ("checkpoint.open outside", "print('ESCAPED', qlua.checkpoint.open('demo/model').bytes)"),
    (
        "checkpoint.open with a companion that is a link",
        "local w = qlua.export.writer{ out = 'write/out', base = 'read/model' } w:copy('*') w:finish() print('ESCAPED')",
    ),
    ("checkpoint.demo outside", "qlua.checkpoint.demo('ESCAPED')"),
    ("manifest.open outside", "print('ESCAPED', qlua.manifest.open('demo/manifest.json').path)"),
    ("manifest.open of the canary", "print(qlua.manifest.open('canary.json'))"),
    (
        "a family with a base outside",
        "qlua.export.family{ model = 'demo/model', manifest = 'read/manifest.json', out = 'write/out' } print('ESCAPED')",
    ),
    (
        "a family with an output outside",
        "qlua.export.family{ manifest = 'read/manifest.json', out = 'ESCAPED' } print('ESCAPED')",
    ),
    (
        "a family with a state outside",
        "qlua.export.family{ manifest = 'read/manifest.json', out = 'write/out', state = 'canary.txt' } print('ESCAPED')",
    ),
    (
        "a family with amax values outside",
        "qlua.export.family{ manifest = 'read/manifest.json', out = 'write/out', amax = 'canary.json' } print('ESCAPED')",
    ),
    (
        "a scheme whose name is a path",
        "local f = qlua.export.family{ manifest = 'read/manifest.json', out = 'write/out' } f:add('../../ESCAPED', f.manifest:ranking():lowest(10)) print('ESCAPED')",
    ),
    ("a writer outside", "qlua.export.writer{ out = 'ESCAPED' } print('ESCAPED')"),
    ("a writer at the root itself", "qlua.export.writer{ out = 'write' } print('ESCAPED')"),
    (
        "a writer's file with a path",
        "local w = qlua.export.writer{ out = 'write/out' } w:file('../../ESCAPED', 'x') print('ESCAPED')",
    ),
    ("verify outside", "print('ESCAPED', #qlua.verify.directory('demo/model'))"),
    (
        "verify with a base outside",
        "print('ESCAPED', #qlua.verify.directory('read', { base = 'demo/model' }))",
    ),
    ("a policy outside", "print('ESCAPED', qlua.policy.load('canary.txt'))"),
    (
        "a report of a manifest outside",
        "print(qlua.report.per_layer(qlua.manifest.open('demo/manifest.json')))",
    ),
    ("weights scored outside", "qlua.manifest.from_weights(qlua.checkpoint.open('read'), 'ESCAPED')"),
    // The command line.
    (
        "a file of the command line",
        "qlua.cli.parser{ name = 'x', arguments = { { name = 'f', type = 'file' } } }:parse{ 'canary.txt' } print('ESCAPED')",
    ),
    (
        "a directory of the command line",
        "qlua.cli.parser{ name = 'x', options = { { name = 'd', type = 'directory' } } }:parse{ '--d', '/etc' } print('ESCAPED')",
    ),
    (
        "a list of files of the command line",
        "qlua.cli.parser{ name = 'x', options = { { name = 'd', type = 'file list' } } }:parse{ '--d', 'read/file.txt,canary.txt' } print('ESCAPED')",
    ),
    (
        "a saved state of the command line",
        "qlua.cli.parser{ name = 'x', options = { { name = 'd', type = 'saved state' } } }:parse{ '--d', 'canary.txt' } print('ESCAPED')",
    ),
    (
        "a default of the command line",
        "qlua.cli.parser{ name = 'x', options = { { name = 'd', type = 'file', default = 'canary.txt' } } }:parse{} print('ESCAPED')",
    ),
];

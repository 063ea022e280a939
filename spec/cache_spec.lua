-- Code that is kept. Of modules that tasks require: it gives what the file gives, in every respect.
-- Of functions that are sent again: they cross as they did the first time. RILLE_STRESS=s: how long
-- files are changed while tasks require them (2 seconds by default).

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local setup, teardown, before_each, after_each = setup, teardown, before_each, after_each
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"

local BOUND = 20 -- a watchdog, seconds
local MOST = 16 << 20 -- bytes kept

local dir -- each test's own

local function sh(command, ...)
  assert(os.execute(command:format(...)))
end

local function write(name, text, mode)
  local file = assert(io.open(dir .. "/" .. name, mode or "wb"))
  file:write(text)
  file:close()
end

-- Another file in the place of `name`.
local function replace(name, text)
  write("new", text)
  assert(os.rename(dir .. "/new", dir .. "/" .. name))
end

local function path(...)
  local templates = {}
  for i, template in ipairs { ... } do templates[i] = dir .. "/" .. template end
  return table.concat(templates, ";")
end

-- What `require(name)` gives in a task, where package.path is `templates`. Of a table only that it
-- is one, as modules cross by name.
local function required(name, templates)
  return rille.go(function()
    package.path = templates
    local ok, v = pcall(require, name)
    return ok, type(v) == "table" and "table" or v
  end):await(BOUND)
end

local function value(name, templates)
  local ok, v = required(name, templates or path "?.lua")
  return ok and v or error(v)
end

local probes = 0

-- Returns when what is in the directory is old enough to be kept.
local function settle()
  probes = probes + 1
  local name, before = ("probe%06d"):format(probes), rille.stats().code_bytes
  write(name .. ".lua", "return 0")
  local watchdog = rille.now() + BOUND
  repeat
    value(name)
    assert.is_true(rille.now() < watchdog)
  until rille.stats().code_bytes ~= before
end

-- Writes the module and has it kept.
local function keep(name, text)
  write(name .. ".lua", text)
  settle()
  return value(name)
end

-- How many bytes the process reads meanwhile, beyond what looking takes.
local function bytes_read(fn)
  local function count()
    local file = assert(io.open "/proc/self/io")
    local n = file:read "a":match "rchar: (%d+)"
    file:close()
    return math.tointeger(n)
  end
  local start = count()
  local looking = count() - start
  fn()
  return count() - start - 2 * looking
end

before_each(function()
  local pipe = assert(io.popen "mktemp -d")
  dir = pipe:read "l"
  pipe:close()
end)

after_each(function() sh("rm -rf '%s'", dir) end)

-- All that can be seen of how `name` is found, loaded and run, as one string.
local function sight(name, templates, stock)
  local function seen(v, depth)
    if type(v) == "string" then return ("%q"):format(v) end
    if type(v) ~= "table" or depth > 3 then return type(v) == "function" and "f" or tostring(v) end
    local parts = {}
    for k, part in pairs(v) do
      table.insert(parts, seen(k, depth + 1) .. "=" .. seen(part, depth + 1))
    end
    table.sort(parts)
    return "{" .. table.concat(parts, ",") .. "}"
  end

  local _, searcher = debug.getupvalue(package.searchers[2], 2)
  if stock then package.searchers[2] = searcher end
  package.path = templates
  local search = table.pack(pcall(package.searchers[2], name))
  if type(search[2]) == "function" then
    local info = debug.getinfo(search[2], "Su") -- Lua 5.4.4 finds no lines where they were stripped
    info.lines = info.source ~= "=?" and debug.getinfo(search[2], "L").activelines
    search[2] = info
  end
  local module = table.pack(pcall(require, name))
  local fields = module[1] and type(module[2]) == "table" and module[2] or {}
  local failure = fields.fail and table.pack(xpcall(fields.fail, debug.traceback))
  local counts = fields.count and { fields.count(), fields.count() }
  return seen({ search, module, failure, counts, package.loaded[name] or "none" }, 0)
end

local MODULE = [[
local up, M = 0, { args = { ... }, info = debug.getinfo(1, "Sl"), 1, -2.5, math.maxinteger }
M.text, M.long = "\0\xff\u{20ac}", ("%s"):rep(100)
function M.count()
  up = up + 1
  return up, _ENV == _G, (debug.getlocal(M.fail, 1))
end
function M.fail(what)
  local function inner() error("failed " .. tostring(what)) end
  inner()
end
return M
]]

local modules = {
  plain = MODULE,
  without_newline = MODULE:sub(1, -2),
  crlf = (MODULE:gsub("\n", "\r\n")),
  shebang = "#!/usr/bin/lua\n" .. MODULE,
  only_shebang = "# nothing",
  marked = "\xEF\xBB\xBF" .. MODULE,
  half_marked = "\xEF\xBB" .. MODULE,
  binary = string.dump(assert(load(MODULE, "@elsewhere.lua"))),
  stripped = string.dump(assert(load(MODULE)), true),
  truncated = string.dump(assert(load(MODULE))):sub(1, 100),
  empty = "",
  nothing = "local x = 1",
  is_false = "return false",
  is_nil = "return nil",
  wrong = "local x = = 1",
  unfinished = MODULE .. "if x then",
  raises = "local t = nil\nreturn t.x",
  zero = "return '\0'",
  begins_with_zero = "\0return 1",
  ["with-dash"] = MODULE,
  begins_with_l = "Lua = 1 return Lua",
}

describe("a module that a task requires", function()
  -- The same three times: as stock does it, read, and (where it can be) kept.
  local function compare(name, templates)
    local stock = rille.go(sight, name, templates, true):await(BOUND)
    for _ = 1, 2 do assert.equal(stock, rille.go(sight, name, templates):await(BOUND)) end
  end

  it("is what it is in stock Lua", function()
    for name, text in pairs(modules) do write(name .. ".lua", text) end
    for name in pairs(modules) do compare(name, path "?.lua") end
    settle()
    for name in pairs(modules) do compare(name, path "?.lua") end
  end)

  it("is found where stock Lua finds it", function()
    sh("cd '%s'; mkdir -p a/sub b/sub/deep c/plain.lua; ln -s nowhere a/dangling.lua", dir)
    for _, name in ipairs { "a/sub/x", "b/x", "b/sub/x", "b/sub/deep/init", "b/plain", "b/dangling",
      "b/no-access", "a/no-access" } do
      write(name .. ".lua", MODULE .. "-- " .. name)
    end
    sh("chmod 0 '%s/a/no-access.lua'", dir)
    settle()
    local both = path("a/?.lua", "c/?.lua", "b/?.lua", "b/?/init.lua")
    for _ = 1, 2 do
      for _, name in ipairs { "x", "sub.x", "sub.deep", "plain", "dangling", "no-access", "none",
        "sub..x", ".x", "", "?", "a;b", "sub/x", "x\0y" } do
        compare(name, both)
        compare(name, ";;" .. both .. ";")
      end
    end
    compare("x", "")
    compare("x", "?")
    compare("x", dir .. "/b/x.lua")
    compare("x", 1)
    compare("x", {})
  end)

  it("is read once, and then only loaded", function()
    local size = 100000
    keep("big", "return 1 --" .. ("x"):rep(size))
    assert.is_true(bytes_read(function() value "big" end) < size)
    write("big.lua", "return 2 --" .. ("x"):rep(size))
    assert.is_true(bytes_read(function() value "big" end) >= size)
  end)

  it("is each task's own", function()
    keep("m", "return { n = 0 }")
    local function add()
      package.path = dir .. "/?.lua"
      local m = require "m"
      m.n = m.n + 1
      return m.n, require "m" == m
    end
    for _ = 1, 3 do assert.same({ 1, true }, { rille.go(add):await(BOUND) }) end
  end)

  it("comes after what is preloaded, and after searchers that the task has put first", function()
    keep("m", "return 'file'")
    local function custom(first)
      package.path = dir .. "/?.lua"
      if first == "preload" then package.preload.m = function() return first end end
      if first == "searcher" then
        table.insert(package.searchers, 1, function() return function() return first end end)
      end
      return require "m"
    end
    assert.equal("preload", rille.go(custom, "preload"):await(BOUND))
    assert.equal("searcher", rille.go(custom, "searcher"):await(BOUND))
    assert.equal("file", rille.go(custom):await(BOUND))
  end)

  it("crosses by name, and is loaded from what is kept", function()
    keep("m", "local M = {} function M.f() return 7 end return M")
    local before = package.path
    package.path = path "?.lua" .. ";" .. before
    local m = require "m"
    assert.equal(7, rille.go(function() return m.f() end):await(BOUND))
    package.path, package.loaded.m = before, nil
  end)
end)

describe("a module whose file changes", function()
  local function version(n) return ("return %06d"):format(n) end

  -- After each change the module has the next version.
  local function follows(change)
    for n = 1, 2 do
      keep("m", version(n * 2))
      assert.equal(n * 2, value "m")
      change("m.lua", version(n * 2 + 1))
      assert.equal(n * 2 + 1, value "m")
    end
  end

  it("is loaded anew when another is put in its place", function() follows(replace) end)

  it("is loaded anew when it was written to, of the same size", function()
    follows(function(name, text) write(name, text, "r+b") end)
  end)

  it("is loaded anew though its times were set back", function()
    follows(function(name, text)
      sh("touch -r '%s/%s' '%s/stamp'", dir, name, dir)
      write(name, text, "r+b")
      sh("touch -r '%s/stamp' '%s/%s'", dir, dir, name)
    end)
    follows(function(name, text)
      sh("cp -p '%s/%s' '%s/stamp'", dir, name, dir)
      replace(name, text)
      sh("touch -r '%s/stamp' '%s/%s'", dir, dir, name)
    end)
  end)

  it("is loaded anew when it changes often, within a tick of the clock", function()
    for n = 1, 300 do
      write("m.lua", version(n), n > 1 and "r+b" or "wb")
      assert.equal(n, value "m")
    end
  end)

  it("is loaded anew where a directory on the way is another", function()
    sh("cd '%s'; mkdir a b; ln -s a at", dir)
    write("a/m.lua", version(1))
    write("b/m.lua", version(2))
    sh("cd '%s'; touch -d 2020-01-01 a/m.lua b/m.lua", dir) -- the same times, most often
    settle()
    for n = 1, 6 do
      sh("cd '%s'; ln -sfn %s at", dir, n % 2 == 1 and "a" or "b")
      for _ = 1, 2 do assert.equal(2 - n % 2, value("m", path "at/?.lua")) end
    end
  end)

  it("is no longer found when it was deleted, and found where it appears first", function()
    sh("cd '%s'; mkdir a b", dir)
    local both = path("a/?.lua", "b/?.lua")
    write("b/m.lua", version(1))
    settle()
    for _ = 1, 2 do assert.equal(1, value("m", both)) end
    write("a/m.lua", version(2))
    settle()
    for _ = 1, 2 do assert.equal(2, value("m", both)) end
    os.remove(dir .. "/a/m.lua")
    assert.equal(1, value("m", both))
    os.remove(dir .. "/b/m.lua")
    local ok, err = required("m", both)
    assert.is_false(ok)
    helper.raises("no file '" .. dir .. "/b/m.lua'", error, err)
  end)

  it("raises once what it holds is wrong, and is loaded again when it is right", function()
    keep("m", version(1))
    write("m.lua", "return = 1")
    helper.raises("m.lua:1: unexpected symbol near '='", value, "m")
    write("m.lua", version(2))
    assert.equal(2, value "m")
  end)

  -- Whoever begins after a change has ended sees it; whoever is at it meanwhile sees some version.
  it("is never older than when its task began", function()
    local stop, cancel <close> = rille.done()
    local from = path "?.lua"
    write("m.lua", version(0))
    local function reader()
      local seen = 0
      while not stop:err() do
        local n = rille.go(function()
          package.path = from
          return (require "m")
        end):await(BOUND)
        assert(n >= seen, "an older version came back")
        seen = n
      end
      return seen
    end
    local readers = {}
    for i = 1, 4 do readers[i] = rille.go(reader) end
    local until_ = rille.now() + (tonumber(os.getenv "RILLE_STRESS") or 2)
    local n = 0
    while rille.now() < until_ do
      n = n + 1
      replace("m.lua", version(n))
      assert.equal(n, value "m")
      if n % 50 == 0 then settle() end
    end
    cancel()
    for _, task in ipairs(readers) do assert.is_true(task:await(BOUND) <= n) end
  end)
end)

describe("what is kept of modules", function()
  it("is bounded, and what was dropped is read again", function()
    local size = 1 << 20
    write("m.lua", "return #[[" .. ("x"):rep(size) .. "]]")
    settle()
    local dropped = 0
    for i = 1, 40 do -- each name of the file has its code
      local before = rille.stats().code_bytes
      assert.equal(size, value("m", path(("./"):rep(i) .. "?.lua")))
      local now = rille.stats().code_bytes
      assert.is_true(now <= MOST)
      if now < before then dropped = dropped + 1 end
    end
    assert.equal(2, dropped)
    assert.equal(size, value("m", path "./?.lua"))
  end)

  it("has no room for one that is very large", function()
    write("m.lua", "return #[[" .. ("x"):rep(MOST // 2) .. "]]")
    settle()
    local before = rille.stats().code_bytes
    assert.equal(MOST // 2, value "m")
    assert.equal(before, rille.stats().code_bytes)
  end)

  it("is not of files that have just changed, as the next change might not show", function()
    local age -- at most; the file's time may be some milliseconds earlier
    repeat
      local start, before = rille.now(), rille.stats().code_bytes
      write("m.lua", "return 1")
      value "m"
      local same = rille.stats().code_bytes == before
      age = rille.now() - start
      assert.is_true(same or age > 0.05)
    until age <= 0.05
  end)

  it("is one code for each file, however often that changes", function()
    local function growth(fn)
      local before = rille.stats().code_bytes
      fn()
      return rille.stats().code_bytes - before
    end
    keep("m", "return 1")
    assert.equal(growth(settle), growth(function() keep("m", "return 2") end))
  end)
end)

describe("a function that is sent again", function()
  local function through(...)
    local ch = rille.chan(1)
    ch:send { ... }
    return table.unpack((ch:recv()))
  end

  it("takes its upvalues along as they are then", function()
    local n, list = 1, {}
    local function f(add) return n + add, #list end
    for i = 1, 5 do
      n, list[i] = i * 10, i
      assert.same({ i * 10 + 1, i }, { through(f)(1) })
    end
    local other = -1
    debug.upvaluejoin(f, 1, function() return other end, 1)
    assert.same({ 0, 5 }, { through(f)(1) })
    debug.setupvalue(f, 2, "12")
    assert.same({ 0, 2 }, { through(f)(1) })
  end)

  it("is another function over there each time, with upvalues of its own", function()
    local n = 0
    local function f() n = n + 1 return n end
    local first, second, third = through(f), through(f), through(f)
    assert.is_true(first ~= second and second ~= third and first ~= third)
    assert.same({ 1, 1, 1, 2 }, { first(), second(), third(), first() })
    assert.equal(0, n)
  end)

  it("is one within a message, and shares upvalues there", function()
    local n = 0
    local function add() n = n + 1 return n end
    local function get() return n end
    for _ = 1, 4 do
      local a, b, c = through(add, get, add)
      assert.is_true(a == c)
      a()
      assert.equal(1, b())
    end
  end)

  it("has the same debug information and the same parts", function()
    local function f(x)
      local function inner(y) return debug.getinfo(1, "Sl"), x, y, f end
      return inner(x)
    end
    local function seen(g)
      local info, x, y, same = g(7)
      return { info.source, info.currentline, info.linedefined, info.lastlinedefined, x, y,
        same == g, debug.getinfo(g, "u").nparams, (debug.getlocal(g, 1)) }
    end
    for _ = 1, 4 do assert.same(seen(f), seen(through(f))) end
  end)

  it("starts as many tasks as it is told to", function()
    local results, offset = {}, 100
    local function body(i) return i + offset end
    for i = 1, 50 do results[i] = rille.go(body, i):await(BOUND) end
    for i = 1, 50 do assert.equal(i + 100, results[i]) end
  end)

  it("has its code kept once, and that goes with it", function()
    local lines = {}
    for i = 1, 5000 do lines[i] = ("x = x + %d.5"):format(i) end
    local source = "local x = 0\n" .. table.concat(lines, "\n") .. "\nreturn x"
    local function count()
      for _ = 1, 3 do collectgarbage() end
      return collectgarbage "count" * 1024
    end
    local empty = count()
    local f = load(source)
    local size, ch = #string.dump(f), rille.chan(1)
    local function send()
      ch:send(f)
      ch:recv()
      return count()
    end
    local once, twice, often = send(), send(), nil
    for _ = 1, 5 do often = send() end
    assert.is_true(once + size * 0.9 < twice and twice < once + size * 1.1)
    assert.is_true(often < twice + size / 2)
    f = nil -- luacheck: ignore 311
    assert.is_true(count() < empty + size / 2)
  end)
end)

describe("out of memory #exec", function()
  local library = os.tmpname()
  local compile = [[cc -O1 -shared -fPIC -I"$(.ci/lua-incdir)" -o '%s' spec/support/failing.c]]

  setup(function() sh(compile, library) end)
  teardown(function() os.remove(library) end)

  -- Requires a module at its first allocation, its second... until it passes, as one that is to be
  -- compiled and kept, and then as one that is kept: each name of the file has its code.
  local script = [[
    local rille = require "rille"
    local library, dir = arg[1], arg[2]
    print(rille.go(function()
      local failing = assert(package.loadlib(library, "luaopen_failing"))()
      local function load() return require "m" end
      local function try(n, i, once)
        package.loaded.m = nil
        package.path = dir .. "/" .. ("./"):rep(i) .. "?.lua"
        local failed, ok, v = failing(n, once, load)
        return failed, ok and v == 42 or tostring(v):find "memory" ~= nil, v
      end
      for _, once in ipairs { true, false } do
        for kept = 0, 1 do
          local n = 0
          repeat
            local failed, fine, v = try(n, kept == 1 and 1 or n * 2 + (once and 3 or 2), once)
            assert(fine, v)
            n = n + 1
          until failed == 0
          assert(n > 3 and n < 500, n)
          local _, _, v = try(-1, 1)
          assert(v == 42, v)
        end
      end
      return "passed", rille.stats().code_bytes > 0
    end):await())
  ]]

  local function run(env)
    write("m.lua", "local function f(a) return a * 2 end return f(21)")
    settle()
    local result = helper.run(script, { args = { library, dir }, env = env, timeout = 60 })
    assert.equal("passed\ttrue\n", result.out .. result.err)
  end

  it("in Lua, a module is loaded or raises that #nottsan", function() run() end)

  it("in C, it is loaded #notasan #nottsan", function() run { LD_PRELOAD = library } end)
end)

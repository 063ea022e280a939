-- A task opens the standard libraries when its code first reaches for them. No program can tell:
-- each of these runs as the first thing of a task, and gives what it gives in a state with all of
-- them.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local proc = require "spec.support.proc"
local rille = require "rille"

local BOUND = 10 -- a watchdog

-- Pieces of a program; each is a chunk of its own, compiled under the same name on both sides.
local pieces = {
  "return type(print), type(string), type(_G), type(debug), type(package)",
  "return getmetatable(_G)",
  "return getmetatable(_ENV)",
  "return rawget(_ENV, 'string') == string, rawget(_G, 'print') == print",
  "local n = 0 for k in pairs(_G) do n = n + (k == 'string' and 1 or 0) end return n",
  "local n = 0 for k in next, _ENV do n = n + (k == 'io' and 1 or 0) end return n",
  "return getmetatable('').__index == string, getmetatable('').__name",
  "return ('x'):rep(3), ('%d'):format(5), #'abc', ('x').nothing",
  "return '10' + 1, 1 + '10', '3' * '4', '7' % 4, 2 ^ '3', '9' / 3, '9' // 2, -'2', '5' - 1",
  "return 'a' + 1",
  "return {} + '1'",
  "return -'x'",
  "return 1 // 'y'",
  "return 'x' < 'y', 'x' .. 1",
  "return 'x' < 1",
  "return ('x'):nothing()",
  "return nothing, nothing == nil",
  "return nothing.x",
  "nothing()",
  "string = nil return string, ('x'):rep(2)",
  "print = 5 return print, type(tostring), pcall ~= nil",
  "x = 1 y = nil return x, y, _G.x, rawget(_ENV, 'x')",
  "_G.os = 'mine' return os, type(_G.io)",
  "local t = setmetatable({}, { __index = _ENV }) return type(t.string), type(t.next), t.nothing",
  "return #_ENV, rawlen(_ENV), _ENV == _G, _G._G == _G, _ENV._ENV",
  "for i, v in ipairs(_ENV) do return i, v end return 'none'",
  "local l = package.loaded return l._G == _G, l.string == string, l.coroutine ~= nil",
  "local n = 0 for name in pairs(package.loaded) do n = n + #name end return n >= 40",
  "return require 'string' == string, require '_G' == _G, require 'math' == math",
  "return select('#', load('return 1, 2')()), load('return string')() == string",
  "return debug.getmetatable('').__index == string, debug.getregistry() ~= nil",
  "return math.type(3), math.maxinteger, math.pi, utf8.char(72), table.concat({ 1, 2 }, ',')",
  "return os.time() > 0, io.type(io.stdout), io.write ~= nil",
  "local co = coroutine.wrap(function(a) return coroutine.yield(a + 1) end) return co(1), co(5)",
  "return pcall(error, { 1 }), select(2, pcall(error, 'text', 0))",
  "return select(2, xpcall(function() error 'deep' end, function(m) return 'handled ' .. m end))",
  "return (select(2, xpcall(function() string.rep() end, debug.traceback)):gsub('\\n.*', ''))",
  "string.rep()",
  "error('at two', 2)",
  "assert(false, 'text')",
  "assert(nil)",
  "local a <const>, b <close> = 1, nil return a, b",
  "return tostring(nil), tostring(1.5), tonumber('0x10'), tonumber('z', 36), _VERSION",
  "return rawequal(_ENV, _G), type(collectgarbage('count')), collectgarbage('isrunning')",
  "setmetatable(_ENV, { __index = function(_, k) return 'got ' .. k end }) return nothing, io ~= 1",
  "local string = string return string.upper('a'), string.lower('B')",
  "local _ENV = { y = 7 } return y, z",
  "function f() return 'global' end return f(), _G.f == f",
  "coroutine.yield(1)",
  "return (pcall(coroutine.isyieldable, nil))",
  "io.popen()",
  "io.popen('true', 'rw')",
  "return pcall(io.popen, {})",
  "goto done ::done:: return 1 << 3, 7 // 2, 7.0 // 2, 1 / 0",
}

describe("as the first thing of a task", function()
  -- In a state with all libraries, whose globals are put back afterwards.
  local function expected(code)
    local saved = {}
    for k, v in pairs(_G) do saved[k] = v end
    local meta = getmetatable(_G)
    local results = table.pack(pcall(load(code, "=piece")))
    setmetatable(_G, meta)
    for k in next, _G do if saved[k] == nil then rawset(_G, k, nil) end end
    for k, v in next, saved do rawset(_G, k, v) end
    return results
  end

  local function without_addresses(v)
    return type(v) == "string" and v:gsub("0x%x+", "0x") or v
  end

  local function same(code)
    local want = expected(code)
    local got = table.pack(rille.go(load(code, "=piece")):join(BOUND))
    assert.equal(want.n, got.n)
    for i = 1, want.n do
      if type(want[i]) ~= "table" then
        assert.equal(without_addresses(want[i]), without_addresses(got[i]))
      end
    end
  end

  for _, code in ipairs(pieces) do
    it(code, function() same(code) end)
    it("or after a base function: " .. code, function() same("type(1); " .. code) end)
  end

  it("a function that captures library functions", function()
    local format, insert = string.format, table.insert
    local task = rille.go(function()
      local t = {}
      insert(t, format("%d", 3))
      return t[1], format == string.format, insert == table.insert
    end)
    assert.same({ true, "3", true, true }, { task:join(BOUND) })
  end)

  it("a function that comes later, through a channel", function()
    local ch = rille.chan()
    local task = rille.go(function()
      local f = ch:recv()
      return f("abc")
    end)
    ch:send(function(s) return s:upper(), math.max(1, 2), next({}) end)
    assert.same({ n = 4, true, "ABC", 2, nil }, table.pack(task:join(BOUND)))
  end)

  it("rille itself, captured or required", function()
    local task = rille.go(function()
      return rille == require "rille", package.loaded.rille == rille
    end)
    assert.same({ true, true, true }, { task:join(BOUND) })
    local asked = rille.go(function() return require "rille".now() > 0 end)
    assert.same({ true, true }, { asked:join(BOUND) })
  end)

  it("finalizers and what is to be closed", function()
    local ch = rille.chan(2)
    rille.go(function()
      setmetatable({}, { __gc = function() ch:send "finalized" end })
      kept = setmetatable({}, { __gc = function() ch:send "at the end" end }) -- luacheck: ignore
      collectgarbage()
    end):join(BOUND)
    assert.equal("finalized", ch:recv(BOUND))
    assert.equal("at the end", ch:recv(BOUND))
  end)

  it("finalizers after functions of the base library", function()
    local ch = rille.chan(1)
    rille.go(function()
      local _ = type(ch)
      kept = setmetatable({}, { __gc = function() ch:send "at the end" end }) -- luacheck: ignore
    end):join(BOUND)
    assert.equal("at the end", ch:recv(BOUND))
  end)

  it("warnings, off until they are turned on #exec", function()
    local result = proc.run [[
      rille.go(function()
        warn "quiet"
        warn "@on"
        warn("hello ", "moon")
        warn("@o", "ff")
        kept = setmetatable({}, { __gc = function() error("in a finalizer", 0) end })
      end):await()
      rille.go(function() warn "each task has its own" end):await()
    ]]
    local lines = { "hello moon", "@off", "error in __gc (in a finalizer)" }
    assert.equal("Lua warning: " .. table.concat(lines, "\nLua warning: ") .. "\n", result.err)
  end)
end)

-- What crosses to another task, how it arrives, and what is refused.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local after_each = after_each
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local BOUND = 20 -- a watchdog

local undo = {} -- what a test has to put back

after_each(function()
  while undo[1] do table.remove(undo)() end
end)

-- Out and back in the same state.
local function copy(value)
  local ch = rille.chan(1)
  ch:send(value)
  return ch:recv()
end

-- In a task of its own.
local function there(fn, ...)
  return rille.go(fn, ...):await(BOUND)
end

-- Another state that stays: each call runs a function in it. Globals set there remain.
local function new_peer()
  local jobs, results = rille.chan(), rille.chan()
  local task = rille.go(function()
    for job in jobs do results:send { pcall(job.fn, table.unpack(job.args)) } end
  end)
  local peer = {}
  function peer.run(fn, ...)
    assert(jobs:send({ fn = fn, args = { ... } }, BOUND))
    local result = assert(results:recv(BOUND))
    assert(result[1], result[2])
    return result[2]
  end
  function peer.stop()
    jobs:close()
    assert(task:join(BOUND))
  end
  return peer
end

-- The error ends with `text`: before it stands only the place in the code.
local function ends_with(text, ok, err)
  assert.is_false(ok)
  assert.equal(text, tostring(err):sub(-#text))
end

local function refuses(text, value)
  local ch = rille.chan(1)
  ends_with("cannot send " .. text, pcall(ch.send, ch, value))
  assert.equal(0, #ch)
end

local function coroutine_at(path, value)
  refuses("coroutine at " .. path, value)
end

local co = coroutine.create(function() end)

describe("scalars", function()
  local scalars = {
    true, 0, 1, -1, 127, 128, -64, -65, math.maxinteger, math.mininteger, 0.5, 1e300, math.huge,
    "", "a", "with\0zero", ("x"):rep(24), ("x"):rep(25), ("x"):rep(40), ("x"):rep(41),
    ("x"):rep(100000),
  }

  it("keep value and subtype, alone, in a table, and as a key", function()
    for _, v in ipairs(scalars) do
      local in_table, as_key = copy({ v })[1], next(copy { [v] = true })
      for _, got in ipairs { copy(v), in_table, as_key } do
        assert.equal(v, got)
        assert.equal(math.type(v), math.type(got))
      end
    end
    assert.is_false(copy(false))
    assert.is_false(copy({ false })[1])
  end)

  it("keep the sign of zero and what is not a number", function()
    assert.equal(-math.huge, 1 / copy(-0.0))
    local nan = copy(0 / 0)
    assert.is_true(nan ~= nan)
  end)

  it("cross as results, nil and none at all included", function()
    assert.equal(1, select("#", rille.go(function() end):join(BOUND)))
    local results = table.pack(there(function() return nil, 1, nil, "x", nil end))
    assert.same({ n = 5, [2] = 1, [4] = "x" }, results)
    local task = rille.go(function() return table.unpack({}, 1, 200) end)
    assert.equal(201, select("#", task:join(BOUND)))
  end)
end)

describe("tables", function()
  it("keep cycles, shared parts and every kind of key", function()
    local t = {
      1, 2, 3, nested = { deeper = { "deep" } }, [1.5] = "float", [true] = "boolean", [-7] = "int",
    }
    t.self, t[t] = t, t
    t.one = {}
    t.two = t.one
    local c = copy(t)
    assert.are_not.equal(t, c)
    assert.equal(c, c.self)
    assert.equal(c, c[c])
    assert.equal(c.one, c.two)
    assert.same({ 1, 2, 3 }, { table.unpack(c) })
    assert.equal("deep", c.nested.deeper[1])
    assert.same({ "float", "boolean", "int" }, { c[1.5], c[true], c[-7] })
  end)

  it("keep holes", function()
    assert.same({ nil, nil, 3, nil, 5 }, copy { nil, nil, 3, nil, 5 })
    assert.same({ [1] = 1, [1000000] = 2 }, copy { [1] = 1, [1000000] = 2 })
  end)

  it("keep what stands behind the integers of a list", function()
    local edges = { 0, -1, 63, 64, -65, math.maxinteger, math.mininteger }
    for _, n in ipairs { 0, 1, 5, 12, 13, 100, 1000 } do
      for _, tail in ipairs { {}, { 2.0 }, { "x", 1 }, { {}, 7 }, { false, true, 0 }, { -0.0 } } do
        local list = { key = "value" }
        for i = 1, n do list[i] = edges[i % #edges + 1] end
        for _, v in ipairs(tail) do list[#list + 1] = v end
        local c = copy(list)
        assert.same(list, c)
        for i, v in ipairs(list) do assert.equal(math.type(v), math.type(c[i])) end
      end
    end
  end)

  it("keep integers whatever the depth", function()
    local list
    for i = 1, 200 do list = { i, -i, i % 3 == 0 and 0.5 or i, list } end
    assert.same(list, copy(list))
  end)

  it("stay as they are at the sender", function()
    local t = { 1, { 2 } }
    local c = copy(t)
    c[2][1] = "changed"
    assert.same({ 1, { 2 } }, t)
  end)

  it("cross with many records and repeated strings", function()
    local records = {}
    for i = 1, 2000 do records[i] = { id = i, name = "name " .. i, kind = "same" } end
    assert.same(records, copy(records))
  end)

  it("cross however deep they are", function()
    local list
    for i = 1, 200000 do list = { next = list, i = i } end
    list = copy(list)
    for i = 200000, 1, -1 do
      if list.i ~= i then error("lost at " .. i) end
      list = list.next
    end
    assert.is_nil(list)
  end)

  it("keep cycles and shared parts below any depth", function()
    local top = {}
    local at = top
    for _ = 1, 500 do
      at.next = { top = top }
      at = at.next
    end
    local c = copy(top)
    at = c
    for _ = 1, 500 do
      at = at.next
      assert.is_true(at.top == c)
    end
  end)

  it("are read and written raw", function()
    local function never() error "a metamethod ran" end
    local mt = { __index = never, __newindex = never, __pairs = never, __len = never, __eq = never }
    local c = copy(setmetatable({ 1, x = 2 }, mt))
    assert.equal(1, rawget(c, 1))
    assert.equal(2, rawget(c, "x"))
  end)
end)

describe("handles", function()
  it("cross by reference and stay one within a state", function()
    local ch, done, cancel = rille.chan(1), rille.done()
    local c = copy { ch, ch, done, cancel, ch:receiver(), ch:sender() }
    assert.equal(ch, c[1])
    assert.equal(ch, c[2])
    assert.equal(done, c[3])
    assert.equal(cancel, c[4])
    assert.equal(ch:receiver(), c[5])
    assert.equal(ch:sender(), c[6])
    assert.equal(ch, copy(ch))
    assert.equal(ch, copy({ [ch] = ch })[ch])
    cancel()
  end)

  it("work over there", function()
    local ch = rille.chan(1)
    there(function() ch:send "from there" end)
    assert.equal("from there", ch:recv())
  end)
end)

describe("functions", function()
  it("share upvalues on the other side, and not with the sender", function()
    local n = 0
    local function inc() n = n + 1 return n end
    local function get() return n end
    local c = copy { inc = inc, get = get }
    c.inc()
    c.inc()
    assert.equal(2, c.get())
    assert.equal(0, get())
  end)

  it("share upvalues between fn and its arguments", function()
    local n = 0
    local function inc() n = n + 1 end
    assert.equal(1, there(function(f) f() return n end, inc))
  end)

  it("stay one function within a message", function()
    local function f() end
    local c = copy { f, f, { f } }
    assert.equal(c[1], c[2])
    assert.equal(c[1], c[3][1])
  end)

  it("may call themselves and each other", function()
    local function fact(n) return n < 2 and 1 or n * fact(n - 1) end
    local odd
    local function even(n) return n == 0 or odd(n - 1) end
    function odd(n) return n ~= 0 and even(n - 1) end
    assert.equal(3628800, there(fact, 10))
    assert.is_false(there(even, 101))
  end)

  it("nest to any depth", function()
    local function f() return "bottom" end
    for _ = 1, 3000 do
      local inner = f
      f = function() return inner end
    end
    f = copy(f)
    for _ = 1, 3000 do f = f() end
    assert.equal("bottom", f())
  end)

  it("keep upvalues that are nil or false", function()
    local none, no -- luacheck: ignore 221
    no = false
    local a, b = there(function() return none, no end)
    assert.is_nil(a)
    assert.is_false(b)
  end)

  it("see the destination's globals and leave the sender's behind", function()
    _G.left_behind = "here"
    table.insert(undo, function() _G.left_behind = nil end)
    local function get() return left_behind end -- luacheck: ignore 113
    assert.equal("here", copy(get)())
    assert.is_nil(there(get))
    assert.is_true(there(function(g) return g == _G end, _G))
  end)

  it("keep another _ENV as a table like any other", function()
    local env = { x = 1 }
    local f = load("x = x + 1 return x", "chunk", "t", env)
    local c = copy { f = f, env = env }
    assert.equal(2, c.f())
    assert.equal(2, c.env.x)
    assert.equal(1, env.x)
    assert.equal(2, there(f))
  end)

  it("do not get the globals into a first upvalue that is none", function()
    local first -- luacheck: ignore 221
    assert.is_nil(there(function() return first end))
  end)

  it("keep their positions", function()
    local ok, err = rille.go(function() error "boom" end):join(BOUND)
    assert.is_false(ok)
    assert.matches("transfer_spec.lua:%d+: boom", err)
  end)

  it("keep upvalues that were joined by hand", function()
    local a, b = 1, 2
    local function f() return a, b end
    debug.upvaluejoin(f, 1, f, 2)
    assert.same({ 2, 2 }, { copy(f)() })
  end)
end)

-- Modules that `require` finds from every state; returns their common prefix.
local function with_modules(sources)
  local base, path = os.tmpname(), package.path
  local prefix = base:match "[^/]*$"
  local dir = base:sub(1, #base - #prefix)
  local names = {}
  for name, source in pairs(sources) do
    local file = assert(io.open(dir .. prefix .. name .. ".lua", "w"))
    file:write(source)
    file:close()
    table.insert(names, prefix .. name)
  end
  package.path = dir .. "?.lua;" .. package.path
  table.insert(undo, function()
    package.path = path
    os.remove(base)
    for _, name in ipairs(names) do
      package.loaded[name] = nil
      os.remove(dir .. name .. ".lua")
    end
  end)
  return prefix
end

describe("modules", function()
  it("of the standard library are the destination's", function()
    local str, rep, insert, out, self = string, string.rep, table.insert, print, rille
    assert.is_true(there(function(t)
      return str == string and rep == string.rep and insert == table.insert and out == print
        and self == require "rille" and t[1] == string and t[2] == _G.math
    end, { string, math }))
  end)

  it("of the standard library give each of their functions", function()
    local standard = {
      "_G", "coroutine", "debug", "io", "math", "os", "package", "string", "table", "utf8",
    }
    for _, name in ipairs(standard) do
      for field, fn in pairs(require(name)) do
        if type(fn) == "function" and debug.getinfo(fn, "S").what == "C" then
          local same = there(function() return fn == require(name)[field] end)
          assert.is_true(same, name .. "." .. field)
        end
      end
    end
  end)

  it("of the standard library keep their names beside a shorter one", function()
    local upper, str, own, chan = string.upper, string, rille, rille.chan
    local function same()
      return upper == string.upper and str == string and own == require "rille" and chan == own.chan
    end
    package.loaded.m = { up = upper }
    package.loaded.s = string
    package.loaded.r = rille
    table.insert(undo, function()
      for _, name in ipairs { "m", "s", "r" } do package.loaded[name] = nil end
    end)
    assert.is_true(there(same))
  end)

  it("of the standard library keep their names whatever stands in their places", function()
    local write, upper, dump, lib = io.write, string.upper, string.dump, require "string"
    local before = { print = print, len = string.len }
    _G.print = write
    lib.len, lib.dump = upper, nil
    table.insert(undo, function()
      _G.print = before.print
      lib.len, lib.dump = before.len, dump
    end)
    assert.is_true(there(function() return write == io.write and upper == string.upper end))
    assert.is_true(there(function() return dump == string.dump and string.len "ab" == 2 end))
  end)

  it("lend no names to what a program puts into a library", function()
    local lib, wrapped = require "string", coroutine.wrap(print)
    lib.wrapped, lib.class = wrapped, { __index = {} }
    table.insert(undo, function() lib.wrapped, lib.class = nil, nil end)
    refuses("C function at value", wrapped)
    local o = setmetatable({}, lib.class)
    assert.equal("table", there(function() return type(getmetatable(o)) end))
  end)

  it("are required there, by name", function()
    local m = require(with_modules { mod = "return { loaded_in = tostring(rille_spec) }" } .. "mod")
    m.changed = true
    assert.is_nil(there(function() return m.changed end))
    assert.equal("nil", there(function() return m.loaded_in end))
    assert.equal(m, copy(m))
    assert.equal(m, copy({ { m } })[1][1])
  end)

  it("that are parts of rille are loaded there when they are first named", function()
    local errors = rille.errors
    local task = rille.go(function()
      return errors.is("a", "a") and errors == rille.errors and errors == require "rille.errors"
    end)
    assert.is_true(task:await())
  end)

  it("loaded after others were sent go by name too", function()
    local prefix = with_modules { first = "return { a = 1 }", second = "return { a = 2 }" }
    local first = require(prefix .. "first")
    assert.equal(first, copy { first }[1])
    local second = require(prefix .. "second")
    assert.equal(second, copy { second }[1])
  end)

  it("give no names to keys with a zero in them", function()
    local code = [[return { ["a\0b"] = { __index = {} } }]]
    local name = with_modules { zero = code } .. "zero"
    local o = setmetatable({}, require(name)["a\0b"])
    assert.equal("table", there(function() return type(getmetatable(o)) end))
  end)

  it("that changed places go by the names they have now", function()
    local a, b, old = { "a" }, { "b" }, { __index = { "old" } }
    package.loaded["rille a"], package.loaded["rille b"] = a, b
    table.insert(undo, function()
      package.loaded["rille a"], package.loaded["rille b"] = nil, nil
    end)
    a.class = old
    assert.equal(a, copy(a))
    package.loaded["rille a"], package.loaded["rille b"] = b, a
    a.class = { __index = { "new" } }
    assert.equal(a, copy(a))
    assert.equal(b, copy(b))
    assert.equal(old, getmetatable(copy(setmetatable({}, old))))
  end)

  it("give C functions from one level deeper", function()
    local code = "return { sub = { f = string.upper, g = io.stdout.write } }"
    local name = with_modules { deep = code } .. "deep"
    local write = require(name).sub.g
    assert.is_true(there(function() return write == io.stdout.write end))
  end)

  it("that cannot be loaded there say so", function()
    package.loaded["rille spec phantom"] = { 1 }
    table.insert(undo, function() package.loaded["rille spec phantom"] = nil end)
    local phantom = package.loaded["rille spec phantom"]
    local ok, err = rille.go(function() return phantom end):join(BOUND)
    assert.is_false(ok)
    assert.matches("rille spec phantom", tostring(err))
  end)

  it("give rille's own methods", function()
    local ch = rille.chan(1)
    local send = ch.send
    there(function() send(ch, 5) end)
    assert.equal(5, ch:recv())
  end)

  it("that give no table there for a metatable fail the receiver", function()
    local name = with_modules { other = "return true" } .. "other"
    local M = {}
    package.loaded[name] = M
    local o = setmetatable({}, M)
    local ok, err = rille.go(function() return o end):join(BOUND)
    assert.is_false(ok)
    assert.matches("the metatable of a value is a boolean here", err)
  end)

  it("give their classes by name, the module itself or a field of it", function()
    local prefix = with_modules {
      class = [[
        local M = { Inner = {} }
        M.__index, M.Inner.__index = M, M.Inner
        function M.new() return setmetatable({}, M) end
        function M.Inner.new() return setmetatable({}, M.Inner) end
        return M]],
    }
    local M = require(prefix .. "class")
    local outer, inner, name = M.new(), M.Inner.new(), prefix .. "class"
    assert.equal(M, getmetatable(copy(outer)))
    assert.equal(M.Inner, getmetatable(copy(inner)))
    assert.is_true(there(function()
      local T = require(name)
      return getmetatable(outer) == T and getmetatable(inner) == T.Inner and T.Inner == M.Inner
    end))
  end)
end)

describe("classes", function()
  local function new_class()
    local C = { __name = "C" }
    C.__index = C
    function C.new(x) return setmetatable({ x = x }, C) end
    function C:get() return self.x end
    return C
  end

  it("map back to the original at home", function()
    local C = new_class()
    assert.equal(C, getmetatable(copy(C.new(1))))
    assert.equal(C, copy(C))
    assert.equal(C, getmetatable(copy(C.new)(1)))
    assert.equal(C, getmetatable(there(function(o) return o end, C.new(1))))
    assert.equal(C, there(function() return C end))
    assert.equal(7, there(function() return C.new(7) end):get())
  end)

  it("are one in a state, over all messages", function()
    local C, peer = new_class(), new_peer()
    peer.run(function(o) _G.class = getmetatable(o) end, C.new(1))
    assert.is_true(peer.run(function(o) return getmetatable(o) == _G.class end, C.new(2)))
    assert.is_true(peer.run(function() return C == _G.class end))
    assert.is_true(peer.run(function(c) return c == _G.class end, C))
    assert.is_true(peer.run(function(make) return getmetatable(make()) == _G.class end, C.new))
    assert.equal(C, peer.run(function() return _G.class end))
    peer.stop()
  end)

  it("are one in a third state, whichever way they came", function()
    local C, a, b = new_class(), new_peer(), new_peer()
    local by_a = rille.chan(1)
    a.run(function(o) by_a:send(o) end, C.new(1))
    local function same(o) return getmetatable(o) == getmetatable(by_a:recv()) end
    assert.is_true(b.run(same, C.new(2)))
    a.stop()
    b.stop()
  end)

  it("stay one when their only mark is that they are a metatable", function()
    local empty = {}
    assert.equal(empty, getmetatable(copy(setmetatable({}, empty))))
    local lazy = { __index = function(_, key) return key .. "!" end }
    local c = copy { setmetatable({}, lazy), setmetatable({}, lazy) }
    assert.equal("abc!", c[1].abc)
    assert.equal(lazy, getmetatable(c[1]))
    assert.equal(lazy, getmetatable(c[2]))
  end)

  it("keep later changes where they are made", function()
    local C, peer = new_class(), new_peer()
    peer.run(function(c) _G.class = c end, C)
    C.later = "here"
    assert.is_nil(peer.run(function(c) return c.later end, C))
    peer.run(function() _G.class.other = "there" end)
    assert.is_nil(peer.run(function() return _G.class end).other)
    peer.stop()
  end)

  it("keep their ancestors and may know each other", function()
    local Base = new_class()
    local Sub = setmetatable({ __name = "Sub" }, Base)
    Sub.__index = Sub
    Base.child = Sub
    function Base.make() return setmetatable({}, Sub) end
    local peer = new_peer()
    assert.equal(Sub, getmetatable(copy(Base.make())))
    peer.run(function(o) _G.sub = getmetatable(o) end, Base.make())
    assert.is_true(peer.run(function(base)
      return getmetatable(_G.sub) == base and base.child == _G.sub and
        getmetatable(base.make()) == _G.sub
    end, Base))
    local Late = setmetatable({}, Base) -- made after Base was sent
    Late.__index = Late
    assert.is_true(peer.run(function(late, base) return getmetatable(late) == base end, Late, Base))
    peer.stop()
  end)

  it("share upvalues among their methods", function()
    local n = 0
    local C = { __index = { inc = function() n = n + 1 end, get = function() return n end } }
    assert.equal(2, there(function(o)
      o.inc()
      o.inc()
      return o.get()
    end, setmetatable({}, C)))
    assert.equal(0, n)
  end)

  it("work through instances in the error a task raises", function()
    local C = new_class()
    local ok, err = rille.go(function() error(C.new "why") end):join(BOUND)
    assert.is_false(ok)
    assert.equal(C, getmetatable(err))
    assert.equal("why", err:get())
  end)

  it("are collected with their last instance", function()
    collectgarbage()
    collectgarbage()
    local before = rille.stats().message_bytes
    for i = 1, 200 do copy(setmetatable({}, { __index = { i } })) end
    collectgarbage()
    collectgarbage()
    assert.is_true(rille.stats().message_bytes <= before)
  end)

  it("with __gc do not cross", function()
    local C = new_class()
    C.__gc = function() end
    refuses("metatable with __gc at value<metatable>", C.new(1))
    refuses("metatable with __gc at value.class", { class = C })
    refuses("metatable with __gc at value<upvalue 'C'>", function() return C end)
  end)
end)

describe("__transfer", function()
  local function new_file_class()
    local F = { calls = 0, __gc = function() end }
    F.__index = F
    function F.open(fd) return setmetatable({ fd = fd }, F) end
    function F.__transfer(self)
      F.calls = F.calls + 1
      return F.open, self.fd
    end
    return F
  end

  it("rebuilds an object, once in a message", function()
    local F = new_file_class()
    local o = F.open(3)
    local c = copy { o, o, { o } }
    assert.equal(1, F.calls)
    assert.equal(c[1], c[2])
    assert.equal(c[1], c[3][1])
    assert.equal(3, c[1].fd)
    assert.equal(F, getmetatable(c[1]))
    assert.equal(3, there(function(x) return x.fd end, o))
  end)

  it("is for the objects of a class, not for the classes below it", function()
    local File = new_file_class()
    local Socket = setmetatable({ kind = "socket" }, File)
    Socket.__index = Socket
    assert.equal(Socket, copy(Socket))
    assert.equal("socket", there(function() return Socket.kind end))
    assert.equal(Socket, getmetatable(copy(setmetatable({}, Socket))))
    assert.equal(0, File.calls)
  end)

  it("rebuilds a userdata", function()
    local mt = { __transfer = function() return string.rep, "x", 3 end }
    local file = io.tmpfile()
    file:close()
    debug.setmetatable(file, mt)
    assert.equal("xxx", copy(file))
    assert.equal("xxx", there(function() return file end))
  end)

  it("gets its arguments complete", function()
    local list
    for _ = 1, 2000 do list = { next = list } end
    local function count(l)
      local n = 0
      while l do l, n = l.next, n + 1 end
      return { n = n }
    end
    local o = setmetatable({}, { __transfer = function() return count, list end })
    assert.equal(2000, copy({ { o } })[1][1].n)
  end)

  it("must not wait, on either side", function()
    local ch = rille.chan()
    local function wait() return ch:recv() end
    local o = setmetatable({}, { __transfer = wait })
    assert.is_false(pcall(copy, o))
    o = setmetatable({}, { __transfer = function() return wait end })
    assert.is_false(pcall(copy, o))
    assert.equal("still fine", copy "still fine")
  end)

  it("may send and receive where nothing has to wait", function()
    local F = new_file_class()
    local function transfer() return rawget, copy { fd = F.open(8) }.fd, "fd" end
    local o = setmetatable({}, { __transfer = transfer })
    assert.equal(8, copy { o }[1])
  end)

  it("that raises lets the send raise", function()
    local o = setmetatable({}, { __transfer = function() error "not now" end })
    local ok, err = pcall(copy, { o })
    assert.is_false(ok)
    assert.matches("transfer_spec.lua:%d+: not now", err)
  end)

  it("that gives no function refuses", function()
    refuses("table at value.o", { o = setmetatable({}, { __transfer = function() end }) })
  end)

  it("whose rebuilding raises fails the receiver, and the channel goes on", function()
    local ch = rille.chan(2)
    ch:send(setmetatable({}, { __transfer = function() return error, "broken" end }))
    ch:send "next"
    local ok, err = pcall(ch.recv, ch)
    assert.is_false(ok)
    assert.equal("broken", err)
    assert.equal("next", ch:recv())
  end)

  it("cannot contain itself", function()
    local o
    o = setmetatable({}, { __transfer = function() return rawget, o end })
    assert.is_false(pcall(copy, o))
  end)
end)

describe("what cannot cross is named by its path", function()
  it("through tables", function()
    coroutine_at("value", co)
    coroutine_at("value.jobs[3].co", { jobs = { 1, 2, { co = co } } })
    coroutine_at('value["odd key"]', { ["odd key"] = co })
    coroutine_at('value["end"]', { ["end"] = co })
    coroutine_at('value["1st"]', { ["1st"] = co })
    coroutine_at('value["a\\"b\\\\c\\010"]', { ['a"b\\c\n'] = co })
    coroutine_at("value[true]", { [true] = co })
    coroutine_at("value[-3]", { [-3] = co })
    coroutine_at("value[1.5]", { [1.5] = co })
    coroutine_at("value[<table>]", { [{}] = co })
    coroutine_at("value[<coroutine>]", { [co] = 1 })
  end)

  it("through functions and metatables", function()
    coroutine_at("value<upvalue 'co'>", function() return co end)
    local function g() return co end
    coroutine_at("value.f<upvalue 'g'><upvalue 'co'>", { f = function() return g end })
    coroutine_at("value<metatable>.__index.co", setmetatable({}, { __index = { co = co } }))
    coroutine_at("value.o<metatable>.__index<upvalue 'co'>",
      { o = setmetatable({}, { __index = function() return co end }) })
  end)

  it("however deep it lies", function()
    local top = {}
    local at = top
    for _ = 1, 300 do
      at.n = {}
      at = at.n
    end
    at.co = co
    coroutine_at("value" .. (".n"):rep(300) .. ".co", top)
  end)

  it("from go's function and arguments", function()
    local up = { x = co }
    local function nothing() end
    ends_with("cannot send coroutine at upvalue 'co'", pcall(rille.go, function() return co end))
    ends_with("cannot send coroutine at upvalue 'up'.x", pcall(rille.go, function() return up end))
    ends_with("cannot send coroutine at argument 2", pcall(rille.go, nothing, 1, co))
    ends_with("cannot send coroutine at argument 1.x", pcall(rille.go, nothing, up))
  end)

  it("from results and errors", function()
    local function made(fn) return rille.go(fn):join(BOUND) end
    ends_with("cannot send coroutine at result 2[1]",
      made(function() return 1, { coroutine.create(print) } end))
    local function coroutines() return coroutine.create(print) end
    ends_with("cannot send coroutine at result 1", made(coroutines))
    local ok, err = made(function() error { x = coroutine.create(print) } end)
    assert.is_false(ok)
    assert.matches("cannot send coroutine at error.x", tostring(err), 1, true)
  end)

  it("from causes and values", function()
    local _, cancel = rille.done()
    ends_with("cannot send coroutine at cause", pcall(cancel, co))
    ends_with("cannot send coroutine at values.x", pcall(rille.done, { values = { x = co } }))
    local opts = { timeout = 9, cause = { x = co } }
    ends_with("cannot send coroutine at cause.x", pcall(rille.done, opts))
  end)

  it("with its type", function()
    refuses("userdata (FILE*) at value.f", { f = io.stdout })
    refuses("C function at value.f", { f = coroutine.wrap(print) })
    refuses("userdata (FILE*) at value", io.stdout)
  end)

  it("and the place that wanted to send it", function()
    local ok, err = pcall(function() rille.chan(1):send(co) end)
    assert.is_false(ok)
    assert.matches("transfer_spec.lua:%d+: cannot send coroutine at value$", err)
  end)

  it("also where the send would not have happened", function()
    local ch = rille.chan(1)
    ch:send "full"
    ends_with("cannot send coroutine at value", pcall(ch.try_send, ch, co))
    assert.equal(1, #ch)
  end)

  it("and nothing is kept of it", function()
    collectgarbage()
    collectgarbage()
    local before = rille.stats().message_bytes
    for _ = 1, 100 do pcall(copy, { ("x"):rep(1000), rille.chan(), co }) end
    collectgarbage()
    collectgarbage()
    assert.equal(before, rille.stats().message_bytes)
  end)
end)

describe("results that cannot cross", function()
  it("fail the task", function()
    local task = rille.go(function() return io.stdout end)
    ends_with("cannot send userdata (FILE*) at result 1", task:join(BOUND))
    assert.equal("failed", (task:status()))
  end)
end)

describe("the collector", function()
  it("sees what messages behind small handles hold", function()
    local big, most = ("x"):rep(1000000), 0
    collectgarbage()
    local before = rille.stats().message_bytes
    for _ = 1, 200 do
      rille.chan(1):send(big)
      rille.done { values = { big } }
      most = math.max(most, rille.stats().message_bytes - before)
    end
    assert.is_true(most < 100000000, most)
  end)
end)

-- Channels: sending, receiving, closing, views and loops, in every state.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local LONG = 60 -- a wait that must end by something else
local BOUND = 30 -- a watchdog

local raises = helper.raises

local function closed(...)
  local ch = rille.chan(8)
  for _, v in ipairs { ... } do ch:send(v) end
  ch:close()
  return ch
end

local function fired(cause)
  local done, cancel = rille.done()
  cancel(cause)
  return done
end

local until_waiting = helper.until_waiting

-- The operation as main, as a task, and in a coroutine of a task does it.
local places = {
  ["the main program"] = function(fn, ...) return fn(...) end,
  ["a task"] = function(fn, ...) return rille.go(fn, ...):await(BOUND) end,
  ["a coroutine of a task"] = function(fn, ...)
    return rille.go(function(f, ...) return coroutine.wrap(f)(...) end, fn, ...):await(BOUND)
  end,
  ["a sort's comparator"] = function(fn, ...)
    return rille.go(function(f, ...)
      local args, results = table.pack(...), nil
      table.sort({ 1, 2 }, function()
        results = results or table.pack(f(table.unpack(args, 1, args.n)))
        return false
      end)
      return table.unpack(results, 1, results.n)
    end, fn, ...):await(BOUND)
  end,
}

describe("rille.chan", function()
  it("makes a rendezvous by default, or has a capacity and a name", function()
    local ch = rille.chan()
    assert.equal(0, ch:cap())
    assert.equal(0, #ch)
    assert.is_nil(ch:name())
    local jobs = rille.chan(3, "jobs")
    assert.equal(3, jobs:cap())
    assert.equal("jobs", jobs:name())
    assert.matches("jobs", tostring(jobs))
    assert.equal(0, rille.chan(nil, nil):cap())
    assert.equal(2, rille.chan(2.0):cap())
  end)

  it("refuses a bad capacity or name, by argument", function()
    raises("#1", rille.chan, -1)
    raises("#1", rille.chan, 1.5)
    raises("#1", rille.chan, "3")
    raises("#1", rille.chan, {})
    raises("#1", rille.chan, 0 / 0)
    raises("#1", rille.chan, math.huge)
    raises("#1", rille.chan, math.maxinteger)
    raises("#2", rille.chan, 1, 2)
    raises("#2", rille.chan, 1, {})
  end)

  it("costs nothing for a great capacity that is not used", function()
    local ch = rille.chan(2000000000)
    for i = 1, 100 do ch:send(i) end
    for i = 1, 100 do assert.equal(i, ch:recv()) end
  end)
end)

for where, there in pairs(places) do
  describe("in " .. where .. " a channel", function()
    it("hands over values in order", function()
      local ch = rille.chan()
      local task = rille.go(function()
        for i = 1, 10 do ch:send(i) end
        ch:close()
      end)
      local list = there(function(c)
        local got = {}
        for v in c do got[#got + 1] = v end
        return got
      end, ch)
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, list)
      assert.is_true(task:join(BOUND))
    end)

    it("waits to send until somebody receives", function()
      local ch = rille.chan()
      local task = rille.go(function() return ch:recv() end)
      assert.is_true(there(function(c) return c:send "hello" end, ch))
      assert.equal("hello", task:await(BOUND))
    end)

    it("gives nil and closed once closed and drained", function()
      local ch = closed("a", "b")
      local results = there(function(c)
        return { c:recv(), c:recv(), table.pack(c:recv()), table.pack(c:try_recv()) }
      end, ch)
      assert.same({ "a", "b", { n = 2, nil, "closed" }, { n = 2, nil, "closed" } }, results)
    end)

    it("wakes a receiver that waits when it is closed", function()
      local ch = rille.chan()
      local task = rille.go(function()
        return there(function(c) return c:recv() end, ch)
      end)
      until_waiting(task)
      ch:close()
      local v, err = task:await(BOUND)
      assert.is_nil(v)
      assert.equal("closed", err)
    end)

    it("raises in a sender that waits when it is closed", function()
      local ch = rille.chan()
      local task = rille.go(function()
        return there(function(c) return pcall(c.send, c, 1) end, ch)
      end)
      until_waiting(task)
      ch:close()
      local ok, err = task:await(BOUND)
      assert.is_false(ok)
      assert.matches("send on closed channel", err)
    end)

    it("gives up after a number of seconds", function()
      local ch = rille.chan()
      local results = there(function(c)
        return { table.pack(c:recv(0.001)), table.pack(c:send(1, 0.001)), table.pack(c:recv(0)),
          table.pack(c:send(1, 0)), table.pack(c:recv(-1)) }
      end, ch)
      for _, result in ipairs(results) do
        assert.same({ n = 3, nil, "deadline exceeded", "deadline exceeded" }, result)
      end
    end)

    it("gives up when the done fires, and keeps the value with its sender", function()
      local ch, done, cancel = rille.chan(), rille.done()
      local task = rille.go(function()
        return there(function(c, d) return c:send("kept", d) end, ch, done)
      end)
      until_waiting(task)
      cancel "enough"
      assert.same({ n = 3, nil, "canceled", "enough" }, table.pack(task:await(BOUND)))
      assert.same({ n = 2, nil, "empty" }, table.pack(ch:try_recv()))
    end)
  end)
end

describe("a channel", function()
  it("is first come, first served for receivers", function()
    local ch, order = rille.chan(), rille.chan(10)
    for i = 1, 10 do
      until_waiting(rille.go(function() order:send { i, ch:recv() } end))
    end
    for i = 1, 10 do ch:send(i * 10) end
    local seen = {}
    for _ = 1, 10 do
      local pair = order:recv(BOUND)
      seen[pair[1]] = pair[2]
    end
    assert.same({ 10, 20, 30, 40, 50, 60, 70, 80, 90, 100 }, seen)
  end)

  it("is first come, first served for senders", function()
    local ch = rille.chan(2)
    ch:send "a"
    ch:send "b"
    for i = 1, 5 do until_waiting(rille.go(function() ch:send(i) end)) end
    local got = {}
    for i = 1, 7 do got[i] = ch:recv(BOUND) end
    assert.same({ "a", "b", 1, 2, 3, 4, 5 }, got)
  end)

  it("counts what is in its buffer", function()
    local ch = rille.chan(2)
    assert.equal(0, #ch)
    ch:send(1)
    ch:send(2)
    assert.equal(2, #ch)
    ch:recv()
    assert.equal(1, #ch)
  end)

  it("lets a waiting sender's value into the buffer when there is room", function()
    local ch = rille.chan(1)
    ch:send(1)
    local task = until_waiting(rille.go(function() return ch:send(2) end))
    assert.equal(1, ch:recv())
    assert.is_true(task:await(BOUND))
    assert.equal(1, #ch)
    assert.equal(2, ch:recv())
  end)

  it("tries without waiting", function()
    local ch = rille.chan(1)
    assert.same({ n = 2, nil, "empty" }, table.pack(ch:try_recv()))
    assert.same({ n = 1, true }, table.pack(ch:try_send "v"))
    assert.same({ n = 2, false, "full" }, table.pack(ch:try_send "w"))
    assert.equal("v", ch:try_recv())
    local none = rille.chan()
    assert.same({ n = 2, false, "full" }, table.pack(none:try_send(1)))
    local task = until_waiting(rille.go(function() return none:recv() end))
    assert.is_true(none:try_send(7))
    assert.equal(7, task:await(BOUND))
  end)

  it("carries false, but not nil", function()
    local ch = rille.chan(1)
    ch:send(false)
    assert.is_false(ch:recv())
    raises("nil", ch.send, ch, nil)
    raises("nil", ch.send, ch)
    raises("nil", ch.try_send, ch, nil)
    raises("nil", ch.sending, ch, nil)
    assert.equal(0, #ch)
  end)

  it("raises when it is used after it was closed", function()
    local ch = closed()
    raises("send on closed channel", ch.send, ch, 1)
    raises("send on closed channel", ch.try_send, ch, 1)
    raises("close of closed channel", ch.close, ch)
    raises("send on closed channel", ch.send, ch, 1, 0.1)
  end)

  it("is closed at the end of its scope, unless it was closed before", function()
    local kept
    do
      local ch <close> = rille.chan()
      kept = ch
    end
    assert.equal("closed", select(2, kept:recv()))
    do
      local ch <close> = rille.chan()
      ch:close()
    end
  end)

  it("sends nothing when the value cannot cross", function()
    local ch = rille.chan(1)
    raises("cannot send coroutine at value.co", ch.send, ch, { co = coroutine.create(print) })
    raises("cannot send coroutine at value$", ch.try_send, ch, coroutine.create(print))
    raises("cannot send coroutine", rille.never.try_send, rille.never, coroutine.create(print))
    assert.equal(0, #ch)
    assert.is_true(ch:try_send(1))
  end)

  it("is the same userdata wherever it turns up in a state", function()
    local ch, carrier = rille.chan(), rille.chan(1)
    local keyed = { [ch] = "found" }
    carrier:send { ch, ch }
    local back = carrier:recv()
    assert.equal(ch, back[1])
    assert.equal(ch, back[2])
    assert.equal("found", keyed[back[1]])
    local same = rille.go(function(c) return c == ch, c end, ch)
    local there, again = same:await(BOUND)
    assert.is_true(there)
    assert.equal(ch, again)
  end)

  it("goes through channels", function()
    local outer = rille.chan()
    local task = rille.go(function()
      local inner = rille.chan(1)
      outer:send(inner)
      return inner:recv()
    end)
    outer:recv(BOUND):send "through"
    assert.equal("through", task:await(BOUND))
  end)

  it("is used by name and by argument: what is no channel is named", function()
    local ch = rille.chan()
    for _, name in ipairs { "send", "recv", "try_send", "try_recv", "close", "cap", "iter",
      "receiver", "sender", "sending" } do
      raises("channel expected, got number", ch[name], 3, 1)
      raises("channel expected, got done", ch[name], rille.background, 1)
      raises("channel expected", ch[name])
      raises("channel expected", ch[name], io.stdout, 1)
    end
  end)

  it("refuses what cannot stand for a done, and sends nothing", function()
    local ch = rille.chan(1)
    local done, cancel = rille.done()
    local stop, sender = done:after(print), rille.chan():sender()
    for _, bad in ipairs { "text", {}, true, print, cancel, stop, sender, 0 / 0 } do
      raises("#3", ch.send, ch, 1, bad)
      raises("#2", ch.recv, ch, bad)
      raises("#2", ch.iter, ch, bad)
    end
    stop()
    assert.equal(0, #ch)
  end)

  it("loses nothing among many senders and receivers", function()
    local ch, sums = rille.chan(3), rille.chan()
    for s = 1, 8 do
      rille.go(function() for i = 1, 200 do ch:send(s * 1000 + i) end sums:send(0) end)
    end
    for _ = 1, 8 do
      rille.go(function()
        local sum = 0
        for v in ch do sum = sum + v end
        sums:send(sum)
      end)
    end
    for _ = 1, 8 do sums:recv(BOUND) end
    ch:close()
    local total, want = 0, 0
    for _ = 1, 8 do total = total + sums:recv(BOUND) end
    for s = 1, 8 do for i = 1, 200 do want = want + s * 1000 + i end end
    assert.equal(want, total)
  end)
end)

describe("a done that has fired", function()
  local stands = {
    ["a done"] = function() return fired "why" end,
    ["a channel with a value"] = function()
      local ch = rille.chan(1)
      ch:send "why"
      return ch
    end,
    ["a closed channel"] = function() return closed(), "canceled" end,
    ["a task that has ended"] = function()
      local task = rille.go(function() end)
      task:join(BOUND)
      return task, "canceled"
    end,
    ["a timer that is due"] = function()
      local timer = rille.after(0)
      while #timer == 0 do rille.yield() end
      return timer, "deadline exceeded", "deadline exceeded"
    end,
  }
  for name, make in pairs(stands) do
    it("comes first, as " .. name .. ": nothing is received", function()
      local ch = rille.chan(1)
      ch:send "kept"
      local done, cause, err = make()
      assert.same({ n = 3, nil, err or "canceled", cause or "why" }, table.pack(ch:recv(done)))
      assert.equal("kept", ch:try_recv())
    end)

    it("comes first, as " .. name .. ": nothing is sent", function()
      local ch = rille.chan(1)
      local done, cause, err = make()
      local sent = table.pack(ch:send("kept", done))
      assert.same({ n = 3, nil, err or "canceled", cause or "why" }, sent)
      assert.equal(0, #ch)
    end)

    it("ends a loop, as " .. name, function()
      local ch = closed(1, 2, 3)
      for _ in ch:iter((make())) do assert.is_true(false) end
    end)
  end

  it("comes before a channel that is closed", function()
    assert.equal("canceled", select(2, closed():recv(fired())))
    assert.equal("canceled", select(2, closed():send(1, fired())))
  end)

  it("lets what is ready come first when it is a number", function()
    local ch = rille.chan(1)
    assert.is_true(ch:send("v", 0))
    assert.equal("v", ch:recv(0))
    assert.equal("closed", select(2, closed():recv(0)))
  end)

  it("comes first, though the value was there at once after it", function()
    for _ = 1, 2000 do
      local done, cancel = rille.done()
      local ch = rille.chan(1)
      local receiver = rille.go(function()
        rille.yield()
        return ch:recv(done)
      end)
      cancel()
      ch:send "late"
      assert.same({ true, nil, "canceled", "canceled" }, { receiver:join(BOUND) })
    end
  end)
end)

describe("a loop over a channel", function()
  it("ends when the channel is closed", function()
    local got = {}
    for v in closed("a", "b", "c") do got[#got + 1] = v end
    assert.same({ "a", "b", "c" }, got)
    for _ in closed():iter() do assert.is_true(false) end
  end)

  it("ends when the done fires while it waits", function()
    local ch, done, cancel = rille.chan(), rille.done()
    local task = rille.go(function()
      local n = 0
      for _ in ch:iter(done) do n = n + 1 end
      return n
    end)
    for i = 1, 3 do ch:send(i) end
    until_waiting(task)
    cancel()
    assert.equal(3, task:await(BOUND))
  end)

  it("counts seconds for the whole loop", function()
    testing.run(function()
      local ch, start, n = rille.chan(), rille.now(), 0
      rille.go(function() while ch:send(1, 1) do rille.sleep(1) end end)
      for _ in ch:iter(5.5) do n = n + 1 end
      assert.equal(5.5, rille.now() - start)
      assert.equal(6, n)
    end)
  end)

  it("takes no value after its done has fired", function()
    local ch, done, cancel = rille.chan(5), rille.done()
    for i = 1, 5 do ch:send(i) end
    for v in ch:iter(done) do
      if v == 2 then cancel() end
    end
    assert.equal(3, ch:recv())
  end)
end)

describe("a one-way view", function()
  it("to receive can do nothing else", function()
    local ch = rille.chan(2, "jobs")
    local view = ch:receiver()
    ch:send(1)
    ch:send(2)
    assert.equal(1, view:recv())
    assert.equal(2, view:try_recv())
    for _, name in ipairs { "send", "try_send", "sending", "close", "sender" } do
      raises("receive%-only", view[name], view, 1)
    end
    assert.equal(2, view:cap())
    assert.equal("jobs", view:name())
    assert.equal(0, #view)
    assert.matches("jobs", tostring(view))
    ch:close()
    for _ in view do assert.is_true(false) end
    for _ in view:iter(LONG) do assert.is_true(false) end
  end)

  it("to send can send and close", function()
    local ch = rille.chan(2, "jobs")
    local view = ch:sender()
    assert.is_true(view:send(1))
    assert.is_true(view:try_send(2))
    for _, name in ipairs { "recv", "try_recv", "iter", "receiver" } do
      raises("send%-only", view[name], view)
    end
    raises("send%-only", view)
    assert.equal(2, #view)
    assert.equal(2, view:cap())
    view:close()
    raises("close of closed channel", view.close, view)
    assert.equal(1, ch:recv())
  end)

  it("is one in a state, and another one than the channel", function()
    local ch = rille.chan()
    assert.equal(ch:receiver(), ch:receiver())
    assert.equal(ch:receiver(), ch:receiver():receiver())
    assert.not_equal(ch, ch:receiver())
    assert.not_equal(ch:sender(), ch:receiver())
  end)

  it("keeps its rights when it crosses", function()
    local ch = rille.chan(1)
    local ok, err = rille.go(function(v) return pcall(v.send, v, 1) end, ch:receiver()):await(BOUND)
    assert.is_false(ok)
    assert.matches("receive%-only", err)
    assert.is_true(rille.go(function(v) return v:send(1) end, ch:sender()):await(BOUND))
  end)

  it("to send closes at the end of its scope", function()
    local ch = rille.chan()
    do local view <close> = ch:sender() end -- luacheck: ignore 211
    assert.equal("closed", select(2, ch:recv()))
  end)
end)

describe("rille.never", function()
  it("is never ready", function()
    assert.same({ n = 2, nil, "empty" }, table.pack(rille.never:try_recv()))
    assert.same({ n = 2, false, "full" }, table.pack(rille.never:try_send(1)))
    assert.equal("deadline exceeded", select(2, rille.never:recv(0.001)))
    assert.equal("deadline exceeded", select(2, rille.never:send(1, 0.001)))
    assert.equal("canceled", select(2, rille.never:recv(fired())))
    assert.equal(0, #rille.never)
  end)

  it("cannot be closed", function()
    raises("never", rille.never.close, rille.never)
    do local ch <close> = rille.never end -- luacheck: ignore 211
    assert.equal("empty", select(2, rille.never:try_recv()))
  end)

  it("is one in all states", function()
    assert.is_true(rille.go(function(n) return n == rille.never end, rille.never):await(BOUND))
  end)
end)

-- What rille itself allocates may run finalizers, and these may use rille.
describe("a finalizer that runs within", function()
  -- fn(...), which collects garbage with such a finalizer at the first occasion: a call deeper than
  -- any before it in its coroutine allocates, but does not collect itself.
  local function collecting(fn, ...)
    local side, ran = rille.chan(1), false
    local function call(...) return table.pack(fn(...)) end
    local run = coroutine.wrap(function(...)
      collectgarbage "restart"
      local results = call(...)
      return results
    end)
    local mode = collectgarbage("incremental", 100, 1000, 30)
    collectgarbage "stop"
    setmetatable({}, { __gc = function() ran = side:try_send "from a finalizer" end })
    local results = run(...)
    collectgarbage("incremental", 200, 100, 13)
    collectgarbage(mode)
    assert.is_true(ran)
    return table.unpack(results, 1, results.n)
  end

  it("a select leaves its cases alone", function()
    local a, b, select = rille.chan(), rille.chan(1), rille.select
    local cases = { a:sending "a", b:sending { "b" }, a, 60 }
    assert.equal(2, (collecting(select, table.unpack(cases))))
    assert.same({ "b" }, b:recv())
    assert.equal(2, (collecting(select, { nil, cases[2], cases[3], cases[4] })))
    assert.same({ "b" }, b:recv())
  end)

  it("a wait that a channel cuts short leaves its value alone", function()
    local stop, ch = rille.chan(1), rille.chan()
    local recv = ch.recv
    for _, cause in ipairs { 1, "short", ("long"):rep(20), { "table" } } do
      stop:send(cause)
      assert.same({ n = 3, nil, "canceled", cause }, table.pack(collecting(recv, ch, stop)))
    end
  end)
end)

describe("a wait in a finalizer", function()
  local function in_finalizer(fn)
    return rille.go(function(f)
      local results
      setmetatable({}, { __gc = function() results = table.pack(f()) end })
      collectgarbage()
      return table.unpack(results, 1, results.n)
    end, fn):await(BOUND)
  end

  it("raises, and leaves nothing queued", function()
    local ch = rille.chan()
    for _, op in ipairs { "recv", "send" } do
      local ok, err = in_finalizer(function() return pcall(ch[op], ch, 1) end)
      assert.is_false(ok)
      assert.matches("cannot wait in a finalizer", err)
    end
    assert.equal("full", select(2, ch:try_send(1)))
    assert.equal("empty", select(2, ch:try_recv()))
  end)

  it("leaves the wait alone in whose end it runs", function()
    rille.go(function()
      local ch, stop, spare, finalized = rille.chan(), rille.chan(1), rille.chan(), 0
      local litter = { __gc = function() finalized = finalized + 1 spare:try_recv() end }
      collectgarbage("incremental", 50, 400, 1)
      while finalized < 1000 do
        setmetatable({}, litter)
        stop:send "v"
        local filled = {}
        filled.up = true -- memory taken, so that the collector has to go on in the next call
        local _, _, cause = ch:recv(stop)
        assert(filled.up and cause == "v")
      end
    end):await(BOUND)
  end)

  it("may do what needs no wait", function()
    local ch = rille.chan(1)
    assert.is_true(in_finalizer(function() return ch:send "from a finalizer" end))
    assert.equal("from a finalizer", ch:recv())
  end)
end)

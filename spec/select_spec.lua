-- Select: several things waited on at once, of which exactly one happens.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local proc = require "spec.support.proc"
local rille = require "rille"

local LONG = 60 -- a wait that must end by something else
local BOUND = 30 -- a watchdog

local raises = helper.raises

local function filled(...)
  local ch = rille.chan(8)
  for _, v in ipairs { ... } do ch:send(v) end
  return ch
end

local function closed()
  local ch = rille.chan()
  ch:close()
  return ch
end

local function fired(cause)
  local done, cancel = rille.done()
  cancel(cause)
  return done
end

local function ended()
  local task = rille.go(function() end)
  task:join(BOUND)
  return task
end

local until_waiting = helper.until_waiting

local forms = {
  select = rille.select, try_select = rille.try_select, select_first = rille.select_first,
}

for name, select_ in pairs(forms) do
  describe(name .. " gives for", function()
    it("a channel what it receives", function()
      local ch = filled("v", "w")
      assert.same({ n = 2, 2, "v" }, table.pack(select_(rille.never, ch)))
      assert.equal("w", ch:try_recv())
    end)

    it("a closed channel nil and closed", function()
      assert.same({ n = 3, 1, nil, "closed" }, table.pack(select_(closed(), rille.never)))
    end)

    it("a send true", function()
      local ch = rille.chan(1)
      assert.same({ n = 2, 1, true }, table.pack(select_(ch:sending "v", rille.never)))
      assert.equal("v", ch:try_recv())
    end)

    it("a done its error and cause", function()
      local result = table.pack(select_(rille.never, fired "why"))
      assert.same({ n = 4, 2, nil, "canceled", "why" }, result)
      local late = rille.done { timeout = 0, cause = "late" }
      assert.same({ n = 4, 1, nil, "deadline exceeded", "late" }, table.pack(select_(late)))
    end)

    it("a task nil", function()
      assert.same({ n = 2, 1, nil }, table.pack(select_(ended(), rille.never)))
    end)

    it("a number the time", function()
      local i, now = select_(rille.never, 0)
      assert.equal(2, i)
      assert.is_true(now <= rille.now())
    end)

    it("a timer the time", function()
      local timer = rille.after(0)
      while #timer == 0 do rille.yield() end
      local i, now = select_(timer)
      assert.equal(1, i)
      assert.is_true(now <= rille.now())
    end)

    it("a receiver what it receives", function()
      assert.same({ n = 2, 1, "v" }, table.pack(select_(filled("v"):receiver())))
    end)

    it("a sender's case true", function()
      local ch = rille.chan(1)
      assert.same({ n = 2, 1, true }, table.pack(select_(ch:sender():sending "v")))
    end)
  end)

  describe(name, function()
    it("never chooses nil, false and never", function()
      for _ = 1, 20 do
        assert.equal(3, (select_(nil, false, filled(1), nil, rille.never)))
      end
    end)

    it("lets only the chosen case have an effect", function()
      local a, b, c = filled(1), rille.chan(1), rille.chan(1)
      select_(a, b:sending(2), c:sending(3))
      assert.equal(1, #b + #c + (1 - #a))
    end)

    it("raises on a send to a closed channel", function()
      raises("send on closed channel", select_, closed():sending(1), rille.never)
    end)

    it("refuses what is no case, by its place", function()
      local done, cancel = rille.done()
      local stop, sender = done:after(print), rille.chan():sender()
      for _, bad in ipairs { "text", true, {}, print, cancel, stop, sender, 0 / 0 } do
        raises("bad case 2", select_, rille.never, bad)
      end
      stop()
    end)

    it("does nothing at all when a case is bad", function()
      local ch = rille.chan(1)
      raises("bad case 2", select_, ch:sending(1), "text")
      assert.equal(0, #ch)
    end)

    it("takes the same channel several times", function()
      local ch = filled("v")
      local i, v = select_(ch, ch, ch)
      assert.is_true(i >= 1 and i <= 3)
      assert.equal("v", v)
      assert.equal(0, #ch)
    end)

    it("takes a hundred cases", function()
      local cases = {}
      for i = 1, 100 do cases[i] = rille.chan(1) end
      cases[77]:send "here"
      assert.same({ n = 2, 77, "here" }, table.pack(select_(table.unpack(cases))))
    end)

    it("uses a send case again and again", function()
      local ch = rille.chan(3)
      local case = ch:sending { 1 }
      for _ = 1, 3 do select_(case) end
      assert.equal(3, #ch)
      assert.same({ 1 }, ch:recv())
    end)
  end)
end

describe("rille.select", function()
  it("names its cases", function()
    local which, v = rille.select { line = filled "hello", stop = rille.never }
    assert.equal("line", which)
    assert.equal("hello", v)
    assert.equal("stop", (rille.select { line = rille.never, stop = fired() }))
    assert.equal("out", (rille.select { [1] = false, out = rille.chan(1):sending(1) }))
    local key = {}
    assert.equal(key, (rille.select { [key] = filled(1) }))
  end)

  it("names what is no case", function()
    raises("bad case 'line'", rille.select, { line = "text" })
    raises("bad case 3", rille.select, { [3] = {} })
  end)

  it("takes one table with a metatable for a case, which it is not", function()
    raises("bad case 1", rille.select, setmetatable({}, {}))
  end)

  it("waits until a case is ready", function()
    local a, b = rille.chan(), rille.chan()
    local task = rille.go(function() return rille.select(a, b) end)
    until_waiting(task)
    b:send "v"
    assert.same({ n = 2, 2, "v" }, table.pack(task:await(BOUND)))
    assert.equal("full", select(2, a:try_send(1)))
  end)

  it("waits until a receiver comes", function()
    local a, b = rille.chan(), rille.chan()
    local task = rille.go(function() return rille.select(a:sending(1), b:sending(2)) end)
    until_waiting(task)
    assert.equal(2, b:recv())
    assert.equal(2, (task:await(BOUND)))
    assert.equal("empty", select(2, a:try_recv()))
  end)

  it("is woken by close, cancel, a task's end and a timer", function()
    local ch, done, cancel = rille.chan(), rille.done()
    local stop = rille.chan()
    local other = rille.go(function() stop:recv() end)
    local tasks = {
      rille.go(function() return rille.select(rille.never, ch) end),
      rille.go(function() return rille.select(rille.never, done) end),
      rille.go(function() return rille.select(rille.never, other) end),
      rille.go(function() return rille.select(rille.never, rille.after(0.01)) end),
    }
    for i = 1, 3 do until_waiting(tasks[i]) end
    ch:close()
    cancel()
    stop:close()
    for i = 1, 4 do assert.equal(2, (tasks[i]:await(BOUND))) end
  end)

  it("raises when a channel is closed on which it waits to send", function()
    local ch = rille.chan()
    local task = rille.go(function() return pcall(rille.select, ch:sending(1), rille.never) end)
    until_waiting(task)
    ch:close()
    local ok, err = task:await(BOUND)
    assert.is_false(ok)
    assert.matches("send on closed channel", err)
  end)

  it("chooses among ready cases at random, evenly", function()
    local counts = { 0, 0, 0, 0 }
    local channels = {}
    for i = 1, 4 do channels[i] = rille.chan(1) end
    for _ = 1, 4000 do
      for i = 1, 4 do channels[i]:try_send(1) end
      local i = rille.select(table.unpack(channels))
      counts[i] = counts[i] + 1
    end
    for i = 1, 4 do assert.is_true(counts[i] > 800 and counts[i] < 1200, counts[i]) end
  end)

  it("chooses evenly among waiting cases that one channel makes ready at once", function()
    local ch, counts = rille.chan(), { 0, 0, 0 }
    for _ = 1, 300 do
      local task = rille.go(function()
        return rille.select(ch:sending(1), ch:sending(2), ch:sending(3))
      end)
      until_waiting(task)
      local v = ch:recv()
      assert.equal(v, (task:await(BOUND)))
      counts[v] = counts[v] + 1
    end
    for i = 1, 3 do assert.is_true(counts[i] > 50, table.concat(counts, " ")) end
  end)

  it("that waits serves the first of a channel's cases when it goes by order", function()
    local ch = rille.chan()
    local task = rille.go(function()
      for _ = 1, 20 do rille.select_first(ch:sending(1), ch:sending(2), ch:sending(3)) end
    end)
    for _ = 1, 20 do
      until_waiting(task)
      assert.equal(1, ch:recv(BOUND))
    end
    task:await(BOUND)
  end)

  it("does not send to itself", function()
    local ch = rille.chan()
    assert.is_nil((rille.try_select(ch, ch:sending(1))))
    assert.equal(3, (rille.select(ch, ch:sending(1), 0.005)))
  end)

  it("stays what it is when a finalizer uses channels meanwhile", function()
    rille.go(function()
      local cases, spare, finalized = {}, rille.chan(), 0
      local litter = { __gc = function() finalized = finalized + 1 spare:try_recv() end }
      for i = 1, 50 do cases[i] = rille.chan(1) end
      collectgarbage "generational"
      while finalized < 1000 do
        setmetatable({}, litter)
        cases[50]:send "v"
        local i, v = rille.select(table.unpack(cases))
        assert(i == 50 and v == "v")
      end
    end):await(BOUND)
  end)

  it("is not changed by what a finalizer does to its table", function()
    rille.go(function()
      local ready, finalized = rille.chan(1), 0
      local cases = { ready = ready, one = false, two = false, three = false }
      local mt = { __gc = function()
        finalized = finalized + 1
        cases["new" .. finalized] = rille.never
        cases["new" .. finalized - 20] = nil
      end }
      collectgarbage "generational"
      while finalized < 1000 do
        setmetatable({}, mt)
        ready:send "v"
        local name, v = rille.select(cases)
        assert(name == "ready" and v == "v")
      end
    end):await(BOUND)
  end)

  it("meets another select", function()
    local ch, other = rille.chan(), rille.chan()
    local task = rille.go(function() return rille.select(ch:sending "v", other) end)
    assert.same({ n = 2, 1, "v" }, table.pack(rille.select(ch, other, LONG)))
    assert.equal(1, (task:await(BOUND)))
  end)

  it("takes the earliest of several numbers", function()
    assert.equal(2, (rille.select(LONG, 0.001, rille.never, LONG)))
  end)

  it("lets what is ready come before a number", function()
    for _ = 1, 20 do assert.equal(2, (rille.select(0, filled(1)))) end
    for _ = 1, 20 do assert.equal(1, (rille.select(fired(), -1))) end
  end)

  it("delivers each value to one of many selects", function()
    local ch, sums, stop = rille.chan(), rille.chan(), rille.chan()
    for _ = 1, 10 do
      rille.go(function()
        local sum = 0
        while true do
          local which, v = rille.select { v = ch, stop = stop }
          if which == "stop" then break end
          sum = sum + v
        end
        sums:send(sum)
      end)
    end
    for i = 1, 1000 do ch:send(i) end
    stop:close()
    local total = 0
    for _ = 1, 10 do total = total + sums:recv(BOUND) end
    assert.equal(500500, total)
  end)

  it("waits for ever without a case that can get ready #exec", function()
    for _, cases in ipairs { "", "nil, false", "rille.never" } do
      local result = proc.run(([[
        local task = rille.go({ daemon = true }, function() rille.select(%s) end)
        while task:status() ~= "waiting" do rille.yield() end
        print(task:join(0.01))
      ]]):format(cases))
      assert.equal("nil\tdeadline exceeded\tdeadline exceeded\n", result.out)
      assert.equal("", result.err)
    end
  end)
end)

describe("rille.try_select", function()
  it("gives nil when no case is ready, and does nothing", function()
    local ch = rille.chan()
    assert.same({ n = 1 }, table.pack(rille.try_select(ch, ch:sending(1), rille.never, 5)))
    assert.same({ n = 1 }, table.pack(rille.try_select()))
    assert.same({ n = 1 }, table.pack(rille.try_select { a = ch, b = false }))
    assert.equal("empty", select(2, ch:try_recv()))
  end)

  it("finds a case when at every moment one or another is ready", function()
    local a, b, stop = rille.chan(1), rille.chan(1), rille.chan(1)
    a:send "v"
    local mover = rille.go(function()
      while not stop:try_recv() do -- a value is added before one is taken away
        b:try_send "v"
        a:try_recv()
        a:try_send "v"
        b:try_recv()
      end
    end)
    local cases = { a }
    for i = 2, 999 do cases[i] = rille.chan() end
    cases[1000] = b
    for _ = 1, 3000 do
      local i = rille.try_select(table.unpack(cases))
      assert.is_truthy(i)
      cases[i]:try_send "v"
    end
    stop:send(true)
    mover:await(BOUND)
  end)

  it("works where one must not wait", function()
    local ch = filled "v"
    local results
    setmetatable({}, { __gc = function() results = { rille.try_select(ch) } end })
    collectgarbage()
    assert.same({ 1, "v" }, results)
  end)
end)

describe("rille.select_first", function()
  it("takes the first ready case in order", function()
    for _ = 1, 50 do
      assert.equal(2, (rille.select_first(rille.never, filled(1), filled(2), fired())))
      assert.equal(1, (rille.select_first(fired(), filled(1))))
    end
  end)

  it("has no names", function()
    raises("by position", rille.select_first, { a = rille.chan() })
  end)

  it("waits like select", function()
    local ch = rille.chan()
    local task = rille.go(function() return rille.select_first(rille.never, ch) end)
    until_waiting(task)
    ch:send(5)
    assert.same({ n = 2, 2, 5 }, table.pack(task:await(BOUND)))
  end)

  it("takes the first of waiting cases that one channel makes ready at once", function()
    local ch = rille.chan()
    for _ = 1, 20 do
      local task = rille.go(function() return (rille.select_first(rille.never, ch, ch, ch)) end)
      until_waiting(task)
      ch:send(5)
      assert.equal(2, task:await(BOUND))
    end
  end)
end)

describe("an object that names its case", function()
  local Job = { __case = "ended" }

  local function holding(handle)
    return setmetatable({ ended = handle }, Job)
  end

  it("is a case of select, as what it holds", function()
    assert.same({ n = 2, 1, 7 }, table.pack(rille.select(holding(filled(7)), LONG)))
    assert.same({ n = 4, 1, nil, "canceled", "why" },
      table.pack(rille.select(holding(fired "why"))))
    assert.same({ n = 2, "job", nil }, table.pack(rille.select { job = holding(ended()) }))
    assert.is_nil(rille.try_select(holding(rille.chan()), holding(rille.chan())))
    assert.equal(2, (rille.select_first(holding(rille.never), holding(filled(1)))))
  end)

  it("stands wherever a done may", function()
    local object = holding(fired "why")
    local expected = { n = 3, nil, "canceled", "why" }
    assert.same(expected, table.pack(rille.chan():recv(object)))
    assert.same(expected, table.pack(rille.chan():send(1, object)))
    assert.same(expected, table.pack(rille.sleep(LONG, object)))
    assert.same(expected, table.pack((rille.done()):wait(object)))
    assert.equal("why", rille.done(object):cause())
    assert.equal("why", rille.any(rille.chan(), object):cause())
    assert.equal("why", rille.any(object):cause())
    assert.equal("why", rille.all(object, ended(), object):cause())
    for _ in rille.chan():iter(object) do error "received" end
    assert.is_true(rille._stands_for_done(object))
  end)

  it("gives its values to the dones below it", function()
    local object = holding((rille.done { values = { user = "ada" } }))
    assert.equal("ada", (rille.done(object)):value "user")
    assert.equal("ada", rille.any(rille.chan(), object):value "user")
  end)

  it("keeps what it held, whatever becomes of it during the wait", function()
    local ch = rille.chan()
    local task = rille.go(function()
      local object = holding(ch)
      ch = nil -- luacheck: ignore 311
      setmetatable({}, { __gc = function() object.ended = nil end })
      return rille.select(object)
    end)
    until_waiting(task)
    for _ = 1, 3 do assert.same({}, rille.leaks()) end -- which collect the garbage of that task
    assert.is_true(ch:send(1, BOUND))
    assert.same({ n = 2, 1, 1 }, table.pack(task:await(BOUND)))
  end)

  it("is read raw, and refused where it names no case", function()
    local function index() error "indexed" end
    local meta = setmetatable({ __index = index }, { __index = index })
    raises("bad case 1", rille.select, setmetatable({}, meta))
    meta.__case = "missing"
    raises("bad case 1", rille.select, setmetatable({}, meta))
    raises("bad case 2", rille.select, rille.never, setmetatable({ missing = "x" }, meta))
    raises("bad case 1", rille.select, setmetatable({ missing = 5 }, meta))
    raises("got cancel", rille.select, holding(select(2, rille.done())))
    raises("got cancel", rille.sleep, LONG, holding(select(2, rille.done())))
    raises("done, channel, task, timer or number expected", rille.any, setmetatable({}, meta))
    assert.is_false(rille._stands_for_done(setmetatable({}, meta)))
  end)

  it("may be options no more than any object of a class", function()
    raises("unknown option 'missing'", rille.done, setmetatable({ missing = 1 }, { __case = "x" }))
  end)
end)

-- Timers, sleeping and the clock.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local LONG = 3600 -- a wait that must end by something else
local BOUND = 30 -- a watchdog

local raises = helper.raises

local function due(timer)
  while #timer == 0 do rille.yield() end
  return timer
end

describe("rille.now", function()
  it("goes on, in seconds", function()
    local a = rille.now()
    local b = rille.now()
    assert.equal("float", math.type(a))
    assert.is_true(b >= a)
    local wall, before = os.time(), rille.now()
    while os.time() == wall do end -- luacheck: ignore 542
    local took = rille.now() - before
    assert.is_true(took <= os.time() - wall + 1.1) -- it may be behind by what its second had left
  end)

  it("is the same in every task", function()
    local before = rille.now()
    local there = rille.go(function() return rille.now() end):await(BOUND)
    assert.is_true(before <= there and there <= rille.now())
  end)
end)

describe("rille.sleep", function()
  it("sleeps at least so long, in the main program and in a task", function()
    local function slept(s)
      local start = rille.now()
      local results = table.pack(rille.sleep(s))
      return rille.now() - start, results
    end
    for _, where in ipairs { slept, function(s) return rille.go(slept, s):await(BOUND) end } do
      local took, results = where(0.01)
      assert.is_true(took >= 0.01)
      assert.same({ n = 1, true }, results)
      assert.same({ n = 1, true }, select(2, where(0)))
      assert.same({ n = 1, true }, select(2, where(-5)))
    end
  end)

  it("is cut short by whatever stands for a done", function()
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ n = 3, nil, "canceled", "why" }, table.pack(rille.sleep(LONG, done)))
    local late = { n = 3, nil, "deadline exceeded", "deadline exceeded" }
    assert.same(late, table.pack(rille.sleep(LONG, 0.001)))
    assert.same(late, table.pack(rille.sleep(LONG, rille.after(0.001))))
    local ch = rille.chan(1)
    ch:send "value"
    assert.same({ n = 3, nil, "canceled", "value" }, table.pack(rille.sleep(LONG, ch)))
    local task = rille.go(function() end)
    assert.same({ n = 3, nil, "canceled", "canceled" }, table.pack(rille.sleep(LONG, task)))
  end)

  it("is over before a number cuts it short when it is not above 0", function()
    assert.same({ n = 1, true }, table.pack(rille.sleep(0, 0)))
    assert.same({ n = 1, true }, table.pack(rille.sleep(-1, 0)))
    assert.same({ n = 1, true }, table.pack(rille.sleep(-math.huge, -1)))
  end)

  it("lets others run when it is not above 0 #exec", function()
    local result = helper.run([[
      local rille = require "rille"
      print(rille.go(function()
        local met = 0
        for _ = 1, 100 do
          local ch = rille.chan(1)
          rille.go(function() ch:send(1) end)
          -- once is enough, unless the machine is so busy that another thread has taken the task
          for _ = 1, 10000 do
            rille.sleep(0)
            if #ch == 1 then break end
          end
          met = met + #ch
        end
        return met
      end):await(10))
    ]], { env = { RILLE_THREADS = "1" } })
    assert.equal("100\n", result.out)
  end)

  it("is cut short while it sleeps", function()
    local done, cancel = rille.done()
    local task = rille.go(function() return rille.sleep(LONG, done) end)
    while task:status() ~= "waiting" do rille.yield() end
    cancel()
    assert.same({ n = 3, nil, "canceled", "canceled" }, table.pack(task:await(BOUND)))
  end)

  it("ends in the order of the deadlines", function()
    testing.run(function() -- each has told before the next is woken
      local ch = rille.chan(20)
      for i = 20, 1, -1 do
        rille.go(function() rille.sleep(0.05 + i * 0.005) ch:send(i) end)
      end
      for i = 1, 20 do assert.equal(i, ch:recv(BOUND)) end
    end)
  end)

  it("refuses what is no time", function()
    raises("#1", rille.sleep)
    raises("#1", rille.sleep, "1")
    raises("#1", rille.sleep, 0 / 0)
    raises("#2", rille.sleep, 1, "text")
  end)

  it("sleeps for ever when told to", function()
    assert.equal("deadline exceeded", select(2, rille.sleep(math.huge, 0.001)))
    assert.equal("deadline exceeded", select(2, rille.sleep(1e300, 0.001)))
  end)
end)

for name, make in pairs { after = rille.after, timer = rille.timer } do
  describe("rille." .. name, function()
    it("delivers the time once", function()
      local start = rille.now()
      local timer = make(0.005)
      local at = timer:recv(BOUND)
      assert.is_true(at >= start + 0.005 and at <= rille.now())
      assert.equal("empty", select(2, timer:try_recv()))
      assert.equal("deadline exceeded", select(2, timer:recv(0.005)))
    end)

    it("is received from like a channel", function()
      assert.is_number(due(make(0)):try_recv())
      assert.equal(2, (rille.select(rille.never, make(0.001))))
      assert.equal("t", (rille.select { t = make(0.001), never = rille.never }))
      assert.is_number((make(0.001):iter(BOUND)()))
      local timer = make(LONG)
      assert.equal(1, timer:cap())
      assert.equal(0, #timer)
      assert.matches("timer", tostring(timer))
    end)

    it("cannot be sent to", function()
      local timer = make(LONG)
      assert.is_nil(timer.send)
      assert.is_nil(timer.close)
    end)

    it("works at once for what is not above 0", function()
      assert.is_number(make(0):recv(BOUND))
      assert.is_number(make(-1):recv(BOUND))
    end)

    it("stops: then nothing is delivered", function()
      testing.run(function() -- no time passes before it is stopped
        local timer = make(0.005)
        assert.is_true(timer:stop())
        assert.is_false(timer:stop())
        assert.equal("deadline exceeded", select(2, timer:recv(0.02)))
      end)
    end)

    it("stops when it has fired: then nothing stale is delivered", function()
      local timer = due(make(0))
      timer:stop()
      assert.equal("empty", select(2, timer:try_recv()))
    end)

    it("is reset: then nothing stale is delivered", function()
      local timer = due(make(0))
      timer:reset(LONG)
      assert.equal("empty", select(2, timer:try_recv()))
      local start = rille.now()
      timer:reset(0.005)
      assert.is_true(timer:recv(BOUND) >= start + 0.005)
      assert.is_false(timer:stop())
      timer:reset(0)
      assert.is_number(timer:recv(BOUND))
    end)

    it("is one and the same in another task", function()
      local timer = make(LONG)
      local task = rille.go(function() return timer:recv() end)
      while task:status() ~= "waiting" do rille.yield() end
      timer:reset(0.001)
      assert.is_number(task:await(BOUND))
    end)

    it("refuses what is no time", function()
      raises("#1", make)
      raises("#1", make, "soon")
      raises("#1", make, 0 / 0)
      local timer = make(LONG)
      raises("#2", timer.reset, timer)
      raises("#2", timer.reset, timer, 0 / 0)
      raises("timer expected", timer.stop, rille.chan())
    end)
  end)
end

describe("rille.tick", function()
  it("delivers again and again", function()
    local start = rille.now()
    local tick = rille.tick(0.002)
    local last = start
    for i = 1, 5 do
      local at = tick:recv(BOUND)
      assert.is_true(at >= start + i * 0.002 - 1e-6 and at >= last)
      last = at
    end
    tick:stop()
  end)

  it("drops ticks for a slow reader", function()
    local tick = rille.tick(0.001)
    due(tick)
    rille.sleep(0.02)
    assert.equal(1, #tick)
    assert.is_number(tick:try_recv())
    tick:stop()
  end)

  it("stops", function()
    local tick = due(rille.tick(0.001))
    assert.is_true(tick:stop())
    assert.equal("deadline exceeded", select(2, tick:recv(0.01)))
  end)

  it("is reset to another period", function()
    local tick = rille.tick(LONG)
    local start = rille.now()
    assert.is_true(tick:reset(0.002))
    for i = 1, 3 do assert.is_true(tick:recv(BOUND) >= start + i * 0.002 - 1e-6) end
    tick:reset(LONG)
    assert.equal("deadline exceeded", select(2, tick:recv(0.01)))
    raises("#2", tick.reset, tick, 0)
    raises("#2", tick.reset, tick, -1)
    assert.is_true(tick:stop())
  end)

  it("goes on with the smallest period", function()
    local tick = rille.tick(5e-324)
    for _ = 1, 3 do assert.is_number(tick:recv(BOUND)) end
    tick:stop()
  end)

  it("refuses a period that is none", function()
    raises("#1", rille.tick, 0)
    raises("#1", rille.tick, -1)
    raises("#1", rille.tick, "1")
    raises("#1", rille.tick)
  end)
end)

describe("an unreferenced timer", function()
  it("is collected, and stopped with it", function()
    collectgarbage()
    collectgarbage()
    local before = rille.stats().channels
    for _ = 1, 100 do
      rille.after(LONG)
      rille.tick(LONG)
      rille.tick(0.001)
    end
    local deadline = rille.now() + BOUND
    repeat
      collectgarbage()
      assert.is_true(rille.now() < deadline)
    until rille.stats().channels <= before
  end)

  it("still wakes those who wait for it", function()
    local ch = rille.chan(1)
    rille.go(function() ch:send(rille.after(0.01):recv()) end)
    collectgarbage()
    assert.is_number(ch:recv(BOUND))
  end)
end)

describe("very many timers", function()
  it("are all delivered", function()
    local timers = {}
    for i = 1, 5000 do timers[i] = rille.after((i * 7919 % 5000) / 200000) end
    for i = 1, 5000 do assert.is_number(timers[i]:recv(BOUND)) end
  end)

  it("can be stopped in any order", function()
    local timers = {}
    for i = 1, 2000 do timers[i] = rille.after(LONG + i * 7919 % 2000) end
    for i = 2000, 1, -1 do
      local k = i * 104729 % 2000 + 1
      if timers[k] then assert.is_true(timers[k]:stop()) end
      timers[k] = nil
    end
    for _, timer in pairs(timers) do assert.is_true(timer:stop()) end
  end)
end)

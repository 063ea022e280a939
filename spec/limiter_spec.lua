-- The limiter: what golang.org/x/time/rate promises, on a virtual clock, and that tasks share it.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local exits = require "spec.support.exits"
local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local raises = helper.raises
local run = testing.run

local BOUND = 20 -- a watchdog
local LATE = { nil, "deadline exceeded", "deadline exceeded" }

-- The times, from the start on, at which n waits of one task end.
local function times_of(n, limiter, ...)
  local start, times = rille.now(), {}
  for i = 1, n do
    assert(limiter:wait(...))
    times[i] = rille.now() - start
  end
  return times
end

describe("a limiter", function()
  it("lets a burst through at once, then so many a second", function()
    run(function()
      assert.same({ 0, 0, 0, 0.25, 0.5, 0.75 }, times_of(6, rille.limiter(4, 3)))
      assert.same({ 0, 2, 4 }, times_of(3, rille.limiter(0.5)))
    end)
  end)

  it("fills up to its burst while nobody comes", function()
    run(function()
      local limiter = rille.limiter(2, 3)
      times_of(3, limiter)
      rille.sleep(0.5)
      assert.same({ 0, 0.5 }, times_of(2, limiter))
      rille.sleep(100)
      assert.same({ 0, 0, 0, 0.5 }, times_of(4, limiter))
    end)
  end)

  it("lets try have what is there, and no more", function()
    run(function()
      local limiter = rille.limiter(1, 2)
      assert.same({ true, true, false }, { limiter:try(), limiter:try(), limiter:try() })
      rille.sleep(0.5)
      assert.is_false(limiter:try())
      rille.sleep(0.5)
      assert.is_false(limiter:try(2))
      assert.is_true(limiter:try())
      rille.sleep(2)
      assert.is_true(limiter:try(2))
    end)
  end)

  it("gives several tokens at a time", function()
    run(function()
      assert.same({ 0, 0.5, 1.5, 2.5 }, times_of(4, rille.limiter(4, 6), nil, 4))
    end)
  end)

  it("without a limit never waits", function()
    run(function()
      local limiter = rille.limiter(math.huge)
      assert.same({ 0, 0, 0 }, times_of(3, limiter, nil, 100))
      assert.is_true(limiter:try(100))
    end)
  end)

  it("of rate 0 gives its burst, and then nothing", function()
    run(function()
      local limiter = rille.limiter(0, 2)
      assert.same({ 0, 0 }, times_of(2, limiter))
      assert.is_false(limiter:try())
      assert.same(LATE, { limiter:wait(1000) })
      local done, cancel = rille.done()
      local task = rille.go(function() return limiter:wait(done) end)
      rille.sleep(1e6)
      assert.equal("waiting", task:status())
      cancel()
      assert.same({ nil, "canceled", "canceled" }, { task:await() })
      assert.is_false(limiter:try())
    end)
  end)
end)

describe("the done of a limiter's wait", function()
  it("that comes too early fails it at once, and takes nothing", function()
    run(function()
      local limiter, start = rille.limiter(1), rille.now()
      assert.is_true(limiter:try())
      for _, done in ipairs { 0.5, (rille.done { timeout = 0.9 }), 0 } do
        assert.same(LATE, { limiter:wait(done) })
      end
      assert.equal(start, rille.now())
      assert.is_true(limiter:wait(1))
      assert.equal(start + 1, rille.now())
    end)
  end)

  it("comes first when it has fired, whatever there is", function()
    run(function()
      local limiter = rille.limiter(1)
      local done, cancel = rille.done { timeout = 0.1 }
      cancel "why"
      assert.same({ nil, "canceled", "why" }, { limiter:wait(done) })
      assert.is_true(limiter:try())
      assert.same({ nil, "canceled", "why" }, { limiter:wait(done) })
      assert.same({ nil, "canceled", "why" }, { rille.limiter(math.huge):wait(done) })
    end)
  end)

  it("as a number lets what is there come first", function()
    assert.is_true(rille.limiter(1):wait(0))
  end)

  it("may be whatever stands for one", function()
    run(function()
      local limiter, ch = rille.limiter(0.001), rille.chan(1)
      assert.is_true(limiter:wait(ch))
      ch:send "stop"
      assert.same({ nil, "canceled", "stop" }, { limiter:wait(ch) })
      assert.same(LATE, { limiter:wait(rille.timer(1)) })
      local task = rille.go(rille.sleep, 1)
      assert.same({ nil, "canceled", "canceled" }, { limiter:wait(task) })
    end)
  end)
end)

describe("who gives up waiting for a limiter", function()
  -- Takes what is there; then `n` tokens each are waited for, and wait number `i` gives up after
  -- 0.5 s. Returns when the others are served, and when a last one of 1 is that comes after that.
  local function served(limiter, counts, i)
    local start, tasks = rille.now(), {}
    while limiter:try() do end -- luacheck: ignore 542
    for k, n in ipairs(counts) do
      tasks[k] = rille.go(function()
        return limiter:wait(k == i and rille.after(0.5) or nil, n) and rille.now() - start
      end)
      helper.until_waiting(tasks[k])
    end
    rille.sleep(0.5)
    tasks[i]:join()
    local times = {}
    local last = rille.go(function() return limiter:wait() and rille.now() - start end)
    for k, task in ipairs(tasks) do times[k] = task:await() or false end
    times[#times + 1] = last:await()
    return times
  end

  it("gives all back if it was the last", function()
    run(function()
      assert.same({ 1, false, 2 }, served(rille.limiter(1), { 1, 1 }, 2))
      assert.same({ 1, false, 2 }, served(rille.limiter(1, 3), { 1, 3 }, 2))
    end)
  end)

  it("gives nothing back that others have reserved behind it, whom nobody overtakes", function()
    run(function()
      assert.same({ 1, false, 3, 4 }, served(rille.limiter(1), { 1, 1, 1 }, 2))
      assert.same({ false, 4, 5 }, served(rille.limiter(1, 3), { 3, 1 }, 1))
    end)
  end)
end)

describe("tasks that share a limiter", function()
  it("get no more than its rate together, in the order in which they came", function()
    run(function()
      local limiter, log, tasks, start = rille.limiter(8, 2), rille.chan(100), {}, rille.now()
      for i = 1, 20 do
        tasks[i] = rille.go(function()
          limiter:wait()
          log:send { i, rille.now() - start }
        end)
        if i > 2 then helper.until_waiting(tasks[i]) else tasks[i]:await() end
      end
      for i = 1, 20 do
        assert.same({ i, math.max(0, i - 2) / 8 }, log:recv())
      end
    end)
  end)

  it("never get more than is there", function()
    local limiter, got, tasks = rille.limiter(0, 1000), 0, {}
    for i = 1, 8 do
      tasks[i] = rille.go(function()
        local n = 0
        for _ = 1, 500 do n = n + (limiter:try() and 1 or 0) end
        return n
      end)
    end
    for _, task in ipairs(tasks) do got = got + task:await(BOUND) end
    assert.equal(1000, got)
  end)
end)

describe("the arguments of a limiter", function()
  it("are named when they are bad", function()
    local limiter = rille.limiter(1, 2)
    raises("bad argument #1 to 'limiter' %(number expected, got nil", rille.limiter)
    raises("bad argument #1 to 'limiter' %(at least 0 expected", rille.limiter, -1)
    raises("bad argument #2 to 'limiter' %(at least 1 expected", rille.limiter, 1, 0)
    raises("bad argument #2 to 'limiter' %(integer expected", rille.limiter, 1, 1.5)
    raises("bad argument #1 to 'wait' %(done, channel", limiter.wait, limiter, "1")
    raises("bad argument #2 to 'wait' %(at most the burst of 2 expected, got 3",
      limiter.wait, limiter, nil, 3)
    raises("bad argument #1 to 'try' %(at most the burst", limiter.try, limiter, 3)
    raises("bad argument #1 to 'try' %(at least 1 expected, got 0", limiter.try, limiter, 0)
    raises("limiter_spec.lua", function() limiter:try(3) end)
    raises("limiter_spec.lua:%d+: .* %(integer expected, got 1.5", function() limiter:try(1.5) end)
    raises("limiter_spec.lua:%d+: .* #2 to 'wait'", function() limiter:wait(nil, "x") end)
  end)
end)

describe("early exits", function()
  it("of a limiter's wait leave nothing behind, nor any token taken", function()
    local limiter = rille.limiter(20000, 3)
    exits.run(20, function(done)
      for _ = 1, 5 do
        limiter:wait(done, math.random(3))
        if math.random(5) == 1 then break end
      end
    end)
    assert.is_true(limiter:wait(BOUND, 3))
    assert.is_true(rille._peek(limiter.cell) <= (rille.now() - limiter.start) * 20000 + 3)
  end)
end)

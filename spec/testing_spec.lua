-- Functions that run on a virtual clock.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local HOUR = 3600
local run = testing.run
local raises = helper.raises

-- Calls fn(...) and returns how long that took on the clock, and the first results.
local function timed(fn, ...)
  local start = rille.now()
  local a, b, c, d = fn(...)
  return rille.now() - start, a, b, c, d
end

-- Ends what a failed run has left waiting for `ch`.
local function let_go(ch, n)
  for _ = 1, n do ch:recv() end
end

describe("the virtual clock", function()
  it("passes hours at once, and exactly", function()
    run(function()
      for _, s in ipairs { HOUR, 0.5, 1e6, 1 } do assert.equal(s, (timed(rille.sleep, s))) end
      assert.is_true(math.abs(timed(rille.sleep, 0.1) - 0.1) < 1e-9)
    end)
  end)

  it("begins with the real time", function()
    local before = rille.now()
    local there = run(rille.now)
    assert.is_true(before <= there and there - before < 5)
  end)

  it("stands still while anything runs", function()
    run(function()
      local start, wall = rille.now(), os.clock()
      local busy = rille.go(function()
        local clock = os.clock()
        while os.clock() - clock < 0.02 do end -- luacheck: ignore 542
        return rille.now()
      end)
      while os.clock() - wall < 0.02 do end -- luacheck: ignore 542
      assert.equal(start, rille.now())
      assert.equal(start, busy:await())
      assert.equal(start, rille.now())
    end)
  end)

  it("is the same in every task", function()
    run(function()
      local function slept() rille.sleep(HOUR) return rille.now() end
      local start, a, b = rille.now(), rille.go(slept), rille.go(slept)
      assert.equal(start + HOUR, a:await())
      assert.equal(start + HOUR, b:await())
      assert.equal(start + HOUR, rille.now())
    end)
  end)

  it("passes the arguments and returns the results", function()
    local function same(...) return ... end
    assert.same({ n = 4, 1, nil, 3, nil }, table.pack(run(same, 1, nil, 3, nil)))
    assert.same({ n = 0 }, table.pack(run(function() end)))
  end)

  it("does not pass while something is outside of Rille", function()
    run(function()
      local start = rille.now()
      local outside = rille.go(function()
        os.execute "sleep 0.05"
        return rille.now()
      end)
      local pinned = rille.go({ pinned = true }, function()
        os.execute "sleep 0.05"
        return rille.now()
      end)
      local late = rille.go(function() rille.sleep(1) return rille.now() end)
      assert.equal(start, outside:await())
      assert.equal(start, pinned:await())
      assert.equal(start + 1, late:await())
      local timer = rille.timer(1)
      os.execute "sleep 0.02"
      assert.equal(0, #timer)
      assert.equal(start + 2, timer:recv())
    end)
  end)

  it("does not pass while the main program runs and a task is the caller", function()
    local go = rille.chan()
    local caller = rille.go(function()
      return require "rille.testing".run(function()
        go:send(true)
        return timed(rille.sleep, HOUR)
      end)
    end)
    go:recv()
    local start, clock = rille.now(), os.clock()
    while os.clock() - clock < 0.02 do end -- luacheck: ignore 542
    assert.equal(start, rille.now())
    assert.equal(HOUR, (caller:await()))
  end)
end)

describe("waits on the virtual clock", function()
  it("end by their timeouts", function()
    run(function()
      local ch, done = rille.chan(), rille.done()
      local task = rille.go(function() rille.sleep(10 * HOUR) end)
      local late = { HOUR, nil, "deadline exceeded", "deadline exceeded" }
      assert.same(late, { timed(ch.recv, ch, HOUR) })
      assert.same(late, { timed(ch.send, ch, 1, HOUR) })
      assert.same(late, { timed(task.join, task, HOUR) })
      assert.same(late, { timed(done.wait, done, HOUR) })
      assert.same(late, { timed(rille.sleep, 2 * HOUR, HOUR) })
      assert.same(late, { timed(ch.recv, ch, (rille.done { timeout = HOUR })) })
      assert.same(late, { timed(ch.recv, ch, rille.after(HOUR)) })
      assert.equal(0, (timed(ch.recv, ch, 0)))
      local took, which, when = timed(rille.select, ch, done, HOUR)
      assert.same({ HOUR, 3, rille.now() }, { took, which, when })
      took, which = timed(rille.select, { ch = ch, soon = HOUR, late = 2 * HOUR })
      assert.same({ HOUR, "soon" }, { took, which })
      local n = 0
      assert.equal(HOUR, (timed(function() for _ in ch:iter(HOUR) do n = n + 1 end end)))
      assert.equal(0, n)
      assert.equal(0, (timed(task.join, task, rille.timer(0))))
    end)
  end)

  it("where Lua cannot yield block the thread, and the clock passes all the same", function()
    local function sorted()
      local start, slept = rille.now(), false
      table.sort({ 2, 1 }, function(a, b)
        if not slept then rille.sleep(HOUR) end
        slept = true
        return a < b
      end)
      return rille.now() - start
    end
    run(function()
      assert.equal(HOUR, sorted())
      local tasks = {}
      for i = 1, 6 do tasks[i] = rille.go({ pinned = i % 2 == 0 }, sorted) end
      for i = 1, 6 do assert.equal(HOUR, tasks[i]:await()) end
    end)
  end)

  it("in coroutines and in pinned tasks are like any others", function()
    run(function()
      local function body()
        local start = rille.now()
        coroutine.wrap(function() rille.sleep(HOUR) end)()
        return rille.now() - start
      end
      assert.equal(HOUR, body())
      assert.equal(HOUR, rille.go(body):await())
      assert.equal(HOUR, rille.go({ pinned = true }, body):await())
    end)
  end)

  it("hand over between pinned tasks, others and the main program", function()
    run(function()
      local a, b, start = rille.chan(), rille.chan(), rille.now()
      for i = 1, 4 do
        rille.go({ pinned = i % 2 == 0 }, function()
          for n in a do rille.sleep(1) b:send(n) end
        end)
      end
      for n = 1, 50 do
        a:send(n)
        assert.equal(n, b:recv())
      end
      a:close()
      assert.equal(start + 50, rille.now())
    end)
  end)
end)

describe("timers on the virtual clock", function()
  it("deliver the instant they were due", function()
    run(function()
      local start = rille.now()
      assert.equal(start + HOUR, rille.after(HOUR):recv())
      local timer = rille.timer(HOUR)
      assert.is_true(timer:reset(2 * HOUR))
      assert.equal(start + 3 * HOUR, timer:recv())
      assert.is_false(timer:stop())
    end)
  end)

  it("tick without drift, and drop what a slow reader misses", function()
    run(function()
      local start, tick = rille.now(), rille.tick(60)
      for i = 1, 100 do assert.equal(start + 60 * i, tick:recv()) end
      rille.sleep(630) -- not due together with a tick, which would race with the reader
      assert.equal(start + 6060, tick:recv())
      assert.equal(start + 6660, tick:recv())
      tick:stop()
    end)
  end)

  it("due at one instant all fire before the clock goes on", function()
    run(function()
      local start, dones, log = rille.now(), {}, rille.chan(100)
      for i = 1, 50 do
        dones[i] = rille.done { timeout = HOUR }
        rille.go(function() rille.sleep(HOUR) log:send(rille.now()) end)
      end
      rille.sleep(HOUR)
      for i = 1, 50 do assert.equal("deadline exceeded", dones[i]:err()) end
      for _ = 1, 50 do assert.equal(start + HOUR, log:recv()) end
      assert.equal(start + HOUR, rille.now())
    end)
  end)

  it("wake tasks in the order of their time", function()
    for _ = 1, 5 do
      local order = run(function()
        local log, list = rille.chan(), {}
        for i = 1, 10 do
          rille.go(function()
            for k = 1, 5 do rille.sleep(10 + i) log:send(i .. ":" .. k) end
          end)
        end
        for n = 1, 50 do list[n] = log:recv() end
        return list
      end)
      local at = {}
      for i = 1, 10 do for k = 1, 5 do at[i .. ":" .. k] = (10 + i) * k end end
      for n = 2, 50 do assert.is_true(at[order[n - 1]] <= at[order[n]]) end
    end
  end)
end)

describe("dones on the virtual clock", function()
  it("fire by their deadlines, with their descendants", function()
    run(function()
      local start = rille.now()
      local root = rille.done { timeout = 2 * HOUR, cause = "root" }
      local child = rille.done(root, { timeout = HOUR, cause = "child" })
      local grandchild = rille.done(child, { deadline = start + 3 * HOUR })
      assert.same({ start + HOUR, HOUR }, { grandchild:deadline(), grandchild:remaining() })
      rille.sleep(HOUR - 1)
      assert.is_nil(grandchild:err())
      assert.equal(1, grandchild:remaining())
      assert.is_true(grandchild:wait())
      assert.same({ start + HOUR, "child" }, { rille.now(), grandchild:cause() })
      assert.is_nil(root:err())
      assert.is_true(root:wait())
      assert.same({ start + 2 * HOUR, "root" }, { rille.now(), root:cause() })
    end)
  end)

  it("made by any and all fire when their inputs do", function()
    run(function()
      local start = rille.now()
      assert.is_true(rille.any(rille.chan(), HOUR, rille.timer(2 * HOUR)):wait())
      assert.equal(start + HOUR, rille.now())
      assert.is_true(rille.all(HOUR, (rille.done { timeout = 3 * HOUR })):wait())
      assert.equal(start + 4 * HOUR, rille.now())
    end)
  end)

  it("start tasks at their time", function()
    run(function()
      local start, log = rille.now(), rille.chan(1)
      rille.done { timeout = HOUR }:after(function() log:send(rille.now()) end)
      assert.equal(start + HOUR, log:recv())
    end)
  end)
end)

describe("testing.run", function()
  it("fails when all wait and no timer is armed, and says who waits where", function()
    local jobs = rille.chan(0, "jobs")
    local _, err = pcall(run, function()
      for i = 1, 2 do rille.go({ name = "worker " .. i }, function() jobs:send(i) end) end
      rille.select(rille.chan(), rille.never)
    end)
    assert.matches("^deadlock", err)
    assert.matches('task %d+ "worker 1", started at [^\n]*testing_spec.lua:%d+: ' ..
      "waits in send jobs at [^\n]*testing_spec.lua:%d+", err)
    assert.matches('task %d+ "worker 2"', err)
    assert.matches("main program: waits in select [^\n]* at [^\n]*testing_spec.lua:%d+", err)
    let_go(jobs, 2)
  end)

  it("fails so after the last timer, and at each further wait", function()
    run(function()
      local start, ch = rille.now(), rille.chan(1)
      rille.after(HOUR)
      local timer = rille.timer(2 * HOUR)
      for _ = 1, 3 do
        raises("^deadlock", ch.recv, ch)
        assert.equal(start + 2 * HOUR, rille.now())
      end
      ch:send "goes on"
      assert.equal("goes on", ch:recv())
      assert.equal(start + 2 * HOUR, timer:recv())
    end)
  end)

  it("fails so although a ticker goes on that nobody reads", function()
    run(function()
      local start, tick, ch = rille.now(), rille.tick(60), rille.chan()
      raises("^deadlock", ch.recv, ch)
      assert.equal(start + 60, tick:recv())
      raises("^deadlock", ch.recv, ch)
      assert.equal(start + 120, tick:recv())
      assert.equal(start + 180, tick:recv())
      tick:stop()
    end)
  end)

  it("names the hundred first of many that wait", function()
    local gate = rille.chan()
    local _, err = pcall(run, function()
      for _ = 1, 300 do rille.go(function() gate:recv() end) end
      rille.never:recv()
    end)
    gate:close()
    assert.matches("^deadlock.*\n\tand 200 more$", err)
  end)

  it("awaits the tasks started meanwhile", function()
    local log = rille.chan(10)
    local start = run(function()
      rille.go(function()
        rille.sleep(HOUR)
        log:send(rille.now())
        rille.go(function() rille.sleep(HOUR) log:send(rille.now()) end)
      end)
      return rille.now()
    end)
    assert.same({ start + HOUR, start + 2 * HOUR }, { log:recv(), log:recv() })
  end)

  it("fails when a task that was started can never end, but for a daemon", function()
    local gate = rille.chan()
    raises("^deadlock.*forgotten", run, function()
      rille.go({ name = "forgotten" }, function() gate:recv() end)
    end)
    run(function() rille.go({ daemon = true }, function() gate:recv() end) end)
    gate:close()
  end)

  it("does not await tasks started before", function()
    local gate = rille.chan()
    local before = rille.go(function() return gate:recv() end)
    assert.equal(HOUR, (run(timed, rille.sleep, HOUR)))
    gate:send "after"
    assert.equal("after", before:await())
  end)

  it("takes no error of a task: it is reported as ever", function()
    local result = helper.run([[
      local rille = require "rille"
      require "rille.testing".run(function()
        rille.go({ name = "unlucky" }, function() rille.sleep(60) error "nobody looks" end)
      end)
    ]], { env = { RILLE_LEAKS = "report" } })
    assert.equal(0, result.code)
    assert.matches("unlucky.*nobody looks", result.err)
  end)

  it("raises what the function raises, unchanged, and puts the clock back", function()
    local before, reason = rille.now(), setmetatable({}, {})
    for _, value in ipairs { reason, "text", false, 7 } do
      local ok, err = pcall(run, function()
        rille.sleep(HOUR)
        error(value, 0)
      end)
      assert.is_false(ok)
      assert.equal(value, err)
      assert.is_true(rille.now() - before < HOUR)
    end
    local _, trace = xpcall(run, debug.traceback, function() error "here" end)
    assert.matches("testing_spec.lua:%d+: here\nstack traceback:.*testing_spec.lua", trace)
  end)

  it("is followed by the real clock", function()
    local before = rille.now()
    run(rille.sleep, HOUR)
    local after = rille.now()
    assert.is_true(before <= after and after - before < HOUR)
    rille.sleep(0.01)
    assert.is_true(rille.now() - after >= 0.01)
    local timer = rille.after(0.01)
    assert.is_true(timer:recv() >= after + 0.02)
  end)

  it("leaves timers armed meanwhile the time they have left", function()
    local long, short = run(function()
      local long, short = rille.timer(2 * HOUR), rille.timer(HOUR + 0.02)
      rille.sleep(HOUR)
      return long, short
    end)
    local start = rille.now()
    assert.equal(2, (rille.select(long, short, 60)))
    assert.is_true(rille.now() - start >= 0.01)
    assert.is_true(long:stop())
  end)

  it("leaves timers armed before their point in time", function()
    local before = rille.now()
    local passed, soon, long = rille.timer(60), rille.timer(0.05), rille.timer(3 * HOUR)
    local done, cancel <close> = rille.done { timeout = 2 * HOUR } -- luacheck: ignore 211
    run(rille.sleep, HOUR)
    assert.equal(1, #passed)
    assert.equal(1, #soon)
    assert.equal(0, #long)
    assert.is_nil(done:err())
    assert.is_true(done:remaining() > HOUR)
    assert.is_true(long:stop())
    local again, waiting = rille.timer(0.02), rille.timer(0.3)
    run(rille.sleep, 0)
    assert.is_true(again:recv() >= before + 0.02)
    assert.is_true(waiting:recv() >= before + 0.3)
  end)

  it("cannot be nested or run twice at once", function()
    run(function()
      raises("testing_spec.lua:%d+: .*nested", function() run(function() end) end)
      raises("nested", function()
        rille.go(function() require "rille.testing".run(function() end) end):await()
      end)
      assert.equal(HOUR, (timed(rille.sleep, HOUR)))
    end)
    assert.equal(HOUR, (run(timed, rille.sleep, HOUR)))
  end)

  it("names a bad argument", function()
    raises("bad argument #1 to 'run' %(function expected, got nil%)", run)
    raises("bad argument #1 to 'run' %(function expected, got table%)", run, {})
  end)

  it("runs inside a task, which waits by parking or by blocking", function()
    local function inside(pinned)
      return rille.go({ pinned = pinned }, function()
        local t = require "rille.testing"
        local function hour()
          local start = rille.now()
          local child = rille.go(function() rille.sleep(3600) return rille.now() - start end)
          return child:await(), rille.now() - start
        end
        local a, b = t.run(hour)
        local c
        table.sort({ 2, 1 }, function(x, y)
          c = c or t.run(hour)
          return x < y
        end)
        local ok, err = pcall(t.run, function() rille.chan():recv() end)
        return a, b, c, ok, err
      end):await()
    end
    for _, pinned in ipairs { false, true } do
      local a, b, c, ok, err = inside(pinned)
      assert.same({ HOUR, HOUR, HOUR, false }, { a, b, c, ok })
      assert.matches("^deadlock.*this task: waits in recv [^\n]*at", err)
    end
  end)

  it("runs in a coroutine; one that is dropped gives the clock back", function()
    assert.equal(HOUR, (coroutine.wrap(run)(timed, rille.sleep, HOUR)))
    local co = coroutine.create(run)
    assert.is_true(coroutine.resume(co, coroutine.yield))
    raises("nested", run, rille.now)
    co = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.equal(HOUR, (run(timed, rille.sleep, HOUR)))
  end)
end)

describe("many tasks on the virtual clock", function()
  it("wake each at its own time, in order", function()
    local n = 10000
    run(function()
      local log, last, start = rille.chan(n), 0, rille.now()
      for _ = 1, n do
        local s = math.random(1000000)
        rille.go(function() rille.sleep(s) log:send { s, rille.now() } end)
      end
      for _ = 1, n do
        local s, at = table.unpack(log:recv())
        assert(at == start + s and s >= last)
        last = s
      end
    end)
  end)

  it("work and wait as they like, and the clock is right for each", function()
    run(function()
      local jobs, results = rille.chan(3), rille.chan()
      for i = 1, 20 do
        rille.go({ pinned = i % 10 == 0 }, function()
          for job in jobs do
            local start = rille.now()
            if job % 3 == 0 then
              table.sort({ 1, 2 }, function(a, b) rille.sleep(job) return a < b end)
            else
              rille.sleep(job)
            end
            results:send(rille.now() - start >= job)
          end
        end)
      end
      rille.go(function()
        for _ = 1, 400 do jobs:send(math.random(100)) end
        jobs:close()
      end)
      for _ = 1, 400 do assert(results:recv() == true) end
    end)
  end)
end)

describe("a program that ends in a run", function()
  local function script(last)
    return [[
      local rille = require "rille"
      local testing = require "rille.testing"
      rille.go(function() for _ in rille.tick(60) do end end)
      testing.run(function()
        rille.sleep(3600)
        print "an hour"
        ]] .. last .. [[

      end)
    ]]
  end

  it("by os.exit or an error ends as ever", function()
    for last, code in pairs {
      ["os.exit(3)"] = 3, ["os.exit(3, true)"] = 3, ["error 'over'"] = 1,
      ["rille.go(os.exit, 4):join()"] = 4,
    } do
      local result = helper.run(script(last))
      assert.same({ code, "an hour\n" }, { result.code, result.out }, result.err)
    end
  end)

  it("while a task is the caller ends as ever", function()
    local result = helper.run [[
      local rille = require "rille"
      rille.go(function()
        require "rille.testing".run(function()
          for _ in rille.tick(1) do end
        end)
      end)
      print((rille.never:recv(100)))
    ]]
    assert.same({ 0, "nil\n" }, { result.code, result.out }, result.err)
  end)

  it("works with one worker, and with many", function()
    for _, threads in ipairs { 1, 2, 16 } do
      local result = helper.run([[
        local rille = require "rille"
        local testing = require "rille.testing"
        for _ = 1, 20 do
          testing.run(function()
            local start, log = rille.now(), rille.chan()
            for i = 1, 100 do
              rille.go(function() rille.sleep(i) rille.yield() rille.sleep(i) log:send(i) end)
            end
            for i = 1, 100 do
              assert(log:recv() == i)
              assert(rille.now() == start + 2 * i)
            end
            local ok, err = pcall(log.recv, log)
            assert(not ok and err:find "^deadlock")
          end)
        end
        print "well"
      ]], { env = { RILLE_THREADS = threads } })
      assert.same({ 0, "well\n", "" }, { result.code, result.out, result.err })
    end
  end)
end)

-- The done: who may fire it, what it tells, how it reaches its descendants, and
-- everything that may stand where a done is taken.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local LONG = 60 -- a wait that must end by something else
local BOUND = 30 -- a watchdog

local raises = helper.raises

local function fired(err, cause, done)
  assert.equal(err, done:err())
  assert.same(cause, done:cause())
end

local function live(done)
  assert.is_nil(done:err())
  assert.is_nil(done:cause())
end

local function awaited(done)
  assert.is_true(done:wait(BOUND))
  return done
end

describe("rille.done", function()
  it("gives a done that has not fired and the right to fire it", function()
    local done, cancel = rille.done()
    live(done)
    assert.is_nil(done:deadline())
    assert.is_nil(done:remaining())
    cancel()
    fired("canceled", "canceled", done)
  end)

  it("keeps watching and firing apart", function()
    local done, cancel = rille.done()
    assert.are_not.equal(done, cancel)
    assert.is_false(pcall(done))
    assert.is_false(pcall(function() return cancel:err() end))
  end)

  it("takes a parent, opts, or both", function()
    local parent, cancel = rille.done { values = { a = 1 } }
    local child = rille.done(parent)
    local timed = rille.done { timeout = LONG }
    local both = rille.done(parent, { timeout = LONG })
    assert.equal(1, child:value "a")
    assert.is_number(timed:deadline())
    assert.is_number(both:deadline())
    assert.equal(1, both:value "a")
    cancel()
    fired("canceled", "canceled", both)
    live(timed)
  end)

  it("takes nil as no parent and no opts", function()
    live((rille.done(nil)))
    live((rille.done(nil, nil)))
    assert.is_number((rille.done(nil, { timeout = LONG })):deadline())
  end)

  it("shows its name", function()
    assert.matches("fetch", tostring((rille.done { name = "fetch" })))
    assert.matches("done", tostring((rille.done())))
  end)

  it("raises on a parent that cannot fire", function()
    raises("bad argument #1", rille.done, "now")
    raises("bad argument #1", rille.done, true)
    raises("bad argument #1", rille.done, print)
    raises("bad argument #1", rille.done, io.stdout)
    local stop = rille.done():after(print)
    raises("got stop", rille.done, stop)
    raises("got stop", rille.any, stop, rille.never)
    raises("got stop", rille.all, stop)
    stop()
  end)

  it("raises on opts of the wrong type and names the option", function()
    raises("bad argument #2", rille.done, rille.background, 1)
    raises("timeout", rille.done, { timeout = "1" })
    raises("timeout", rille.done, { timeout = {} })
    raises("deadline", rille.done, { deadline = "soon" })
    raises("values", rille.done, { values = 1 })
    raises("name", rille.done, { name = {} })
  end)

  it("raises on an option it does not know, by name", function()
    raises("timeuot", rille.done, { timeuot = 1 })
  end)

  it("raises when a method gets another self", function()
    local done = rille.done()
    for _, name in ipairs {
      "err", "cause", "check", "deadline", "remaining", "value", "wait", "after", "detached",
    } do
      raises("bad argument #1", done[name], rille.chan())
      raises("bad argument #1", done[name])
    end
  end)
end)

describe("two results in a nested call", function()
  it("raise with a hint about parentheses where opts are expected", function()
    raises("parenthes", function() return rille.done(rille.done()) end)
    raises("parenthes", function() return rille.done(rille.done { timeout = LONG }) end)
  end)

  it("raise where the cancel stands alone", function()
    local _, cancel = rille.done()
    raises("parenthes", rille.done, nil, cancel)
    raises("cancel", rille.done, cancel)
  end)

  it("work in parentheses", function()
    local parent, cancel = rille.done()
    local child = rille.done((rille.done(parent)))
    cancel "up"
    fired("canceled", "up", child)
  end)
end)

describe("cancel", function()
  it("is idempotent: the first cause wins", function()
    local done, cancel = rille.done()
    cancel "first"
    cancel "second"
    cancel()
    fired("canceled", "first", done)
  end)

  it("without a cause leaves the error as the cause, for good", function()
    local done, cancel = rille.done()
    cancel()
    cancel "late"
    fired("canceled", "canceled", done)
  end)

  it("after the deadline changes nothing", function()
    local done, cancel = rille.done { timeout = 0 }
    awaited(done)
    cancel "late"
    fired("deadline exceeded", "deadline exceeded", done)
  end)

  it("runs at scope exit", function()
    local watched
    do
      local done, cancel <close> = rille.done()
      watched = done
      live(done)
      assert(cancel)
    end
    fired("canceled", "canceled", watched)
  end)

  it("runs at scope exit by an error, which is not the cause", function()
    local watched
    local ok, err = pcall(function()
      local done, cancel <close> = rille.done()
      watched = done
      error({ "boom" }, cancel and 0)
    end)
    assert.is_false(ok)
    assert.same({ "boom" }, err)
    fired("canceled", "canceled", watched)
  end)

  it("at scope exit keeps an earlier cause", function()
    local watched
    do
      local done, cancel <close> = rille.done()
      watched = done
      cancel "mine"
    end
    fired("canceled", "mine", watched)
  end)

  it("crosses to a task, which may fire it", function()
    local done, cancel = rille.done()
    rille.go(function() cancel "from the task" end)
    fired("canceled", "from the task", awaited(done))
  end)

  it("fires from many tasks at once with one cause, the same for all", function()
    local done, cancel = rille.done()
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = rille.go(function()
        cancel(i)
        return done:cause()
      end)
    end
    local cause = awaited(done):cause()
    assert.equal("integer", math.type(cause))
    for _, task in ipairs(tasks) do assert.equal(cause, task:await(BOUND)) end
  end)

  it("has fired its done when it returns, also while another thread comes to it", function()
    local function cancel_all(ready, root, dones, cancels)
      local late = 0
      ready:send(true)
      while not root:err() do end -- luacheck: ignore 542 (the cascade runs in another thread)
      for i, cancel in ipairs(cancels) do
        cancel "own"
        if not dones[i]:err() then late = late + 1 end
      end
      return late
    end
    local root, cancel = rille.done()
    local dones, cancels = {}, {}
    for i = 1, 20000 do dones[i], cancels[i] = rille.done(root) end
    local ready = rille.chan()
    local task = rille.go(cancel_all, ready, root, dones, cancels)
    ready:recv()
    cancel "root"
    assert.equal(0, (task:await(BOUND)))
  end)

  it("dropped without a call does not fire", function()
    local done = rille.done()
    collectgarbage()
    collectgarbage()
    live(done)
  end)

  it("of a done that was dropped works", function()
    local _, cancel = rille.done()
    _ = nil
    collectgarbage()
    cancel "nobody looks"
  end)
end)

describe("a cause", function()
  local values = {
    integer = 7, huge = math.maxinteger, float = 0.5, string = "a\0b", empty = "", yes = true,
    list = { 1, { 2, x = "y" } },
  }

  for name, value in pairs(values) do
    it("may be any value that crosses: " .. name, function()
      local done, cancel = rille.done()
      cancel(value)
      fired("canceled", value, done)
      assert.equal(math.type(value), math.type(done:cause()))
    end)
  end

  it("may be false", function()
    local done, cancel = rille.done()
    cancel(false)
    fired("canceled", false, done)
  end)

  it("may be a table with cycles", function()
    local loop = { n = 1 }
    loop.me = loop
    local done, cancel = rille.done()
    cancel(loop)
    local cause = done:cause()
    assert.equal(cause, cause.me)
    assert.equal(1, cause.n)
  end)

  it("may be a function", function()
    local base = 40
    local done, cancel = rille.done()
    cancel(function(n) return base + n end)
    assert.equal(42, done:cause()(2))
  end)

  it("may be a handle, which keeps its identity", function()
    local ch = rille.chan(1)
    local task = rille.go(function() end)
    for _, handle in ipairs { ch, rille.background, rille.never, (rille.done()), task } do
      local done, cancel = rille.done()
      cancel(handle)
      assert.equal(handle, done:cause())
    end
  end)

  it("keeps its class", function()
    local Problem = { __name = "Problem" }
    Problem.__index = Problem
    local done, cancel = rille.done()
    cancel(setmetatable({ code = 5 }, Problem))
    assert.equal(Problem, getmetatable(done:cause()))
    assert.equal(5, done:cause().code)
  end)

  it("is the same each time it is asked for", function()
    local done, cancel = rille.done()
    cancel { code = 1 }
    assert.same(done:cause(), done:cause())
    done:cause().code = 2
    collectgarbage()
    assert.is_number(done:cause().code)
  end)

  it("that cannot cross raises, named, and fires nothing", function()
    local done, cancel = rille.done()
    raises("cannot send coroutine at cause", cancel, coroutine.create(print))
    local jobs = { 1, { co = coroutine.create(print) } }
    raises("cannot send coroutine at cause%.jobs%[2%]%.co", cancel, { jobs = jobs })
    raises("cannot send .- at cause%.file", cancel, { file = io.stdout })
    live(done)
    cancel "good"
    fired("canceled", "good", done)
  end)

  it("reaches another task as it was given", function()
    local done, cancel = rille.done()
    local task = rille.go(function()
      done:wait()
      return done:cause()
    end)
    cancel { code = 7, list = { 1, 2 } }
    assert.same({ code = 7, list = { 1, 2 } }, (task:await(BOUND)))
  end)
end)

describe("timeout and deadline", function()
  it("fire the done with their own error", function()
    local start = rille.now()
    local done = awaited((rille.done { timeout = 0.02 }))
    assert.is_true(rille.now() - start >= 0.02)
    fired("deadline exceeded", "deadline exceeded", done)
  end)

  it("may be a point in time", function()
    local at = rille.now() + 0.02
    local done = rille.done { deadline = at }
    assert.equal(at, done:deadline())
    awaited(done)
    assert.is_true(rille.now() >= at)
    fired("deadline exceeded", "deadline exceeded", done)
  end)

  it("report the cause of the opts", function()
    local timed = awaited((rille.done { timeout = 0.01, cause = "too slow" }))
    fired("deadline exceeded", "too slow", timed)
    local done = awaited((rille.done { deadline = rille.now(), cause = { code = 504 } }))
    fired("deadline exceeded", { code = 504 }, done)
  end)

  it("leave the cause of the opts alone when canceled first", function()
    local done, cancel = rille.done { timeout = LONG, cause = "too slow" }
    cancel()
    fired("canceled", "canceled", done)
    local other, stop = rille.done { timeout = LONG, cause = "too slow" }
    stop "bored"
    fired("canceled", "bored", other)
  end)

  it("in the past fire at once", function()
    local past = rille.now() - 1
    for _, opts in ipairs {
      { timeout = 0 }, { timeout = -1 }, { deadline = 0 }, { deadline = past },
    } do
      assert.equal("deadline exceeded", (rille.done(opts)):err())
    end
  end)

  it("given both, the earlier one counts", function()
    local now = rille.now()
    assert.is_true((rille.done { timeout = LONG, deadline = now + 1 }):deadline() == now + 1)
    assert.is_true((rille.done { timeout = 1, deadline = now + LONG }):deadline() < now + LONG)
  end)

  it("are never late, also while another thread is firing what lies above", function()
    local root = rille.done { timeout = 0.2, cause = "time" }
    local leaf = root
    for _ = 1, 20000 do leaf = rille.done(leaf) end
    local deadline = leaf:deadline()
    while rille.now() < deadline + 1e-4 do end -- luacheck: ignore 542 (the timers go first)
    fired("deadline exceeded", "time", leaf)
  end)

  it("huge or infinite ones never fire", function()
    for _, timeout in ipairs { math.huge, 1e300, 1e12 } do
      local done = rille.done { timeout = timeout }
      assert.is_true(rille.done((rille.done { timeout = 0.01 })):wait(done))
      live(done)
    end
  end)

  it("that are no number raise", function()
    raises("timeout", rille.done, { timeout = 0 / 0 })
  end)

  it("are dropped with the done that has them", function()
    for _ = 1, 100 do rille.done { timeout = 0.001 } end
    collectgarbage()
    assert.is_true(rille.sleep(0.01))
  end)

  it("deadline and remaining tell the earliest on the path", function()
    local now = rille.now()
    local outer = rille.done { deadline = now + 30 }
    local inner = rille.done((rille.done(outer)), { deadline = now + 40 })
    assert.equal(now + 30, inner:deadline())
    assert.is_true(inner:remaining() <= 30 and inner:remaining() > 0)
    assert.equal(now + 20, (rille.done(inner, { deadline = now + 20 })):deadline())
    assert.equal(now + 30, outer:deadline())
  end)

  it("a deadline of the parent fires the child with the parent's cause", function()
    local parent = rille.done { timeout = 0.01, cause = "slow parent" }
    local child = rille.done(parent, { timeout = LONG, cause = "slow child" })
    fired("deadline exceeded", "slow parent", awaited(child))
  end)

  it("remaining is never below zero", function()
    local done = awaited((rille.done { timeout = 0.001 }))
    assert.equal(0, done:remaining())
    assert.is_number(done:deadline())
  end)
end)

describe("values", function()
  it("are looked up through the parents", function()
    local root = rille.done { values = { user = "ada", depth = 1 } }
    local mid = rille.done((rille.done(root)), { values = { depth = 2 } })
    local leaf = rille.done(mid, { timeout = LONG })
    assert.equal("ada", leaf:value "user")
    assert.equal(2, leaf:value "depth")
    assert.equal(1, root:value "depth")
    assert.is_nil(leaf:value "nothing")
  end)

  it("may be false, which hides the parent's", function()
    local root = rille.done { values = { on = true } }
    assert.is_false((rille.done(root, { values = { on = false } })):value "on")
  end)

  it("have keys of any type", function()
    local ch = rille.chan()
    local values = { [1] = "one", [2.5] = "float", [true] = "yes", [ch] = "channel" }
    local done = rille.done { values = values }
    assert.equal("one", done:value(1))
    assert.equal("one", done:value(1.0))
    assert.equal("float", done:value(2.5))
    assert.equal("yes", done:value(true))
    assert.equal("channel", done:value(ch))
    assert.is_nil(done:value(false))
  end)

  it("may be tables, functions and handles", function()
    local ch = rille.chan()
    local done = rille.done { values = { list = { 1, 2 }, f = function() return 5 end, ch = ch } }
    assert.same({ 1, 2 }, done:value "list")
    assert.equal(5, done:value "f"())
    assert.equal(ch, done:value "ch")
  end)

  it("stay the same tables, also those of parents that were collected", function()
    local top = rille.done { values = { top = { 1 } } }
    local leaf = rille.done((rille.done(top, { values = { mid = { 2 }, deep = { 3 } } })))
    local function read() return leaf:value "top", leaf:value "mid", leaf:value "deep" end
    top = nil
    collectgarbage()
    local function written()
      for i, list in ipairs { read() } do list.by = i end
    end
    written()
    collectgarbage()
    collectgarbage()
    for i, list in ipairs { read() } do assert.equal(i, list.by) end
    assert.is_nil(top)
  end)

  it("reach the tasks that hold a descendant", function()
    local root = rille.done { values = { id = 17, tags = { "a" } } }
    local leaf = rille.done(root)
    local id, tags = rille.go(function() return leaf:value "id", leaf:value "tags" end):await(BOUND)
    assert.equal(17, id)
    assert.same({ "a" }, tags)
  end)

  it("stay after the done has fired", function()
    local done, cancel = rille.done { values = { id = 17 } }
    cancel()
    assert.equal(17, done:value "id")
  end)

  it("are found through parents that were dropped", function()
    local leaf = rille.done((rille.done((rille.done { values = { id = 17 } }))))
    collectgarbage()
    collectgarbage()
    assert.equal(17, leaf:value "id")
  end)

  it("that cannot cross raise, named", function()
    local values = { co = coroutine.create(print) }
    raises("cannot send coroutine at values%.co", rille.done, { values = values })
  end)

  it("that come as no table raise when they are looked up", function()
    local odd = setmetatable({}, { __transfer = function() return function() return 5 end end })
    local done = rille.done { values = odd }
    raises("values must be a table, and came as number", done.value, done, "id")
    package.loaded["spec.passing"] = { id = 17 }
    done = rille.done { values = package.loaded["spec.passing"] }
    package.loaded["spec.passing"] = 5
    raises("values must be a table, and came as number", done.value, done, "id")
    package.loaded["spec.passing"] = nil
  end)

  it("are taken from the opts once", function()
    local reads = 0
    local opts = setmetatable({}, {
      __index = function(_, key)
        if key ~= "values" then return nil end
        reads = reads + 1
        return reads == 1 and { id = 17 } or 5
      end,
    })
    assert.equal(17, (rille.done(opts)):value "id")
    assert.equal(1, reads)
  end)

  it("of nil raise or find nothing, and never crash", function()
    local done = rille.done { values = {} }
    assert.is_nil(done:value "x")
    local ok, value = pcall(done.value, done, nil)
    assert.is_true(not ok or value == nil)
  end)
end)

describe("done:check", function()
  it("does nothing before it fires", function()
    local done = rille.done()
    done:check()
  end)

  it("raises the cause, as it was given", function()
    local done, cancel = rille.done()
    cancel { code = 3 }
    local ok, err = pcall(done.check, done)
    assert.is_false(ok)
    assert.same({ code = 3 }, err)
  end)

  it("raises the error when there was no cause", function()
    local done, cancel = rille.done()
    cancel()
    local ok, err = pcall(done.check, done)
    assert.is_false(ok)
    assert.equal("canceled", err)
  end)

  it("ends a loop that computes", function()
    local done, cancel = rille.done()
    local running = rille.chan()
    local task = rille.go(function()
      local n = 0
      running:send(true)
      while true do
        n = n + 1
        done:check()
      end
    end)
    running:recv()
    cancel "enough"
    local ok, err = task:join(BOUND)
    assert.is_false(ok)
    assert.equal("enough", err)
  end)
end)

describe("done:wait", function()
  it("blocks until it fires", function()
    local done, cancel = rille.done()
    local task = rille.go(function() return done:wait() end)
    cancel "go"
    assert.is_true(task:await(BOUND))
  end)

  it("returns at once when it has fired", function()
    local done, cancel = rille.done()
    cancel()
    assert.is_true(done:wait())
    assert.is_true(done:wait(0))
  end)

  it("returns the other's error and cause when that fires first", function()
    local done = rille.done()
    local other, cancel = rille.done()
    local task = rille.go(function() return done:wait(other) end)
    cancel { code = 1 }
    local ok, err, cause = task:await(BOUND)
    assert.is_nil(ok)
    assert.equal("canceled", err)
    assert.same({ code = 1 }, cause)
  end)

  it("a done that has fired comes first as the other", function()
    local done, cancel = rille.done()
    local other, stop = rille.done()
    cancel "mine"
    stop "other's"
    local ok, err, cause = done:wait(other)
    assert.is_nil(ok)
    assert.equal("canceled", err)
    assert.equal("other's", cause)
  end)

  it("gives up after a number of seconds", function()
    local done = rille.done()
    local start = rille.now()
    local ok, err, cause = done:wait(0.02)
    assert.is_true(rille.now() - start >= 0.02)
    assert.is_nil(ok)
    assert.equal("deadline exceeded", err)
    assert.equal("deadline exceeded", cause)
    assert.is_nil((done:wait(0)))
  end)

  it("on one done wakes every waiter", function()
    local done, cancel = rille.done()
    local tasks = {}
    for i = 1, 100 do
      tasks[i] = rille.go(function()
        done:wait()
        return done:cause()
      end)
    end
    cancel "all"
    for _, task in ipairs(tasks) do assert.equal("all", (task:await(BOUND))) end
  end)
end)

describe("done:after", function()
  it("starts a task with the arguments when it fires", function()
    local done, cancel = rille.done()
    local out = rille.chan(1)
    done:after(function(a, b) out:send(a .. b) end, "x", 2)
    assert.is_nil((out:recv(0)))
    cancel()
    assert.equal("x2", (out:recv(BOUND)))
  end)

  it("starts it at once when it has fired", function()
    local done, cancel = rille.done()
    cancel()
    local out = rille.chan(1)
    local stop = done:after(function() out:send "ran" end)
    assert.equal("ran", (out:recv(BOUND)))
    assert.is_false(stop())
  end)

  it("starts it in a task of its own", function()
    local done, cancel = rille.done()
    local out = rille.chan(1)
    done:after(function() out:send(rille.self()) end)
    cancel()
    assert.matches("task", tostring((out:recv(BOUND))))
  end)

  it("stop prevents it, and says so once", function()
    local done, cancel = rille.done()
    local out = rille.chan(1)
    local stop = done:after(function() out:send "ran" end)
    assert.is_true(stop())
    assert.is_false(stop())
    cancel()
    assert.is_false(stop())
    assert.is_nil((out:recv(0.02)))
  end)

  it("stop after it started says false", function()
    local done, cancel = rille.done()
    local stop = done:after(function() end)
    cancel()
    assert.is_false(stop())
  end)

  it("several are independent", function()
    local done, cancel = rille.done()
    local out = rille.chan(10)
    local stops = {}
    for i = 1, 10 do stops[i] = done:after(function() out:send(i) end) end
    for i = 2, 10, 2 do assert.is_true(stops[i]()) end
    cancel()
    local sum = 0
    for _ = 1, 5 do sum = sum + out:recv(BOUND) end
    assert.equal(1 + 3 + 5 + 7 + 9, sum)
    assert.is_nil((out:recv(0.02)))
  end)

  it("stays when stop is dropped", function()
    local done, cancel = rille.done()
    local out = rille.chan(1)
    done:after(function() out:send "ran" end)
    collectgarbage()
    collectgarbage()
    cancel()
    assert.equal("ran", (out:recv(BOUND)))
  end)

  it("runs for a deadline too", function()
    local done = rille.done { timeout = 0.01 }
    local out = rille.chan(1)
    done:after(function() out:send(done:err()) end)
    assert.equal("deadline exceeded", (out:recv(BOUND)))
  end)

  it("that waits for its done is no task yet", function()
    local done, cancel = rille.done()
    local before, out = rille.stats().tasks.runnable, rille.chan(1)
    local stop = done:after(print)
    done:after(function() out:send(rille.stats().tasks.running) end)
    assert.equal(before, rille.stats().tasks.runnable)
    stop()
    cancel()
    assert.is_true(out:recv(BOUND) >= 1)
  end)

  it("that waits for its done does not hold up the end of the program", function()
    local least = math.huge -- the moment of a task that is not through is at least 0.2 s each time
    for _ = 1, 5 do
      local ended = helper.run [[
        local rille, start
        _G.keep = setmetatable({}, { __gc = function() print(rille.now() - start) end })
        rille = require "rille"
        local done = rille.done()
        done:after(print, "never")
        start = rille.now()
      ]]
      assert.equal(0, ended.code)
      least = math.min(least, tonumber(ended.out))
    end
    assert.is_true(least < 0.2)
  end)

  it("raises before it registers what cannot cross", function()
    local done, cancel = rille.done()
    local co = coroutine.create(print)
    raises("cannot send coroutine at upvalue 'co'", done.after, done, function() return co end)
    raises("cannot send coroutine at argument 1", done.after, done, print, co)
    raises("bad argument", done.after, done, 5)
    raises("bad argument", done.after, done)
    cancel()
  end)
end)

describe("done:detached", function()
  it("keeps the values and drops the cancellation", function()
    local parent, cancel = rille.done { timeout = LONG, values = { id = 17 } }
    local done = parent:detached()
    assert.equal(17, done:value "id")
    assert.is_nil(done:deadline())
    assert.is_nil(done:remaining())
    cancel "gone"
    live(done)
    live((rille.done(done)))
  end)

  it("of a fired done has not fired", function()
    local parent, cancel = rille.done { values = { id = 17 } }
    cancel()
    local done = parent:detached()
    live(done)
    assert.equal(17, done:value "id")
    assert.is_nil((done:wait(0)))
  end)

  it("may be a parent with a timeout of its own, for cleaning up", function()
    local parent, cancel = rille.done { values = { id = 17 } }
    cancel()
    local cleanup = rille.done(parent:detached(), { timeout = 0.01, cause = "cleanup" })
    live(cleanup)
    fired("deadline exceeded", "cleanup", awaited(cleanup))
    assert.equal(17, cleanup:value "id")
  end)
end)

describe("rille.background", function()
  it("never fires and has no values", function()
    local background = rille.background
    live(background)
    background:check()
    assert.is_nil(background:deadline())
    assert.is_nil(background:remaining())
    assert.is_nil(background:value "x")
    assert.is_nil((background:wait(0.01)))
  end)

  it("is one and the same, here and in a task", function()
    assert.equal(rille.background, rille.background)
    local background = rille.background
    local same, back = rille.go(function()
      return background == rille.background, rille.background
    end):await(BOUND)
    assert.is_true(same)
    assert.equal(rille.background, back)
  end)

  it("is the parent of what has none", function()
    local done, cancel = rille.done(rille.background)
    live(done)
    cancel()
    fired("canceled", "canceled", done)
    live(rille.background)
  end)

  it("takes an after, which never runs", function()
    local stop = rille.background:after(function() end)
    assert.is_true(stop())
    assert.is_false(stop())
  end)
end)

describe("a parent", function()
  it("that is a done passes on its error and cause", function()
    local parent, cancel = rille.done()
    local child = rille.done((rille.done(parent)))
    cancel "up there"
    fired("canceled", "up there", child)
  end)

  it("that has fired makes a child that has fired", function()
    local parent, cancel = rille.done()
    cancel "early"
    local child, again = rille.done(parent)
    fired("canceled", "early", child)
    again "late"
    fired("canceled", "early", child)
  end)

  it("that is a closed channel fires it as canceled", function()
    local ch = rille.chan()
    local child = rille.done(ch)
    live(child)
    ch:close()
    assert.equal("canceled", awaited(child):err())
    assert.equal("canceled", awaited((rille.done(ch))):err())
  end)

  it("that is a channel fires it by a value, received as the cause", function()
    local ch = rille.chan(2)
    ch:send { code = 5 }
    local child = awaited((rille.done(ch)))
    fired("canceled", { code = 5 }, child)
    assert.equal(0, #ch)
  end)

  it("that is a channel receives one value and no more", function()
    local ch = rille.chan()
    local child = rille.done(ch)
    ch:send "first"
    fired("canceled", "first", awaited(child))
    local sent, err = ch:send("second", 0.02)
    assert.is_nil(sent)
    assert.equal("deadline exceeded", err)
    assert.same({ false, "full" }, { ch:try_send "third" })
  end)

  it("that is a channel stops receiving when the child is canceled", function()
    local ch = rille.chan()
    local child, cancel = rille.done(ch)
    cancel()
    assert.is_nil((ch:send("kept", 0.02)))
    fired("canceled", "canceled", child)
  end)

  it("that is a channel loses no value to children that were dropped", function()
    local ch = rille.chan(1)
    for _ = 1, 10 do rille.done(ch) end
    collectgarbage()
    collectgarbage()
    ch:send "kept"
    assert.equal("kept", (ch:recv(BOUND)))
  end)

  it("that is a receiver's view of a channel works", function()
    local ch = rille.chan()
    local child = rille.done(ch:receiver())
    ch:close()
    assert.equal("canceled", awaited(child):err())
  end)

  it("that is a sender's view raises", function()
    raises("", rille.done, rille.chan():sender())
  end)

  it("that is never fires nothing", function()
    local child = rille.done(rille.never)
    live(child)
    assert.is_nil((child:wait(0.01)))
  end)

  it("that is a task fires it as canceled when it ends", function()
    local gate = rille.chan()
    local task = rille.go(function() gate:recv() end)
    local child = rille.done(task)
    live(child)
    gate:close()
    assert.equal("canceled", awaited(child):err())
    assert.equal("canceled", awaited((rille.done(task))):err())
  end)

  it("that is a task which fails fires it too, the error staying untaken", function()
    local task = rille.go(function() error("boom", 0) end)
    assert.equal("canceled", awaited((rille.done(task))):err())
    assert.same({ false, "boom" }, { task:join(BOUND) })
  end)

  it("that is a timer gives deadline exceeded", function()
    assert.equal("deadline exceeded", awaited((rille.done(rille.after(0.01)))):err())
    assert.equal("deadline exceeded", awaited((rille.done(rille.timer(0.01)))):err())
  end)

  it("that is a stopped timer never fires it", function()
    local timer = rille.timer(0.01)
    local child = rille.done(timer)
    timer:stop()
    assert.is_nil((child:wait(0.03)))
  end)

  it("that is a number gives deadline exceeded", function()
    local start = rille.now()
    local child = awaited((rille.done(0.02)))
    assert.is_true(rille.now() - start >= 0.02)
    assert.equal("deadline exceeded", child:err())
  end)

  it("may itself be watched while its child is canceled", function()
    local ch = rille.chan()
    local a, cancel = rille.done(ch)
    local b = rille.done(a)
    cancel "a"
    fired("canceled", "a", b)
    ch:close()
  end)

  it("is never fired by a descendant", function()
    local parent = rille.done()
    local child, cancel = rille.done(parent)
    local sibling = rille.done(parent)
    local grandchild = rille.done(child)
    cancel "down"
    fired("canceled", "down", grandchild)
    live(parent)
    live(sibling)
  end)

  it("is never fired by a descendant's deadline", function()
    local parent = rille.done()
    local child = rille.done(parent, { timeout = 0.001 })
    awaited(child)
    live(parent)
  end)
end)

describe("a tree", function()
  it("of 10,000 descendants fires in one pass", function()
    local root, cancel = rille.done()
    local all, level = {}, { root }
    while #all < 10000 do
      local next_level = {}
      for _, parent in ipairs(level) do
        for _ = 1, 10 do
          local child = rille.done(parent)
          next_level[#next_level + 1], all[#all + 1] = child, child
        end
      end
      level = next_level
    end
    cancel "all"
    for _, done in ipairs(all) do
      if done:cause() ~= "all" then error "a descendant has not fired" end
    end
  end)

  it("of 10,000 children of one parent fires in one pass", function()
    local root, cancel = rille.done()
    local all = {}
    for i = 1, 10000 do all[i] = rille.done(root) end
    cancel "all"
    for _, done in ipairs(all) do
      if done:cause() ~= "all" then error "a child has not fired" end
    end
  end)

  it("100,000 deep fires without a crash", function()
    local root, cancel = rille.done()
    local leaf = root
    for _ = 1, 100000 do leaf = rille.done(leaf) end
    collectgarbage()
    cancel "deep"
    fired("canceled", "deep", leaf)
  end)

  it("100,000 deep is dropped without a crash", function()
    local leaf = rille.done { values = { id = 17 } }
    for _ = 1, 100000 do leaf = rille.done(leaf) end
    assert.equal(17, leaf:value "id")
    assert.is_nil(leaf:deadline())
    leaf = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(leaf)
  end)

  it("100,000 deep is dropped from its leaf while the root lives", function()
    local root, cancel = rille.done()
    local leaf = root
    for _ = 1, 100000 do leaf = rille.done(leaf) end
    leaf = nil
    collectgarbage()
    collectgarbage()
    cancel()
    assert.is_nil(leaf)
    fired("canceled", "canceled", root)
  end)

  it("wakes the tasks that wait on its leaves", function()
    local root, cancel = rille.done()
    local tasks = {}
    for i = 1, 200 do
      local leaf = rille.done((rille.done(root)))
      tasks[i] = rille.go(function() return rille.never:recv(leaf) end)
    end
    cancel "stop"
    for _, task in ipairs(tasks) do
      assert.same({ nil, "canceled", "stop" }, { task:await(BOUND) })
    end
  end)

  it("fires whole while others make and drop children", function()
    for _ = 1, 20 do
      local root, cancel = rille.done()
      local go = rille.chan()
      local tasks = {}
      for i = 1, 4 do
        tasks[i] = rille.go(function()
          go:recv()
          local kept = {}
          for j = 1, 200 do
            local child, stop = rille.done(root)
            if j % 2 == 0 then kept[#kept + 1] = child else stop "own" end
          end
          root:wait()
          for _, child in ipairs(kept) do
            if child:cause() ~= "root" then return tostring(child:cause()) end
          end
          return "whole"
        end)
      end
      go:close()
      cancel "root"
      for _, task in ipairs(tasks) do assert.equal("whole", (task:await(BOUND))) end
    end
  end)
end)

describe("dropped children", function()
  local function churn(n, make)
    for i = 1, n do
      make(i)
      if i % 5000 == 0 then collectgarbage() end
    end
    collectgarbage()
    collectgarbage()
  end

  local function bounded(make)
    churn(20000, make)
    local before = helper.resident()
    churn(100000, make)
    assert.is_true(helper.resident() - before < 8 * 1024)
  end

  it("cost a live parent nothing #memory", function()
    local parent = rille.done()
    bounded(function() rille.done(parent) end)
    live(parent)
  end)

  it("with a timeout cost a live parent and the timers nothing #memory", function()
    local parent = rille.done()
    bounded(function() rille.done(parent, { timeout = 3600 }) end)
  end)

  it("that were canceled cost it nothing, even uncollected #memory", function()
    local parent = rille.done()
    bounded(function()
      local _, cancel = rille.done(parent)
      cancel()
    end)
  end)

  it("cost the background, a channel and a task nothing #memory", function()
    local ch = rille.chan()
    local task = rille.go(function() ch:recv() end)
    for _, parent in ipairs { rille.background, rille.never, task } do
      bounded(function() rille.done(parent) end)
    end
    ch:close()
  end)

  it("withdraw the afters that were stopped #memory", function()
    local parent = rille.done()
    bounded(function() parent:after(print)() end)
  end)
end)

describe("a done that crosses", function()
  it("comes back as the same userdata", function()
    local done, cancel = rille.done()
    local ch = rille.chan()
    local task = rille.go(function()
      local got = ch:recv()
      return got == done, got, done, cancel
    end)
    ch:send(done)
    local same, a, b, c = task:await(BOUND)
    assert.is_true(same)
    assert.equal(done, a)
    assert.equal(done, b)
    assert.equal(cancel, c)
  end)

  it("is usable as a table key on both sides", function()
    local done = rille.done()
    local names = { [done] = "mine" }
    local name, back = rille.go(function(d)
      return names[d], { [d] = "yours" }
    end, done):await(BOUND)
    assert.equal("mine", name)
    assert.equal("yours", back[done])
  end)

  it("fires there as here", function()
    local done, cancel = rille.done { values = { id = 17 }, timeout = LONG }
    local ready = rille.chan()
    local task = rille.go(function()
      local child = rille.done(done)
      ready:send(child)
      child:wait()
      return child:err(), child:cause(), child:value "id", child:deadline()
    end)
    local child = ready:recv(BOUND)
    live(child)
    cancel "over there"
    local err, cause, id, deadline = task:await(BOUND)
    assert.equal("canceled", err)
    assert.equal("over there", cause)
    assert.equal(17, id)
    assert.equal(done:deadline(), deadline)
    fired("canceled", "over there", child)
  end)

  it("outlives the task that made it", function()
    local done, cancel = rille.go(function()
      return rille.done { values = { id = 17 } }
    end):await(BOUND)
    collectgarbage()
    live(done)
    assert.equal(17, done:value "id")
    cancel "later"
    fired("canceled", "later", done)
  end)
end)

-- Everything that may stand where a done is taken, each as a maker of one that
-- fires soon: the stand-in, and what ends it if it does not end by itself.
local stand_ins = {
  done = { err = "canceled", cause = "why", make = function()
    local done, cancel = rille.done()
    return done, function() cancel "why" end
  end },
  ["closed channel"] = { err = "canceled", make = function()
    local ch = rille.chan()
    return ch, function() ch:close() end
  end },
  ["channel with a value"] = { err = "canceled", cause = "why", make = function()
    local ch = rille.chan(1)
    return ch, function() ch:send "why" end
  end },
  task = { err = "canceled", make = function()
    local gate = rille.chan()
    return rille.go(function() gate:recv() end), function() gate:close() end
  end },
  timer = { err = "deadline exceeded", make = function() return rille.timer(0.01) end },
  after = { err = "deadline exceeded", make = function() return rille.after(0.01) end },
  number = { err = "deadline exceeded", make = function() return 0.01 end },
}

local waits = {
  recv = function(stop) return rille.chan():recv(stop) end,
  ["recv of never"] = function(stop) return rille.never:recv(stop) end,
  send = function(stop) return rille.chan():send("v", stop) end,
  sleep = function(stop) return rille.sleep(60, stop) end,
  wait = function(stop) return rille.done():wait(stop) end,
  join = function(stop)
    local gate <close> = rille.chan()
    return rille.go(function() gate:recv() end):join(stop)
  end,
}

describe("where a done is taken", function()
  for kind, stand_in in pairs(stand_ins) do
    for wait, fn in pairs(waits) do
      it(("a %s ends a %s"):format(kind, wait), function()
        local stop, fire = stand_in.make()
        local task = rille.go(fn, stop)
        if fire then fire() end
        local ok, err, cause = task:await(BOUND)
        assert.is_nil(ok)
        assert.equal(stand_in.err, err)
        if stand_in.cause then assert.equal(stand_in.cause, cause) end
      end)
    end

    it(("a %s ends an iteration"):format(kind), function()
      local stop, fire = stand_in.make()
      local task = rille.go(function()
        local n = 0
        for _ in rille.chan():iter(stop) do n = n + 1 end
        return n
      end)
      if fire then fire() end
      assert.equal(0, (task:await(BOUND)))
    end)

    it(("a %s makes await raise"):format(kind), function()
      local stop, fire = stand_in.make()
      local task = rille.go(function()
        local gate <close> = rille.chan()
        local other = rille.go(function() gate:recv() end)
        return pcall(other.await, other, stop)
      end)
      if fire then fire() end
      local ok, err = task:await(BOUND)
      assert.is_false(ok)
      assert.matches(stand_in.err, tostring(err))
    end)
  end

  it("a channel that ends a wait gave one value and keeps the rest", function()
    local stop = rille.chan(2)
    stop:send "one"
    stop:send "two"
    assert.same({ nil, "canceled", "one" }, { rille.chan():recv(stop) })
    assert.equal("two", stop:recv())
  end)

  it("a channel keeps its value when the wait succeeds", function()
    local stop, ch = rille.chan(), rille.chan(1)
    ch:send "v"
    assert.equal("v", (ch:recv(stop)))
    assert.same({ false, "full" }, { stop:try_send "x" })
  end)

  it("a done that has fired comes first, and nothing is sent or received", function()
    local ch = rille.chan(2)
    ch:send "v"
    local done, cancel = rille.done()
    cancel "why"
    for _ = 1, 50 do
      assert.same({ nil, "canceled", "why" }, { ch:recv(done) })
      assert.same({ nil, "canceled", "why" }, { ch:send("w", done) })
    end
    assert.equal(1, #ch)
    assert.same({ nil, "canceled", "why" }, { rille.sleep(0, done) })
    local task = rille.go(function() return 1 end)
    task:join()
    assert.same({ nil, "canceled", "why" }, { task:join(done) })
    for _ in ch:iter(done) do error "iterated" end
  end)

  it("a number lets what is ready come first", function()
    local ch = rille.chan(1)
    ch:send "v"
    assert.equal("v", (ch:recv(0)))
    assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { ch:recv(0) })
    assert.is_true((ch:send("w", 0)))
    assert.is_nil((ch:send("x", 0)))
    local task = rille.go(function() return 5 end)
    task:join()
    assert.same({ true, 5 }, { task:join(0) })
    local gate <close> = rille.chan()
    assert.is_nil((rille.go(function() gate:recv() end):join(0)))
  end)

  it("a number counts in iter for the whole loop", function()
    testing.run(function()
      local ch = rille.chan()
      local stop, cancel <close> = rille.done()
      rille.go(function()
        while ch:send(1, stop) do rille.sleep(2) end
      end)
      local start, n = rille.now(), 0
      for _ in ch:iter(5) do n = n + 1 end
      assert.equal(5, rille.now() - start)
      assert.equal(3, n)
      cancel()
    end)
  end)

  it("what cannot fire raises, named", function()
    local ch = rille.chan()
    for _, bad in ipairs { "1", true, print } do
      raises("bad argument", ch.recv, ch, bad)
      raises("bad argument", ch.send, ch, 1, bad)
      raises("bad argument", rille.sleep, 0, bad)
      raises("bad argument", rille.background.wait, rille.background, bad)
    end
  end)

  it("a done is a case of select, with its error and cause", function()
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ 2, nil, "canceled", "why" }, { rille.select(rille.never, done) })
    local named = { v = rille.never, stop = done }
    assert.same({ "stop", nil, "canceled", "why" }, { rille.select(named) })
    local timed = rille.done { timeout = 0.01, cause = "slow" }
    assert.same({ 1, nil, "deadline exceeded", "slow" }, { rille.select(timed) })
  end)
end)

describe("a promise", function()
  it("fires when its last cancel is given up", function()
    local done, cancel = rille._promise()
    live(done)
    rille._forget(cancel)
    fired("canceled", "canceled", done)
  end)

  it("is fired like any done, and then stays as it is", function()
    local done, cancel = rille._promise()
    cancel "kept"
    rille._forget(cancel)
    fired("canceled", "kept", done)
  end)

  it("is kept by a message that holds its cancel", function()
    local done, cancel = rille._promise()
    local ch = rille.chan(1)
    ch:send { cancel }
    rille._forget(cancel)
    live(done)
    ch:recv()[1] "sent"
    fired("canceled", "sent", done)
  end)

  it("fires when the message is lost", function()
    local done, cancel = rille._promise()
    local ch = rille.chan(1)
    ch:send { cancel }
    rille._forget(cancel)
    ch = nil -- luacheck: ignore 311
    collectgarbage()
    fired("canceled", "canceled", done)
  end)

  it("fires when the task that holds its cancel ends, in whatever way", function()
    for _, ending in ipairs { "return", "fail", "interrupt" } do
      local done, cancel = rille._promise()
      local task = rille.go(function(held)
        if ending == "interrupt" then rille.sleep(LONG) end
        if ending == "fail" then error(held ~= nil and "failed") end
      end, cancel)
      rille._forget(cancel)
      task:interrupt "interrupted"
      awaited(done)
      task:join(BOUND)
    end
  end)

  it("wakes who waits, be it by whatever thread gives up the last of many", function()
    for _ = 1, 200 do
      local done, cancel = rille._promise()
      local tasks = {}
      local function hold(held) rille.yield() return held == nil end
      for i = 1, 3 do tasks[i] = rille.go(hold, cancel) end
      rille._forget(cancel)
      awaited(done)
      for i = 1, 3 do tasks[i]:join(BOUND) end
    end
  end)

  it("leaves a cancel that is forgotten twice, and what is no handle, alone", function()
    local done, cancel = rille._promise()
    rille._forget(cancel)
    rille._forget(cancel)
    rille._forget(nil)
    awaited(done)
  end)
end)

describe("a request", function()
  it("is received as the cancel of its promise and the arguments", function()
    local ch = rille.chan(1)
    local promise = rille._request(ch, nil, 1, nil, "x", nil)
    local got = table.pack(ch:recv())
    assert.same({ n = 4, 1, nil, "x", nil }, table.pack(table.unpack(got, 2, got.n)))
    live(promise)
    got[1] "answer"
    fired("canceled", "answer", promise)
  end)

  it("ends with the message, or with who received it", function()
    local ch = rille.chan(1)
    local lost, held = rille._request(ch, nil), rille.chan(1)
    ch = nil -- luacheck: ignore 311
    collectgarbage()
    fired("canceled", "canceled", lost)
    local promise = rille._request(held, nil)
    rille.go(function() held:recv() end)
    awaited(promise)
  end)

  it("that is refused for its done leaves no message behind", function()
    local ch, text = rille.chan(1), ("x"):rep(1000)
    local before = rille.stats().message_bytes
    for _, call in ipairs { rille._request, rille._try_request } do
      assert.matches("done, channel", select(2, pcall(call, ch, {}, text)))
    end
    assert.is_true(rille.stats().message_bytes < before + #text)
  end)

  it("waits while there is no room, and is cut short", function()
    local ch, done, cancel = rille.chan(), rille.done()
    local task = rille.go(function() return rille._request(ch, done, "v") end)
    helper.until_waiting(task)
    assert.equal("v", select(2, ch:recv()))
    assert.same({ false, "full" }, { rille._try_request(ch, nil, "v") })
    cancel "why"
    assert.same({ nil, "canceled", "why" }, { rille._request(ch, done, "v") })
    assert.same({ nil, "canceled", "why" }, { rille._try_request(ch, done, "v") })
    ch:close()
    assert.same({ nil, "closed" }, { rille._request(ch, nil, "v") })
    assert.same({ nil, "closed" }, { rille._try_request(ch, nil, "v") })
    task:join(BOUND)
  end)

  it("names the argument that cannot cross", function()
    raises("cannot send coroutine at argument 2.x", rille._request, rille.chan(1), nil, 1,
      { x = coroutine.create(print) })
    raises("channel expected", rille._request, 1, nil)
  end)
end)

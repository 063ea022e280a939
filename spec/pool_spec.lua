-- Pools: jobs run in workers that keep their state, each with a future that ends in any case.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"

local errors = rille.errors

local LONG = 60 -- a wait that must end by something else
local BOUND = 20 -- a watchdog

local raises = helper.raises

local function same(...) return ... end

-- A job that tells that it runs, and ends when its gate opens.
local function gated(running, gate, result)
  running:send(true)
  gate:recv()
  return result
end

-- Waits in a job for the interruption, which may come as soon as the job has told that it runs.
local function interrupted(running)
  return select(2, pcall(function()
    running:send(true)
    rille.sleep(LONG)
  end))
end

local function until_queued(pool, n)
  while pool:stats().queued < n do rille.yield() end
end

-- A pool whose one worker is busy, and the gate that it waits for.
local function busy(opts)
  local pool, running, gate = rille.pool(1, gated, opts), rille.chan(), rille.chan()
  local first = pool:submit(running, gate, "first")
  running:recv(BOUND)
  return pool, gate, running, first
end

local function none_left()
  while #rille.tasks() > 0 do rille.yield() end
end

describe("a pool", function()
  it("runs jobs and gives their results", function()
    local pool <close> = rille.pool(2, same)
    assert.same({ n = 3, 1, nil, 3 }, table.pack(pool:submit(1, nil, 3):await(BOUND)))
    assert.same({ n = 4, true, nil, nil, nil },
      table.pack(pool:submit(nil, nil, nil):join(BOUND)))
    assert.same({ n = 1, true }, table.pack(pool:submit():join(BOUND)))
    for _, v in ipairs { "canceled", false, 0.5, { 1, { 2 } } } do
      assert.same({ true, v }, { pool:submit(v):join(BOUND) })
    end
  end)

  it("gives each future the result of its own job, whatever their order", function()
    local pool <close> = rille.pool(4, function(i)
      for _ = 1, i % 7 do rille.yield() end
      return i
    end)
    local futures = {}
    for i = 1, 500 do futures[i] = pool:submit(i) end
    for i = 500, 1, -1 do assert.equal(i, futures[i]:await(BOUND)) end
  end)

  it("runs as many jobs at a time as it has workers, and no more", function()
    local pool <close> = rille.pool(3, gated, { queue = 10 })
    local running, gate, futures = rille.chan(10), rille.chan(), {}
    for i = 1, 7 do futures[i] = pool:submit(running, gate, i) end
    for _ = 1, 3 do running:recv(BOUND) end
    until_queued(pool, 4)
    assert.is_nil((running:try_recv()))
    gate:close()
    for i = 1, 7 do assert.equal(i, futures[i]:await(BOUND)) end
  end)

  it("keeps the state of a worker between jobs", function()
    local count = 0
    local pool <close> = rille.pool(1, function() count = count + 1 return count end)
    for i = 1, 5 do assert.equal(i, pool:submit():await(BOUND)) end
    assert.equal(0, count)
  end)

  it("calls the function that a module yields", function()
    local pool <close> = rille.pool(1, "spec.support.job")
    assert.same({ 2, "a", "b" }, { pool:submit("a", "b"):await(BOUND) })
  end)

  it("calls a module's functions by their names, and loads it once for each worker", function()
    local pool <close> = rille.pool(1, "spec.support.jobs")
    assert.equal(5, pool:submit("sum", 2, 3):await(BOUND))
    for i = 1, 3 do assert.same({ i, 1 }, { pool:submit("count"):await(BOUND) }) end
    local ok, err = pool:submit("missing", 1):join(BOUND)
    assert.same({ false, "module 'spec.support.jobs' has no function 'missing'" }, { ok, err })
    assert.is_false((pool:submit():join(BOUND)))
  end)

  it("calls init once in each worker, and closes what it returned", function()
    local closed = rille.chan(2)
    local pool <close> = rille.pool(2, function(kept, n)
      kept.sum = kept.sum + n
      return kept.sum, kept.given
    end, { init = function(done)
      local kept = { sum = 0, given = done:err() == nil }
      return setmetatable(kept, { __close = function() closed:send(kept.sum) end })
    end })
    local futures = {}
    for i = 1, 10 do futures[i] = pool:submit(i) end
    for i = 1, 10 do assert.is_true(select(2, futures[i]:await(BOUND))) end
    assert.is_true(pool:stop(BOUND))
    assert.equal(55, closed:recv(BOUND) + closed:recv(BOUND))
  end)

  it("lets init pass its done on to the jobs", function()
    local pool <close>, running = rille.pool(1, function(kept, running)
      interrupted(running)
      return kept.done:err(), kept.done:cause()
    end, { init = function(done) return { done = done } end }), rille.chan()
    local future = pool:submit(running)
    running:recv(BOUND)
    pool:cancel "enough"
    assert.same({ true, "canceled", "enough" }, { future:join(BOUND) })
  end)

  it("names its tasks", function()
    local pool <close> = rille.pool(1, function() return rille.self():name() end, { name = "shop" })
    assert.equal("shop worker 1", pool:submit():await(BOUND))
    local placed <close> = rille.pool(1, function() return rille.self():name() end)
    assert.matches("^pool spec/pool_spec.lua:%d+ worker 1$", placed:submit():await(BOUND))
  end)

  it("has pinned workers", function()
    local pool <close> = rille.pool(2, same, { pinned = true })
    assert.equal(7, pool:submit(7):await(BOUND))
  end)

  it("takes jobs from several tasks", function()
    local pool <close> = rille.pool(2, same, { queue = 1 })
    local tasks = {}
    for t = 1, 5 do
      tasks[t] = rille.go(function()
        local sum = 0
        for i = 1, 50 do sum = sum + pool:submit(i):await() end
        return sum, getmetatable(pool) == require "rille.pool"
      end)
    end
    for t = 1, 5 do assert.same({ 1275, true }, { tasks[t]:await(BOUND) }) end
  end)

  it("may be used by its own jobs", function()
    local outer <close> = rille.pool(1, function(inner, n) return inner:submit(n):await() end)
    local inner <close> = rille.pool(1, same)
    assert.equal(3, outer:submit(inner, 3):await(BOUND))
  end)

  it("refuses bad arguments, which it names", function()
    raises("bad argument #1 to 'pool' %(integer expected, got nil", rille.pool)
    raises("bad argument #1 to 'pool' %(at least 1 expected, got 0", rille.pool, 0, same)
    raises("bad argument #2 to 'pool' %(at least 1", rille.pool, nil, 0, same)
    raises("bad argument #1 to 'pool' %(done, channel", rille.pool, "x", 1, same)
    raises("bad argument #2 to 'pool' %(function or module name", rille.pool, 1, {})
    raises("bad argument #2 to 'pool' %(integer expected, got string", rille.pool, nil, "x", same)
    raises("bad argument #3 to 'pool' %(unknown option 'size'", rille.pool, 1, same, { size = 1 })
    raises("option 'queue': integer of at least 0", rille.pool, 1, same, { queue = -1 })
    raises("option 'init': function expected", rille.pool, 1, same, { init = 1 })
    local co = coroutine.create(print)
    raises("cannot send coroutine", rille.pool, 1, function() return co end)
    local pool <close> = rille.pool(1, same)
    raises("cannot send coroutine at argument 2", pool.submit, pool, 1, co)
    raises("cannot send coroutine at argument 1.x", pool.try_submit, pool, { x = co })
    raises("^spec/pool_spec.lua:%d+: cannot send coroutine at argument 1$", function()
      pool:submit(co)
    end)
    raises("^spec/pool_spec.lua:%d+: cannot send coroutine at cause$", function()
      pool:cancel(co)
    end)
    local future = pool:submit(1)
    raises("^spec/pool_spec.lua:%d+: bad argument #1 to 'join' %(done", function()
      future:join "x"
    end)
    raises("^spec/pool_spec.lua:%d+: bad argument #1 to 'await' %(done", function()
      future:await {}
    end)
    assert.equal(1, future:await(BOUND))
    raises("bad argument #1 to 'drain'", pool.drain, pool, "x")
    raises("bad argument #1 to 'submit_within'", pool.submit_within, pool, "x")
  end)
end)

describe("the queue of a pool", function()
  it("is bounded: submit waits while it is full, and its order is that of submission", function()
    local pool <close>, gate = busy { queue = 2 }
    local again, shut = rille.chan(9), rille.chan()
    shut:close()
    local a, b = pool:submit(again, shut, "a"), pool:submit(again, shut, "b")
    local waits = rille.go(function() return pool:submit(again, shut, "c"):await() end)
    helper.until_waiting(waits)
    assert.same({ false, "full" }, { pool:try_submit(again, shut, "d") })
    gate:close()
    assert.equal("c", waits:await(BOUND))
    assert.same({ "a", "b" }, { a:await(0), b:await(0) })
  end)

  it("may have no room: then a worker has to take each job", function()
    local pool <close>, gate, running = busy { queue = 0 }
    assert.same({ false, "full" }, { pool:try_submit(running, gate) })
    gate:close()
    assert.equal("x", pool:submit(rille.chan(1), gate, "x"):await(BOUND))
  end)

  it("is waited for no longer than submit_within allows", function()
    local pool <close>, gate = busy { queue = 0 }
    assert.same({ n = 3, nil, "deadline exceeded", "deadline exceeded" },
      table.pack(pool:submit_within(0.001, 1)))
    assert.same({ n = 3, nil, "deadline exceeded", "deadline exceeded" },
      table.pack(pool:submit_within(0, 1)))
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ n = 3, nil, "canceled", "why" }, table.pack(pool:submit_within(done, 1)))
    gate:close()
    pool:drain(BOUND)
    assert.equal("x", pool:submit_within(BOUND, rille.chan(1), gate, "x"):await(BOUND))
    assert.equal("y", pool:submit_within(nil, rille.chan(1), gate, "y"):await(BOUND))
  end)

  it("lets go who waits to submit when the pool ends", function()
    for how, expected in pairs {
      stop = { n = 2, nil, "closed" }, cancel = { n = 3, nil, "canceled", "canceled" },
    } do
      local pool <close>, gate = busy { queue = 1 }
      pool:submit(rille.chan(9), gate)
      local waits = rille.go(function() return pool:submit(rille.chan(9), gate) end)
      helper.until_waiting(waits)
      local ends = rille.go(function() return pool[how](pool) end)
      assert.same(expected, table.pack(waits:await(BOUND)))
      gate:close()
      ends:await(BOUND)
    end
  end)
end)

describe("an error in a job", function()
  it("is that of its future, as it was raised, with its traceback", function()
    local pool <close> = rille.pool(1, function(value) error(value, 0) end)
    local future = pool:submit "lost"
    assert.same({ false, "lost" }, { future:join(BOUND) })
    assert.same({ false, "lost" }, { future:join(BOUND) })
    raises("^lost$", future.await, future)
    assert.matches("pool_spec.lua", future:traceback())
    assert.same({ false, { code = 7 } }, { pool:submit { code = 7 }:join(BOUND) })
  end)

  it("may be returned behind nil", function()
    local pool <close> = rille.pool(1, function(...) return nil, ... end)
    assert.same({ false, "lost" }, { pool:submit "lost":join(BOUND) })
    assert.same({ n = 2, true, nil }, table.pack(pool:submit():join(BOUND)))
  end)

  it("is a failure with the name of the worker", function()
    local pool <close> = rille.pool(1, function() error "lost" end, { name = "shop" })
    local future = pool:submit()
    assert.is_false((future:join(BOUND)))
    local failure = future:failure()
    assert.matches("lost", tostring(failure))
    assert.same({ "shop worker 1", future:traceback() }, { failure.task, failure.traceback })
    local well <close> = rille.pool(1, same)
    local good = well:submit(1)
    good:join(BOUND)
    assert.is_nil(good:failure())
    assert.is_nil(good:traceback())
  end)

  it("leaves the worker and its state as they are", function()
    local count = 0
    local pool <close> = rille.pool(1, function(fail)
      count = count + 1
      assert(not fail)
      return count
    end)
    pool:submit():await(BOUND)
    assert.is_false((pool:submit(true):join(BOUND)))
    assert.equal(3, pool:submit():await(BOUND))
    assert.equal(0, pool:stats().deaths)
  end)

  it("may be that a result cannot cross", function()
    local pool <close> = rille.pool(1, function() return 1, { co = coroutine.create(print) } end)
    assert.same({ false, "cannot send coroutine at result 2.co" }, { pool:submit():join(BOUND) })
    local raising <close> = rille.pool(1, function() error(coroutine.create(print)) end)
    local ok, err = raising:submit():join(BOUND)
    assert.is_false(ok)
    assert.matches("^thread: ", err)
  end)

  it("is reported when nobody takes it", function()
    local run = helper.run [[
      local rille = require "rille"
      local pool <close> = rille.pool(1, function() error "nobody sees me" end)
      pool:submit()
      local seen = pool:submit()
      assert(not seen:join())
    ]]
    local _, count = run.err:gsub("nobody sees me", "")
    assert.equal(1, count, run.err)
  end)
end)

describe("a worker that dies", function()
  it("when a job has just ended leaves no error of it, whatever its instruction", function()
    local pool <close> = rille.pool(1, function(n)
      debug.sethook(function()
        debug.sethook()
        error("cut short", 0)
      end, "", n)
      return "result"
    end)
    local results = 0
    for n = 1, 150 do
      local ok, result = pool:submit(n):join(BOUND)
      assert(ok ~= nil, n)
      if ok and result == "result" then results = results + 1 end
    end
    assert.is_true(results > 0 and pool:stats().deaths > 0)
  end)

  local function itself() return rille.self() end

  it("between two jobs is replaced", function()
    local pool <close> = rille.pool(1, itself)
    for i = 1, 7 do
      local worker = pool:submit():await(BOUND)
      pool:drain(BOUND)
      assert.is_true(worker:interrupt "out")
      worker:join(BOUND)
      assert.is_true(pool:submit():await(BOUND) ~= worker)
      assert.equal(i, pool:stats().deaths)
    end
  end)

  it("of lack of memory fails its job, says so, and is replaced", function()
    local pool <close> = rille.pool(1, function(fill)
      local t = {}
      for i = 1, fill do t[i] = i end
      return #t
    end, { memory = 2000000, name = "shop" })
    local full, after = pool:submit(1e8), pool:submit(10)
    local ok, err = full:join(BOUND)
    assert.is_false(ok)
    assert.equal("the worker has died: not enough memory", tostring(err))
    assert.is_true(errors.is(err, "not enough memory"))
    assert.equal("shop worker 1", full:failure().task)
    assert.equal(10, after:await(BOUND))
    assert.equal(1, pool:stats().deaths)
  end)

  it("as it cannot decode a job ends that job's future", function()
    local pool <close> = rille.pool(1, function(text) return #text end, { memory = 200000 })
    local ok, err = pool:submit { ("x"):rep(1000000) }:join(BOUND)
    assert.is_false(ok)
    assert.matches("the worker has died", tostring(err))
    assert.equal(3, pool:submit("abc"):await(BOUND))
  end)

  it("does not die of an interruption in a job, which is the job's error", function()
    local running = rille.chan()
    local pool <close> = rille.pool(1, function(wait)
      if wait then running:send(rille.self()) rille.sleep(LONG) end
      return "well"
    end)
    local future = pool:submit(true)
    running:recv(BOUND):interrupt "out"
    assert.same({ false, "out" }, { future:join(BOUND) })
    assert.equal("well", pool:submit():await(BOUND))
  end)

  it("before it begins, five times in a row, takes the pool along", function()
    local pool <close> = rille.pool(2, same, { init = function() error("no base", 0) end })
    local future = pool:submit(1)
    local ok, err, cause = future:join(BOUND)
    assert.same({ false, "canceled", "no base" }, { ok, err, tostring(cause) })
    local _, why, what = pool:submit(1)
    assert.same({ "canceled", true }, { why, errors.is(what, "no base") })
    assert.equal(5, pool:stats().deaths)
    assert.matches("worker %d", what.task)
  end)

  it("before it begins, and then begins well, does not", function()
    local tries = rille.chan(10)
    local pool <close> = rille.pool(1, same, { init = function()
      tries:send(true)
      return #tries < 4 and error "not yet" or "kept"
    end })
    assert.same({ "kept", 1 }, { pool:submit(1):await(BOUND) })
    assert.equal(3, pool:stats().deaths)
  end)

  it("because the module cannot be loaded, too", function()
    local pool <close> = rille.pool(1, "no.such.module")
    local _, _, cause = pool:submit(1):join(BOUND)
    assert.matches("no.such.module", tostring(cause))
  end)
end)

describe("drain", function()
  it("waits until all that was submitted has ended", function()
    local pool <close> = rille.pool(3, function(i)
      for _ = 1, i do rille.yield() end
      if i % 10 == 0 then error("ten", 0) end
    end, { queue = 50 })
    assert.is_true(pool:drain(BOUND))
    for _ = 1, 5 do
      local futures = {}
      for i = 1, 40 do futures[i] = pool:submit(i) end
      assert.is_true(pool:drain(BOUND))
      for i = 1, 40 do assert.equal(i % 10 ~= 0, (futures[i]:join(0))) end
    end
  end)

  it("does not wait for all that comes later, and is cut short by its done", function()
    local pool <close>, gate, _, first = busy { queue = 5 }
    assert.same({ n = 3, nil, "deadline exceeded", "deadline exceeded" },
      table.pack(pool:drain(0.001)))
    local drains = rille.go(function() return pool:drain() end)
    helper.until_waiting(drains)
    local later
    gate:close()
    local told, opens = rille.chan(1), rille.chan()
    opens:close()
    repeat later = pool:submit(told, opens) told:recv(BOUND) until drains:join(0)
    assert.is_true(drains:await())
    assert.equal("first", first:await(0))
    later:join(BOUND)
  end)

  it("may be called by many at once", function()
    local pool <close> = rille.pool(2, function() rille.yield() end, { queue = 5 })
    local tasks = {}
    for i = 1, 40 do
      tasks[i] = rille.go(function()
        local future = pool:submit()
        local drained = pool:drain()
        return drained, future:join(0)
      end)
    end
    for i = 1, 40 do assert.same({ true, true }, { tasks[i]:await(BOUND) }) end
  end)

  it("ends with the pool, in whatever way that ends", function()
    local pool, gate = busy { queue = 5 }
    local drains = rille.go(function() return pool:drain() end)
    helper.until_waiting(drains)
    local stops = rille.go(function() return pool:stop() end)
    helper.until_waiting(stops)
    local late = rille.go(function() return pool:drain() end)
    helper.until_waiting(late)
    gate:close()
    for _, task in ipairs { drains, stops, late } do assert.is_true(task:await(BOUND)) end
    assert.is_true(pool:drain(BOUND))

    local other = busy()
    local drained = rille.go(function() return other:drain() end)
    helper.until_waiting(drained)
    other:cancel "why"
    assert.same({ n = 3, nil, "canceled", "why" }, table.pack(drained:await(BOUND)))
    assert.is_true(other:stop(BOUND))
  end)
end)

describe("stop", function()
  it("finishes the queue, ends the workers and waits for them", function()
    local pool = rille.pool(2, same, { queue = 50 })
    local futures = {}
    for i = 1, 50 do futures[i] = pool:submit(i) end
    assert.is_true(pool:stop(BOUND))
    for i = 1, 50 do assert.equal(i, futures[i]:await(0)) end
    assert.same({}, rille.tasks())
    assert.same({ n = 2, nil, "closed" }, table.pack(pool:submit(1)))
    assert.same({ n = 2, nil, "closed" }, table.pack(pool:try_submit(1)))
    assert.same({ nil, "closed" }, { pool:submit_within(1, 1) })
    assert.is_true(pool:stop())
  end)

  it("goes on when its wait is cut short", function()
    local pool, gate, _, first = busy()
    assert.equal("deadline exceeded", select(2, pool:stop(0.001)))
    assert.same({ nil, "closed" }, { pool:submit(1) })
    gate:close()
    assert.equal("first", first:await(BOUND))
    assert.is_true(pool:stop(BOUND))
  end)
end)

describe("cancel", function()
  it("fails the jobs that wait", function()
    local pool, _, running = busy { queue = 3 }
    local waiting = { pool:submit(running, running), pool:submit(running, running) }
    pool:cancel "enough"
    for _, future in ipairs(waiting) do
      assert.same({ n = 3, false, "canceled", "enough" }, table.pack(future:join(BOUND)))
      raises("^canceled$", future.await, future)
    end
    assert.same({ n = 3, nil, "canceled", "enough" }, table.pack(pool:submit(1)))
    assert.same({ n = 3, nil, "canceled", "enough" }, table.pack(pool:try_submit(1)))
    assert.is_true(pool:stop(BOUND))
    assert.same({}, rille.tasks())
  end)

  it("does not wait for a job that runs on to fail those that wait", function()
    local running, gate = rille.chan(), rille.chan()
    local pool = rille.pool(1, function()
      interrupted(running)
      return gate:recv()
    end)
    local first = pool:submit()
    running:recv(BOUND)
    local second = pool:submit()
    pool:cancel()
    assert.same({ false, "canceled", "canceled" }, { second:join(BOUND) })
    assert.is_nil((first:join(0)))
    gate:send "told"
    assert.same({ true, "told" }, { first:join(BOUND) })
    assert.is_true(pool:stop(BOUND))
  end)

  it("comes from the pool's done", function()
    local done, cancel = rille.done()
    local pool = rille.pool(done, 2, function() return rille.sleep(LONG) end)
    local future = pool:submit()
    cancel "above"
    assert.same({ n = 3, false, "canceled", "above" }, table.pack(future:join(BOUND)))
    assert.same({ n = 3, nil, "canceled", "above" }, table.pack(pool:submit()))
    assert.is_true(pool:stop(BOUND))
    local late = rille.pool(0.001, 1, same)
    late.over:wait(BOUND)
    assert.same({ n = 3, nil, "deadline exceeded", "deadline exceeded" },
      table.pack(late:submit()))
  end)

  it("comes at the end of the scope, which waits for the workers", function()
    local future
    do
      local pool <close> = rille.pool(2, function() return rille.sleep(LONG) end)
      future = pool:submit()
    end
    assert.same({}, rille.tasks())
    assert.same({ n = 3, false, "canceled", "canceled" }, table.pack(future:join(0)))
    local failed, why = pcall(function()
      local pool <close> = rille.pool(2, same)
      error(pool:submit "mine":await(), 0)
    end)
    assert.same({ false, "mine" }, { failed, why })
    assert.same({}, rille.tasks())
  end)
end)

describe("a job that runs when its pool is canceled", function()
  local KINDS = {
    sleeps = function(running) running:send(true) rille.sleep(LONG) end,
    computes = function(running) running:send(true) while true do end end,
    receives = function(running) running:send(true) running:recv() running:recv() end,
    ["sits in a coroutine"] = function(running)
      coroutine.wrap(function()
        running:send(true)
        rille.sleep(LONG)
      end)()
    end,
  }

  -- How a pool with a job in hand may end: each returns the job's future, the error, the cause.
  local WAYS = {}

  local function begun(pool, ...)
    local running = rille.chan()
    local future = pool:submit(running, ...)
    running:recv(BOUND)
    return future
  end

  function WAYS.cancel(fn)
    local pool = rille.pool(2, fn)
    local future = begun(pool)
    pool:cancel "enough"
    assert.is_true(pool:stop(BOUND))
    return future, "canceled", "enough"
  end

  function WAYS.close(fn)
    local pool <close> = rille.pool(2, fn)
    return begun(pool), "canceled", "canceled"
  end

  WAYS["its done"] = function(fn)
    local done, cancel = rille.done()
    local pool = rille.pool(done, 2, fn)
    local future = begun(pool)
    cancel "above"
    assert.is_true(pool.over:wait(BOUND))
    return future, "canceled", "above"
  end

  -- The job has to begin before it.
  function WAYS.deadline(fn)
    local seconds, future = 0.01
    repeat
      local done, running = rille.done { timeout = seconds }, rille.chan()
      local pool = rille.pool(done, 2, fn)
      future = pool:submit(running)
      local began = running:recv(done)
      assert.is_true(pool.over:wait(BOUND))
      seconds = 2 * seconds
    until began
    return future, "deadline exceeded", "deadline exceeded"
  end

  for way, leave in pairs(WAYS) do
    for kind, fn in pairs(KINDS) do
      it(("and %s is interrupted (%s)"):format(kind, way), function()
        local function check()
          local future, err, cause = leave(fn)
          local left = rille.now() + LONG
          local expected = { n = 3, false, err, cause }
          local outcome = table.pack(future:join(BOUND))
          return rille.now() < left, expected, outcome
        end
        for _, run in ipairs { check, function() return rille.go(check):await(BOUND) end } do
          local early, expected, outcome = run()
          assert.same({ true, expected }, { early, outcome })
        end
        assert.same({}, rille.tasks())
      end)
    end
  end

  it("tells where it was, and in which worker", function()
    local pool = rille.pool(1, KINDS.sleeps, { name = "shop" })
    local future = begun(pool)
    pool:cancel "enough"
    assert.is_false((future:join(BOUND)))
    local failure = future:failure()
    assert.same({ "canceled", "shop worker 1", "enough" },
      { failure.value, failure.task, failure.cause })
    assert.matches("pool_spec.lua", future:traceback())
    assert.equal(future:traceback(), failure.traceback)
    assert.is_true(pool:stop(BOUND))
  end)

  it("runs its <close> variables, which may wait, and then what init returned is closed", function()
    local closed, gate = rille.chan(4), rille.chan()
    local pool = rille.pool(1, function(kept, running)
      local _ <close> = rille.defer(function()
        closed:send "job waits"
        kept.gate:recv()
        closed:send "job"
      end)
      running:send(true)
      rille.sleep(LONG)
    end, { init = function()
      return setmetatable({ gate = gate }, { __close = function() closed:send "kept" end })
    end })
    local future = begun(pool)
    pool:cancel()
    assert.equal("job waits", closed:recv(BOUND))
    gate:send(true)
    assert.is_true(pool:stop(BOUND))
    assert.same({ "job", "kept" }, { closed:recv(0), closed:recv(0) })
    assert.same({ n = 3, false, "canceled", "canceled" }, table.pack(future:join(0)))
  end)

  it("keeps an error of its own, and a result that it manages to return", function()
    local pool = rille.pool(2, function(running, raise)
      local err = interrupted(running)
      if raise then error("at " .. err, 0) end
      return "told " .. err, { 1 }
    end)
    local told, raised = begun(pool), begun(pool, true)
    pool:cancel()
    assert.same({ true, "told canceled", { 1 } }, { told:join(BOUND) })
    assert.same({ false, "at canceled" }, { raised:join(BOUND) })
    assert.is_true(pool:stop(BOUND))
  end)

  it("is waited for when it does not heed that", function()
    local running, gate = rille.chan(), rille.chan()
    local pool <close> = rille.pool(1, function()
      running:send(interrupted(running))
      return gate:recv()
    end)
    local future = pool:submit()
    running:recv(BOUND)
    local stops = rille.go(function()
      pool:cancel()
      return pool:stop()
    end)
    assert.equal("canceled", running:recv(BOUND))
    assert.is_nil((stops:join(0)))
    assert.is_nil((future:join(0)))
    gate:send "heard"
    assert.is_true(stops:await(BOUND))
    assert.same({ true, "heard" }, { future:join(0) })
  end)

  it("goes on when the pool is only stopped", function()
    local pool, gate, _, first = busy()
    assert.is_nil((pool:stop(0.01)))
    assert.is_nil((first:join(0)))
    gate:close()
    assert.equal("first", first:await(BOUND))
    assert.is_true(pool:stop(BOUND))
  end)

  it("leaves no report, and its worker is not counted as dead", function()
    local run = helper.run [[
      local rille = require "rille"
      local running = rille.chan()
      local pool = rille.pool(2, function()
        running:send(true)
        rille.sleep(60)
      end)
      for _ = 1, 2 do pool:submit() running:recv() end
      pool:submit()
      pool:cancel()
      pool:stop()
      io.write(pool:stats().deaths)
    ]]
    assert.same({ "", "0", 0 }, { run.err, run.out, run.code })
  end)

  it("is canceled as well when it gives back what its done told it", function()
    local pool = rille.pool(2, function(kept, running, raise)
      interrupted(running)
      local ok, err = rille.sleep(LONG, kept.done)
      if raise then error(err) end
      return ok, err
    end, { init = function(done) return { done = done } end })
    local returned, raised = begun(pool), begun(pool, true)
    pool:cancel "enough"
    for _, future in ipairs { returned, raised } do
      assert.same({ n = 3, false, "canceled", "enough" }, table.pack(future:join(BOUND)))
    end
    assert.is_true(pool:stop(BOUND))
  end)
end)

describe("a pool that is dropped", function()
  local function dropped(n)
    local pool, futures = rille.pool(2, same, { queue = n }), {}
    for i = 1, n do futures[i] = pool:submit(i) end
    return futures
  end

  it("finishes its queue and ends by itself", function()
    local futures = dropped(20)
    collectgarbage()
    for i, future in ipairs(futures) do assert.equal(i, future:await(BOUND)) end
    none_left()
  end)

  it("is no leak", function()
    dropped(1)
    assert.same({}, rille.leaks())
    none_left()
  end)

  it("is so at the end of the program, if that comes as it should", function()
    local script = [[
      local rille = require "rille"
      pool = rille.pool(1, print, { name = "shop" })
      pool:submit "done"
      pool:drain()
      repeat
        local tasks, idle = rille.tasks(), 0
        for _, task in ipairs(tasks) do idle = idle + (task.status == "waiting" and 1 or 0) end
      until idle == 2 -- the supervisor, and the worker
      if arg[1] then os.exit(0) end
    ]]
    local well, hurried = helper.run(script), helper.run(script, { args = { "exit" } })
    assert.equal("", well.err)
    assert.matches("shop worker 1.* leaked", hurried.err)
  end)
end)

describe("a future", function()
  it("is a case of select, and stands for a done", function()
    local pool <close> = rille.pool(1, same)
    local future = pool:submit(5)
    assert.equal("job", (rille.select { job = future, late = BOUND }))
    assert.equal("canceled", select(3, rille.select(future, rille.never)))
    assert.is_true((rille.done(future)):wait(BOUND))
    assert.equal("canceled", select(2, rille.chan():recv(future)))
    assert.is_true(rille.any(future, rille.chan()):wait(BOUND))
    assert.is_true(rille.all(future, pool:submit(6)):wait(BOUND))
    assert.equal(5, future:await())
    assert.equal("future (ended)", tostring(future))
  end)

  it("is waited for as long as its done allows", function()
    local _ <close>, gate, _, first = busy()
    assert.same({ n = 3, nil, "deadline exceeded", "deadline exceeded" },
      table.pack(first:join(0)))
    raises("^deadline exceeded$", first.await, first, 0.001)
    assert.is_nil(first:failure())
    assert.is_nil(first:traceback())
    assert.equal("future (pending)", tostring(first))
    gate:close()
    assert.equal("first", first:await(BOUND))
  end)

  it("crosses to other tasks, and is awaited by many", function()
    local _ <close>, gate, _, first = busy()
    local tasks = {}
    for i = 1, 5 do tasks[i] = rille.go(function() return first:await() end) end
    local failing <close> = rille.pool(1, error)
    local failed = failing:submit()
    local there = rille.go(function() return failed:join() end)
    gate:close()
    for i = 1, 5 do assert.equal("first", tasks[i]:await(BOUND)) end
    assert.is_false((there:await(BOUND)))
  end)

  it("ends when its pool's tasks are all unwound as leaks", function()
    local pool = rille.pool(1, function() rille.chan():recv() end)
    local future = pool:submit()
    local ok, err
    local waits = rille.go(function() return future:join() end)
    helper.until_waiting(waits)
    while #rille.leaks() == 0 do rille.yield() end
    rille.collect()
    ok, err = future:join(BOUND)
    assert.is_false(ok)
    assert.matches("leaked", tostring(err))
    waits:join(BOUND)
    pool:stop(BOUND)
  end)
end)

describe("a pool as a case", function()
  it("is ready when it has ended", function()
    local pool = rille.pool(1, same)
    assert.is_nil(rille.try_select(pool))
    pool:cancel()
    assert.equal(1, (rille.select(pool, BOUND)))
    assert.same({}, rille.tasks())
  end)
end)

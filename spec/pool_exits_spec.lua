-- A pool leaves nothing behind, however and whenever it is left, and no future of it waits for
-- ever. See spec/support/exits.lua for the settings.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

require "spec.helper"
local Future = require "rille.pool.future"
local exits = require "spec.support.exits"
local rille = require "rille"
local serve = require "rille.pool.worker"

local BOUND = 60 -- a watchdog

local KINDS = 10
local ENDLESS = { [1] = true, [7] = true, [8] = true, [9] = true } -- kinds that need an end

-- A job that waits for the pool's done, fails, gives the worker away, or ends at once; or knows of
-- no end, and waits, computes, hides in a coroutine, or goes on when it is interrupted.
local function job(done, what, workers)
  if what == 1 then return done:wait() end
  if what == 2 then error("by itself", 0) end
  if what == 3 then workers:try_send(rille.self()) end
  if what == 4 then rille.sleep(1e-4, done) end
  if what == 7 then rille.sleep(BOUND) end
  if what == 8 then while true do end end
  if what == 9 then coroutine.wrap(rille.sleep)(BOUND) end
  if what == 10 then pcall(rille.sleep, 1e-4) end
  for _ = 1, what do rille.yield() end
  return what, { what }
end

local function init(done) return done end

-- What nothing else ends may not wait for that. Of an interrupted user or worker an error may be
-- lost with a future.
local function some_jobs(way, harmless)
  local jobs = {}
  for i = 1, math.random(6) do
    local what = math.random(KINDS)
    if way == "drop" and ENDLESS[what] or harmless and what == 2 then what = 5 end
    jobs[i] = what
  end
  return jobs
end

local function shoot(workers, shots, seed)
  for _ = 1, seed % 20 do rille.yield() end
  local worker = workers:try_recv()
  if worker then worker:interrupt "out" shots:add(1) end
end

-- What a user does, left in the way of the plan. `out` gets the futures.
local function use(done, plan, out, shots)
  local way, workers, drop = plan.way, rille.chan(10), plan.way == "drop"
  local pool = rille.pool(not drop and done or nil, math.random(3), job,
    { queue = math.random(0, 3), init = init })
  local _ <close> = not drop and pool or nil
  local cut, shot = way == "interrupt" or way == "twice", math.random(4) == 1
  local jobs = some_jobs(way, cut or shot)
  local last = math.random(#jobs)
  if shot and not cut then rille.go(shoot, workers, shots, plan.seed) end
  for i, what in ipairs(jobs) do
    local future = pool:submit_within(done, what, workers)
    if not future then return end
    out:send(future)
    if i == last and way == "break" then break end
    if i == last and way == "error" then error("mine", 0) end
    if what == 4 then pool:drain(1e-4) end
  end
  if not drop and math.random(4) == 1 then pool:stop(done) end
end

-- A worker dies of nothing but an interruption that is none of its pool's.
local function check(future, shots)
  local ok, err = future:join(BOUND)
  assert(ok ~= nil, "a future has not ended")
  assert(ok or shots:get() > 0 or not tostring(err):find "worker has died", err)
end

describe("1,000 early exits of a pool", function()
  it("leave no task behind, and no future that has not ended", function()
    exits.rounds(1000, function()
      local out, shots = rille.chan(10), rille.counter()
      exits.crowd(1, use, out, shots)
      exits.settle()
      out:close()
      for future in out do check(future, shots) end
    end)
  end)
end)

-- What a worker gets, with one job in the queue.
local function pool_of_one(values, ...)
  local jobs, done, fire = rille.chan(1), rille.done()
  local told, tell = rille.done { name = "told" }
  local future = Future.new(rille._request(jobs, nil, ...))
  jobs:close()
  local recipe = rille.done { values = values }
  local pool = { jobs = jobs, inside = rille.counter(), told = told, done = done, recipe = recipe }
  return pool, future, fire, tell
end

-- A worker runs in a coroutine of this task. At its nth instruction the pool's done fires, and what
-- a supervisor does then is done. Returns whether it came to that, and the job's future.
local function cut(n, fn)
  local pool, future, fire, tell = pool_of_one({ fn = fn }, "told")
  local done = pool.done
  local co = coroutine.create(function()
    pcall(serve, pool, rille.chan(), function() end)
  end)
  local short = false
  debug.sethook(co, function()
    debug.sethook(co)
    short = true
    fire "enough"
    tell()
    if pool.inside:add(2) == 3 then error("canceled", 0) end
  end, "", n)
  coroutine.resume(co)
  for finish in pool.jobs do finish { canceled = done:err(), cause = done:cause() } end
  return short, future
end

-- Counts how often the job comes to which outcome.
local function at_each_instruction(fn)
  local counts, n = {}, 1
  while true do
    local short, future = cut(n, fn)
    local outcome = table.concat({ tostring(future:join(0)), select(2, future:join(0)) }, " ")
    counts[outcome] = (counts[outcome] or 0) + 1
    if not short then return counts end
    n = n + 1
  end
end

describe("a worker whose pool is canceled at any instruction", function()
  local function outcomes(fn)
    local list, counts = {}, rille.go(at_each_instruction, fn):await(BOUND)
    for outcome, times in pairs(counts) do
      assert.is_true(times > 10, outcome)
      list[#list + 1] = outcome
    end
    table.sort(list)
    return list
  end

  it("gives its job's result, or cancels the job", function()
    assert.same({ "false canceled enough", "true told" },
      outcomes(function(...) return ... end))
    assert.same({ "false canceled enough", "true told told" },
      outcomes(function(...) return ..., ... end))
  end)

  it("gives its job's error, or cancels the job", function()
    assert.same({ "false canceled enough", "false told" },
      outcomes(function(...) error(..., 0) end))
    assert.same({ "false canceled enough", "false told" },
      outcomes(function(...) return nil, ... end))
    assert.same({ "false canceled enough", "false cannot send coroutine at result 1" },
      outcomes(function() return coroutine.create(print) end))
  end)
end)

describe("a worker that is interrupted as its job ends", function()
  -- Closes slowly what init has returned, and tells so.
  local function values(closed, fn)
    return { fn = fn, init = function()
      return setmetatable({}, { __close = function()
        for _ = 1, 100 do rille.yield() end
        closed:send "closed"
      end })
    end }
  end

  local function start(pool)
    return rille.go("rille.pool.worker", pool, rille.chan(), select(2, rille.done()))
  end

  it("keeps the job's outcome when that has come before", function()
    local begun, gate, closed = rille.chan(), rille.chan(), rille.chan(1)
    local pool, future, fire, tell = pool_of_one(values(closed, function()
      begun:send(true)
      gate:recv()
      return "told"
    end))
    local task = start(pool)
    begun:recv(BOUND)
    fire "enough"
    assert.equal(3, pool.inside:add(2))
    gate:close()
    while select(2, task:status()) ~= "wait told" do rille.yield() end
    task:interrupt "canceled"
    tell()
    assert.same({ true, "told" }, { future:join(BOUND) })
    assert.is_true((task:join(BOUND)))
    assert.equal("closed", closed:recv(0))
  end)

  it("is not interrupted in what follows", function()
    for _ = 1, 100 do
      local begun, over, ends = rille.chan(), rille.done()
      local closed = rille.chan(1)
      local pool, future, fire, tell = pool_of_one(values(closed, function()
        begun:send(true)
        while not over:err() do end -- luacheck: ignore 542
        return "told"
      end))
      local task = start(pool)
      begun:recv(BOUND)
      fire "enough"
      assert.equal(3, pool.inside:add(2))
      task:interrupt "canceled"
      tell()
      ends()
      local ok, what = future:join(BOUND)
      assert.is_true(ok and what == "told" or what == "canceled", tostring(what))
      task:join(BOUND)
      assert.equal("closed", closed:recv(0))
    end
  end)
end)

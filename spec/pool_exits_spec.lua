-- A pool leaves nothing behind, however and whenever it is left, and no future of it waits for
-- ever.
--
--     RILLE_SEED=n      the seed (by default that of the clock; it is printed when a test fails)
--     RILLE_EXITS=n     so many exits (1,000 by default, 200 under a sanitizer)

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

require "spec.helper"
local rille = require "rille"

local BOUND = 60 -- a watchdog

local seed = math.tointeger(os.getenv "RILLE_SEED") or os.time()
local count = math.tointeger(os.getenv "RILLE_EXITS") or os.getenv "RILLE_LUA" and 200 or 1000

-- A job that waits, fails, gives the worker away, or ends at once.
local function job(done, what, workers)
  if what == 1 then return done:wait() end
  if what == 2 then error("by itself", 0) end
  if what == 3 then workers:try_send(rille.self()) end
  if what == 4 then rille.sleep(1e-4, done) end
  for _ = 1, what do rille.yield() end
  return what, { what }
end

-- The body: what a user does, left in the way of the plan. `out` gets the futures.
local function use(done, plan, out, workers)
  local drop = plan.way == "drop" -- nothing else ends it then
  local pool = rille.pool(not drop and done or nil, plan.n, job, { queue = plan.queue })
  local _ <close> = not drop and pool or nil
  for i, what in ipairs(plan.jobs) do
    local future = pool:submit_within(done, what, workers)
    if not future then return end
    out:send(future)
    if i == plan.last and plan.way == "break" then break end
    if i == plan.last and plan.way == "error" then error("mine", 0) end
    if what == 4 then pool:drain(1e-4) end
  end
  if plan.way == "stop" then pool:stop(done) end
end

local WAYS = { "end", "break", "error", "drop", "stop", "cancel", "deadline", "interrupt",
  "worker" }

local function plan_of(random)
  local plan = { way = WAYS[random(#WAYS)], n = random(3), queue = random(0, 3), jobs = {} }
  for i = 1, random(6) do plan.jobs[i] = random(plan.way == "drop" and 2 or 1, 6) end
  if plan.way == "interrupt" then -- it may lose a future whose error nobody takes then
    for i, what in ipairs(plan.jobs) do plan.jobs[i] = what == 2 and 5 or what end
  end
  plan.last = random(#plan.jobs)
  plan.moment = random() * (random(2) == 1 and 1e-4 or 1e-3)
  return plan
end

-- Nothing may wait for ever. A pool that was dropped may have to be collected first, which looking
-- for leaks does.
local function settle(out)
  local late = rille.now() + BOUND
  while #rille.tasks() > 0 do
    assert(#rille.leaks() == 0 or rille.now() < late, "left")
    rille.yield()
  end
  out:close()
  for future in out do assert(future:join(BOUND) ~= nil, "a future has not ended") end
end

local function leave(plan, task, cancel, workers)
  rille.sleep(plan.moment)
  if plan.way == "cancel" then cancel "enough" end
  if plan.way == "interrupt" then task:interrupt "out" end
  local worker = plan.way == "worker" and workers:try_recv()
  if worker then worker:interrupt "out" end
end

local function round(random)
  local plan, out, workers = plan_of(random), rille.chan(10), rille.chan(10)
  local done, cancel = rille.done { timeout = plan.way == "deadline" and plan.moment or nil }
  local task = rille.go(use, done, plan, out, workers)
  leave(plan, task, cancel, workers)
  rille.select(task, 1e-3)
  cancel()
  local ok, err = task:join(BOUND)
  assert(ok or ok == false and (err == "mine" or err == "out"), err)
  settle(out)
end

describe("1,000 early exits of a pool", function()
  it("leave no task behind, and no future that has not ended", function()
    math.randomseed(seed)
    for i = 1, count do
      local ok, err = pcall(round, math.random)
      if not ok then
        local left = rille.tasks()[1]
        error(("RILLE_SEED=%d, exit %d: %s\n%s"):format(seed, i, tostring(err),
          left and left.traceback or ""), 0)
      end
    end
    assert.same({}, rille.leaks())
  end)
end)

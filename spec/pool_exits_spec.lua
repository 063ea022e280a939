-- A pool leaves nothing behind, however and whenever it is left, and no future of it waits for
-- ever. See spec/support/exits.lua for the settings.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

require "spec.helper"
local exits = require "spec.support.exits"
local rille = require "rille"

local BOUND = 60 -- a watchdog

-- A job that waits, fails, gives the worker away, or ends at once.
local function job(done, what, workers)
  if what == 1 then return done:wait() end
  if what == 2 then error("by itself", 0) end
  if what == 3 then workers:try_send(rille.self()) end
  if what == 4 then rille.sleep(1e-4, done) end
  for _ = 1, what do rille.yield() end
  return what, { what }
end

-- What nothing else ends may not wait for that; an interrupted user may lose a future, whose error
-- nobody takes then.
local function some_jobs(way)
  local jobs, lost = {}, way == "interrupt" or way == "twice"
  for i = 1, math.random(6) do
    local what = math.random(way == "drop" and 2 or 1, 6)
    jobs[i] = lost and what == 2 and 5 or what
  end
  return jobs, not lost
end

local function shoot(workers, seed)
  for _ = 1, seed % 20 do rille.yield() end
  local worker = workers:try_recv()
  if worker then worker:interrupt "out" end
end

-- What a user does, left in the way of the plan. `out` gets the futures.
local function use(done, plan, out)
  local way, workers = plan.way, rille.chan(10)
  local pool = rille.pool(way ~= "drop" and done or nil, math.random(3), job,
    { queue = math.random(0, 3) })
  local _ <close> = way ~= "drop" and pool or nil
  local jobs, deadly = some_jobs(way)
  local last = math.random(#jobs)
  if deadly and math.random(4) == 1 then rille.go(shoot, workers, plan.seed) end
  for i, what in ipairs(jobs) do
    local future = pool:submit_within(done, what, workers)
    if not future then return end
    out:send(future)
    if i == last and way == "break" then break end
    if i == last and way == "error" then error("mine", 0) end
    if what == 4 then pool:drain(1e-4) end
  end
  if way ~= "drop" and math.random(4) == 1 then pool:stop(done) end
end

describe("1,000 early exits of a pool", function()
  it("leave no task behind, and no future that has not ended", function()
    exits.rounds(1000, function()
      local out = rille.chan(10)
      exits.crowd(1, use, out)
      exits.settle()
      out:close()
      for future in out do assert(future:join(BOUND) ~= nil, "a future has not ended") end
    end)
  end)
end)

-- The supervisor: the task of a pool that starts its workers, replaces those that die, interrupts
-- their jobs when the pool's done has fired, and ends when they have ended. Then the pool is over.
-- @module rille.pool.supervisor

local backoff = require "rille.backoff"
local rille = require "rille"

local STARTS = 5 -- that may fail in a row before the pool does
local pause = backoff.new { first = 0.01 }

local function close(jobs)
  pcall(jobs.close, jobs) -- unless it is closed
end

local function refuse(jobs, done)
  local canceled = { canceled = done:err(), cause = done:cause() }
  for job in jobs do pcall(type(job) == "table" and job[1] or job, canceled) end
end

-- Interrupts the job that the worker has, once. The worker waits until it is told that it was.
local function interrupt(worker, why)
  if worker.inside:add(2) == 3 then worker.task:interrupt(why) end
  worker.tell()
end

-- Jobs end as the pool's done says: those that are run, and those that nobody will take any more.
local function shut(pool)
  close(pool.jobs)
  local why = pool.done:err()
  if not why then return end
  for _, worker in pairs(pool.workers) do interrupt(worker, why) end
  refuse(pool.jobs, pool.done)
end

-- What is to be closed takes the pool along with a supervisor that fails itself.
local function tie(pool)
  return setmetatable({}, { __close = function(_, err)
    if err ~= nil then pool.fire(tostring(err)) end
    shut(pool)
  end })
end

local function start(pool, i)
  local name = ("%s worker %d"):format(pool.name, i)
  local opts = { name = name, memory = pool.memory, pinned = pool.pinned }
  local inside, ready, set = rille.counter(), rille.done()
  local told, tell = rille._promise()
  local given = { done = pool.done, jobs = pool.jobs, recipe = pool.recipe, inside = inside,
    told = told }
  local task = rille.go(opts, "rille.pool.worker", given, pool.pings[i], set)
  return { task = task, ready = ready, inside = inside, tell = tell }
end

-- A worker that has died is replaced; after a pause, if it had not come to its first job.
local function replace(pool, worker, i, err)
  pool.deaths:try_send(true)
  pool.failed = worker.ready:err() and 0 or pool.failed + 1
  if pool.failed == STARTS then
    pool.fire(rille.errors._of(worker.task, err))
  elseif pool.failed > 0 then
    rille.sleep(pause(pool.failed), pool.done)
  end
  return not pool.done:err() and start(pool, i) or nil
end

local function successor(pool, i)
  local worker = pool.workers[i]
  local ok, err = worker.task:join()
  if ok or pool.done:err() then return nil end
  return replace(pool, worker, i, err)
end

return function(pool)
  pool.workers, pool.failed = {}, 0
  local _ <close> = tie(pool)
  local workers, cases = pool.workers, { done = pool.done, dropped = pool.dropped }
  local function employ(i, worker)
    workers[i], cases[i] = worker, worker and worker.task
  end
  for i = 1, #pool.pings do employ(i, start(pool, i)) end
  while next(workers) do
    local which = rille.select(cases)
    if workers[which] then
      employ(which, successor(pool, which))
    else
      cases[which] = nil
      shut(pool)
    end
  end
end

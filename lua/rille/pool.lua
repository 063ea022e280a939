--- Pools.
-- A pool runs jobs in a few long-lived tasks, its workers, which keep their state between jobs: the
-- modules they have loaded, the upvalues of their function, a connection. Whoever submits a job
-- gets a *future* for what will come of it.
--
--     local pool <close> = rille.pool(4, function(path)
--       local file <close> = assert(io.open(path))
--       return #file:read "a"
--     end)
--     local future = pool:submit "README.md"
--     print(future:await())
--
-- The function goes to each worker once, when the worker starts, and is called with the arguments
-- of each job. It fails by raising, or by returning `nil` and an error. Instead of a function there
-- may stand the name of a module, which yields a function, or a table of functions; of those,
-- `pool:submit(name, ...)` calls the one of that name.
--
-- The queue is bounded: `submit` waits while it is full. A pool crosses to other tasks, by
-- reference, and they may submit as well; so does a future.
--
-- **How a pool ends.** `stop` lets it finish its queue; `cancel`, or the pool's done, ends it
-- early. `local pool <close>` cancels it at the end of the scope and waits until its workers have
-- ended. A pool that is dropped by all who had it ends by itself as `stop` does, when that garbage
-- is collected, at the end of the program at the latest. If that ends by `os.exit`, which collects
-- nothing, the tasks of a pool that was not ended are reported as [leaks](leaks.md).
--
-- **What a cancellation does to jobs.** Those that wait are not begun. Those that run are
-- interrupted, so they need not know of any done: the error of the pool's done, mostly
-- `"canceled"`, is raised in them once, as by [`task:interrupt`](tasks.md), and their `<close>`
-- variables run. Both then fail with that error and the cause, as does a job that returns what the
-- done has told it; nobody has to take such an error. A job that catches it and returns something,
-- or fails with an error of its own, keeps that as its outcome; it is waited for. Nothing but jobs
-- is interrupted: neither `init` nor what closes that which it returned. `init` is given the pool's
-- done, and hands it on to jobs that are to see it:
--
--     local prices = rille.chan(4)
--     local pool <close> = rille.pool(4, function(kept, n)
--       local price, err = prices:recv(kept.done)
--       if not price then return nil, err end
--       kept.sum = kept.sum + n * price
--       return kept.sum
--     end, { init = function(done) return { done = done, sum = 0 } end })
--     prices:send(12)
--     print(pool:submit(2):await())
--
-- **What becomes of errors.** An error in a job is that of its future, and the worker goes on. It
-- is one of a task: if nobody takes it, by `join`, `await` or `failure`, it is reported on stderr.
-- A worker dies when it is interrupted between two jobs, or when memory runs out, be it that of its
-- option `memory`; then the job it had fails with an error that says so, a worker with a fresh
-- state takes its place, and `pool:stats()` counts it. When workers die five times in a row before
-- they can begin, because `init` or the module fails, the pool is canceled, with that failure as
-- the cause. A future ends in any case.
--
-- **Futures** have `join` and `await` as a task has, are a case of [select](select.md), and may
-- stand wherever a [done](done.md) may: they fire when the job has ended, with the error
-- `"canceled"` and a cause that is the pool's own affair. So does a pool when it has ended.
--
-- After Java's thread pools and `conc` for Go; workers that keep state are Erlang's.
-- @module pool
-- @pragma nostrip

local args = require "rille.args"
local future = require "rille.pool.future"
local rille = require "rille"

local Pool = { __name = "rille.pool", __case = "over" }
Pool.__index = Pool

local MANY = 1 << 30 -- deaths that are counted
local CLOSED = "send on closed channel"
local PINGS = 16 -- calls of drain at a time before they wait for one another

local OPTIONS = { queue = args.at_least(0), memory = args.at_least(1), init = "function",
  name = "string", pinned = "boolean" }

local function place()
  local info = debug.getinfo(3, "Sl")
  return ("pool %s:%d"):format(info.short_src, info.currentline)
end

local function pings(n, name)
  local list = {}
  for i = 1, n do list[i] = rille.chan(PINGS, name .. " pings") end
  return list
end

-- What the supervisor gets; it is not decoded there, but goes on to the workers.
local function recipe(fn, opts)
  return (args.sent(pcall(rille.done, { values = { fn = fn, init = opts.init } })))
end

-- A promise tells the supervisor that nobody has the pool any more.
local function start(pool, given, opts, name)
  local dropped, keep = rille._promise()
  local supervisor = rille._go({ name = name }, "rille.pool.supervisor", {
    name = name, memory = opts.memory, pinned = opts.pinned, recipe = given,
    jobs = pool.jobs, pings = pool.pings, deaths = pool.deaths,
    done = pool.done, fire = pool.fire, dropped = dropped,
  })
  pool.keep, pool.over = keep, (rille.done(supervisor))
  return setmetatable(pool, Pool)
end

--- Makes a pool and starts its workers.
-- @function rille.pool
-- @tparam[opt] done done what ends the pool early
-- @tparam integer n the number of workers, at least 1
-- @tparam function|string fn what a worker does: `fn(...)` with the arguments of each job; or the
-- name of a module that yields such a function or a table of them
-- @tparam[opt] table opts `queue` (integer, by default `n`): how many jobs may wait before `submit`
-- does; with 0 it waits until a worker takes the job. `init` (function): called with the pool's
-- done, once in each worker before its first job; what it returns comes before the arguments of
-- each job, `fn(kept, ...)`, and is closed when the worker ends, if it has a `__close`. `memory`
-- (bytes that a worker may allocate), `pinned` (boolean): as for `rille.go`. `name` (string): the
-- tasks are called so
-- @treturn pool
-- @raise on bad arguments; `cannot send ...` with the path when `fn` or `init` cannot cross
-- @usage
-- local pool <close> = rille.pool(2, function(counts, word)
--   counts[word] = (counts[word] or 0) + 1
--   return counts[word]
-- end, { init = function() return {} end })
-- assert(pool:submit("moon"):await() == 1)
local function new(_, done, n, fn, opts)
  local first = (type(n) == "number" or done == nil and n ~= nil) and 1 or 0
  if first == 0 then done, n, fn, opts = nil, done, n, fn end
  args.done(1, "pool", done)
  n = args.integer(first + 1, "pool", n, 1)
  args.task(first + 2, "pool", fn)
  opts = args.options(first + 3, "pool", opts, OPTIONS)
  local name, given = opts.name or place(), recipe(fn, opts)
  local below, fire = rille.done(done)
  return start({
    jobs = rille.chan(opts.queue or n, name .. " queue"),
    pings = pings(n, name),
    deaths = rille.chan(MANY),
    done = below,
    fire = fire,
  }, given, opts, name)
end

-- Why nothing can be submitted any more: nil, error, cause.
local function ended(pool)
  local err = pool.done:err()
  if err then return nil, err, pool.done:cause() end
  return nil, "closed"
end

-- The future of a job that was sent, else why it was not.
local function sent(pool, promise, err, ...)
  if promise then return future.new(promise) end
  if err == "closed" then return ended(pool) end
  return promise, err, ...
end

--- Submits a job; waits while the queue is full.
-- @function pool:submit
-- @param ... the arguments of the job; with a module of functions first the name of one
-- @treturn future
-- @treturn nil,string,any `nil` and `"closed"` once the pool was stopped; when its done has fired
-- `nil`, the error of that and the cause. Nothing was submitted then
-- @raise `cannot send ...` with the path of what cannot cross
function Pool:submit(...)
  return sent(self, args.sent(pcall(rille._request, self.jobs, self.done, ...)))
end

--- Submits a job if there is room in the queue, or a worker waits for one.
-- @function pool:try_submit
-- @param ... as for `pool:submit`
-- @treturn future
-- @treturn boolean,string `false` and `"full"`
-- @treturn nil,string,any as `pool:submit`
-- @raise as `pool:submit`
function Pool:try_submit(...)
  return sent(self, args.sent(pcall(rille._try_request, self.jobs, self.done, ...)))
end

--- Submits a job, waiting no longer than its first argument allows.
-- @function pool:submit_within
-- @tparam done done what cuts the wait short
-- @param ... as for `pool:submit`
-- @treturn future
-- @treturn nil,string,any as `pool:submit`; when `done` fired first `nil`, its error and cause
-- @raise as `pool:submit`
function Pool:submit_within(done, ...)
  args.done(1, "submit_within", done)
  if type(done) == "number" then -- lets what is ready come first
    local got, err, cause = self:try_submit(...)
    if got or err ~= "full" then return got, err, cause end
  end
  local guard = rille.any(self.done, done)
  return sent(self, args.sent(pcall(rille._request, self.jobs, guard, ...)))
end

-- What a wait for the end of all jobs comes to when something else has ended it.
local function cut_short(pool, guard)
  if pool.done:err() then return ended(pool) end
  if pool.over:err() then return true end
  return nil, guard:err(), guard:cause()
end

-- Jobs are taken in their order: so when this one is, all before it were. A queue that is closed
-- takes it no more; then the pool is about to end.
local function mark(pool, guard)
  local promise, finish = rille._promise()
  local ok, err = pcall(pool.jobs.send, pool.jobs, { finish }, guard)
  rille._forget(finish)
  if not ok and err ~= CLOSED then error(err, 0) end
  if not ok then guard:wait() end
  return promise:wait(guard)
end

-- Each worker gives up what it is pinged with when it has no job in hand, and when it dies. Who has
-- taken a later job by then comes to it after that.
local function all_free(pool, guard)
  local free, token = rille._promise()
  for _, ping in ipairs(pool.pings) do
    if not ping:send(token, guard) then break end
  end
  rille._forget(token)
  return free:wait(guard)
end

--- Waits until all that was submitted before has ended, well or badly. The pool goes on and accepts
-- further jobs, also meanwhile; of those only such are waited for as a worker begins before it can
-- be asked. A job that drains its own pool waits for itself.
-- @function pool:drain
-- @tparam[opt] done done what cuts the wait short
-- @treturn boolean `true`
-- @treturn nil,string,any when `done` or the pool's done fired first: `nil`, its error and cause
function Pool:drain(done)
  args.done(1, "drain", done)
  local guard = rille.any(self.over, self.done, done)
  if mark(self, guard) and all_free(self, guard) then return true end
  return cut_short(self, guard)
end

--- Accepts no further jobs, finishes those submitted, and ends the workers.
-- @function pool:stop
-- @tparam[opt] done done what cuts the wait short, not the end
-- @treturn boolean `true`, when the last worker has ended
-- @treturn nil,string,any when `done` fired first: `nil`, its error and cause
function Pool:stop(done)
  args.done(1, "stop", done)
  pcall(self.jobs.close, self.jobs) -- unless it is closed
  return self.over:wait(done)
end

--- Ends the pool early: jobs that wait are not begun, those that run are interrupted. Does not
-- wait: `pool:stop()` does.
-- @function pool:cancel
-- @param[opt] cause any value that can cross
-- @raise when the cause cannot cross
function Pool:cancel(cause)
  args.sent(pcall(self.fire, cause))
end

function Pool:__close()
  self.fire()
  self.over:wait()
end

--- Figures of the pool, as of this moment.
-- @function pool:stats
-- @treturn table `workers` (their number), `queued` (jobs that wait), `deaths` (workers that died
-- so far)
function Pool:stats()
  return { workers = #self.pings, queued = #self.jobs, deaths = #self.deaths }
end

--- Waits until the job has ended.
-- Repeatable, by as many as like, as `task:join`.
-- @function future:join
-- @tparam[opt] done done what cuts the wait short
-- @treturn boolean,... `true` and the results, or `false` and the error as the job raised or
-- returned it. That of a job that was ended or not begun as the pool was canceled is that of the
-- pool's done, such as `"canceled"`, and the cause follows
-- @treturn nil,string,any when `done` fired first: `nil`, its error and cause

--- Waits until the job has ended, for its results alone.
-- @function future:await
-- @tparam[opt] done done what cuts the wait short
-- @return the results
-- @raise the job's error as it was raised or returned; the error of `done`, when that fired first

--- Where the job failed.
-- @function future:traceback
-- @treturn string|nil the traceback of its error; `nil` while it has not ended, or where it has
-- none

--- The job's error with all that is known of it.
-- @function future:failure
-- @treturn failure|nil of [errors](errors.md), with `value`, `message`, `task` (the worker's name),
-- `traceback`; `nil` while it has not ended, or when it ended well

return setmetatable(Pool, { __call = new })

-- The worker: one of the tasks of a pool. It takes jobs from the pool's queue until that is closed
-- and empty, or the pool's done has fired. A job is several values: the `cancel` of its future's
-- promise, and its arguments. A table with such a `cancel` only asks whether it is its turn.
--
-- An error in a job is that job's failure. A worker dies of what comes to it outside of a job, and
-- of lack of memory, because its state may be what uses it up.
--
-- When the pool's done fires, jobs are interrupted, but nothing else that a worker does is. So the
-- counter `inside` is one higher as long as a job's function runs. The supervisor adds two; if the
-- worker is inside then, it interrupts it. In any case it fires `told`. A worker that finds two
-- more as it goes in does not begin. One that does so as it comes out waits for `told`, and meets
-- the interruption before it goes on.
-- @module rille.pool.worker

local rille = require "rille"

local function caught(err)
  return { value = err, traceback = debug.traceback(nil, 2) }
end

-- The worker's hand: the `finish` of the job it has, and what says whether that may be interrupted.

-- The instruction that is behind the yield is where an interruption comes at the latest.
local function meet(told)
  told:wait()
  rille.yield()
end

local function may_enter(hand)
  return hand.inside:add(1) == 1
end

local function leave(hand)
  if hand.inside:add(-1) > 0 then pcall(meet, hand.told) end
end

-- An outcome is given once: a worker that dies just then gives up the job.
local function taken(hand)
  local finish = hand.finish
  hand.finish = nil
  return finish
end

-- An error that is the done's: the interruption, or what the job has seen of the done itself.
-- `coroutine.wrap` puts a place before it.
local function is_canceled(hand, err)
  local why = hand.done:err()
  return why and (err == why or type(err) == "string" and err:match "^.*:%d+: (.*)$" == why)
end

local function cancel(hand, traceback)
  local done, name = hand.done, rille.self():name()
  local outcome = { canceled = done:err(), cause = done:cause(), traceback = traceback,
    worker = name }
  taken(hand)(outcome)
end

-- The task that carries the error of a job. An error that cannot cross leaves its text.
local function carry(name, value)
  local ok, task = pcall(rille.go, { name = name }, error, value, 0)
  return ok and task or rille.go({ name = name }, error, tostring(value), 0)
end

local function fail(hand, err)
  if is_canceled(hand, err.value) then return cancel(hand, err.traceback) end
  local name = rille.self():name()
  local task = carry(name, err.value)
  taken(hand) { failed = task, traceback = err.traceback, worker = name }
  rille._forget(task)
end

local PLAIN = { number = true, string = true, boolean = true }

-- An error of what cannot cross tells its place in the cause.
local function named(err)
  return (tostring(err):gsub("cause%[(%d+)%]", function(i) return ("result %d"):format(i - 1) end))
end

-- Results that cannot cross fail the job.
local function publish(hand, ...)
  local n, result, finish = select("#", ...), (...), taken(hand)
  if n == 1 and PLAIN[type(result)] and result ~= "canceled" then return finish(result) end
  local ok, err = pcall(finish, { n, ... })
  if ok then return end
  hand.finish = finish
  fail(hand, { value = named(err) })
end

local function settle(hand, ok, ...)
  leave(hand)
  local first, second = ...
  if ok and (first ~= nil or second == nil) then return publish(hand, ...) end
  if ok then return fail(hand, { value = second }) end
  if type(first) ~= "table" then error(first, 0) end -- no handler has run: there is no memory
  fail(hand, first)
end

local function lookup(functions, module, name)
  return functions[name] or function()
    error(("module '%s' has no function '%s'"):format(module, tostring(name)), 0)
  end
end

-- Returns what runs a job of a function. `kept` is what `init` has returned, if there is one.
local function of_function(fn, init, kept)
  if init then
    return function(hand, ...) settle(hand, xpcall(fn, caught, kept, ...)) end
  end
  return function(hand, ...) settle(hand, xpcall(fn, caught, ...)) end
end

local function of_functions(functions, module, init, kept)
  return function(hand, name, ...)
    of_function(lookup(functions, module, name), init, kept)(hand, ...)
  end
end

local function runner(fn, ...)
  if type(fn) ~= "string" then return of_function(fn, ...) end
  local yields = require(fn)
  if type(yields) == "table" then return of_functions(yields, fn, ...) end
  return of_function(yields, ...)
end

local function closable(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and meta.__close and value or nil
end

-- A worker that dies with a job in hand fails it. It does so also of the interruption that is meant
-- for a job, when that comes just after it: then the job is canceled.
local function drop(hand, err)
  if not hand.finish then return end
  if is_canceled(hand, err) then return cancel(hand) end
  local text = ("the worker has died: %s"):format(tostring(err))
  local fields = { cause = err, task = rille.self():name() }
  fail(hand, { value = rille.errors.failure(text, fields) })
end

local function new_hand(pool)
  return setmetatable({ done = pool.done, inside = pool.inside, told = pool.told },
    { __close = drop })
end

local function work(hand, run, finish, ...)
  hand.finish = finish
  if may_enter(hand) then
    run(hand, ...)
  else
    settle(hand, false, { value = hand.done:err() })
  end
  rille._forget(finish)
end

-- A ping is a promise's cancel: given up, it says that no job is in hand that was taken before.
local function serve(pool, pings, run)
  local hand <close> = new_hand(pool)
  local function turn(which, first, ...)
    if first == nil then return false end
    if which == 2 then
      rille._forget(first)
    elseif type(first) == "table" then
      rille._forget(first[1])
    else
      work(hand, run, first, ...)
    end
    return true
  end
  local take, done, jobs = rille.select_first, pool.done, pool.jobs
  while turn(take(done, pings, jobs)) do end -- luacheck: ignore 542
end

return function(pool, pings, ready)
  local init = pool.recipe:value "init"
  local kept = init and init(pool.done)
  local _ <close> = closable(kept)
  local run = runner(pool.recipe:value "fn", init, kept)
  ready()
  serve(pool, pings, run)
end

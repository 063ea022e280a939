-- The worker: one of the tasks of a pool. It takes jobs from the pool's queue until that is closed
-- and empty, or the pool's done has fired. A job is several values: the `cancel` of its future's
-- promise, and its arguments. A table with such a `cancel` only asks whether it is its turn.
--
-- An error in a job is that job's failure. A worker dies of what comes to it outside of a job, and
-- of lack of memory, because its state may be what uses it up.
-- @module rille.pool.worker

local rille = require "rille"

local function caught(err)
  return { value = err, traceback = debug.traceback(nil, 2) }
end

-- The task that carries the error of a job. An error that cannot cross leaves its text.
local function carry(name, value)
  local ok, task = pcall(rille.go, { name = name }, error, value, 0)
  return ok and task or rille.go({ name = name }, error, tostring(value), 0)
end

local function fail(finish, err)
  local name = rille.self():name()
  local task = carry(name, err.value)
  finish { failed = task, traceback = err.traceback, worker = name }
  rille._forget(task)
end

local PLAIN = { number = true, string = true, boolean = true }

-- An error of what cannot cross tells its place in the cause.
local function named(err)
  return (tostring(err):gsub("cause%[(%d+)%]", function(i) return ("result %d"):format(i - 1) end))
end

-- Results that cannot cross fail the job.
local function publish(finish, ...)
  local n, result = select("#", ...), ...
  if n == 1 and PLAIN[type(result)] and result ~= "canceled" then return finish(result) end
  local ok, err = pcall(finish, { n, ... })
  if not ok then fail(finish, { value = named(err) }) end
end

local function settle(finish, ok, ...)
  local first, second = ...
  if ok and (first ~= nil or second == nil) then return publish(finish, ...) end
  if ok then return fail(finish, { value = second }) end
  if type(first) ~= "table" then error(first, 0) end -- no handler has run: there is no memory
  fail(finish, first)
end

local function lookup(functions, module, name)
  return functions[name] or function()
    error(("module '%s' has no function '%s'"):format(module, tostring(name)), 0)
  end
end

-- Returns what runs a job of a function. `kept` is what `init` has returned, if there is one.
local function of_function(fn, done, init, kept)
  if init then
    return function(finish, ...) settle(finish, xpcall(fn, caught, done, kept, ...)) end
  end
  return function(finish, ...) settle(finish, xpcall(fn, caught, done, ...)) end
end

local function of_functions(functions, module, ...)
  local done, init, kept = ...
  return function(finish, name, ...)
    of_function(lookup(functions, module, name), done, init, kept)(finish, ...)
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

-- What is to be closed fails the job in hand when the worker dies.
local function hand()
  return setmetatable({}, { __close = function(held, err)
    local finish = held[1]
    if not finish then return end
    local text = ("the worker has died: %s"):format(tostring(err))
    local fields = { cause = err, task = rille.self():name() }
    fail(finish, { value = rille.errors.failure(text, fields) })
  end })
end

-- A ping is a promise's cancel: given up, it says that no job is in hand that was taken before.
local function serve(pool, pings, run)
  local held <close> = hand()
  local function turn(which, first, ...)
    if first == nil then return false end
    if which == 2 then
      rille._forget(first)
    elseif type(first) == "table" then
      rille._forget(first[1])
    else
      held[1] = first
      run(first, ...)
      held[1] = nil
      rille._forget(first)
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
  local run = runner(pool.recipe:value "fn", pool.done, init, kept)
  ready()
  serve(pool, pings, run)
end

--- Retry.
-- What fails now may succeed in a moment. `rille.retry` calls a function until it does, with pauses
-- that grow, and stops at once when its `done` fires.
--
--     local page, err = rille.retry(done, fetch, { attempts = 5, backoff = 0.2, jitter = 0.5 })
--
-- The function fails by raising an error or by returning `nil, err`; all errors are kept.
-- @module retry

local rille = require "rille"
local args = require "rille.args"
local backoff = require "rille.backoff"
local errors = require "rille.errors"

local KEPT = 100 -- errors, of more attempts than that

-- Did it succeed, and its results, or the error.
local function outcome(ok, ...)
  local value, err = ...
  if not ok then return false, value end
  if value == nil and err ~= nil then return false, err end
  return true, ...
end

local function keep(failed, err)
  if #failed == KEPT then table.remove(failed, 1) end
  failed[#failed + 1] = err
end

-- A lone error is not joined with any.
local function joined(failed)
  return #failed == 1 and failed[1] or errors.join(failed)
end

-- `nil`, the errors with the word of what has fired, which the last attempt may have told itself,
-- and the cause.
local function stopped(failed, err, cause)
  if not errors.is(failed[#failed], err) then keep(failed, err) end
  return nil, joined(failed), cause
end

-- Waits before the next attempt; false when there is to be none.
local function again(plan, attempt, err)
  if attempt == plan.attempts or plan.retry_if and not plan.retry_if(err, attempt) then
    return false
  end
  return true, rille.sleep(plan.pauses(attempt), plan.done)
end

local attempt_from

local function settle(plan, attempt, failed, ok, ...)
  if ok then return ... end
  local err = ...
  keep(failed, err)
  if plan.done:err() then return stopped(failed, plan.done:err(), plan.done:cause()) end
  local more, slept, why, cause = again(plan, attempt, err)
  if not more then return nil, joined(failed) end
  if not slept then return stopped(failed, why, cause) end
  return attempt_from(plan, attempt + 1, failed)
end

function attempt_from(plan, attempt, failed)
  return settle(plan, attempt, failed, outcome(xpcall(plan.fn, errors._raised, plan.done, attempt)))
end

--- Calls `fn(done, attempt)`, in the caller's own task, until it succeeds.
-- An attempt fails when `fn` raises or returns `nil` and an error. Then comes a pause and the next
-- attempt, unless all have been made, `retry_if` says no, or `done` has fired, which also cuts a
-- pause short. An interruption that meets `fn` is an error of it like any other.
-- @function rille.retry
-- @tparam done done what stops it, or `nil`; `fn` gets a done below it, which fires when `retry`
-- returns: so what an attempt has left running is told to stop
-- @tparam function fn what is tried; `attempt` counts from 1
-- @tparam[opt] table opts `attempts`: how many at most (3; `math.huge` for no end); `backoff`: the
-- first pause in seconds, from which each is twice as long as the one before, up to 30 s (0.1);
-- or a function from the attempt that has failed to the pause after it; or a table with `first`,
-- `factor`, `max` and `jitter`; `jitter`: the share of each pause that is random, from 0 (none) to
-- 1, so that many that fail together do not all come again together; `retry_if(err, attempt)`: is
-- this one worth another attempt?
-- @return the results of `fn`
-- @treturn nil,any,any `nil` and the error: that of the attempt, if there was one, or else the
-- [join](errors.md) of all errors (of more than 100 the last). When `done` fired first, its
-- `"canceled"` or `"deadline exceeded"` is the last of them, and its cause follows. What was raised
-- is a failure with its traceback; `errors.is(err, "canceled")` looks into all of them
-- @raise what `retry_if` or a function as `backoff` raises
-- @usage
-- local calls = 0
-- local value = rille.retry(nil, function(_, attempt)
--   calls = calls + 1
--   if attempt < 3 then return nil, "not yet" end
--   return "there"
-- end, { backoff = 0.001 })
-- assert(value == "there" and calls == 3)
return function(done, fn, opts)
  args.done(1, "retry", done)
  args.fn(2, "retry", fn)
  opts = args.options(3, "retry", opts, backoff.OPTIONS)
  local own, cancel <close> = rille.done(done) -- luacheck: ignore 211
  if own:err() then return nil, own:err(), own:cause() end
  return attempt_from({
    fn = fn,
    done = own,
    attempts = opts.attempts or 3,
    pauses = backoff.of(opts.backoff, opts.jitter),
    retry_if = opts.retry_if,
  }, 1, {})
end

-- The future: what will come of a job. It holds a promise; the worker fires that with the outcome
-- as its cause:
--
--   { n, ... }               n results
--   any other than a table   that one result, which crosses faster so
--   { failed =, traceback =, worker = }   a task that has failed with the error: so an error that
--                            nobody takes is reported as that of any task
--   { canceled =, cause =, traceback =, worker = }   the error and cause of the pool's done: the
--                            job was interrupted; or it has not begun and will not, then without
--                            the last two
--
-- A promise that was given up has "canceled", as any done without a cause; so that string is sent
-- in a table. Then the worker has died with the job in its hands.
-- @module rille.pool.future

local args = require "rille.args"
local rille = require "rille"

local Future = { __name = "rille.future", __case = "ended" }
Future.__index = Future

local LOST = "the worker has died, and the job is lost"

function Future.new(ended)
  return setmetatable({ ended = ended }, Future)
end

local function outcome_of(future)
  local outcome = future.ended:cause()
  if type(outcome) == "table" then return outcome end
  return outcome ~= "canceled" and { 1, outcome } or {}
end

-- What `join` returns of a job that has ended.
local function conclude(outcome)
  if outcome[1] then return true, table.unpack(outcome, 2, outcome[1] + 1) end
  if outcome.failed then return outcome.failed:join() end
  if outcome.canceled then return false, outcome.canceled, outcome.cause end
  return false, rille.errors.failure(LOST)
end

local function join(future, done)
  local ended, err, cause = future.ended:wait(done)
  if not ended then return nil, err, cause end
  local outcome = future.ended:cause()
  if type(outcome) ~= "table" and outcome ~= "canceled" then return true, outcome end
  return conclude(outcome_of(future))
end

function Future:join(done)
  args.done(1, "join", done)
  return join(self, done)
end

local function give(ok, ...)
  if ok then return ... end
  error((...), 0)
end

function Future:await(done)
  args.done(1, "await", done)
  return give(join(self, done))
end

function Future:traceback()
  return outcome_of(self).traceback
end

function Future:failure()
  if not self.ended:err() then return nil end
  local outcome = outcome_of(self)
  local ok, err, cause = conclude(outcome)
  if ok then return nil end
  return rille.errors.failure(err, {
    task = outcome.worker,
    traceback = outcome.traceback,
    cause = cause,
  })
end

function Future:__tostring()
  return ("future (%s)"):format(self.ended:err() and "ended" or "pending")
end

return Future

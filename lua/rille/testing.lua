--- Tests that take no time.
-- `testing.run` calls a function on a virtual clock. It stands still while anything runs; when
-- all wait, it jumps to the moment the next timer is due. So a timeout of an hour is tested in
-- milliseconds, and how long something took comes out exactly. After Go's `testing/synctest`.
--
--     local rille = require "rille"
--     local testing = require "rille.testing"
--
--     testing.run(function()
--       local start = rille.now()
--       local never = rille.chan()
--       local _, err = never:recv(3600)
--       assert(err == "deadline exceeded" and rille.now() - start == 3600)
--     end)
--
-- `rille.now`, `sleep`, `after`, `tick`, `timer`, timeouts and deadlines of dones, and numbers as
-- a `done` or as a case of `select` all follow the clock; `os.time` and `os.clock` do not. It
-- jumps when all tasks and the main program wait for one another or for a timer. It does not while
-- one of them runs, or is in a call that Rille knows nothing of, such as `os.execute` or reading
-- from a socket. A signal that `rille.notify` is to see is not waited for. Timers that are due at
-- the same instant all fire before the clock goes on; tasks that they wake run in parallel, as
-- always.
--
-- The clock is that of the whole process, tasks started before included.
-- @module testing

local rille = require "rille"

local testing = {}

--- Runs `fn(...)` and the tasks it starts on a virtual clock.
-- The function runs in the caller's own state, so the assertions of a test framework work in it;
-- the caller may be the main program or a task. The clock starts at the real time (rounded up to a
-- multiple of 2^-20 s, so that sums with whole seconds are exact). When `fn` has returned, the
-- tasks started meanwhile, other than daemons, are awaited, on the virtual clock: what would go on
-- for ever must have been told to stop.
--
-- When all wait and no timer is armed, but for tickers that nobody reads, nothing can happen any
-- more: then the caller's wait raises an error that begins with `deadlock` and lists who waits
-- where. So does each further wait of the caller for which the same holds, and that for tasks left
-- at the end.
--
-- When `run` returns or raises, the clock is the real one again. A timer armed meanwhile that
-- is still to come keeps the time it has left; one armed before keeps its point in time, and has
-- fired if the clock passed that.
-- @function testing.run
-- @tparam function fn what is to run
-- @param ... its arguments
-- @return the results of `fn`
-- @raise what `fn` raises, unchanged, and then without waiting for other tasks; `deadlock: ...`
-- when tasks are left that can never end; when a run is under way already; on what is no function
-- @usage
-- local testing = require "rille.testing"
-- local order = testing.run(function()
--   local log = rille.chan(2)
--   rille.go(function() rille.sleep(7200) log:send "late" end)
--   rille.go(function() rille.sleep(60) log:send "soon" end)
--   return { log:recv(), log:recv() }
-- end)
-- assert(order[1] == "soon" and order[2] == "late")
function testing.run(fn, ...)
  if type(fn) ~= "function" then
    error(("bad argument #1 to 'run' (function expected, got %s)"):format(type(fn)), 2)
  end
  local clock <close>, taken = rille._clock()
  if not clock then error(taken, 2) end
  local results = table.pack(fn(...))
  while clock:await() do end -- luacheck: ignore 542
  return table.unpack(results, 1, results.n)
end

return testing

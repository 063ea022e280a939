--- All settled.
-- What several functions come to, one by one.
-- @module all_settled

local rille = require "rille"
local args = require "rille.args"
local errors = require "rille.errors"
local result = require "rille.result"
local runners = require "rille.runners"

--- Runs functions, each in a task of its own, waits for all, and tells what has become of each.
-- No failure stops the others. When `done` fires, they are told to stop, and so they settle too.
-- @function rille.all_settled
-- @tparam done done cancels it, or `nil`
-- @tparam table fns functions or names of modules, called as `fn(done)`; one fails as in a
-- [group](group.md): by raising, or by returning `nil` and an error
-- @tparam[opt] table opts `limit` (integer, how many run at the same time; by default all)
-- @treturn table their [results](result.md), in the order of `fns`. Each error is a
-- [failure](errors.md): that of one that was not started any more has the done's error and cause
-- @raise on a bad argument, named
-- @usage
-- local results = rille.all_settled(nil, {
--   function() return 1, 2 end,
--   function() return nil, "no luck" end,
-- })
-- assert(results[1] == rille.result.ok(1, 2))
-- assert(not results[2].ok and rille.errors.is(results[2].err, "no luck"))
return function(done, fns, opts)
  args.done(1, "all_settled", done)
  args.tasks(2, "all_settled", fns, true)
  opts = args.options(3, "all_settled", opts, { limit = rille.group._parts.limit })
  local group <close> = rille.group(done, { policy = "all", limit = opts.limit })
  local tasks, results = {}, {}
  for i, fn in ipairs(fns) do
    local task, err, cause = group:go(fn)
    tasks[i] = task
    results[i] = not task and result.err(errors.failure(err, { cause = cause }))
  end
  group:wait()
  for i, task in pairs(tasks) do results[i] = result.from(runners.outcome(task)) end
  return results
end

--- Race.
-- The first of several functions to end decides.
-- @module race

local args = require "rille.args"
local runners = require "rille.runners"

local function first(field)
  local task = field:next()
  local outcome = task and table.pack(runners.outcome(task)) or { false }
  if outcome[1] then return outcome end
  return nil, outcome[2]
end

--- Runs functions against each other, each in a task of its own: the first to end wins, well or
-- badly.
-- The others are cancelled and awaited; what becomes of them does not count.
-- @function rille.race
-- @tparam done done cancels it, or `nil`
-- @tparam table fns functions or names of modules, called as `fn(done)`; at least one
-- @tparam[opt] table opts `delay` (seconds: they start one after the other, so long apart; by
-- default all at once)
-- @return the results of the first to end
-- @treturn nil,failure when that has failed
-- @treturn nil,string,any when `done` has fired first: its error and cause
-- @raise on a bad argument, named
-- @usage
-- local slow = function(done) return rille.sleep(60, done) end
-- assert(rille.race(nil, { slow, function() return "quick" end }) == "quick")
return function(done, fns, opts)
  args.done(1, "race", done)
  args.tasks(2, "race", fns)
  opts = args.options(3, "race", opts, runners.OPTIONS)
  return runners.run(done, fns, opts, first)
end

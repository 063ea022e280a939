--- Each.
-- Calls a function for each item of a list, in tasks of their own, for what it does alone.
-- @module each

local rille = require "rille"
local args = require "rille.args"

--- As [`rille.map`](map.md), without results.
-- @function rille.each
-- @tparam done done cancels it, or `nil`
-- @tparam table list of `list.n` items, if it has that field, else of `#list`
-- @tparam function|string fn called as `fn(done, item, i)`
-- @tparam[opt] table opts as for [`rille.map`](map.md)
-- @treturn boolean `true` when all went well
-- @treturn nil,failure otherwise the error, as from [`rille.map`](map.md)
-- @raise on a bad argument, named
-- @usage
-- local sum = rille.chan(3)
-- assert(rille.each(nil, { 1, 2, 3 }, function(_, n) sum:send(n) end))
-- assert(sum:recv() + sum:recv() + sum:recv() == 6)
return function(done, list, fn, opts)
  args.done(1, "each", done)
  args.table(2, "each", list)
  args.task(3, "each", fn)
  args.options(4, "each", opts, rille.group._parts)
  local results, err = rille.map(done, list, fn, opts)
  if results then return true end
  return nil, err
end

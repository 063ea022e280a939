--- Map.
-- Calls a function for each item of a list, in tasks of their own, and waits for all of them.
-- @module map

local rille = require "rille"
local args = require "rille.args"
local errors = require "rille.errors"

-- A task takes some 10 KB: so many at the same time, unless the caller knows better.
local LIMIT <const> = 10000

local function options(opts)
  return { limit = opts.limit or LIMIT, max_errors = opts.max_errors, policy = opts.policy }
end

-- One error of what a group has said: all that were to be collected, or the first.
local function error_of(opts, first, failures)
  if #failures == 1 or not opts.max_errors and opts.policy ~= "all" then return first end
  return errors.join(failures)
end

--- Calls `fn(done, item, i)` for each item of a list, each in a task of a [group](group.md).
-- The tasks have all ended when it returns, in whatever way. Items and results cross once each.
-- @function rille.map
-- @tparam done done cancels it, or `nil`
-- @tparam table list of `list.n` items, if it has that field, else of `#list`
-- @tparam function|string fn fails as that of a group does: by raising, or by returning `nil` and
-- an error
-- @tparam[opt] table opts `limit` (integer, how many run at the same time; by default 10,000),
-- `policy` and `max_errors` as for a [group](group.md): by default the first failure stops the rest
-- @treturn table the first result of each call, in the order of the list, and `n`
-- @treturn nil,failure,table otherwise the first failure, or, with `policy = "all"` or
-- `max_errors`, all of them [joined](errors.md) if they are several; and the results there are
-- @raise on a bad argument, named
-- @usage
-- local squares = rille.map(nil, { 1, 2, 3 }, function(_, n) return n * n end, { limit = 2 })
-- assert(table.concat(squares, " ") == "1 4 9")
return function(done, list, fn, opts)
  args.done(1, "map", done)
  args.table(2, "map", list)
  args.task(3, "map", fn)
  opts = options(args.options(4, "map", opts, rille.group._parts))
  local group <close> = rille.group(done, opts)
  local n, refused, cause = list.n or #list, nil, nil
  for i = 1, n do
    local task
    task, refused, cause = group:go(fn, list[i], i)
    if not task then break end
  end
  local ok, first, failures = group:wait()
  local results = group:results()
  results.n = n
  if not ok then return nil, error_of(opts, first, failures), results end
  if refused then return nil, errors.failure(refused, { cause = cause }), results end
  return results
end

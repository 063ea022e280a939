--- First ok.
-- The first of several functions to succeed decides.
-- @module first_ok

local args = require "rille.args"
local errors = require "rille.errors"
local runners = require "rille.runners"

-- The outcome of the first success, else what is joined of the failures.
local function first_success(field)
  local failures = { n = #field.fns }
  for task, place in field.next, field do
    local outcome = table.pack(runners.outcome(task))
    if outcome[1] then return outcome end
    failures[place] = outcome[2]
  end
  return nil, errors.join(failures)
end

--- Runs functions against each other, each in a task of its own: the first to succeed wins.
-- The others are cancelled and awaited; what becomes of them does not count. Python's and
-- JavaScript's *any*; with `delay` the "happy eyeballs" of RFC 8305.
-- @function rille.first_ok
-- @tparam done done cancels it, or `nil`
-- @tparam table fns functions or names of modules, called as `fn(done)`; at least one. One fails
-- as in a [group](group.md): by raising, or by returning `nil` and an error
-- @tparam[opt] table opts `delay` (seconds: the next one starts so long after the one before, or as
-- soon as one has failed; by default all start at once)
-- @return the results of the first that succeeds
-- @treturn nil,errors when all have failed: the failures [joined](errors.md), in the order of `fns`
-- @treturn nil,string,any when `done` has fired first: its error and cause
-- @raise on a bad argument, named
-- @usage
-- local function broken() error "no route" end
-- local function works() return "connected" end
-- assert(rille.first_ok(nil, { broken, works }, { delay = 0.25 }) == "connected")
-- local _, err = rille.first_ok(nil, { broken, broken })
-- assert(#err == 2)
return function(done, fns, opts)
  args.done(1, "first_ok", done)
  args.tasks(2, "first_ok", fns)
  opts = args.options(3, "first_ok", opts, runners.OPTIONS)
  return runners.run(done, fns, opts, first_success)
end

-- Leaves things early, in every way there is, at random moments.
--
--     local exits = require "spec.support.exits"
--     exits.run(1, function(done, plan, ...) ... end, ...)
--
-- calls that function in 1,000 tasks, one after the other; exits.run(20, ...) in crowds of 20 at
-- the same time. `plan.way` is one of exits.WAYS. The ways "error" (which raises "mine"), "break"
-- and "drop" are the function's own to take; "cancel" fires its `done` with a cause, "deadline" by
-- its deadline, "interrupt" and "twice" interrupt its task, "end" lets it be; all at a random
-- moment. In the end `done` fires in any case, and then there must be no task left. math.random
-- goes by the seed, in the tasks as well; `plan.seed` is a number to draw from.
--
-- A round, which is a crowd, is repeated by the seed that it names when it fails:
--
--     RILLE_SEED=n      the seed of the first round (by default that of the clock)
--     RILLE_ROUNDS=n    how many rounds (by default a tenth of them under a sanitizer)

local rille = require "rille"

local exits = {}

exits.WAYS = { "end", "error", "break", "drop", "cancel", "deadline", "interrupt", "twice" }

local COUNT = 1000
local BOUND = 60 -- a watchdog
local TOLD = { cancel = true, deadline = true, interrupt = true, twice = true } -- end by themselves
local OURS = { mine = true, out = true } -- errors

local seed = math.tointeger(os.getenv "RILLE_SEED") or os.time()
local only = math.tointeger(os.getenv "RILLE_ROUNDS")
local slowness = os.getenv "RILLE_LUA" and 10 or 1 -- a sanitizer's

--- Sooner or later, up to a millisecond.
function exits.pause()
  if math.random(4) > 1 then
    for _ = 1, math.random(0, 20) do rille.yield() end
  else
    rille.sleep(math.random() * 1e-3)
  end
end

--- Raises unless all tasks end. Looking for leaks collects what was dropped.
function exits.settle()
  local late = rille.now() + BOUND
  while #rille.tasks() > 0 do
    if #rille.leaks() > 0 or rille.now() > late then
      local left = rille.tasks()[1]
      if left then error(("left: %s\n%s"):format(left.name, left.traceback), 0) end
    end
    rille.yield()
  end
end

--- Calls round() so many times, each with a seed of its own. Afterwards no task may be left.
function exits.rounds(n, round)
  for own = seed, seed + (only or math.max(n // slowness, 1)) - 1 do
    math.randomseed(own)
    local ok, err = xpcall(round, debug.traceback)
    if ok then ok, err = pcall(exits.settle) end
    if not ok then error(("RILLE_SEED=%d RILLE_ROUNDS=1: %s"):format(own, tostring(err)), 0) end
  end
end

local function play(body, done, plan, ...)
  math.randomseed(plan.seed)
  body(done, plan, ...)
end

local function start(above, body, ...)
  local plan = { way = exits.WAYS[math.random(#exits.WAYS)], seed = math.random(1 << 30) }
  local timeout = plan.way == "deadline" and math.random() * 1e-3 or nil
  local done, cancel = rille.done(above, { timeout = timeout })
  return { way = plan.way, cancel = cancel, task = rille.go(play, body, done, plan, ...) }
end

-- Half of the handles are dropped.
local function leave(one)
  exits.pause()
  local way, task = one.way, one.task
  if way == "interrupt" or way == "twice" then task:interrupt "out" end
  if way == "cancel" or way == "twice" then one.cancel "enough" end
  if way == "twice" then task:interrupt "out" end
  if math.random(2) == 1 then one.cancel = nil end
end

local function check(one)
  local ok, err = one.task:join(BOUND)
  if ok or OURS[err] then return end
  local text = ok == nil and "it does not end" or tostring(err)
  error(("%s: %s\n%s"):format(one.way, text, one.task:traceback()), 0)
end

--- A crowd: calls body(done, plan, ...) in `size` tasks at the same time, and leaves each.
function exits.crowd(size, body, ...)
  local above, cancel = rille.done()
  local ones = {}
  for i = 1, size do ones[i] = start(above, body, ...) end
  for _, one in ipairs(ones) do leave(one) end
  for _, one in ipairs(ones) do rille.select(one.task, TOLD[one.way] and BOUND or 2e-4) end
  cancel()
  for _, one in ipairs(ones) do check(one) end
end

--- 1,000 of them, in crowds of that size.
function exits.run(size, body, ...)
  local args = table.pack(...)
  exits.rounds(COUNT // size, function()
    exits.crowd(size, body, table.unpack(args, 1, args.n))
  end)
end

return exits

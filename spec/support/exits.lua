-- Leaves things early, in every way there is, at random moments.
--
--     local exits = require "spec.support.exits"
--     exits.run(1000, function(done, plan) ... end)
--
-- runs that function in a task, so many times. Each time `plan` is a table of its own: `plan.way`
-- is one of exits.WAYS, `plan.seed` a number to draw from. The ways "error", "break" and "drop" are
-- the function's own to take; "cancel" fires `done` with a cause, "deadline" by its deadline,
-- "interrupt" interrupts the task, "end" lets it be; all at a random moment. Afterwards `done` is
-- fired, in any case, and there must be no task left.
--
--     RILLE_SEED=n      the rounds that begin with this seed (by default that of the clock)
--     RILLE_ROUNDS=n    how many

local rille = require "rille"

local exits = {}

exits.WAYS = { "end", "error", "break", "drop", "cancel", "deadline", "interrupt" }

local BOUND = 20
local TOLD = { cancel = true, deadline = true, interrupt = true } -- these must end by themselves

local function leave(plan, task, cancel)
  for _ = 1, math.random(0, 12) do rille.yield() end
  if plan.way == "cancel" then cancel "enough" end
  if plan.way == "interrupt" then task:interrupt "out" end
end

--- Raises unless all tasks end that have been told to.
function exits.settle()
  local latest = rille.now() + BOUND
  while #rille.tasks() > 0 and #rille.leaks() == 0 and rille.now() < latest do rille.yield() end
  local left = rille.tasks()
  if #left > 0 then error("left: " .. left[1].name .. "\n" .. left[1].traceback, 0) end
end

local function round(body)
  local plan = { way = exits.WAYS[math.random(#exits.WAYS)], seed = math.random(1 << 30) }
  local timeout = plan.way == "deadline" and math.random() * 1e-3 or nil
  local done, cancel = rille.done { timeout = timeout }
  local task = rille.go(function() return body(done, plan) end)
  leave(plan, task, cancel)
  rille.select(task, TOLD[plan.way] and BOUND or 2e-4)
  cancel()
  local ok, err = task:join(BOUND)
  local expected = plan.way == "error" and "mine" or plan.way == "interrupt" and "out"
  if ok == nil then error(plan.way .. ": it does not end") end
  if not ok and err ~= expected then error(plan.way .. ": " .. tostring(err)) end
  exits.settle()
end

function exits.run(rounds, body)
  local seed = math.tointeger(os.getenv "RILLE_SEED") or os.time()
  math.randomseed(seed)
  if os.getenv "RILLE_LUA" then rounds = rounds // 10 end -- a sanitizer's, which is slow
  for i = 1, math.tointeger(os.getenv "RILLE_ROUNDS") or rounds do
    local ok, err = pcall(round, body)
    if not ok then error(("RILLE_SEED=%d, round %d: %s"):format(seed, i, tostring(err)), 0) end
  end
end

return exits

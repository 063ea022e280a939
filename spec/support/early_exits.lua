-- Random early exits: a body runs in many tasks, and each is left in some way at a random moment.
-- Afterwards nothing may be left of them.
--
--     RILLE_SEED=n      the seed (by default that of the clock; it is printed when a test fails)
--     RILLE_EXITS=n     so many tasks (1,000 by default, 200 under a sanitizer)

local rille = require "rille"

local exits = {}

local BOUND = tonumber(os.getenv "RILLE_BOUND") or 60 -- a watchdog
local AT_ONCE = 20 -- tasks at the same time

local seed = math.tointeger(os.getenv "RILLE_SEED") or os.time()
local count = math.tointeger(os.getenv "RILLE_EXITS") or os.getenv "RILLE_LUA" and 200 or 1000

-- What is done to a task from outside. The functions have no upvalues, as tasks run them.
local WAYS = {
  function(_, cancel) cancel() end,
  function(task) task:interrupt "interrupted" end,
  function(task, cancel)
    task:interrupt "interrupted"
    cancel()
    task:interrupt "interrupted again"
  end,
}

local function leave(how, moment, task, cancel)
  rille.sleep(moment)
  how(task, cancel)
end

-- Sooner or later: most bodies wait for the first tenth of a millisecond.
local function random_moment()
  return math.random() * (math.random() < 0.5 and 1e-4 or 1e-3)
end

-- A third ends by a deadline, a sixth each by one of the ways, a sixth by an error of the caller's.
local function start(tasks, body, arg)
  local dice, moment = math.random(6), random_moment()
  local done, cancel = rille.done { timeout = dice <= 3 and moment or nil }
  local task = rille.go(function()
    body(done, arg)
    if dice == 3 then error("the caller fails", 0) end
  end)
  tasks[#tasks + 1] = task
  if dice > 3 then tasks[#tasks + 1] = rille.go(leave, WAYS[dice - 3], moment, task, cancel) end
end

local function run(body, arg)
  for _ = 1, count // AT_ONCE do
    local tasks = {}
    for _ = 1, AT_ONCE do start(tasks, body, arg) end
    for _, task in ipairs(tasks) do
      local ended, err = task:join(BOUND)
      assert(ended ~= nil, err)
    end
  end
end

-- Tasks that were told to stop may need a moment for it.
local function left()
  local late = rille.now() + BOUND
  repeat
    local tasks, leaks = rille.tasks(), rille.leaks()
    if #tasks == 0 then return end
    rille.sleep(1e-3)
  until #leaks > 0 or rille.now() > late
  return rille.tasks()[1]
end

--- Calls body(done, arg) in so many tasks, which are left early.
function exits.run(body, arg)
  math.randomseed(seed)
  local ok, err = pcall(run, body, arg)
  local task = left()
  if ok and not task then return end
  error(("RILLE_SEED=%d: %s"):format(seed, ok and task.traceback or tostring(err)), 0)
end

return exits

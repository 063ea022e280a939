--- Fails each test of busted that leaves tasks behind, or errors that nobody took.
--
-- `require "rille.busted"` in a helper (for all files) or in a spec file (for its tests). At the
-- end of each test, when its `after_each` blocks have run, a task that the test or its
-- `before_each` started has a moment (1 s) to end. If it has not, or if nothing can ever wake it,
-- the test fails with a report of who it is, where it was started and where it waits. Daemons do
-- not count, nor do tasks that `setup` has started. Tasks that nothing can wake are collected
-- then, so that they trouble no other test.
--
-- The module also brings `assert.eventually`, see `rille.eventually`.
-- @module rille.busted

local busted = require "busted"
local rille = require "rille"
local report = require "rille.report"
require "rille.eventually"

if not busted.subscribe then error("rille.busted works in a run of busted", 2) end

local SHORTEST = 0.001 -- pause between two looks

local leaks = {}

leaks._moment = 1 -- seconds

-- What is known of the test under way.
local known   -- the tasks there were before it, by id; nil: no test is under way
local untaken -- how many errors nobody had taken
local allowed -- it may leave what it likes
local ended   -- its end, as it will be told to busted

-- busted unloads what a file has required when it comes to the next.
local function active()
  return package.loaded["rille.busted"] == leaks
end

local function errors_so_far()
  return rille.stats().untaken
end

local function ids(list)
  local set = {}
  for _, task in ipairs(list) do set[task.id] = true end
  return set
end

local function started_since()
  local list = {}
  for _, task in ipairs(rille.tasks()) do
    if not task.daemon and not known[task.id] then table.insert(list, task) end
  end
  return list
end

local function all_leaked(list)
  local leaked = ids(rille.leaks())
  for _, task in ipairs(list) do
    if not leaked[task.id] then return false end
  end
  return true
end

-- An object that holds another, such as a task's handle in a closure, takes two rounds.
local function drop_garbage()
  collectgarbage()
  collectgarbage()
end

-- The tasks that have not ended within `moment`; `hopeless` tells of a list that waiting is in
-- vain. A task may have begun to wait since it was listed. Of one that has ended the thread that
-- ran it may still have its error to report.
local function left_after(moment, hopeless)
  local deadline, pause = rille.now() + moment, SHORTEST
  while true do
    local left = started_since()
    if #left == 0 and not rille._ending() or rille.now() >= deadline then return left end
    if #left > 0 and hopeless(left) then return started_since() end
    rille.sleep(pause)
    pause = 2 * pause
  end
end

local function never() return false end

-- Then those of them that are leaked can be collected.
local function all_waiting(list)
  for _, task in ipairs(list) do
    if task.status ~= "waiting" then return false end
  end
  return true
end

-- What the test has left: tasks, and the number of errors that nobody took. Errors are reported
-- when the last handle of their task goes.
local function look()
  drop_garbage()
  local left = left_after(leaks._moment, allowed and all_waiting or all_leaked)
  drop_garbage()
  return left, errors_so_far() - untaken
end

local function plural(n, noun)
  return ("%d %s%s"):format(n, noun, n == 1 and "" or "s")
end

-- Why a test that left this fails; nil: it does not.
local function complaint(left, errors)
  local parts = {}
  if #left > 0 then
    local title = plural(#left, "task") .. " left behind:\n"
    table.insert(parts, title .. report.format(left, true):gsub("\n$", ""))
  end
  if errors > 0 then
    table.insert(parts, plural(errors, "error") .. " that nobody took, reported on stderr")
  end
  return #parts > 0 and table.concat(parts, "\n") or nil
end

local function fail(element, parent, why)
  local trace = element.trace or {}
  local place = ("%s:%d: "):format(trace.short_src or "?", trace.currentline or 0)
  busted.publish({ "failure", "it" }, element, parent, place .. why, trace)
end

-- A test that has failed anyway fails for its own reason.
local function tell(test, why)
  if why and test.status == "success" then
    fail(test.element, test.parent, why)
    test.status = "failure"
  end
  busted.publish({ "test", "end" }, test.element, test.parent, test.status)
end

local function begin()
  if not active() then return end
  known, untaken, allowed = ids(rille.tasks()), errors_so_far(), false
end

local function finish()
  if not known then return end
  local left, errors = look()
  if #left > 0 and rille.collect() > 0 then left_after(leaks._moment, never) end
  local why, test = not allowed and complaint(left, errors) or nil, ended
  known, ended = nil, nil
  if test then tell(test, why) end
end

-- Tasks may be stopped by `after_each` blocks, which busted runs when it has told of the test's
-- end. So we keep that for ourselves until the last of them, which is ours.
local function hold_end(element, parent, status)
  if not known or element.descriptor ~= "it" then return nil, true end
  ended = { element = element, parent = parent, status = status }
  return nil, false
end

-- Others may have been added to the block since.
local function come_last(element)
  local block = busted.parent(element)
  while block do
    local list = block.after_each or {}
    for i, after_each in ipairs(list) do
      if after_each.run == finish then table.insert(list, table.remove(list, i)) end
    end
    block = busted.parent(block)
  end
  return nil, true
end

--- Lets tests leave tasks and untaken errors behind.
-- In the body of a block: all its tests; in a test: that one alone. What nothing can wake is
-- collected all the same.
-- @function allow_leaks
-- @usage
-- local leaks = require "rille.busted"
-- describe("a server that is never stopped", function()
--   leaks.allow_leaks()
-- end)
function leaks.allow_leaks()
  local function allow() allowed = true end
  if known then allow() else busted.before_each(allow) end
end

busted.before_each(begin)
busted.after_each(finish)
busted.subscribe({ "test", "start" }, come_last)
busted.subscribe({ "test", "end" }, hold_end, { priority = 1 })

return leaks

-- A property of leak analysis: on random graphs of tasks, channels, dones and who holds what, its
-- verdict is that of a model which applies the rule by brute force. What is leaked is then
-- unwound, all else is not disturbed, and really does end once the main program has used what it
-- holds. A graph is repeated by its numbers:
--
--     RILLE_SEED=n      the seed (by default that of the clock; it is printed when a test fails)
--     RILLE_GRAPHS=n    so many graphs (500 by default)
--     RILLE_GRAPH=n     that one alone

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local graph = require "spec.support.leak_graph"
local model = require "spec.support.leak_model"
local player = require "spec.support.leak_player"
local rille = require "rille"

local BOUND = tonumber(os.getenv "RILLE_BOUND") or 60 -- a watchdog

local seed = math.tointeger(os.getenv "RILLE_SEED") or os.time()
local count = math.tointeger(os.getenv "RILLE_GRAPHS") or 500
local only = math.tointeger(os.getenv "RILLE_GRAPH")

-- What lives by time alone is ended by an interruption, as nobody waits for an hour.
local interrupts = rille.go(function() end).interrupt ~= nil

local function names(list)
  local found = {}
  for i, task in ipairs(list) do found[i] = task.name end
  table.sort(found)
  return found
end

local function wait_until(what, fn)
  local deadline = rille.now() + BOUND
  while not fn() do
    if rille.now() > deadline then error(what .. ": not after a minute", 0) end
    rille.yield()
  end
end

-- Raises if a task is in the verdict that should not be; true when all are in it.
local function compare(expected, list)
  local known = {}
  for _, name in ipairs(expected) do known[name] = true end
  for _, task in ipairs(list) do assert.is_true(known[task.name], task.name) end
  return #list == #expected
end

-- The main program can be read while it waits; as long as it runs, what it holds is only counted,
-- so a task that asks meanwhile may be told of fewer.
local function verdict(plan, expected)
  if not plan.asked_by_task then
    assert.same(expected, names(rille.leaks()))
    return
  end
  collectgarbage() -- of a main program that waits nobody else collects the garbage
  wait_until("a task is told of all", function()
    local asker = rille.go(function()
      rille.sleep(0.0005)
      return rille.leaks()
    end)
    return compare(expected, (asker:await(BOUND)))
  end)
end

local function all_said(game, list, word)
  local said = player.said(game)
  for _, name in ipairs(list) do
    if said[name] ~= word then return false end
  end
  return true
end

-- The names of the tasks that `live` has.
local function living(plan, live)
  local list = {}
  for i in pairs(live) do list[#list + 1] = plan.objects[i].name end
  table.sort(list)
  return list
end

-- Waits until these have told how their wait ended.
local function told(game, list, word)
  wait_until(table.concat(list, ", ") .. " have ended", function()
    return all_said(game, list, word)
  end)
end

-- Then tasks that collecting has woken, and so ended, may have been the last who could have come to
-- read that cause one day: what it holds leaks as well.
local function has_deadline_cause(plan)
  for _, o in ipairs(plan.objects) do
    if o.timed and o.cause then return true end
  end
  return false
end

-- Unwinds the leaked. That ends them, which may wake who waits for their ends; nobody else is
-- disturbed.
local function collect(game, expected)
  assert.equal(#expected, rille.collect())
  told(game, expected, "leaked")
  if not has_deadline_cause(game.plan) then verdict(game.plan, {}) end
end

-- Waits until no task runs or is about to.
local function quiet()
  wait_until("all is quiet", function()
    local tasks = rille.stats().tasks
    return tasks.running + tasks.runnable == 0
  end)
end

-- Those that live end: some as the main program uses what it holds, the rest as they are
-- interrupted. One that a timer has just woken may be interrupted before it has told.
local function finish(game)
  local plan = game.plan
  local soon, all = living(plan, model.live(plan, true)), living(plan, model.live(plan))
  player.release(game)
  told(game, soon, "woken")
  for _, name in ipairs(all) do
    quiet() -- the last interruption may have woken others, whom it would meet after their wait
    if not player.said(game)[name] then game.tasks[name]:interrupt() end
  end
  wait_until("all have ended", function()
    local said = player.said(game)
    for _, name in ipairs(all) do
      if not said[name] and game.tasks[name]:status() ~= "failed" then return false end
    end
    return true
  end)
  -- One that was interrupted when it had told all has failed, which is to be nobody's surprise.
  for _, name in ipairs(all) do game.tasks[name]:join(BOUND) end
end

local function play(plan)
  local expected = model.leaked(plan)
  local game = player.build(plan, interrupts)
  verdict(plan, expected)
  local disturbed = {}
  if not plan.kept then
    collect(game, expected)
    disturbed = model.woken_by_collect(plan)
    told(game, living(plan, disturbed), "woken")
  end
  for i in pairs(model.live(plan)) do
    local name = plan.objects[i].name
    if not disturbed[i] then assert.is_nil(player.said(game)[name], name) end
  end
  finish(game)
  if plan.kept then -- who was not woken by all this was truly leaked
    game.tasks = nil
    verdict(plan, expected)
    collect(game, expected)
  end
end

local function channels()
  collectgarbage()
  return rille.stats().channels
end

-- What hangs on nothing but itself in the end goes with the next look.
local function play_and_clear(plan)
  local before = channels()
  play(plan)
  wait_until("all channels are gone", function()
    rille.collect()
    return channels() == before
  end)
end

describe("the verdict of leak analysis", function()
  it("is that of the model on random graphs", function()
    for number = only or 1, only or count do
      local plan = graph.new(seed, number, interrupts)
      local ok, err = pcall(play_and_clear, plan)
      if not ok then
        local again = "RILLE_SEED=%d RILLE_GRAPH=%d\n%s\n%s"
        error(again:format(seed, number, graph.text(plan), tostring(err)), 0)
      end
    end
  end)
end)

-- Random pipelines. Read to their end, they give what a plain loop gives. Left at a random moment,
-- in whatever way, they leave no task behind. A round is repeated by its seed:
--
--     RILLE_SEED=n      the seed of the first round (by default that of the clock)
--     RILLE_ROUNDS=n    so many rounds of each kind (250 by default; 25 under a sanitizer)

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local errors = require "rille.errors"
local pipelines = require "spec.support.pipelines"
local rille = require "rille"

local BOUND = tonumber(os.getenv "RILLE_BOUND") or 60 -- a watchdog

local first = math.tointeger(os.getenv "RILLE_SEED") or os.time()
local sanitized = os.getenv "ASAN_OPTIONS" or os.getenv "TSAN_OPTIONS"
local rounds = math.tointeger(os.getenv "RILLE_ROUNDS") or sanitized and 25 or 250

local function tasks_left()
  local names = {}
  for _, task in ipairs(rille.tasks()) do
    if not task.daemon then names[#names + 1] = task.name .. " " .. task.status end
  end
  return names
end

-- Calls round(seed) for each seed; afterwards nothing may be left.
local function each_round(round)
  for seed = first, first + rounds - 1 do
    math.randomseed(seed)
    local ok, err = xpcall(round, debug.traceback, seed)
    if ok then
      local deadline = rille.now() + BOUND
      while #tasks_left() > 0 and rille.now() < deadline do rille.yield() end
      if #tasks_left() > 0 then ok, err = false, table.concat(tasks_left(), ", ") .. " left" end
    end
    if not ok then error(("RILLE_SEED=%d RILLE_ROUNDS=1: %s"):format(seed, err), 0) end
  end
  assert.same({}, rille.leaks())
end

-- A task that waits for a random moment.
local function some_time(fn)
  local yields = math.random(0, 200)
  return rille.go(function()
    for _ = 1, yields do rille.yield() end
    return fn()
  end)
end

describe("a random stream", function()
  it("gives what a plain loop gives", function()
    each_round(function()
      local s, list, in_order = pipelines.make()
      local result, err = s:collect()
      assert(result, err)
      assert.same(pipelines.numbers(list, in_order), pipelines.numbers(result, in_order))
      assert.same({}, tasks_left())
    end)
  end)

  it("that fails somewhere gives that failure, or had ended before", function()
    each_round(function()
      local n = math.random(300)
      local s = pipelines.make(nil, function(s)
        return s:filter((function()
          local calls = 0
          return function()
            calls = calls + 1
            if calls == n then return nil, "bad luck" end
            return true
          end
        end)())
      end)
      local result, err = s:collect()
      assert(result or errors.unwrap(err) == "bad luck", err)
      assert.same({}, tasks_left())
    end)
  end)

  it("whose done fires leaves nothing behind", function()
    each_round(function(seed)
      local done, cancel = rille.done()
      local canceller = some_time(function() cancel() end)
      local ok, err = pcall(pipelines.play, seed, done)
      assert(ok or err == "canceled" or err == "enough", err)
      assert(canceller:join())
    end)
  end)

  it("that meets its deadline leaves nothing behind", function()
    each_round(function(seed)
      local ok, err = pcall(pipelines.play, seed, math.random() * 0.002)
      assert(ok or err == "deadline exceeded" or err == "enough", err)
    end)
  end)

  it("whose reader is interrupted leaves nothing behind", function()
    each_round(function(seed)
      local reader = rille.go(function()
        return require "spec.support.pipelines".play(seed)
      end)
      local interrupter = some_time(function() reader:interrupt "stop" end)
      local ok, err = reader:join(BOUND)
      assert(ok or err == "stop" or err == "enough", err)
      assert(interrupter:join())
    end)
  end)

  it("whose handle is dropped leaves nothing behind", function()
    local function drop(s)
      if math.random(2) == 1 then
        local ch = s:chan(math.random(0, 2))
        for _ = 1, math.random(0, 20) do ch:recv() end
      else
        local n = math.random(20)
        for _ in s do
          n = n - 1
          if n == 0 then break end
        end
      end
    end
    each_round(function()
      drop((pipelines.make()))
      while #tasks_left() > 0 do rille.collect() end
    end)
  end)
end)

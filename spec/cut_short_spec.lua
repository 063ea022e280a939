-- What several tasks share stays whole when one of them is cut short, at whatever instruction.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"
local testing = require "rille.testing"
require "spec.helper"

local BOUND = 20 -- a watchdog
local FEW = os.getenv "RILLE_LUA" and 7 or 1 -- under a sanitizer not each of them

-- Calls fn(), which is cut short by an error at its nth instruction. Returns false when it was not,
-- as it has fewer.
local function cut(n, fn)
  local short = false
  local co = coroutine.create(function() pcall(fn) end)
  debug.sethook(co, function()
    debug.sethook(co)
    short = true
    error("cut short", 0)
  end, "", n)
  coroutine.resume(co)
  return short
end

-- Calls fn again and again, cut short one instruction later each time, and then check().
local function at_each_instruction(fn, check)
  local n = 1
  while cut(n, fn) do
    check()
    n = n + FEW
  end
  assert.is_true(n > 50)
end

local function no_task_left()
  assert.eventually(function() return #rille.tasks() == 0 end, BOUND)
end

describe("cut short at any instruction", function()
  it("a wait for a limiter gives back what it has reserved", function()
    testing.run(function()
      local limiter = rille.limiter(2, 2)
      limiter:wait(nil, 2)
      local start, before = rille.now(), rille._peek(limiter.cell)
      at_each_instruction(function() limiter:wait(nil, 2) end, function()
        if rille.now() == start then assert.equal(before, (rille._peek(limiter.cell))) end
        limiter.cell:recv()
        limiter.cell:send(before)
        limiter.start = limiter.start + rille.now() - start
        start = rille.now()
      end)
    end)
  end)

  it("a probe of a breaker makes room for another", function()
    local breaker
    local function half_open()
      breaker = rille.breaker { failures = 1, reset = 0 }
      breaker:run(function() return nil, "failed" end)
      assert.equal("half-open", breaker:state())
    end
    half_open()
    at_each_instruction(function() breaker:run(function() end) end, function()
      assert.equal("through", (breaker:run(function() return "through" end)))
      half_open()
    end)
  end)

  it("the first caller of a singleflight leaves the key to the next", function()
    local flights = rille.singleflight()
    local function value() return "value" end
    at_each_instruction(function() flights:run("key", value) end, function()
      assert.equal("value", (flights:run("key", value, BOUND)))
      no_task_left()
      assert.same({}, (rille._peek(flights.flights)))
    end)
  end)

  it("a later caller of a singleflight leaves the others their value", function()
    local flights, begun, first = rille.singleflight(), rille.chan(100), nil
    local function value(done)
      begun:send(true)
      rille.sleep(1e-3, done)
      return done:err() or "value"
    end
    local function start()
      first = rille.go(function() return flights:run("key", value) end)
      begun:recv(BOUND)
    end
    start()
    at_each_instruction(function() flights:run("key", value) end, function()
      assert.equal("value", (first:await(BOUND)))
      no_task_left()
      while begun:try_recv() do end -- luacheck: ignore 542
      start()
    end)
    first:await(BOUND)
    no_task_left()
  end)

  it("a heart ends with its time, and a steward leaves no worker", function()
    at_each_instruction(function()
      rille.heartbeat.steward(nil, 1e-4, function(_, heart) heart:beat() end,
        { attempts = 3, backoff = 0 }) -- the worker may be late each time
    end, no_task_left)
    at_each_instruction(function()
      local heart <close> = rille.heartbeat(1e-4)
      for _ = 1, 10 do heart:beat() end
    end, no_task_left)
  end)

  it("a stream is stopped, whatever its source and its end", function()
    local stream, outcome = rille.stream, { true }
    local function same(v) return v end
    local function read(s)
      local closed <close> = s
      for v in closed do same(v) end
    end
    for _, play in ipairs {
      function() stream.range(nil, 1, 3):collect() end,
      function() read(stream.range(nil, 1, 3):map(same, { workers = 2 })) end,
      function() read(stream.from(nil, ("a b"):gmatch "%a")) end,
      function() for _ in stream.from(nil, ("a b"):gmatch "%a"):iter() do same() end end,
    } do
      at_each_instruction(function() outcome = table.pack(pcall(play)) end, function()
        assert(outcome[1] or outcome[2] == "cut short", outcome[2])
        collectgarbage() -- what was begun and has no scope yet
        no_task_left()
      end)
    end
  end)
end)

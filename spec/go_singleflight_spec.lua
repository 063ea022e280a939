-- What golang.org/x/sync/singleflight promises, held against rille.singleflight. The names follow
-- its tests.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local errors, singleflight = rille.errors, rille.singleflight

local BOUND = 20 -- a watchdog

-- Starts n tasks that call run(...); they are there, or on their way, when it returns.
local function callers(n, flights, ...)
  local tasks, call = {}, table.pack(...)
  for i = 1, n do
    tasks[i] = rille.go(function()
      return flights:run(table.unpack(call, 1, call.n))
    end)
  end
  return tasks
end

-- Until so many callers are aboard the flight of that key.
local function aboard(flights, key, n)
  local late = rille.now() + BOUND
  while true do
    local flight = rille._peek(flights.flights)[key]
    local seats = flight and rille._peek(flight.seats)
    if seats and seats.n == n then return end
    assert(rille.now() < late, "not all came aboard")
    rille.yield()
  end
end

describe("Do", function()
  it("returns what the function returns", function()
    local value, err, shared = singleflight():run("key", function() return "bar" end)
    assert.same({ "bar", nil, false }, { value, err, shared })
  end)
end)

describe("DoErr", function()
  it("returns the function's error", function()
    local value, err, shared = singleflight():run("key", function() return nil, "some error" end)
    assert.same({ nil, "some error", false }, { value, err, shared })
  end)
end)

describe("DoDupSuppress", function()
  it("runs the function once, for all who call meanwhile", function()
    local flights, calls, go = singleflight(), rille.chan(100), rille.chan()
    local tasks = callers(10, flights, "key", function()
      calls:send(true)
      return go:recv()
    end)
    aboard(flights, "key", 10)
    go:send "bar"
    for _, task in ipairs(tasks) do
      assert.same({ "bar", nil, true }, { task:await(BOUND) })
    end
    assert.equal(1, #calls)
  end)

  it("gives its error to all", function()
    for _, how in ipairs { "raises", "returns" } do
      local flights, go = singleflight(), rille.chan()
      local tasks = callers(10, flights, how, function(_, key)
        local reason = go:recv()
        if key == "raises" then error(reason, 0) end
        return nil, reason
      end)
      aboard(flights, how, 10)
      go:send "a reason"
      for _, task in ipairs(tasks) do
        local value, err, shared = task:await(BOUND)
        assert.is_nil(value)
        assert.is_true(errors.is(err, "a reason"))
        assert.is_true(shared)
      end
    end
  end)
end)

describe("Forget", function()
  it("lets the next call run the function while the first one goes on", function()
    local flights, go = singleflight(), rille.chan()
    local first = callers(1, flights, "key", function() return go:recv() end)[1]
    aboard(flights, "key", 1)
    flights:forget "key"
    local second = callers(1, flights, "key", function() return 2, go:recv() and nil end)[1]
    aboard(flights, "key", 1)
    local third = callers(1, flights, "key", function() return 3 end)[1]
    aboard(flights, "key", 2)
    go:send(1)
    go:send(1)
    assert.same({ 1, nil, false }, { first:await(BOUND) })
    assert.same({ 2, nil, true }, { second:await(BOUND) })
    assert.same({ 2, nil, true }, { third:await(BOUND) })
  end)

  it("is nothing for a key that nobody has", function()
    singleflight():forget "key"
  end)
end)

describe("DoChan", function()
  it("is a call in a task", function()
    local flights = singleflight()
    local task = rille.go(function() return flights:run("key", function() return "bar" end) end)
    assert.equal(1, (rille.select(task, BOUND)))
    assert.same({ "bar", nil, false }, { task:await() })
  end)
end)

describe("PanicDo", function()
  it("does not stop later calls", function()
    local flights = singleflight()
    for _ = 1, 3 do
      local value, err = flights:run("key", function() error "invalid memory address" end)
      assert.is_nil(value)
      assert.matches("go_singleflight_spec.lua:%d+: invalid memory address", tostring(err))
      assert.matches("stack traceback:.*go_singleflight_spec", err.traceback)
    end
    assert.equal(1, (flights:run("key", function() return 1 end)))
  end)
end)

describe("GoexitDo", function()
  it("is a task that is interrupted: an error for all", function()
    local flights = singleflight()
    local tasks = callers(3, flights, "key", function(done) return done:wait() end)
    aboard(flights, "key", 3)
    rille._peek(flights.flights).key.task:interrupt "enough"
    for _, task in ipairs(tasks) do
      local value, err, shared = task:await(BOUND)
      assert.is_nil(value)
      assert.is_true(errors.is(err, "enough"))
      assert.is_true(shared)
    end
  end)
end)

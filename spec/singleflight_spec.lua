-- singleflight: who shares with whom, who may leave, and what is left.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local exits = require "spec.support.exits"
local helper = require "spec.helper"
local rille = require "rille"

local errors, singleflight = rille.errors, rille.singleflight
local raises = helper.raises

local BOUND = 20 -- a watchdog

-- A flight whose function says on `told` when it has begun, and how its done has fired.
local function flight_until_told()
  local flights, told = singleflight(), rille.chan(10)
  return flights, told, function(done)
    told:send "begun"
    done:wait()
    told:send(done:err())
    return nil, done:err()
  end
end

describe("a singleflight", function()
  it("is the same in all tasks", function()
    local flights = singleflight()
    local same = rille.go(function()
      return getmetatable(flights) == require "rille.singleflight" and flights:run(1, function()
        return "there"
      end)
    end)
    assert.equal("there", same:await(BOUND))
    assert.equal(singleflight, require "rille.singleflight")
  end)

  it("runs each key by itself, and tells the function which", function()
    local flights, go = singleflight(), rille.chan()
    local keys, tasks = { "1", 1, true, false, 1.5, rille.chan() }, {}
    for i, key in ipairs(keys) do
      tasks[i] = rille.go(function()
        return (flights:run(key, function(_, same) return go:recv() and same end))
      end)
    end
    for _ = 1, #keys do go:send(true) end
    for i, key in ipairs(keys) do assert.equal(key, tasks[i]:await(BOUND)) end
  end)

  it("keeps nothing", function()
    local flights, n = singleflight(), rille.chan(10)
    for i = 1, 5 do
      flights:run("key", function() n:send(true) end)
      assert.equal(i, #n)
    end
    assert.same({}, (rille._peek(flights.flights)))
    local begun = rille.chan(1)
    flights:run("left", function(done) begun:send(true) done:wait() end, begun)
    local left = rille._peek(flights.flights).left
    assert.is_true(left.task:join(BOUND))
    flights:run("key", function() end)
    assert.same({}, (rille._peek(flights.flights)))
  end)

  it("gives values that are false, nil or tables", function()
    local flights = singleflight()
    assert.same({ false, nil, false }, { flights:run("key", function() return false end) })
    assert.same({ n = 3, nil, nil, false }, table.pack(flights:run("key", function() end)))
    assert.same({ 1, 2 }, (flights:run("key", function() return { 1, 2 } end)))
  end)

  it("gives what cannot cross as an error", function()
    local value, err = singleflight():run("key", function() return coroutine.create(print) end)
    assert.is_nil(value)
    assert.matches("cannot send coroutine", tostring(err))
    raises("cannot send coroutine", function()
      local co = coroutine.create(print)
      singleflight():run("key", function() return co end)
    end)
  end)

  it("runs again when its function failed, and loses no call of many", function()
    local flights, tasks = singleflight(), {}
    for i = 1, 50 do
      tasks[i] = rille.go(function()
        local n = 0
        for k = 1, 20 do
          local value, err = flights:run(k % 3, function(_, key)
            if key == 1 then error "failed" end
            return key
          end)
          n = n + ((value == k % 3 or k % 3 == 1 and err) and 1 or 0)
        end
        return n
      end)
    end
    for _, task in ipairs(tasks) do assert.equal(20, task:await(BOUND)) end
    assert.same({}, (rille._peek(flights.flights)))
  end)
end)

describe("a caller of a singleflight that leaves", function()
  it("gets the error of its done, and the others their value", function()
    local flights, go, done, cancel = singleflight(), rille.chan(), rille.done()
    local function call(d)
      return rille.go(function()
        return flights:run("key", function() return go:recv() end, d)
      end)
    end
    local first = call(done)
    helper.until_waiting(first)
    local others = { call(), call(BOUND) }
    helper.until_waiting(table.unpack(others))
    cancel "why"
    assert.same({ nil, "canceled", false, "why" }, { first:await(BOUND) })
    go:send "value"
    for _, task in ipairs(others) do
      assert.same({ "value", nil, true }, { task:await(BOUND) })
    end
  end)

  it("as the last one stops the function", function()
    local flights, told, fn = flight_until_told()
    local done, cancel = rille.done()
    local tasks = {}
    for i = 1, 3 do tasks[i] = rille.go(function() return flights:run("key", fn, done) end) end
    helper.until_waiting(table.unpack(tasks))
    assert.equal("begun", told:recv(BOUND))
    cancel()
    for _, task in ipairs(tasks) do assert.equal("canceled", (select(2, task:await(BOUND)))) end
    assert.equal("canceled", told:recv(BOUND))
    assert.equal(0, #told)
  end)

  it("by an interruption counts as well", function()
    local flights, told, fn = flight_until_told()
    local task = rille.go(function() return flights:run("key", fn) end)
    assert.equal("begun", told:recv(BOUND))
    task:interrupt "enough"
    assert.same({ false, "enough" }, { task:join(BOUND) })
    assert.equal("canceled", told:recv(BOUND))
  end)

  it("does not keep the next from a run of its own", function()
    local flights, told, fn = flight_until_told()
    local done, cancel = rille.done()
    local left = rille.go(function() return flights:run("key", fn, done) end)
    assert.equal("begun", told:recv(BOUND))
    cancel()
    assert.equal("canceled", (select(2, left:await(BOUND))))
    assert.equal("value", (flights:run("key", function() return "value" end, BOUND)))
    assert.equal("canceled", told:recv(BOUND))
  end)

  it("starts nothing when its done has fired", function()
    local done, cancel = rille.done()
    cancel "why"
    local function fails() error "called" end
    local flights = singleflight()
    assert.same({ nil, "canceled", false, "why" }, { flights:run("key", fails, done) })
    assert.same({ nil, "deadline exceeded", false, "deadline exceeded" },
      { flights:run("key", fails, 0) })
  end)

  it("leaves an error that nobody hears to be reported", function()
    local result = helper.run([[
      local rille = require "rille"
      local flights, running, go = rille.singleflight(), rille.chan(), rille.chan()
      local left, leave = rille.done()
      rille.go(function()
        running:recv()
        leave()
      end)
      flights:run("key", function()
        running:send(true)
        go:recv()
        error "unheard"
      end, left)
      go:send(true)
      while #rille.tasks() > 0 do rille.yield() end
    ]])
    assert.matches("failed:[^\n]*: unheard\nstack traceback:", result.err)
  end)
end)

describe("the arguments of a singleflight", function()
  it("are named when they are bad", function()
    local flights = singleflight()
    local function f() end
    raises("bad argument #1 to 'run' %(string, number, boolean or handle expected, got nil",
      flights.run, flights, nil, f)
    raises("got table", flights.run, flights, {}, f)
    raises("got nan", flights.run, flights, 0 / 0, f)
    raises("bad argument #2 to 'run' %(function expected", flights.run, flights, 1)
    raises("bad argument #3 to 'run' %(done, channel", flights.run, flights, 1, f, "done")
    raises("bad argument #1 to 'forget'", flights.forget, flights)
    raises("singleflight_spec.lua", function() flights:run(nil, f) end)
  end)
end)

describe("early exits", function()
  it("of singleflight leave nothing behind", function()
    exits.run(20, function(done, _, flights)
      local key = math.random(3)
      local value, err = flights:run(key, function(own)
        if key == 3 then return nil, "failed" end
        local ok, why = rille.sleep(math.random() * 5e-4, own)
        return ok, why
      end, done)
      assert(value or errors.is(err, done:err()) or key == 3, err)
    end, singleflight())
  end)
end)

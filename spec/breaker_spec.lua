-- The circuit breaker, on a virtual clock.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local exits = require "spec.support.exits"
local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local raises = helper.raises
local run = testing.run

local BOUND = 20 -- a watchdog

local function fails() return nil, "no answer" end
local function works() return "answer" end
local function crashes() error("crash", 0) end

-- Runs it as often as it takes to open it.
local function open(breaker)
  for _ = 1, breaker.failures do breaker:run(fails) end
  assert.equal("open", breaker:state())
  return breaker
end

-- A call in a task that has gone through and waits; it returns what is sent to `go`.
local function under_way(breaker, go, done)
  local task = rille.go(function()
    return breaker:run(function()
      local value, err = go:recv(done)
      if value == "crash" then error "crash" end
      return value, err
    end)
  end)
  return (helper.until_waiting(task))
end

describe("a closed breaker", function()
  it("lets calls through and gives back what comes of them", function()
    local breaker = rille.breaker()
    local results = table.pack(breaker:run(function(...) return nil, nil, ... end, 1, nil))
    assert.same({ n = 4, nil, nil, 1, nil }, results)
    assert.same({ nil, "no answer" }, { breaker:run(fails) })
    assert.equal(0, select("#", breaker:run(function() end)))
    local reason = {}
    local ok, err = pcall(breaker.run, breaker, error, reason)
    assert.is_false(ok)
    assert.equal(reason, err)
  end)

  it("runs the function in the caller's own task", function()
    local n = 0
    rille.breaker():run(function() n = n + 1 end)
    assert.equal(1, n)
  end)

  it("opens after so many failures in a row", function()
    local breaker = rille.breaker { failures = 3 }
    for _ = 1, 5 do
      breaker:run(fails)
      pcall(breaker.run, breaker, crashes)
      assert.equal("closed", breaker:state())
      breaker:run(works)
    end
    breaker:run(fails)
    pcall(breaker.run, breaker, crashes)
    assert.equal("closed", breaker:state())
    pcall(breaker.run, breaker, error, nil)
    assert.equal("open", breaker:state())
  end)

  it("opens after five failures unless it is told otherwise", function()
    local breaker = rille.breaker()
    for _ = 1, 4 do breaker:run(fails) end
    assert.equal("closed", breaker:state())
    breaker:run(fails)
    assert.equal("open", breaker:state())
  end)

  it("does not count what was canceled, neither as failure nor as success", function()
    local breaker = rille.breaker { failures = 2 }
    local done, cancel = rille.done()
    cancel()
    breaker:run(fails)
    for _ = 1, 3 do
      breaker:run(function() return rille.sleep(1, done) end)
      pcall(breaker.run, breaker, done.check, done)
    end
    assert.equal("closed", breaker:state())
    breaker:run(function() return rille.sleep(1, 0) end)
    assert.equal("open", breaker:state())
  end)
end)

describe("an open breaker", function()
  it("calls nothing, until its time is over", function()
    run(function()
      local breaker = open(rille.breaker { failures = 2, reset = 10 })
      rille.sleep(9.5)
      assert.same({ nil, "open" }, { breaker:run(crashes) })
      assert.equal("open", breaker:state())
      rille.sleep(0.5)
      assert.equal("half-open", breaker:state())
      assert.equal("answer", (breaker:run(works)))
      assert.equal("closed", breaker:state())
    end)
  end)

  it("is so for thirty seconds unless it is told otherwise", function()
    run(function()
      local breaker = open(rille.breaker())
      rille.sleep(29)
      assert.equal("open", breaker:state())
      rille.sleep(1)
      assert.equal("half-open", breaker:state())
    end)
  end)

  it("is not changed by calls that began before", function()
    run(function()
      local breaker, go = rille.breaker { failures = 1, reset = 10 }, rille.chan()
      local late, later = under_way(breaker, go), under_way(breaker, go)
      open(breaker)
      go:send "answer"
      assert.equal("answer", late:await())
      assert.equal("open", breaker:state())
      rille.sleep(10)
      breaker:run(works)
      go:send "crash"
      assert.is_false((later:join()))
      assert.equal("closed", breaker:state())
    end)
  end)
end)

describe("a half-open breaker", function()
  -- half-open, with one call under way.
  local function probing(opts)
    opts.failures, opts.reset = 1, 10
    local breaker, go, done, cancel = rille.breaker(opts), rille.chan(), rille.done()
    open(breaker)
    rille.sleep(10)
    return breaker, go, under_way(breaker, go, done), cancel
  end

  it("lets one call through", function()
    run(function()
      local breaker, go, probe = probing {}
      assert.same({ nil, "open" }, { breaker:run(crashes) })
      go:send "answer"
      probe:await()
      assert.equal("closed", breaker:state())
    end)
  end)

  it("opens again for as long when that fails", function()
    run(function()
      for _, how in ipairs { "crash", false } do
        local breaker, go, probe = probing {}
        rille.sleep(5)
        if how then go:send(how) else probe:interrupt "enough" end
        assert.is_false((probe:join()))
        assert.equal("open", breaker:state())
        rille.sleep(9)
        assert.equal("open", breaker:state())
        rille.sleep(1)
        assert.equal("half-open", breaker:state())
      end
    end)
  end)

  it("lets another one through when that was canceled", function()
    run(function()
      local breaker, _, probe, cancel = probing {}
      cancel()
      probe:await()
      assert.equal("half-open", breaker:state())
      assert.equal("answer", (breaker:run(works)))
      assert.equal("closed", breaker:state())
    end)
  end)

  it("lets several through if it is told so, all of which have to succeed", function()
    run(function()
      local breaker, go, first = probing { half_open = 3 }
      local second = under_way(breaker, go)
      breaker:run(works)
      assert.same({ nil, "open" }, { breaker:run(crashes) })
      go:send "answer"
      go:send "answer"
      first:await()
      second:await()
      assert.equal("closed", breaker:state())
      breaker, go, first = probing { half_open = 2 }
      breaker:run(works)
      assert.equal("half-open", breaker:state())
      go:send "crash"
      assert.is_false((first:join()))
      assert.equal("open", breaker:state())
    end)
  end)
end)

describe("tasks that share a breaker", function()
  it("open it together, and send one probe together", function()
    run(function()
      local breaker, tried, tasks = rille.breaker { failures = 40, reset = 1 }, rille.chan(1000), {}
      local function all(fn)
        for i = 1, 40 do tasks[i] = rille.go(function() return breaker:run(fn, tried) end) end
        for _, task in ipairs(tasks) do task:await() end
        return #tried
      end
      assert.equal(40, all(function(ch) ch:send(true) return nil, "no answer" end))
      assert.equal("open", breaker:state())
      assert.equal(40, all(function(ch) ch:send(true) end))
      rille.sleep(1)
      assert.equal(41, all(function(ch) ch:send(true) rille.sleep(1) return nil, "again" end))
    end)
  end)
end)

describe("the options of a breaker", function()
  it("are named when they are bad", function()
    raises("bad argument #1 to 'breaker' %(table of options", rille.breaker, 5)
    raises("unknown option 'after'", rille.breaker, { after = 5 })
    for _, name in ipairs { "failures", "half_open" } do
      for _, value in ipairs { 0, 1.5, "3", math.huge } do
        raises("option '" .. name .. "': integer of at least 1", rille.breaker, { [name] = value })
      end
    end
    raises("option 'reset': number of seconds", rille.breaker, { reset = -1 })
    raises("bad argument #1 to 'run' %(function expected", function() rille.breaker():run() end)
  end)
end)

describe("early exits", function()
  it("of a breaker's calls leave nothing behind, nor any probe under way", function()
    local breaker = rille.breaker { failures = 2, reset = 1e-4, half_open = 2 }
    exits.run(20, function(done, plan)
      for _ = 1, 4 do
        breaker:run(function()
          if math.random(3) == 1 and plan.way == "error" then error("mine", 0) end
          if math.random(3) == 1 then return nil, "failed" end
          return rille.sleep(math.random() * 1e-4, done)
        end)
      end
    end)
    local late = rille.now() + BOUND
    repeat breaker:run(works) until breaker:state() == "closed" or rille.now() > late
    assert.equal("closed", breaker:state())
  end)
end)

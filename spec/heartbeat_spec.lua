-- Heartbeats and stewards, on a virtual clock.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local exits = require "spec.support.exits"
local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local errors, heartbeat = rille.errors, rille.heartbeat
local steward = heartbeat.steward
local raises = helper.raises
local run = testing.run

describe("a heart", function()
  it("fires its done when there was no beat for too long", function()
    run(function()
      local start, heart = rille.now(), heartbeat(5)
      assert.is_true(heart:done():wait())
      assert.equal(start + 5, rille.now())
      assert.same({ "canceled", "silent" }, { heart:done():err(), heart:done():cause() })
    end)
  end)

  it("lives as long as it beats, in whatever task", function()
    run(function()
      local start, heart = rille.now(), heartbeat(5)
      local worker = rille.go(function()
        local beaten = true
        for _ = 1, 10 do
          rille.sleep(4)
          beaten = heart:beat() and beaten
        end
        return beaten
      end)
      assert.is_true(heart:done():wait())
      assert.equal(start + 45, rille.now())
      assert.is_true(worker:await())
    end)
  end)

  it("stays silent once it is", function()
    run(function()
      local heart = heartbeat(5)
      heart:done():wait()
      assert.is_false(heart:beat())
      rille.sleep(100)
      assert.equal("silent", heart:done():cause())
    end)
  end)

  it("shows its beats, and never waits for who looks", function()
    run(function()
      local heart <close> = heartbeat(5)
      local pulse = heart:pulse()
      for _ = 1, 3 do heart:beat() end
      assert.equal(1, #pulse)
      assert.is_true(pulse:recv())
      assert.same({ nil, "empty" }, { pulse:try_recv() })
      heart:beat()
      assert.is_true(pulse:recv())
      raises("receive%-only", pulse.send, pulse, true)
    end)
  end)

  it("is stopped, also by the end of a scope", function()
    run(function()
      local heart, start = heartbeat(5), rille.now()
      local done = heart:done()
      do local _ <close> = heart end
      assert.same({ "canceled", "canceled" }, { done:err(), done:cause() })
      assert.is_false(heart:beat())
      heart:stop()
      rille.sleep(10)
      assert.equal("canceled", done:cause())
      assert.equal(start + 10, rille.now())
    end)
  end)

  it("that is stopped is not waited for any more", function()
    collectgarbage()
    local before = rille.stats().channels
    for _ = 1, 10 do heartbeat(1e6):stop() end
    collectgarbage()
    assert.equal(before, rille.stats().channels)
  end)

  it("hangs on the done it is given", function()
    local parent, cancel = rille.done()
    local heart = heartbeat(60, parent)
    local ch = rille.chan()
    local other <close> = heartbeat(60, ch)
    cancel "why"
    assert.equal("why", heart:done():cause())
    assert.is_false(heart:beat())
    heart:stop()
    assert.is_nil(other:done():err())
    ch:close()
    assert.equal("canceled", other:done():err())
  end)

  it("that is dropped ends with its time", function()
    run(function()
      local done = heartbeat(5):done()
      collectgarbage()
      assert.is_true(done:wait())
      assert.equal("silent", done:cause())
    end)
  end)
end)

describe("a steward", function()
  -- Workers of the n-th generation do workers[n](done, heart); they tell when they begin.
  local function stewarded(workers, opts)
    local log, start = rille.chan(100), rille.now()
    local function work(done, heart)
      log:send(rille.now() - start)
      return workers[#log](done, heart)
    end
    local results = table.pack(steward(nil, 5, work, opts))
    local times = {}
    while #log > 0 do times[#times + 1] = log:recv() end
    return times, table.unpack(results, 1, results.n)
  end

  local function idle(done) return done:wait() end
  local function busy(_, heart)
    for _ = 1, 10 do
      rille.sleep(4)
      assert(heart:beat())
    end
    return "value", nil, 3
  end

  it("returns what its worker returns, as long as that takes", function()
    run(function()
      assert.same({ { 0 }, "value", nil, 3 }, { stewarded { busy } })
    end)
  end)

  it("starts another worker for one that is silent or fails", function()
    run(function()
      local times, value = stewarded({
        idle,
        function() error "a failure" end,
        function() return nil, "another" end,
        busy,
      }, { backoff = { first = 1, factor = 1 } })
      assert.same({ 0, 6, 7, 8 }, times)
      assert.equal("value", value)
    end)
  end)

  it("interrupts a worker that does not heed its done", function()
    run(function()
      local times, value = stewarded({
        function() rille.sleep(1e6) end,
        function() return "value" end,
      }, { backoff = 1 })
      assert.same({ 0, 11 }, times)
      assert.equal("value", value)
    end)
  end)

  it("gives up after so many attempts, with the errors of all", function()
    run(function()
      local _, value, err = stewarded({
        idle,
        function() error "a failure" end,
        function() rille.defer(error) rille.sleep(6) error "a last word" end,
      }, { attempts = 3, backoff = 0 })
      assert.is_nil(value)
      assert.equal(3, #err)
      assert.is_true(errors.is(err[1], "silent"))
      assert.is_nil(err[1].cause)
      assert.matches("a failure", tostring(err[2]))
      assert.matches("heartbeat_spec.lua", err[2].traceback)
      assert.is_true(errors.is(err[3], "silent"))
      assert.matches("a last word", err[3].cause)
    end)
  end)

  it("stops its worker when it is stopped", function()
    run(function()
      local done, cancel = rille.done()
      local told = rille.chan(1)
      local task = rille.go(function()
        return rille.heartbeat.steward(done, 5, function(own)
          own:wait()
          told:send(own:cause())
        end)
      end)
      helper.until_waiting(task)
      rille.sleep(1)
      cancel "why"
      local value, err, cause = task:await()
      assert.same({ nil, "canceled", "why" }, { value, err, cause })
      assert.equal("why", told:try_recv())
    end)
  end)

  it("leaves no worker when it is interrupted", function()
    run(function()
      local told = rille.chan(1)
      local task = rille.go(function()
        return rille.heartbeat.steward(nil, 5, function(own)
          own:wait()
          told:send(own:err())
        end, { attempts = 1 })
      end)
      helper.until_waiting(task)
      rille.sleep(1)
      task:interrupt "enough"
      local _, err = task:await()
      assert.is_true(errors.is(err, "enough"))
      assert.equal("canceled", told:try_recv())
    end)
  end)
end)

describe("the arguments of a heart", function()
  it("are named when they are bad", function()
    raises("bad argument #1 to 'heartbeat' %(number expected, got nil", heartbeat)
    raises("bad argument #1 to 'heartbeat' %(number expected, got nan", heartbeat, 0 / 0)
    raises("bad argument #1 to 'heartbeat' %(at least 0", heartbeat, -1)
    raises("bad argument #2 to 'heartbeat' %(done, channel", heartbeat, 1, "done")
    raises("bad argument #1 to 'steward'", steward, "done", 1, print)
    raises("bad argument #2 to 'steward'", steward, nil, "1", print)
    raises("bad argument #3 to 'steward'", steward, nil, 1, nil)
    raises("#4 to 'steward' %(unknown option 'tries'", steward, nil, 1, print, { tries = 1 })
  end)
end)

describe("early exits", function()
  it("of hearts and stewards leave nothing behind", function()
    exits.run(20, function(done)
      local heart <close> = rille.heartbeat(math.random() * 1e-3, done)
      rille.go(function()
        while heart:beat() do rille.sleep(math.random() * 1e-4) end
      end)
      rille.heartbeat.steward(done, 1e-4, function(own, inner)
        if math.random(3) == 1 then return nil, "failed" end
        while rille.sleep(math.random() * 3e-4, own) do inner:beat() end
      end, { attempts = 3, backoff = 0 })
    end)
  end)
end)

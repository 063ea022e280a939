-- retry: how often, when, with what error, and how it is stopped. The clock is a virtual one.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local exits = require "spec.support.exits"
local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local errors, retry = rille.errors, rille.retry
local raises = helper.raises

local BOUND = 20 -- a watchdog

-- Fails each time, and returns the times at which it was called, from the start on.
local function times_of(opts, done)
  return testing.run(function()
    local start, times = rille.now(), {}
    retry(done, function()
      times[#times + 1] = rille.now() - start
      return nil, "failed"
    end, opts)
    return times
  end)
end

local function failing(_, attempt)
  return nil, "error " .. attempt
end

describe("retry", function()
  it("returns all results of the first success", function()
    local results = table.pack(retry(nil, function(_, attempt)
      if attempt < 3 then error "not yet" end
      return attempt, nil, "more", nil
    end, { backoff = 0 }))
    assert.same({ n = 4, 3, nil, "more", nil }, results)
    assert.equal(0, select("#", retry(nil, function() end)))
    assert.same({ n = 1 }, table.pack(retry(nil, function() return nil end)))
    assert.is_false(retry(nil, function() return false, "no error" end))
  end)

  it("makes three attempts, or as many as it is told", function()
    for given, expected in pairs { [0] = 3, 1, 2, 7 } do
      local n = 0
      retry(nil, function()
        n = n + 1
        return nil, "failed"
      end, { attempts = given > 0 and given or nil, backoff = 0 })
      assert.equal(given == 0 and expected or given, n)
    end
  end)

  it("goes on for ever when it is told so", function()
    local value = retry(nil, function(_, attempt)
      if attempt < 1000 then return nil, "failed" end
      return attempt
    end, { attempts = math.huge, backoff = 0 })
    assert.equal(1000, value)
  end)

  it("counts the attempts for its function", function()
    local seen = {}
    retry(nil, function(_, attempt)
      seen[#seen + 1] = attempt
      error "failed"
    end, { attempts = 4, backoff = 0 })
    assert.same({ 1, 2, 3, 4 }, seen)
  end)

  it("runs its function in the caller's own task", function()
    local task = rille.go(function()
      return rille.retry(nil, function() return rille.self() == nil end)
    end)
    assert.is_false(task:await(BOUND))
    local upvalue = 0
    retry(nil, function() upvalue = upvalue + 1 end)
    assert.equal(1, upvalue)
  end)
end)

describe("the pauses of retry", function()
  it("double, from a tenth of a second or the number given", function()
    assert.same({ 0, 1, 3, 7, 15 }, times_of { attempts = 5, backoff = 1 })
    local times = times_of { attempts = 3 }
    assert.is_true(math.abs(times[2] - 0.1) < 1e-6 and math.abs(times[3] - 0.3) < 1e-6)
  end)

  it("grow to thirty seconds", function()
    local times = times_of { attempts = 8, backoff = 8 }
    assert.same({ 0, 8, 24, 54, 84, 114, 144, 174 }, times)
  end)

  it("are what a table or a function says", function()
    assert.same({ 0, 1, 4, 9, 14 },
      times_of { attempts = 5, backoff = { first = 1, factor = 3, max = 5 } })
    assert.same({ 0, 2, 6 }, times_of { backoff = function(attempt) return 2 * attempt end })
  end)

  it("are partly random with jitter", function()
    local different = {}
    for _ = 1, 20 do
      local times = times_of { attempts = 2, backoff = 8, jitter = 0.5 }
      assert.is_true(times[2] > 4 and times[2] <= 8)
      different[times[2]] = true
    end
    assert.is_truthy(next(different, next(different)))
  end)
end)

describe("the error of retry", function()
  it("is that of a lone attempt", function()
    assert.same({ nil, "failed" },
      { retry(nil, function() return nil, "failed" end, { attempts = 1 }) })
  end)

  it("has the errors of all attempts, in order", function()
    local value, err = retry(nil, failing, { backoff = 0 })
    assert.is_nil(value)
    local texts = {}
    for i, part in err:iter() do texts[i] = part end
    assert.same({ "error 1", "error 2", "error 3" }, texts)
    for i = 1, 3 do assert.is_true(errors.is(err, "error " .. i)) end
    assert.is_false(errors.is(err, "error 4"))
  end)

  it("has the last hundred of many", function()
    local _, err = retry(nil, failing, { attempts = 250, backoff = 0 })
    assert.equal(100, #err)
    assert.equal("error 151", err[1])
    assert.equal("error 250", err[100])
  end)

  it("keeps what was raised, with its traceback and task", function()
    local reason = setmetatable({}, { __tostring = function() return "a reason" end })
    local function fails() error(reason) end
    local _, err = retry(nil, fails, { attempts = 1 })
    assert.equal(reason, err.value)
    assert.equal("a reason", tostring(err))
    assert.matches("retry_spec.lua:%d+: in", err.traceback)
    local task = rille.go({ name = "worker" }, function()
      return rille.retry(nil, function() error "lost" end, { attempts = 1 })
    end)
    local _, there = task:await(BOUND)
    assert.equal("worker", there.task)
    assert.matches("lost", there.message)
  end)

  it("takes misuse for an error too", function()
    local _, err = retry(nil, function() rille.sleep "long" end, { backoff = 0 })
    assert.equal(3, #err)
    assert.matches("number expected", tostring(err))
  end)
end)

describe("retry_if", function()
  it("decides of each error but the last", function()
    local asked, n = {}, 0
    local _, err = retry(nil, failing, { attempts = 3, backoff = 0, retry_if = function(e, attempt)
      asked[attempt], n = e, n + 1
      return true
    end })
    assert.same({ "error 1", "error 2" }, asked)
    assert.equal(3, #err)
    assert.equal(2, n)
  end)

  it("ends it at once by saying no", function()
    local times = times_of { attempts = 9, backoff = 1, retry_if = function(_, attempt)
      return attempt < 2
    end }
    assert.same({ 0, 1 }, times)
  end)

  it("raises through", function()
    raises("undecided", retry, nil, failing, { retry_if = function() error "undecided" end })
  end)
end)

describe("the done of retry", function()
  it("that has fired lets nothing begin", function()
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ nil, "canceled", "why" },
      { retry(done, function() error "called" end) })
  end)

  it("cuts a pause short", function()
    testing.run(function()
      local start = rille.now()
      local done = rille.done { timeout = 5, cause = "late" }
      local value, err, cause = retry(done, failing, { attempts = math.huge, backoff = 4 })
      assert.same({ 5, nil, "late" }, { rille.now() - start, value, cause })
      assert.equal("3 errors:\n  error 1\n  error 2\n  deadline exceeded", tostring(err))
      assert.is_true(errors.is(err, "deadline exceeded"))
    end)
  end)

  it("ends it after the attempt during which it fires", function()
    local done, cancel = rille.done()
    local _, err, cause = retry(done, function()
      cancel "enough"
      return nil, "failed"
    end, { attempts = 1, retry_if = function() error "asked" end })
    assert.is_true(errors.is(err, "failed") and errors.is(err, "canceled"))
    assert.equal("enough", cause)
  end)

  it("does not undo a success", function()
    local done, cancel = rille.done()
    assert.equal("value", (retry(done, function() cancel() return "value" end)))
  end)

  it("is not told twice when the attempt has told it", function()
    local done, cancel = rille.done()
    assert.same({ nil, "canceled", "why" }, { retry(done, function(own)
      cancel "why"
      return own:wait() and nil, own:err()
    end) })
  end)

  it("comes to the function as a done that fires with the call's end", function()
    local parent = rille.done { values = { who = "me" } }
    local own = retry(parent, function(done) return done end)
    assert.equal("me", own:value "who")
    assert.equal("canceled", own:err())
    assert.is_nil(parent:err())
    own = retry(nil, function(done) return not done:err() and done end)
    assert.equal("canceled", own:err())
  end)

  it("may be whatever stands for one", function()
    local ch = rille.chan(1)
    assert.equal(1, retry(ch, function() return 1 end))
    ch:send "kept"
    assert.equal("kept", ch:recv())
    ch:send "stop"
    assert.same({ nil, "canceled", "stop" }, { retry(ch, failing) })
    local task = rille.go(function() end)
    task:join()
    assert.same({ nil, "canceled" }, { retry(task, failing), (select(2, retry(task, failing))) })
    testing.run(function()
      local start = rille.now()
      local _, err = retry(10, failing, { attempts = math.huge, backoff = 3 })
      assert.equal(10, rille.now() - start)
      assert.is_true(errors.is(err, "deadline exceeded"))
    end)
  end)
end)

describe("the arguments of retry", function()
  it("are named when they are bad", function()
    local f = failing
    raises("bad argument #1 to 'retry' %(done, channel", retry, "done", f)
    raises("bad argument #2 to 'retry' %(function expected, got nil", retry, nil)
    raises("bad argument #3 to 'retry' %(table of options", retry, nil, f, 3)
    raises("unknown option 'tries'", retry, nil, f, { tries = 3 })
    for _, attempts in ipairs { 0, 1.5, "3", -math.huge, 0 / 0 } do
      raises("option 'attempts': integer above 0", retry, nil, f, { attempts = attempts })
    end
    raises("option 'backoff': number of seconds, function or table", retry, nil, f,
      { backoff = "1" })
    raises("option 'backoff': table with 'max' from 0 to inf", retry, nil, f,
      { backoff = { max = -1 } })
    raises("option 'jitter': number from 0 to 1", retry, nil, f, { jitter = 2 })
    raises("option 'retry_if': function expected", retry, nil, f, { retry_if = true })
    raises("retry_spec.lua", function() retry(nil, f, { tries = 3 }) end)
  end)
end)

describe("early exits", function()
  it("of retry leave nothing behind", function()
    exits.run(20, function(done)
      rille.retry(done, function(own)
        local quiet = rille.chan()
        rille.go(function() quiet:recv(own) end)
        quiet:recv(math.random() * 1e-4)
        return nil, "failed"
      end, { attempts = 5, backoff = 1e-5, jitter = 1 })
    end)
  end)
end)

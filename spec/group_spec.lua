-- Groups: what fails, what stops, what waits, and that nothing is left.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"
local errors = rille.errors
local raises, until_waiting = helper.raises, helper.until_waiting

local BOUND = 20

-- Functions for members.
local function nothing() end
local function stops(done) return done:wait() and nil, done:err() end
local function gives(_, v) return v end
local function refuses(_, err) return nil, err end
local function throws(_, err) error(err, 0) end

-- A member that ends when the channel is closed.
local function holds(done, ch) ch:recv(done) end

describe("a group", function()
  it("gives its done to what it starts, then the arguments", function()
    local group <close> = rille.group({ name = "crew" })
    local task = group:go(function(done, a, b) return done, a, b end, 1, nil)
    assert.same({ n = 3, group.done, 1, nil }, table.pack(task:await()))
    assert.equal("crew", group.done:name())
    assert.is_true(group:wait(BOUND))
  end)

  it("waits for all, and then has their results in the order of their start", function()
    local group <close> = rille.group()
    local gate = rille.chan()
    group:go(function(done) gate:recv(done) return "slow" end)
    group:go(nothing)
    group:go(function() gate:close() return "quick", "more" end)
    assert.same({ n = 1, true }, table.pack(group:wait(BOUND)))
    assert.same({ n = 3, "slow", nil, "quick" }, group:results())
  end)

  it("passes the task's options on, and names it after the place of its start", function()
    local group <close> = rille.group()
    assert.equal("worker", group:go({ name = "worker" }, nothing):name())
    assert.matches("group_spec.lua:%d+$", group:go(nothing):name())
    local task = group:go({ name = "small", memory = 100000 }, function()
      return ("x"):rep(200000)
    end)
    local _, first = group:wait(BOUND)
    assert.equal("small", first.task)
    assert.equal(task:id(), first.id)
    assert.matches("not enough memory", tostring(first))
  end)

  it("starts what a module yields, by its name", function()
    package.path = package.path .. ";spec/support/?.lua"
    local group <close> = rille.group()
    assert.equal("function", type(require "plain"))
    local task = group:go("plain", nothing)
    assert.is_true(group:wait(BOUND))
    assert.is_true((task:join()))
  end)

  it("of nothing has not failed", function()
    local group <close> = rille.group()
    assert.is_true(group:wait(BOUND))
    assert.same({ n = 0 }, group:results())
  end)

  it("gives the same answer when it is waited for again", function()
    local group <close> = rille.group()
    group:go(throws, "boom")
    local ok, first, list = group:wait(BOUND)
    assert.same({ ok, first, list }, { group:wait() })
    assert.equal("boom", first.value)
  end)

  it("is over when it was waited for: its done has fired, and nothing is started", function()
    local group <close> = rille.group()
    group:wait(BOUND)
    assert.equal("canceled", group.done:err())
    assert.same({ nil, "canceled", "canceled" }, { group:go(error, "started") })
    assert.same({ nil, "canceled", "canceled" }, { group:try_go(error, "started") })
  end)

  it("goes on when a wait for it is cut short", function()
    local group <close> = rille.group()
    local gate = rille.chan()
    group:go(holds, gate)
    assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { group:wait(0) })
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ nil, "canceled", "why" }, { group:wait(done) })
    assert.is_nil(group.done:err())
    local late = group:go(gives, 7)
    gate:close()
    late:join()
    assert.is_true(group:wait(BOUND))
  end)

  it("lets what has ended come before a number", function()
    local group <close> = rille.group()
    group:go(nothing):join(BOUND)
    local ok
    repeat ok = group:wait(0) until ok
    assert.is_true(ok)
  end)

  it("does not cross to another task", function()
    local group <close> = rille.group()
    raises("a group stays with the task that has made it", rille.go, nothing, group)
    raises("a group stays", group.go, group, function() return group end)
  end)

  it("says what is wrong with its arguments", function()
    local group <close> = rille.group()
    raises("#1 to 'group' %(done, channel", rille.group, "soon")
    raises("#1 to 'group' %(number of seconds expected, got nan%)", rille.group, 0 / 0)
    raises("#1 to 'group' %(unknown option 'limits'", rille.group, { limits = 1 })
    raises("#2 to 'group' %(option 'limit': integer of at least 1 exp", rille.group, nil,
      { limit = 0 })
    raises("option 'policy': 'first' or 'all' expected, got 'none'", rille.group,
      { policy = "none" })
    raises("option 'max_errors': integer of at least 1", rille.group, { max_errors = 1.5 })
    raises("#1 to 'go' %(function or module name expected, got nil", group.go, group)
    raises("#2 to 'go' %(function or module name expected", group.go, group, {})
    raises("#1 to 'go' %(function or module name expected, got rille.channel", group.go, group,
      rille.chan())
    raises("#1 to 'go' %(option 'memory': integer of at least 1", group.go, group, { memory = 0.5 })
    raises("#1 to 'try_go' %(unknown option 'nmae'", group.try_go, group, { nmae = "" }, nothing)
    raises("#1 to 'wait' %(done, channel", group.wait, group, "soon")
    local ok, err = pcall(function() group:go(nothing, coroutine.create(nothing)) end)
    assert.is_false(ok)
    assert.matches("^spec/group_spec.lua:%d+: cannot send coroutine at argument 2$", err)
    assert.is_true(group:wait(BOUND))
  end)
end)

describe("the first failure", function()
  it("comes with its task and traceback, however many have failed", function()
    local group <close> = rille.group()
    group:go({ name = "bad" }, function() error "boom" end)
    group:go(stops)
    local ok, first, list = group:wait(BOUND)
    assert.is_nil(ok)
    assert.same({ "bad", 1 }, { first.task, #list })
    assert.equal(first, list[1])
    assert.matches("^spec/group_spec.lua:%d+: boom$", tostring(first))
    assert.matches("stack traceback:.*group_spec.lua", first.traceback)
  end)

  it("fires the done at once, whatever the owner does", function()
    local group <close> = rille.group()
    local other = group:go(stops)
    group:go(throws, "boom")
    assert.is_false((other:join(BOUND))) -- the group itself is not asked
    assert.equal("boom", group.done:cause())
    group:wait(BOUND)
  end)

  for how, fails in pairs {
    ["a raised error"] = { throws, "x" },
    ["a raised table"] = { throws, { code = 1 } },
    ["nil and an error"] = { refuses, "x" },
    ["a module that is not there"] = { "no.such.module" },
    ["an error that cannot cross"] = { function() error(coroutine.create(print)) end },
    ["a result that cannot cross"] = { function() return coroutine.create(print) end },
    ["too little memory to begin"] = { { memory = 1 }, nothing },
    ["too little memory for the arguments"] = { { memory = 30000 }, nothing, ("x"):rep(100000) },
  } do
    it("may be " .. how, function()
      local group <close> = rille.group()
      local other = group:go(stops)
      local task = group:go(table.unpack(fails))
      assert.is_false((other:join(BOUND)))
      local ok, first, list = group:wait(BOUND)
      assert.is_nil(ok)
      assert.same({ task:id(), 1 }, { first.id, #list })
      assert.is_false((task:join()))
    end)
  end

  it("may be an interruption, before it begins or while it runs", function()
    for _, begun in ipairs { false, true } do
      local group <close> = rille.group()
      local task = group:go(holds, rille.chan())
      if begun then until_waiting(task) end
      task:interrupt "out"
      local _, first = group:wait(BOUND)
      assert.equal("out", first.value)
    end
  end)

  it("is the first in time, not that of the first to start", function()
    local group <close> = rille.group()
    group:go(function(done) done:wait() error("second", 0) end)
    group:go(throws, "first")
    local _, first, list = group:wait(BOUND)
    assert.equal("first", first.value)
    assert.same({ "second", "first" }, { list[1].value, list[2].value })
  end)

  it("does not end a task for returning nil alone, or an error behind a value", function()
    local group <close> = rille.group()
    group:go(function() return nil, nil end)
    group:go(function() return false, "error" end)
    group:go(function() return 1, "error" end)
    assert.is_true(group:wait(BOUND))
  end)
end)

describe("what others say because they were told to stop", function()
  for how, says in pairs {
    ["the error, returned"] = function(done) done:wait() return nil, done:err() end,
    ["the error, raised"] = function(done) done:wait() error(done:err(), 0) end,
    ["the error, with a position"] = function(done) done:wait() error(done:err()) end,
    ["the cause"] = function(done) done:wait() done:check() end,
    ["the cause, returned"] = function(done) done:wait() return nil, done:cause() end,
    ["the failure of a group below"] = function(done)
      local group <close> = require "rille".group(done)
      group:go(function(below) below:wait() return nil, below:err() end)
      return group:wait()
    end,
    ["several of these"] = function(done)
      done:wait()
      return nil, require "rille.errors".join(done:err(), done:cause())
    end,
  } do
    for _, cause in ipairs { "boom", { code = 7, list = { 1 } } } do
      it(("is no failure: %s (%s)"):format(how, type(cause)), function()
        local group <close> = rille.group { policy = "first" }
        local told = group:go(says)
        until_waiting(told)
        group:go(throws, cause)
        local _, first, list = group:wait(BOUND)
        assert.same({ cause, 1 }, { first.value, #list })
      end)
    end
  end

  it("is a failure when it is something else", function()
    local group <close> = rille.group()
    until_waiting(group:go(function(done) done:wait() error({ code = 8 }, 0) end))
    group:go(throws, { code = 7 })
    local _, first, list = group:wait(BOUND)
    assert.equal(7, first.value.code)
    assert.equal(2, #list)
  end)

  it("is a failure before the group was cancelled", function()
    local group <close> = rille.group { policy = "all" }
    group:go(throws, "canceled"):join(BOUND)
    group:cancel()
    local _, first = group:wait(BOUND)
    assert.equal("canceled", first.value)
    assert.is_nil(first.cause)
  end)
end)

describe("a group that is cancelled from outside", function()
  it("gives the done's error and cause, when its tasks have given up", function()
    local done, cancel = rille.done()
    local group <close> = rille.group(done)
    group:go({ name = "one" }, function(d) d:wait() d:check() end)
    group:go(nothing)
    cancel "why"
    local ok, first, list = group:wait(BOUND)
    assert.is_nil(ok)
    assert.same({ "canceled", "why", "one", 1 }, { first.value, first.cause, first.task, #list })
    assert.equal("canceled", tostring(first))
  end)

  it("has not failed when its tasks have not", function()
    local group <close> = rille.group()
    until_waiting(group:go(function(done) done:wait() return "well" end))
    group:cancel()
    assert.is_true(group:wait(BOUND))
    assert.same({ n = 1, "well" }, group:results())
  end)

  it("tells of a deadline as such", function()
    testing.run(function()
      local group <close> = rille.group(60)
      group:go(stops)
      local _, first = group:wait()
      assert.is_true(errors.is(first, "deadline exceeded"))
    end)
  end)

  it("counts what fails all the same", function()
    local group <close> = rille.group()
    until_waiting(group:go(function(done) done:wait() error("by itself", 0) end))
    until_waiting(group:go(stops))
    group:cancel()
    local _, first, list = group:wait(BOUND)
    assert.same({ "by itself", 1 }, { first.value, #list })
  end)
end)

describe("a policy", function()
  it("of all lets every task end, and lists the failures in the order of the starts", function()
    local group <close> = rille.group { policy = "all" }
    for i = 1, 6 do group:go(i % 2 == 0 and throws or gives, i) end
    local _, first, list = group:wait(BOUND)
    local values = {}
    for i, failure in ipairs(list) do values[i] = failure.value end
    assert.same({ 2, 4, 6 }, values)
    assert.is_true(first == list[1] or first == list[2] or first == list[3])
    assert.same({ n = 6, 1, nil, 3, nil, 5, nil }, group:results())
  end)

  it("of max_errors fires the done at the failure with that number", function()
    local group <close> = rille.group { max_errors = 3 }
    local last = group:go(stops)
    for i = 1, 2 do group:go(throws, i):join(BOUND) end
    assert.is_nil(group.done:err())
    group:go(throws, 3)
    last:join(BOUND)
    assert.equal(3, group.done:cause())
    local _, first, list = group:wait(BOUND)
    assert.same({ 1, 3 }, { first.value, #list })
  end)
end)

describe("a limit", function()
  it("is never exceeded, and all get their turn", function()
    local running, most = rille.chan(100), rille.chan(100)
    local group <close> = rille.group { limit = 3 }
    for i = 1, 30 do
      assert(group:go(function(_, n)
        running:send(true)
        most:send(#running)
        require "rille".yield()
        running:recv()
        return n
      end, i))
    end
    assert.is_true(group:wait(BOUND))
    for _ = 1, #most do assert.is_true(most:recv() <= 3) end
    for i, v in ipairs(group:results()) do assert.equal(i, v) end
  end)

  it("makes go wait, and try_go say so", function()
    local group <close> = rille.group { limit = 1 }
    local gate = rille.chan()
    group:go(holds, gate)
    assert.same({ false, "full" }, { group:try_go(nothing) })
    rille.go(function() gate:close() end):join()
    assert.is_truthy(group:go(nothing))
    assert.is_true(group:wait(BOUND))
  end)

  it("keeps nobody waiting in a group that is cancelled", function()
    local group <close> = rille.group { limit = 1 }
    local gate = rille.chan()
    group:go(function() gate:recv() end) -- does not care
    local cancel = group._cancel
    rille.go(function() cancel "why" end)
    assert.same({ nil, "canceled", "why" }, { group:go(nothing) })
    gate:close()
  end)

  it("gets its places back however a task ends", function()
    local group <close> = rille.group { limit = 2, policy = "all" }
    local gate = rille.chan()
    for _ = 1, 10 do
      assert(group:go({ memory = 1 }, nothing))
      assert(group:go({ memory = 30000 }, nothing, ("x"):rep(100000)))
      assert(group:go(holds, gate)):interrupt "out"
      assert(group:go("no.such.module"))
      assert(group:go(refuses, "x"))
    end
    local _, _, list = group:wait(BOUND)
    assert.equal(50, #list)
  end)

  it("stops no go by what was counted wrong: a refused start takes no place", function()
    local group <close> = rille.group { limit = 1 }
    for _ = 1, 3 do raises("cannot send", group.go, group, nothing, coroutine.create(print)) end
    assert.is_truthy(group:try_go(nothing))
    assert.is_true(group:wait(BOUND))
  end)
end)

describe("the end of the scope", function()
  it("cancels what runs and waits for it", function()
    local ended = rille.chan(2)
    do
      local group <close> = rille.group()
      for _ = 1, 2 do
        until_waiting(group:go(function(done)
          done:wait()
          require "rille".yield()
          ended:send(true)
        end))
      end
    end
    assert.equal(2, #ended)
  end)

  it("by an error lets that error through, when all have ended", function()
    local task
    local ok, err = pcall(function()
      local group <close> = rille.group()
      task = group:go(stops)
      error("mine", 0)
    end)
    assert.same({ false, "mine" }, { ok, err })
    assert.equal("failed", task:status())
  end)

  it("reports what has failed and was not asked for, and no more #exec", function()
    local ran = helper.run [[
      local rille = require "rille"
      do
        local group <close> = rille.group()
        group:go({ name = "raises" }, function() error "boom" end)
        group:go({ name = "stops" }, function(done) done:wait() done:check() end)
        while not group.done:err() do rille.yield() end
      end
      do
        local group <close> = rille.group()
        group:go({ name = "returns" }, function() return nil, "no luck" end)
        while not group.done:err() do rille.yield() end
      end
      do
        local group <close> = rille.group()
        group:go({ name = "asked" }, function() error "asked for" end)
        group:wait()
      end
      collectgarbage()]]
    assert.matches('"raises".- failed: .-boom', ran.err)
    assert.matches('"returns".- failed: no luck', ran.err)
    assert.is_nil(ran.err:find "stops" or ran.err:find "asked")
  end)

  it("can itself be interrupted, by who waits no longer for a task that does not stop", function()
    local gate = rille.chan()
    local owner = rille.go(function()
      local group <close> = require "rille".group()
      group:go(function() gate:recv() end)
    end)
    until_waiting(owner):interrupt "enough"
    assert.same({ false, "enough" }, { owner:join(BOUND) })
    gate:close()
  end)
end)

describe("a group that is dropped", function()
  it("leaves its tasks to go on", function()
    local gate = rille.chan()
    local task = rille.group():go(function(_, ch) return ch:recv() end, gate)
    collectgarbage()
    collectgarbage()
    gate:send "still there"
    assert.equal("still there", task:await(BOUND))
  end)

  it("does not hide that its tasks have leaked", function()
    until_waiting(rille.group():go(stops))
    collectgarbage()
    collectgarbage()
    assert.equal(1, #rille.leaks())
    rille.collect()
  end)
end)

describe("an owner that is interrupted at any instruction", function()
  -- Calls fn(...) and raises "out" in it at the nth instruction; true when it did not get so far.
  local function cut(n, fn, ...)
    local function raise()
      debug.sethook()
      error("out", 0)
    end
    local ok, err = pcall(function(...)
      debug.sethook(raise, "", n)
      fn(...)
      debug.sethook()
    end, ...)
    assert.is_true(ok or err == "out", err)
    return ok
  end

  local function starts(group, counter)
    for i = 1, 3 do
      group:go(function(_, n)
        counter:send(n)
        return n
      end, i)
    end
    group:wait()
  end

  local function count(values)
    local n = 0
    for _ in pairs(values) do n = n + 1 end
    return n - 1 -- but for the field n
  end

  for _, limit in ipairs { 1, 3 } do
    it("loses no task and no result, with a limit of " .. limit, function()
      local n = 0
      repeat
        n = n + 1
        local group <close> = rille.group { limit = limit }
        local counter = rille.chan(3)
        local whole = cut(n, starts, group, counter)
        assert.is_true(group:wait(BOUND))
        assert.equal(#counter, count(group:results()))
        assert.same({}, rille.tasks())
      until whole
      assert.is_true(n > 100)
    end)
  end

  it("finds the failure of a task whose status tells of it before its end does", function()
    for _ = 1, 10000 do
      local group <close> = rille.group { policy = "all" }
      local task, failure = group:go(throws, 1), rille._failure
      while task:status() ~= "failed" do end -- luacheck: ignore 542
      assert(failure(task))
      group:wait()
    end
  end)

  it("loses no failure, and can wait again", function()
    local n = 0
    repeat
      n = n + 1
      local group <close> = rille.group { policy = "all" }
      for i = 1, 3 do group:go(i == 2 and gives or throws, i) end
      local whole = cut(n, group.wait, group)
      local _, _, list = group:wait(BOUND)
      assert.same({ 1, 3 }, { list[1].value, list[2].value })
      assert.same({ n = 3, nil, 2, nil }, group:results())
    until whole
    assert.is_true(n > 100)
  end)
end)

describe("a supervised task", function()
  -- Fails so many times, then returns how often it was started.
  local function unsteady(_, counter, n)
    counter:send(true)
    if #counter <= n then error("failed " .. #counter, 0) end
    return #counter
  end

  it("is started again when it fails, and disturbs no other", function()
    testing.run(function()
      local group <close> = rille.group()
      local counter, start = rille.chan(10), rille.now()
      local other = group:go(function(done) return rille.sleep(10, done) end)
      local task = group:supervise({ backoff = 1, name = "unsteady" }, unsteady, counter, 2)
      assert.equal("unsteady", task:name())
      assert.is_true(group:wait())
      assert.equal(3, task:await())
      assert.same({ n = 2, true, 3 }, group:results())
      assert.equal(start + 10, rille.now())
      assert.is_true(other:await())
    end)
  end)

  it("pauses longer from one attempt to the next", function()
    testing.run(function()
      local group <close> = rille.group()
      local start = rille.now()
      group:supervise({ backoff = { first = 1, factor = 3 }, attempts = 4 }, throws, "x")
      group:wait()
      assert.equal(1 + 3 + 9, rille.now() - start)
    end)
  end)

  it("fails with all its failures when there are no more attempts", function()
    local group <close> = rille.group()
    group:supervise({ attempts = 3, backoff = 0 }, unsteady, rille.chan(10), 9)
    local _, first = group:wait(BOUND)
    assert.equal(3, #first.value)
    for i, failure in first.value:iter() do assert.equal("failed " .. i, failure.value) end
    assert.equal("canceled", group.done:err())
  end)

  it("is started again only when restart_if says so", function()
    local group <close> = rille.group()
    local counter = rille.chan(10)
    local function restart(err, attempt)
      assert(err.value == "failed " .. attempt)
      return attempt < 2
    end
    group:supervise({ backoff = 0, restart_if = restart, attempts = math.huge }, unsteady, counter,
      9)
    local _, first = group:wait(BOUND)
    assert.equal(2, #first.value)
    assert.equal(2, #counter)
  end)

  it("stops, in an attempt and between two, when the group does", function()
    for _, member in ipairs { throws, stops } do
      local group <close> = rille.group()
      until_waiting(group:supervise({ backoff = 3600 }, member, "x"))
      group:cancel()
      local _, first = group:wait(BOUND)
      assert.equal("canceled", first.value)
    end
  end)

  it("takes its attempt along when it is interrupted", function()
    local group <close> = rille.group()
    until_waiting(group:supervise(stops)):interrupt "out"
    local _, first = group:wait(BOUND)
    assert.equal("out", first.value)
  end)

  it("says what is wrong with its options", function()
    local group <close> = rille.group()
    raises("#1 to 'supervise' %(option 'attempts'", group.supervise, group, { attempts = 0 }, stops)
    raises("option 'backoff'", group.supervise, group, { backoff = "x" }, stops)
    raises("#2 to 'supervise' %(function", group.supervise, group, {})
    raises("#1 to 'supervise' %(function", group.supervise, group)
  end)
end)

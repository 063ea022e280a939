-- The or-channel and its counterpart: any fires with the first input, all with the last.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"

local LONG = 60 -- a wait that must end by something else
local BOUND = 30 -- a watchdog

local raises = helper.raises

local function fired(err, cause, done)
  assert.equal(err, done:err())
  assert.same(cause, done:cause())
end

local function awaited(done)
  assert.is_true(done:wait(BOUND))
  return done
end

local function closed()
  local ch = rille.chan()
  ch:close()
  return ch
end

local function dones(n)
  local list, cancels = {}, {}
  for i = 1, n do list[i], cancels[i] = rille.done() end
  return list, cancels
end

describe("rille.any", function()
  it("of nothing is the background", function()
    assert.equal(rille.background, rille.any())
  end)

  it("of one done is that done", function()
    local done = rille.done()
    assert.equal(done, rille.any(done))
    assert.equal(rille.background, rille.any(rille.background))
  end)

  it("is a done in every case", function()
    local task = rille.go(function() end)
    local done = rille.done()
    for _, input in ipairs { rille.chan(), rille.never, rille.timer(LONG), LONG, task, done } do
      assert.is_function(rille.any(input).remaining)
      assert.is_function(rille.any(input, rille.never).remaining)
    end
  end)

  it("fires when any of its channels is closed", function()
    local channels = {}
    for i = 1, 5 do channels[i] = rille.chan() end
    local any = rille.any(table.unpack(channels))
    assert.is_nil(any:err())
    channels[4]:close()
    assert.equal("canceled", awaited(any):err())
  end)

  it("fires when any of its dones fires, with its error and cause", function()
    for i = 1, 3 do
      local list, cancels = dones(3)
      local any = rille.any(table.unpack(list))
      assert.is_nil(any:err())
      assert.is_nil(any:cause())
      cancels[i] { code = i }
      fired("canceled", { code = i }, awaited(any))
    end
  end)

  it("fires in the same pass as its done", function()
    local list, cancels = dones(2)
    local any = rille.any(list[1], list[2])
    cancels[2] "now"
    fired("canceled", "now", any)
  end)

  it("fires with the deadline of its done and that one's cause", function()
    local any = rille.any(rille.never, (rille.done { timeout = 0.01, cause = "slow" }))
    fired("deadline exceeded", "slow", awaited(any))
  end)

  it("asked past the deadline of its done has that one's cause, whoever fires it", function()
    for _ = 1, 30 do
      local done = rille.done { timeout = 0.02, cause = "slow" }
      local siblings = {}
      for i = 1, 2000 do siblings[i] = rille.any(done, rille.never) end
      local last = rille.any(rille.any(done, rille.never), rille.never)
      local deadline = done:deadline()
      while rille.now() < deadline + 1e-4 do end -- luacheck: ignore 542 (the timers go first)
      fired("deadline exceeded", "slow", last)
      assert.equal("slow", awaited(siblings[2000]):cause())
    end
  end)

  it("300,000 deep is asked past its deadline without a crash", function()
    local any = rille.done { timeout = 1.5, cause = "deep" }
    local deadline = any:deadline()
    for _ = 1, 300000 do any = rille.any(any, rille.never) end
    while rille.now() < deadline do end -- luacheck: ignore 542 (it looks before the timers do)
    fired("deadline exceeded", "deep", any)
  end)

  it("fires when any of its tasks ends", function()
    local gate, other = rille.chan(), rille.chan()
    local function waits(ch) ch:recv() end
    local any = rille.any(rille.go(waits, gate), rille.go(waits, other))
    assert.is_nil(any:err())
    other:close()
    assert.equal("canceled", awaited(any):err())
    gate:close()
  end)

  it("fires when a task fails, whose error stays to be taken", function()
    local task = rille.go(function() error("boom", 0) end)
    assert.equal("canceled", awaited((rille.any(task, rille.never))):err())
    assert.same({ false, "boom" }, { task:join(BOUND) })
  end)

  it("fires with a number of seconds", function()
    local start = rille.now()
    local any = awaited((rille.any(LONG, 0.02)))
    assert.is_true(rille.now() - start >= 0.02)
    assert.equal("deadline exceeded", any:err())
  end)

  it("fires with a timer", function()
    local any = rille.any(rille.timer(LONG), rille.timer(0.01))
    assert.equal("deadline exceeded", awaited(any):err())
    assert.equal("deadline exceeded", awaited((rille.any(rille.never, rille.after(0.01)))):err())
  end)

  it("receives a delivered value as its cause, so it is not lost", function()
    local ch = rille.chan()
    local any = rille.any(rille.never, ch)
    ch:send { id = 5 }
    fired("canceled", { id = 5 }, awaited(any))
    assert.same({ false, "full" }, { ch:try_send "second" })
  end)

  it("receives a value that was there before", function()
    local ch = rille.chan(2)
    ch:send "first"
    ch:send "second"
    fired("canceled", "first", awaited((rille.any(ch, rille.never))))
    assert.equal("second", ch:recv())
  end)

  it("receives of several ready channels one value", function()
    local list = {}
    for i = 1, 4 do
      list[i] = rille.chan(1)
      list[i]:send(i)
    end
    local any = awaited((rille.any(table.unpack(list))))
    local left = 0
    for i, ch in ipairs(list) do
      assert.equal(i == any:cause() and 0 or 1, #ch)
      left = left + #ch
    end
    assert.equal(3, left)
  end)

  it("receives nothing more once it has fired", function()
    local ch, stop = rille.chan(1), rille.chan()
    local any = rille.any(ch, stop)
    stop:close()
    awaited(any)
    ch:send "kept"
    assert.equal("kept", (ch:recv(0)))
  end)

  it("of inputs one of which has fired has fired", function()
    local done, cancel = rille.done()
    cancel "early"
    fired("canceled", "early", rille.any(rille.never, done, rille.chan()))
    assert.equal("canceled", awaited((rille.any(rille.chan(), closed()))):err())
  end)

  it("takes any mixture", function()
    local gate = rille.chan()
    local task = rille.go(function() gate:recv() end)
    local done, cancel = rille.done()
    local timer = rille.timer(LONG)
    local any = rille.any(rille.chan(), done, task, timer, LONG, rille.never, rille.background)
    assert.is_nil(any:err())
    cancel "that one"
    fired("canceled", "that one", any)
    gate:close()
  end)

  it("takes the same input twice", function()
    local ch = rille.chan()
    local any = rille.any(ch, ch)
    ch:send "once"
    fired("canceled", "once", awaited(any))
    local done, cancel = rille.done()
    local both = rille.any(done, done)
    cancel "why"
    fired("canceled", "why", awaited(both))
  end)

  it("takes a hundred inputs, and fires with the last", function()
    local list, cancels = dones(100)
    local any = rille.any(table.unpack(list))
    cancels[100] "last"
    fired("canceled", "last", any)
  end)

  it("nests", function()
    local list, cancels = dones(4)
    local any = rille.any(rille.any(list[1], list[2]), rille.any(list[3], list[4]))
    cancels[3] "deep"
    fired("canceled", "deep", awaited(any))
  end)

  it("keeps the first cause", function()
    local list, cancels = dones(2)
    local any = rille.any(table.unpack(list))
    cancels[2] "first"
    cancels[1] "second"
    fired("canceled", "first", any)
  end)

  it("fires nothing but itself", function()
    local list, cancels = dones(2)
    local any = rille.any(table.unpack(list))
    cancels[1]()
    awaited(any)
    assert.is_nil(list[2]:err())
  end)

  it("is a parent, and may be waited on, selected and passed along", function()
    local ch = rille.chan()
    local any = rille.any(ch, rille.never)
    local child = rille.done(any)
    local waiter = rille.go(function() return any:wait() end)
    local selector = rille.go(function() return rille.select(rille.never, any) end)
    local receiver = rille.go(function() return rille.never:recv(any) end)
    ch:send "go"
    assert.is_true(waiter:await(BOUND))
    assert.same({ 2, nil, "canceled", "go" }, { selector:await(BOUND) })
    assert.same({ nil, "canceled", "go" }, { receiver:await(BOUND) })
    fired("canceled", "go", awaited(child))
  end)

  it("starts its afters", function()
    local ch, out = rille.chan(), rille.chan(1)
    local any = rille.any(ch, rille.never)
    any:after(function() out:send(any:cause()) end)
    ch:send "why"
    assert.equal("why", (out:recv(BOUND)))
  end)

  it("crosses to a task and is the same when it comes back", function()
    local ch = rille.chan()
    local any = rille.any(ch, rille.never)
    local task = rille.go(function(arrived)
      arrived:wait()
      return arrived, arrived:cause()
    end, any)
    ch:send "why"
    local back, cause = task:await(BOUND)
    assert.equal(any, back)
    assert.equal("why", cause)
  end)

  it("fires for many tasks that deliver at once with one value, the others keep theirs", function()
    for _ = 1, 20 do
      local list, tasks, stop = {}, {}, rille.chan()
      for i = 1, 6 do list[i] = rille.chan() end
      local any = rille.any(table.unpack(list))
      for i, ch in ipairs(list) do tasks[i] = rille.go(function() return ch:send(i, stop) end) end
      local cause = awaited(any):cause()
      stop:close()
      for i, task in ipairs(tasks) do
        assert.equal(i == cause or nil, (task:await(BOUND)))
      end
    end
  end)

  it("withdraws from its inputs when it is collected", function()
    local ch = rille.chan()
    do
      rille.any(ch, rille.never)
    end
    collectgarbage()
    collectgarbage()
    assert.same({ false, "full" }, { ch:try_send "kept" })
  end)

  it("costs living inputs nothing once it is dropped or has fired #memory", function()
    local done, ch = rille.done(), rille.chan()
    local function churn(n)
      for i = 1, n do
        rille.any(done, ch, rille.background)
        if i % 1000 == 0 then collectgarbage() end
      end
      local stop, cancel = rille.done()
      rille.any(done, ch, stop)
      cancel()
      collectgarbage()
      collectgarbage()
    end
    churn(10000)
    local before = helper.resident()
    churn(50000)
    assert.is_true(helper.resident() - before < 8 * 1024)
  end)

  it("makes no task", function()
    local function count()
      local n = 0
      for _, k in pairs(rille.stats().tasks) do n = n + k end
      return n
    end
    local before = count()
    local list = {}
    for i = 1, 50 do list[i] = rille.any(rille.chan(), rille.never) end
    assert.is_true(count() <= before)
    assert.equal(50, #list)
  end)

  it("looks values up through its first done, wherever it stands", function()
    local done = rille.done { values = { user = "ada" } }
    local other = rille.done { values = { user = "eve" } }
    for _, combine in ipairs { rille.any, rille.all } do
      assert.equal("ada", combine(done, other):value "user")
      assert.equal("ada", combine(LONG, rille.never, nil, done, other):value "user")
      assert.equal("ada", (rille.done(combine(LONG, done))):value "user")
      assert.is_nil(combine(LONG, rille.never):value "user")
    end
  end)

  it("takes nil and false as never ready", function()
    local done, cancel = rille.done()
    local any = rille.any(nil, done, false)
    assert.is_nil(any:err())
    cancel "why"
    fired("canceled", "why", any)
  end)

  it("raises on what cannot fire, naming the argument", function()
    raises("bad argument #1", rille.any, "x")
    raises("bad argument #2", rille.any, rille.never, {})
    raises("bad argument #2", rille.any, rille.never, print)
    raises("", rille.any, rille.chan():sender(), rille.never)
  end)

  it("raises on a cancel given by a nested call", function()
    raises("bad argument #2", function() return rille.any(rille.done()) end)
  end)

  it("leaves its inputs alone when an argument raises", function()
    local ch = rille.chan()
    raises("bad argument #2", rille.any, ch, "x")
    collectgarbage()
    assert.same({ false, "full" }, { ch:try_send "kept" })
  end)
end)

describe("rille.all", function()
  it("of nothing has fired", function()
    local all = rille.all()
    assert.is_true(all:wait(0))
    assert.is_string(all:err())
  end)

  it("has fired as soon as the last deadline of its dones has passed", function()
    for _ = 1, 50 do
      local early, late = rille.done { timeout = 0.001 }, (rille.done { timeout = 0.002 })
      local all = rille.all(early, late)
      assert.equal(late:deadline(), all:deadline())
      while rille.now() < late:deadline() do assert(true) end
      assert.equal("deadline exceeded", all:err())
    end
    assert.is_nil(rille.all((rille.done { timeout = 1 }), rille.chan()):deadline())
  end)

  it("has its last done's outcome also when asked as that one's deadline passes", function()
    for i = 1, 50 do
      local at = rille.now() + 0.001
      local early, cancel = rille.done { deadline = at }
      local last = rille.done { deadline = at, cause = "last" }
      local all = i % 2 == 0 and rille.all(early, last) or rille.all(last, early)
      cancel "early"
      while rille.now() < at do assert(true) end
      assert.equal("deadline exceeded", all:err())
      -- on a busy machine the cancel may come too late
      if early:cause() == "early" then assert.equal("last", all:cause()) end
    end
  end)

  it("fires when the last of its dones has fired", function()
    local list, cancels = dones(3)
    local all = rille.all(table.unpack(list))
    cancels[2]()
    cancels[1]()
    assert.is_nil(all:err())
    assert.is_nil((all:wait(0.01)))
    cancels[3] "last"
    assert.equal("canceled", awaited(all):err())
  end)

  it("of one fires with it", function()
    local done, cancel = rille.done()
    local all = rille.all(done)
    assert.is_nil(all:err())
    cancel()
    awaited(all)
  end)

  it("takes any mixture", function()
    local gate, ch, shut = rille.chan(), rille.chan(), rille.chan()
    local task = rille.go(function() gate:recv() end)
    local done, cancel = rille.done()
    local all = rille.all(ch, shut, done, task, rille.timer(0.01), 0.02)
    ch:send "value"
    shut:close()
    cancel()
    assert.is_nil((all:wait(0.05)))
    gate:close()
    assert.is_string(awaited(all):err())
  end)

  it("fires when all its tasks have ended, also by failing", function()
    local gate = rille.chan()
    local tasks = {}
    for i = 1, 10 do
      tasks[i] = rille.go(function()
        gate:recv()
        if i % 2 == 0 then error("boom", 0) end
      end)
    end
    local all = rille.all(table.unpack(tasks))
    assert.is_nil((all:wait(0)))
    gate:close()
    awaited(all)
    for _, task in ipairs(tasks) do
      local status = task:status()
      assert.equal(task:join() and "finished" or "failed", status)
    end
  end)

  it("receives one value of each channel and no more", function()
    local a, b = rille.chan(3), rille.chan(3)
    for i = 1, 3 do
      a:send(i)
      b:send(i)
    end
    awaited((rille.all(a, b)))
    assert.equal(2, #a)
    assert.equal(2, #b)
  end)

  it("of inputs that have all fired has fired", function()
    local list, cancels = dones(3)
    for _, cancel in ipairs(cancels) do cancel() end
    assert.is_string(awaited((rille.all(table.unpack(list)))):err())
    awaited((rille.all(closed(), closed())))
  end)

  it("with one that never fires never fires", function()
    assert.is_nil((rille.all(closed(), rille.never):wait(0.01)))
    assert.is_nil((rille.all(closed(), rille.background):wait(0.01)))
  end)

  it("is a parent and a case of select", function()
    local list, cancels = dones(2)
    local all = rille.all(table.unpack(list))
    local child = rille.done(all)
    assert.is_nil(rille.try_select(all))
    cancels[1]()
    cancels[2]()
    awaited(child)
    assert.equal(1, (rille.select(all)))
  end)

  it("raises on what cannot fire, naming the argument", function()
    raises("bad argument #1", rille.all, "x")
    raises("bad argument #2", rille.all, rille.never, {})
  end)

  it("withdraws from its inputs when it is collected", function()
    local ch = rille.chan()
    do
      rille.all(ch, rille.never)
    end
    collectgarbage()
    collectgarbage()
    assert.same({ false, "full" }, { ch:try_send "kept" })
  end)
end)

-- What Go promises of a context, held against done: WithCancel, WithDeadline, WithTimeout,
-- WithValue, causes, AfterFunc and WithoutCancel. The names follow Go's tests.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local BOUND = 30 -- a watchdog
local HOUR = 3600

local function fired(err, cause, done)
  assert.equal(err, done:err())
  assert.same(cause, done:cause())
  assert.is_true(done:wait(0))
end

local function live(done)
  assert.is_nil(done:err())
  assert.is_nil(done:cause())
  assert.is_nil((rille.try_select(done)))
end

local function awaited(done)
  assert.is_true(done:wait(BOUND))
  return done
end

local function late(done) fired("deadline exceeded", "deadline exceeded", awaited(done)) end

describe("Background", function()
  it("is never done and shows what it is", function()
    live(rille.background)
    assert.matches("background", tostring(rille.background))
  end)
end)

describe("WithCancel", function()
  it("is done once canceled, and tells those that wait and those that ask", function()
    local c1, cancel = rille.done()
    local o = rille.done(c1)
    for _, c in ipairs { c1, o } do live(c) end
    cancel()
    for _, c in ipairs { c1, o } do fired("canceled", "canceled", c) end
    cancel()
    for _, c in ipairs { c1, o } do fired("canceled", "canceled", c) end
  end)

  it("ParentFinishesChild: cancels all below, whatever lies between", function()
    local parent, cancel = rille.done()
    local cancel_child = rille.done(parent)
    local value_child = rille.done(parent, { values = { key = "value" } })
    local timer_child = rille.done(value_child, { timeout = HOUR })
    for _, c in ipairs { parent, cancel_child, value_child, timer_child } do live(c) end
    cancel()
    for _, c in ipairs { parent, cancel_child, value_child, timer_child } do
      fired("canceled", "canceled", c)
    end
    local precanceled = rille.done(parent)
    fired("canceled", "canceled", precanceled)
  end)

  it("ChildFinishesFirst: leaves parents alone, background or cancelable", function()
    local cancelable = rille.done()
    for _, parent in ipairs { rille.background, cancelable } do
      local child, cancel = rille.done(parent)
      live(parent)
      live(child)
      cancel()
      fired("canceled", "canceled", child)
      live(parent)
    end
  end)

  it("CanceledParent: a child of a canceled parent is canceled with its cause", function()
    local parent, cancel = rille.done()
    cancel(("Because!"))
    fired("canceled", "Because!", (rille.done(parent)))
  end)

  it("SimultaneousCancels: a tree canceled from all its nodes at once", function()
    local root, cancel = rille.done()
    local list, cancels = { root }, { cancel }
    for i = 1, 60 do
      local left, cancel_left = rille.done(list[i])
      local right, cancel_right = rille.done(list[i])
      list[#list + 1], cancels[#cancels + 1] = left, cancel_left
      list[#list + 1], cancels[#cancels + 1] = right, cancel_right
    end
    for _, fire in ipairs(cancels) do rille.go(function() fire() end) end
    for _, c in ipairs(list) do fired("canceled", "canceled", awaited(c)) end
  end)

  it("InterlockedCancels: a child canceled by what waits for its parent", function()
    local parent, cancel_parent = rille.done()
    local child, cancel_child = rille.done(parent)
    local task = rille.go(function()
      parent:wait()
      cancel_child()
    end)
    cancel_parent()
    awaited(child)
    assert.is_true(task:join(BOUND))
  end)

  it("CancelRemoves: a canceled child is forgotten by its parent", function()
    local root = rille.done()
    collectgarbage()
    local before = rille.stats()
    for _ = 1, 1000 do
      local _, cancel = rille.done(root)
      cancel()
      local _, stop = rille.done(root, { timeout = HOUR })
      stop()
    end
    collectgarbage()
    collectgarbage()
    live(root)
    assert.is_true(rille.stats().message_bytes <= before.message_bytes + 1024)
  end)
end)

describe("WithDeadline and WithTimeout", function()
  it("Deadline: fires, also when wrapped", function()
    late((rille.done { deadline = rille.now() + 0.02 }))
    local wrapped = rille.done((rille.done { deadline = rille.now() + 0.02 }))
    late(wrapped)
    local soon = rille.done { deadline = rille.now() + 0.02 }
    late((rille.done(soon, { deadline = rille.now() + HOUR })))
  end)

  it("Deadline: in the past, or now, fires at once", function()
    fired("deadline exceeded", "deadline exceeded", (rille.done { deadline = rille.now() - 1 }))
    late((rille.done { deadline = rille.now() }))
  end)

  it("Timeout: of the parent counts for the child", function()
    local c = rille.done { timeout = 0.02 }
    local o = rille.done(c, { timeout = HOUR })
    fired("deadline exceeded", "deadline exceeded", awaited(o))
    fired("deadline exceeded", "deadline exceeded", awaited(c))
  end)

  it("CanceledTimeout: a cancel before the timeout wins", function()
    local c = rille.done { timeout = HOUR }
    local o, cancel = rille.done(c, { timeout = HOUR })
    cancel()
    fired("canceled", "canceled", o)
    live(c)
  end)

  it("a child's earlier deadline leaves the parent running", function()
    local parent = rille.done { timeout = HOUR }
    local child = rille.done(parent, { timeout = 0.01 })
    fired("deadline exceeded", "deadline exceeded", awaited(child))
    live(parent)
  end)
end)

describe("WithValue", function()
  it("Values: the nearest one counts, keys do not mix, siblings do not see each other", function()
    local c0 = rille.background
    assert.is_nil(c0:value "k1")
    local c1 = rille.done(c0, { values = { k1 = "c1k1" } })
    local c2 = rille.done(c1, { values = { k2 = "c2k2" } })
    local c3 = rille.done(c2, { values = { k3 = "c3k3" } })
    local o1 = rille.done(c1, { values = { k1 = "o1k1" } })
    local o2 = rille.done(o1, { timeout = HOUR })
    local function values(c) return c:value "k1", c:value "k2", c:value "k3" end
    assert.same({ "c1k1" }, { values(c1) })
    assert.same({ "c1k1", "c2k2" }, { values(c2) })
    assert.same({ "c1k1", "c2k2", "c3k3" }, { values(c3) })
    assert.same({ "o1k1" }, { values(o1) })
    assert.same({ "o1k1" }, { values(o2) })
  end)

  it("ChecksKey: a key of NaN or one that cannot cross raises or finds nothing", function()
    local done = rille.done { values = { a = 1 } }
    for _, key in ipairs { 0 / 0, coroutine.create(print), io.stdout } do
      local ok, value = pcall(done.value, done, key)
      assert.is_true(not ok or value == nil)
    end
    assert.is_false(pcall(rille.done, { values = { [coroutine.create(print)] = 1 } }))
  end)

  it("a thousand values deep are found", function()
    local done = rille.done { values = { [0] = "root" } }
    for i = 1, 1000 do done = rille.done(done, { values = { [i] = i } }) end
    assert.equal("root", done:value(0))
    assert.equal(500, done:value(500))
    assert.is_nil(done:value(1001))
  end)
end)

describe("layers of everything", function()
  local function layers(seed, expire)
    local seen = "layers, seed " .. seed
    local state = seed
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return state // 65536 % n
    end
    local values, cancels, timers, timer_cancels = {}, {}, 0, 0
    local done = rille.background
    for i = 1, 200 do
      local kind = random(3)
      if kind == 0 then
        done = rille.done(done, { values = { ["k" .. i] = i } })
        values["k" .. i] = i
      elseif kind == 1 then
        local cancel
        done, cancel = rille.done(done)
        cancels[#cancels + 1] = cancel
      else
        local cancel
        done, cancel = rille.done(done, { timeout = expire and 0.05 or HOUR })
        cancels[#cancels + 1], timers, timer_cancels = cancel, timers + 1, timer_cancels + 1
      end
    end
    local function check_values(when)
      for key, value in pairs(values) do
        assert.equal(value, done:value(key), seen .. when .. key)
      end
    end
    check_values " before "
    if expire then
      assert.equal("deadline exceeded", awaited(done):err(), seen)
    else
      live(done)
      cancels[#cancels]()
      assert.equal("canceled", awaited(done):err(), seen)
    end
    check_values " after "
    assert.equal(timers, timer_cancels)
  end

  it("LayersCancel: values stay, a cancel in the middle reaches the end", function()
    for seed = 1, 20 do layers(seed, false) end
  end)

  it("LayersTimeout: values stay, the earliest timeout reaches the end", function()
    for seed = 21, 26 do layers(seed, true) end
  end)
end)

describe("what is no context", function()
  it("InvalidDerivedFail: is refused as a parent", function()
    for _, bad in ipairs { "x", true, print } do
      assert.is_false(pcall(rille.done, bad))
      assert.is_false(pcall(rille.done, bad, { timeout = 1 }))
    end
  end)
end)

describe("custom parents", function()
  it("CustomContextGoroutines: channels, tasks and anys as parents start no task", function()
    local function count()
      local n = 0
      for _, k in pairs(rille.stats().tasks) do n = n + k end
      return n
    end
    local ch, gate = rille.chan(), rille.chan()
    local task = rille.go(function() gate:recv() end)
    local before = count()
    local kept = {}
    for i = 1, 100 do
      local any = rille.any(ch, task)
      kept[i] = { (rille.done(ch)), (rille.done(task)), (rille.done(any)), (rille.done(HOUR)) }
    end
    assert.is_true(count() <= before)
    gate:close()
    for _, four in ipairs(kept) do assert.equal("canceled", awaited(four[3]):err()) end
  end)
end)

describe("causes", function()
  local CAUSE = { code = "parent" }

  it("WithCancelCause: the cause is what was given", function()
    local c, cancel = rille.done()
    cancel(CAUSE)
    fired("canceled", CAUSE, c)
  end)

  it("nil: the cause is the error", function()
    local c, cancel = rille.done()
    cancel(nil)
    fired("canceled", "canceled", c)
  end)

  it("WithCancelCause: parent before child, the parent's cause counts", function()
    local parent, cancel_parent = rille.done()
    local child, cancel_child = rille.done(parent)
    cancel_parent "parent"
    cancel_child "child"
    fired("canceled", "parent", parent)
    fired("canceled", "parent", child)
  end)

  it("WithCancelCause: child before parent, each has its own", function()
    local parent, cancel_parent = rille.done()
    local child, cancel_child = rille.done(parent)
    cancel_child "child"
    cancel_parent "parent"
    fired("canceled", "parent", parent)
    fired("canceled", "child", child)
  end)

  it("a plain cancel below a cause, and a cause below a plain cancel", function()
    local parent, cancel_parent = rille.done()
    local child, cancel_child = rille.done(parent)
    cancel_child()
    cancel_parent "parent"
    fired("canceled", "canceled", child)
    fired("canceled", "parent", parent)
    local other, cancel_other = rille.done()
    local below, cancel_below = rille.done(other)
    cancel_other()
    cancel_below "below"
    fired("canceled", "canceled", below)
  end)

  it("WithTimeout below a cause: canceled above, its cause shows below", function()
    local parent, cancel = rille.done()
    local child = rille.done(parent, { timeout = HOUR, cause = "slow" })
    cancel "parent"
    fired("canceled", "parent", child)
  end)

  it("WithTimeoutCause and WithDeadlineCause: the cause shows when time is up", function()
    fired("deadline exceeded", "slow", awaited((rille.done { timeout = 0.001, cause = "slow" })))
    local now = rille.done { deadline = rille.now(), cause = "slow" }
    fired("deadline exceeded", "slow", awaited(now))
  end)

  it("WithTimeoutCause: canceled before the time is up, the cause is not used", function()
    local c, cancel = rille.done { timeout = HOUR, cause = "slow" }
    cancel()
    fired("canceled", "canceled", c)
  end)

  it("WithDeadlineCause: the parent's earlier deadline keeps its own cause", function()
    local parent = rille.done { timeout = 0.001, cause = "parent" }
    local child = rille.done(parent, { timeout = HOUR, cause = "child" })
    fired("deadline exceeded", "parent", awaited(child))
  end)

  it("WithValue below a cause: shows the cause", function()
    local parent, cancel = rille.done()
    local child = rille.done(parent, { values = { a = 1 } })
    cancel "parent"
    fired("canceled", "parent", child)
  end)

  it("CauseRace: whoever sees the error sees the cause", function()
    for _ = 1, 50 do
      local c, cancel = rille.done()
      local task = rille.go(function()
        while not c:err() do rille.yield() end
        return c:cause()
      end)
      cancel "here"
      assert.equal("here", (task:await(BOUND)))
    end
  end)
end)

describe("AfterFunc", function()
  it("is called when the context is done", function()
    for _, make in ipairs {
      function() return rille.done() end,
      function() return rille.done { timeout = HOUR } end,
      function()
        local parent, cancel = rille.done()
        return rille.done(parent, { values = { a = 1 } }), cancel
      end,
    } do
      local c, cancel = make()
      local called = rille.chan(1)
      c:after(function() called:send(true) end)
      assert.is_nil((called:recv(0)))
      cancel()
      assert.is_true((called:recv(BOUND)))
    end
  end)

  it("is called once", function()
    local c, cancel = rille.done()
    local called = rille.chan(4)
    c:after(function() called:send(true) end)
    cancel()
    cancel()
    assert.is_true((called:recv(BOUND)))
    assert.is_nil((called:recv(0.02)))
  end)

  it("after an AfterFunc, another one: both are called", function()
    local c, cancel = rille.done()
    local called = rille.chan(2)
    c:after(function() called:send(1) end)
    c:after(function() called:send(2) end)
    cancel()
    assert.equal(3, called:recv(BOUND) + called:recv(BOUND))
  end)

  it("NotCalledAfterStop: stop says true, then false", function()
    local c, cancel = rille.done()
    local called = rille.chan(1)
    local stop = c:after(function() called:send(true) end)
    assert.is_true(stop())
    cancel()
    assert.is_nil((called:recv(0.02)))
    assert.is_false(stop())
  end)

  it("CalledAsynchronously: cancel does not wait for it", function()
    local c, cancel = rille.done()
    local gate, ended = rille.chan(), rille.chan(1)
    c:after(function()
      gate:recv()
      ended:send(true)
    end)
    cancel()
    assert.is_nil((ended:recv(0)))
    gate:close()
    assert.is_true((ended:recv(BOUND)))
  end)

  it("stop does not wait for it either", function()
    local c, cancel = rille.done()
    local gate, begun = rille.chan(), rille.chan(1)
    local stop = c:after(function()
      begun:send(true)
      gate:recv()
    end)
    cancel()
    begun:recv(BOUND)
    assert.is_false(stop())
    gate:close()
  end)

  it("stop in the function itself says false", function()
    local c, cancel = rille.done()
    local out, stops = rille.chan(1), rille.chan(1)
    local stop = c:after(function() out:send(stops:recv(BOUND)()) end)
    stops:send(stop)
    cancel()
    assert.is_false((out:recv(BOUND)))
  end)

  it("stop and cancel at once: one of the two, never both, never none", function()
    for _ = 1, 50 do
      local c, cancel = rille.done()
      local called = rille.chan(1)
      local stop = c:after(function() called:send(true) end)
      local stopper = rille.go(function() return stop() end)
      rille.go(function() cancel() end)
      awaited(c)
      if stopper:await(BOUND) then
        assert.is_nil((called:recv(0)))
      else
        assert.is_true((called:recv(BOUND)))
      end
    end
  end)
end)

describe("WithoutCancel", function()
  it("has the values, and nothing else", function()
    local parent, cancel = rille.done { values = { key = "value" }, timeout = HOUR }
    local c = parent:detached()
    live(c)
    assert.is_nil(c:deadline())
    assert.equal("value", c:value "key")
    cancel()
    live(c)
  end)

  it("a child of it is canceled by its own cancel only", function()
    local parent, cancel_parent = rille.done()
    local c, cancel = rille.done(parent:detached())
    cancel_parent "parent"
    live(c)
    cancel "own"
    fired("canceled", "own", c)
  end)

  it("hides a cause from what lies below", function()
    local parent, cancel = rille.done()
    cancel "parent"
    local c, own = rille.done(parent:detached())
    live(c)
    own()
    fired("canceled", "canceled", c)
  end)
end)

describe("examples of the package", function()
  it("WithCancel: a generator ends with its consumer", function()
    local function gen(done)
      local dst = rille.chan()
      return dst, rille.go(function()
        local n = 1
        while dst:send(n, done) do n = n + 1 end
        return "ended"
      end)
    end
    local done, cancel = rille.done()
    local numbers, task = gen(done)
    for n in numbers do
      if n == 5 then break end
    end
    cancel()
    assert.equal("ended", (task:await(BOUND)))
  end)

  it("WithTimeout: whichever comes first", function()
    local done = rille.done { timeout = 0.001 }
    local which, _, err = rille.select { late = rille.after(BOUND), stop = done }
    assert.equal("stop", which)
    assert.equal("deadline exceeded", err)
  end)

  it("AfterFunc: merges two contexts", function()
    local function merge(a, b)
      local c, cancel = rille.done(a)
      local stop = b:after(function() cancel(b:cause()) end)
      return c, function()
        stop()
        cancel()
      end
    end
    local a = rille.done()
    local b, cancel_b = rille.done()
    local c = merge(a, b)
    cancel_b "b canceled"
    fired("canceled", "b canceled", awaited(c))
  end)

  it("AfterFunc: ends a wait on something else", function()
    local c, cancel = rille.done()
    local wake = rille.chan()
    local stop = c:after(function() wake:close() end)
    rille.go(function() cancel() end)
    assert.same({ nil, "closed" }, { wake:recv(BOUND) })
    assert.is_false(stop())
  end)
end)

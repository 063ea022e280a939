-- The semantics of golang.org/x/sync/semaphore and of Go's package sync: what their tests check, in
-- Lua. Where ours differ on purpose, the test says so.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"

local BOUND = 20 -- a watchdog
local raises, until_waiting = helper.raises, helper.until_waiting

local function waiting(fn, ...)
  return (until_waiting(rille.go(fn, ...)))
end

local function start(n, fn, ...)
  local tasks = {}
  for i = 1, n do tasks[i] = rille.go(fn, i, ...) end
  return tasks
end

local function await_all(tasks)
  for _, task in ipairs(tasks) do task:await(BOUND) end
end

describe("semaphore, TestWeighted:", function()
  it("requests of all sizes get through, and never more than there are permits", function()
    local slots, used, over = rille.semaphore(4), rille.counter(), rille.counter()
    await_all(start(8, function(i)
      local n = i % 4 + 1
      for _ = 1, 100 do
        slots:acquire(n)
        if used:add(n) > 4 then over:add(1) end
        require "rille".yield()
        used:add(-n)
        slots:release(n)
      end
    end))
    assert.equal(0, over:get())
    assert.is_true(slots:try_acquire(4))
  end)

  it("releasing what is not held is misuse (TestWeightedPanic)", function()
    local slots = rille.semaphore(1)
    raises("released more than held", slots.release, slots)
  end)

  it("try_acquire (TestWeightedTryAcquire)", function()
    local slots, tries = rille.semaphore(2), {}
    slots:acquire()
    tries[1] = slots:try_acquire()
    tries[2] = slots:try_acquire()
    slots:release(2)
    tries[3] = slots:try_acquire()
    slots:acquire()
    tries[4] = slots:try_acquire()
    assert.same({ true, false, true, false }, tries)
  end)

  it("acquire (TestWeightedAcquire)", function()
    local slots = rille.semaphore(2)
    local function try() return (slots:acquire(1, 0.001)) == true end
    slots:acquire()
    local tries = { try(), try() }
    slots:release(2)
    tries[3] = try()
    slots:acquire()
    tries[4] = try()
    assert.same({ true, false, true, false }, tries)
  end)

  it("more than there are blocks nobody (TestWeightedDoesntBlockIfTooBig)", function()
    local slots = rille.semaphore(2)
    local done, cancel = rille.done()
    local too_big = helper.until_waiting(rille.go(function() return slots:acquire(3, done) end))
    local tasks = start(6, function()
      if not slots:acquire(1, 20) then error "blocked" end
      slots:release()
    end)
    for _, task in ipairs(tasks) do task:await(BOUND) end
    assert.is_false(slots:try_acquire(3))
    cancel()
    assert.same({ n = 3, nil, "canceled", "canceled" }, table.pack(too_big:await(BOUND)))
    assert.is_true(slots:acquire(2, 0))
  end)

  it("more than there are, and no done, is a wait that nothing can end", function()
    local slots = rille.semaphore(2)
    helper.until_waiting(rille.go(function() slots:guard(3) end))
    assert.equal("acquire", rille.leaks()[1].waiting.op)
    assert.equal(1, rille.collect())
    assert.is_true(slots:acquire(2, 0))
  end)

  it("without a number, with a done", function()
    local slots, gone = rille.semaphore(1), rille.chan()
    gone:close()
    assert.same({ n = 3, nil, "canceled", "canceled" }, table.pack(slots:acquire(gone)))
    assert.is_true(slots:acquire((rille.done())))
    assert.is_false(slots:try_acquire())
    slots:release()
    do
      local slot <close> = slots:guard((rille.done()))
      assert.is_truthy(slot)
      assert.is_false(slots:try_acquire())
    end
    assert.is_true(slots:try_acquire())
  end)

  it("a large request does not starve (TestLargeAcquireDoesntStarve)", function()
    local n = 4
    local slots, stop, running = rille.semaphore(n), rille.counter(), rille.chan()
    local tasks = start(n, function()
      slots:acquire()
      running:send(true)
      repeat
        require "rille".yield()
        slots:release()
        slots:acquire()
      until stop:get() == 1
      slots:release()
    end)
    for _ = 1, n do running:recv(BOUND) end
    assert.is_true(slots:acquire(n, BOUND))
    stop:add(1)
    slots:release(n)
    await_all(tasks)
  end)

  it("a large request that is canceled lets small ones in (TestAllocCancelDoesntStarve)", function()
    local slots, done, cancel = rille.semaphore(10), rille.done()
    slots:acquire()
    local large = waiting(function() return slots:acquire(10, done) end)
    assert.is_false(slots:try_acquire())
    local small = waiting(function() return slots:acquire() end)
    cancel()
    assert.is_true(small:await(BOUND))
    assert.same({ nil, "canceled", "canceled" }, { large:await(BOUND) })
    assert.is_true(slots:try_acquire(8))
  end)

  it("a done that has fired takes nothing (TestWeightedAcquireCanceled)", function()
    local slots, done, cancel = rille.semaphore(2), rille.done()
    cancel()
    assert.same({ nil, "canceled", "canceled" }, { slots:acquire(1, done) })
    slots:acquire()
    local second = waiting(function() return slots:acquire(2) end)
    assert.same({ nil, "canceled", "canceled" }, { slots:acquire(1, done) })
    slots:release()
    assert.is_true(second:await(BOUND))
  end)
end)

describe("sync.Mutex:", function()
  it("HammerMutex: each critical section is alone", function()
    local mutex, value = rille.mutex(), rille.counter()
    await_all(start(10, function(i)
      for k = 1, 100 do
        if k % 3 == 0 then
          if mutex:try_lock() then
            assert(value:add(1) == 1)
            value:add(-1)
            mutex:unlock()
          end
        else
          mutex:lock()
          assert(value:add(i) == i)
          value:add(-i)
          mutex:unlock()
        end
      end
    end))
  end)

  it("TestMutex: try_lock fails on a locked one, and succeeds again afterwards", function()
    local mutex = rille.mutex()
    mutex:lock()
    assert.is_false(mutex:try_lock())
    mutex:unlock()
    assert.is_true(mutex:try_lock())
    mutex:unlock()
  end)

  it("TestMutexMisuse", function()
    local mutex, rw = rille.mutex(), rille.rwmutex()
    raises("unlock of unlocked mutex", mutex.unlock, mutex)
    raises("unlock of unlocked rwmutex", rw.unlock, rw)
    raises("not locked for reading", rw.runlock, rw)
    mutex:lock()
    mutex:unlock()
    raises("unlock of unlocked mutex", mutex.unlock, mutex)
    rw:rlock()
    raises("unlock of", rw.unlock, rw)
    rw:runlock()
    rw:lock()
    raises("not locked for reading", rw.runlock, rw)
    rw:unlock()
  end)

  it("TestMutexFairness: who holds it most of the time keeps nobody out", function()
    local mutex, done, cancel = rille.mutex(), rille.done()
    local greedy = rille.go(function()
      while not done:err() do
        mutex:lock()
        require "rille".yield()
        mutex:unlock()
      end
    end)
    await_all(start(2, function()
      for _ = 1, 10 do
        assert(mutex:lock(20))
        mutex:unlock()
      end
    end))
    cancel()
    greedy:await(BOUND)
  end)
end)

describe("sync.RWMutex:", function()
  it("TestParallelReaders", function()
    for _, n in ipairs { 1, 3, 4 } do
      local rw, locked, unlock = rille.rwmutex(), rille.chan(), rille.chan()
      local readers = start(n, function()
        rw:rlock()
        locked:send(true)
        unlock:recv()
        rw:runlock()
      end)
      for _ = 1, n do assert.is_true(locked:recv(BOUND)) end
      for _ = 1, n do unlock:send(true, BOUND) end
      await_all(readers)
    end
  end)

  it("HammerRWMutex: writers alone, readers together", function()
    for _, readers in ipairs { 1, 3, 10 } do
      local rw, activity = rille.rwmutex(), rille.counter()
      await_all(start(readers + 2, function(i)
        for _ = 1, 100 do
          if i <= 2 then
            rw:lock()
            assert(activity:add(10000) == 10000)
            activity:add(-10000)
            rw:unlock()
          else
            rw:rlock()
            local n = activity:add(1)
            assert(n >= 1 and n < 10000)
            activity:add(-1)
            rw:runlock()
          end
        end
      end))
    end
  end)

  it("TestRWMutex: what try_lock and try_rlock say", function()
    local rw = rille.rwmutex()
    local function elsewhere(method)
      return rille.go(function() return rw[method](rw) end):await(BOUND)
    end
    rw:lock()
    assert.is_false(elsewhere "try_lock")
    assert.is_false(elsewhere "try_rlock")
    rw:unlock()
    assert.is_true(rw:try_rlock())
    assert.is_true(elsewhere "try_rlock")
    assert.is_false(elsewhere "try_lock")
    rw:runlock()
    assert.is_true(rw:try_lock())
    rw:unlock()
  end)
end)

describe("sync.WaitGroup:", function()
  it("TestWaitGroup: two of them, used again and again", function()
    local first, second = rille.waitgroup(), rille.waitgroup()
    for _ = 1, 8 do
      local n = 16
      local exited = rille.chan(n)
      first:add(n)
      second:add(n)
      local tasks = start(n, function()
        first:done()
        second:wait()
        exited:send(true)
      end)
      assert.is_true(first:wait(BOUND))
      for _ = 1, n do
        assert.equal(0, #exited)
        second:done()
      end
      for _ = 1, n do assert.is_true(exited:recv(BOUND)) end
      await_all(tasks)
    end
  end)

  it("TestWaitGroupMisuse", function()
    local group = rille.waitgroup()
    group:add(1)
    group:done()
    raises("negative waitgroup counter", group.done, group)
  end)

  it("TestWaitGroupRace: what was done before it is seen after the wait", function()
    for _ = 1, 100 do
      local group, n = rille.waitgroup(), rille.counter()
      for _ = 1, 2 do group:go(function() n:add(1) end) end
      group:wait(BOUND)
      assert.equal(2, n:get())
    end
  end)
end)

describe("sync.Cond:", function()
  it("TestCondSignal: each signal wakes one", function()
    local mutex, cond, running, awake = rille.mutex(), rille.cond(), rille.chan(2), rille.chan(2)
    local tasks = start(2, function()
      mutex:lock()
      running:send(true)
      cond:wait(mutex)
      awake:send(true)
      mutex:unlock()
    end)
    for _ = 1, 2 do running:recv(BOUND) end
    for _ = 1, 2 do
      assert.equal(0, #awake)
      mutex:lock()
      cond:signal()
      mutex:unlock()
      assert.is_true(awake:recv(BOUND))
      assert.equal(0, #awake)
    end
    cond:signal()
    await_all(tasks)
  end)

  it("TestCondSignalGenerations: they wake in their order", function()
    local mutex, cond, running, awake = rille.mutex(), rille.cond(), rille.chan(9), rille.chan(9)
    local tasks = {}
    for i = 1, 100 do
      tasks[i] = rille.go(function()
        mutex:lock()
        running:send(true)
        cond:wait(mutex)
        awake:send(i)
        mutex:unlock()
      end)
      if i > 1 then assert.equal(i - 1, (awake:recv(BOUND))) end
      running:recv(BOUND)
      mutex:lock()
      cond:signal()
      mutex:unlock()
    end
    assert.equal(100, (awake:recv(BOUND)))
    await_all(tasks)
  end)

  it("TestCondBroadcast: it wakes all, and each once", function()
    local n = 30
    local mutex, cond, exit = rille.mutex(), rille.cond(), rille.counter()
    local running, awake = rille.chan(n), rille.chan(n)
    local tasks = start(n, function(i)
      mutex:lock()
      while exit:get() == 0 do
        running:send(i)
        cond:wait(mutex)
        awake:send(i)
      end
      mutex:unlock()
    end)
    for round = 1, n do
      for _ = 1, n do assert.is_truthy(running:recv(BOUND)) end
      mutex:lock()
      if round == n then exit:set(1) end
      assert.equal(0, #awake)
      cond:broadcast()
      mutex:unlock()
      local seen = {}
      for _ = 1, n do
        local i = awake:recv(BOUND)
        assert.is_nil(seen[i])
        seen[i] = true
      end
    end
    await_all(tasks)
    assert.equal(0, #running)
    cond:broadcast()
  end)

  it("TestCondSignalStealing: a later waiter does not take the earlier one's wake", function()
    for _ = 1, 100 do
      local mutex, cond, over = rille.mutex(), rille.cond(), rille.counter()
      local first = rille.go(function()
        mutex:lock()
        cond:wait(mutex)
        mutex:unlock()
      end)
      until_waiting(first)
      local caller = rille.go(function() cond:broadcast() end)
      local second = rille.go(function()
        mutex:lock()
        while over:get() == 0 do cond:wait(mutex) end
        mutex:unlock()
      end)
      assert.is_true((first:join(BOUND)))
      mutex:lock()
      over:set(1)
      mutex:unlock()
      cond:broadcast()
      second:await(BOUND)
      caller:await(BOUND)
    end
  end)
end)

describe("sync.Once:", function()
  it("TestOnce", function()
    local once, n = rille.once(), rille.counter()
    await_all(start(10, function()
      once:run(function() n:add(1) end)
      assert(n:get() == 1)
    end))
  end)

  it("TestOncePanic and OnceValue: it is not run again, and its error is everybody's", function()
    local once = rille.once()
    raises("failed", once.run, once, function() error "failed" end)
    raises("failed", once.run, once, function() error "called twice" end)
  end)
end)

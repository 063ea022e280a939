-- Locks and counters: mutexes, semaphores and their kin. What tasks do to each other is seen by
-- waiting for events; a wait that must not come to an end is looked at where its task waits. See
-- spec/support/exits.lua for the settings of the random exits.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local exits = require "spec.support.exits"
local helper = require "spec.helper"
local rille = require "rille"

local BOUND = 20 -- a watchdog
local raises, until_waiting = helper.raises, helper.until_waiting

local function waiting(fn, ...)
  return (until_waiting(rille.go(fn, ...)))
end

-- Does what keeps `mutex` or the like until it is told to end; the second result ends it.
local function keeper(lock, object)
  local stop = rille.chan()
  return waiting(function() lock(object) stop:recv() end), function() stop:close() end
end

local function fired()
  local done, cancel = rille.done()
  cancel "enough"
  return done
end

-- Has the running task collect all its garbage whenever it allocates.
local function eager()
  collectgarbage("incremental", 1, 1000, 30)
end

-- Each way to make one, and a wait at it that does not end by itself.
local KINDS = {
  mutex = { function() return rille.mutex() end, function(m, done) return m:lock(done) end,
    function(m) m:lock() end },
  rwmutex = { function() return rille.rwmutex() end, function(m, done) return m:lock(done) end,
    function(m) m:lock() end },
  rlock = { function() return rille.rwmutex() end, function(m, done) return m:rlock(done) end,
    function(m) m:lock() end },
  semaphore = { function() return rille.semaphore(1) end,
    function(s, done) return s:acquire(1, done) end, function(s) s:acquire() end },
  waitgroup = { function() return rille.waitgroup() end, function(w, done) return w:wait(done) end,
    function(w) w:add(1) end },
  barrier = { function() return rille.barrier(2) end, function(b, done) return b:wait(done) end,
    function() end },
  once = { function() return rille.once() end,
    function(o, done) return o:run(function() return true end, done) end,
    function(o) o:run(function() require "rille".never:recv() end) end },
}

-- Calls fn(object, wait) for each, where wait(object, done) has to wait: for `once` and for locks a
-- task holds the object meanwhile.
local function each_kind(fn)
  for name, kind in pairs(KINDS) do
    local object = kind[1]()
    local busy, hold = kind[3], rille.chan()
    local holder = waiting(function() busy(object) hold:recv() end)
    fn(object, kind[2], name)
    hold:close()
    holder:interrupt "over"
    holder:join(BOUND)
  end
end

describe("each of them", function()
  it("cuts a wait short when its done fires", function()
    each_kind(function(object, wait, name)
      local done, cancel = rille.done()
      local task = waiting(function() return wait(object, done) end)
      cancel "enough"
      assert.same({ true, nil, "canceled", "enough" }, { task:join(BOUND) }, name)
      assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { wait(object, 0) }, name)
      assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { wait(object, 0.001) }, name)
    end)
  end)

  it("lets a done that has fired come first, also where it could pass", function()
    local done = fired()
    local expected = { nil, "canceled", "enough" }
    for name, kind in pairs(KINDS) do
      assert.same(expected, { kind[2](kind[1](), done) }, name)
    end
    local mutex, once = rille.mutex(), rille.once()
    assert.same(expected, { mutex:guard(done) })
    assert.is_true(mutex:try_lock())
    once:run(function() return 1 end)
    assert.same(expected, { once:run(print, done) })
    local rw = rille.rwmutex()
    rw:rlock()
    assert.same(expected, { rw:rlock(done) })
    mutex:unlock()
    rw:runlock()
  end)

  it("lets what is ready come before a number", function()
    assert.is_true(rille.waitgroup():wait(0))
    assert.equal(1, rille.barrier(1):wait(0))
    assert.is_true(rille.semaphore(1):acquire(1, 0))
    local mutex = rille.mutex()
    assert.is_true(mutex:lock(0))
    mutex:unlock()
  end)

  it("raises in a wait that is interrupted, and has taken nothing", function()
    each_kind(function(object, wait, name)
      local task = waiting(function() return wait(object) end)
      task:interrupt "stop"
      assert.same({ false, "stop" }, { task:join(BOUND) }, name)
    end)
  end)

  it("refuses what is no done", function()
    each_kind(function(object, wait)
      raises("done, channel, task, timer or number expected, got table", wait, object, {})
      raises("done, channel, task, timer or number expected, got mutex", wait, object,
        rille.mutex())
    end)
  end)

  it("is the same userdata wherever it turns up", function()
    for name, kind in pairs(KINDS) do
      local object = kind[1]()
      local ch = rille.chan(1)
      ch:send { object, object }
      local back = ch:recv()
      assert.is_true(back[1] == object and back[2] == object, name)
      assert.equal(object, rille.go(function() return object end):await(BOUND))
    end
  end)

  it("is made in a task by a function that crosses, where nobody has named it yet", function()
    local mutex, semaphore = rille.mutex, rille.semaphore
    local m, s = rille.go(function() return mutex "there", semaphore(2) end):await(BOUND)
    assert.equal('mutex "there"', tostring(m))
    assert.is_true(s:try_acquire(2))
  end)

  it("is named in the list of tasks", function()
    local mutex, slots = rille.mutex "log", rille.semaphore(1, "slots")
    mutex:lock()
    slots:acquire()
    local a = waiting(function() mutex:lock() end)
    local b = waiting(function() slots:acquire() end)
    assert.equal("lock log", select(2, a:status()))
    assert.equal("acquire slots", select(2, b:status()))
    assert.equal('mutex "log"', tostring(mutex))
    assert.matches("^mutex: 0x", tostring(rille.mutex()))
    mutex:unlock()
    slots:release()
    a:await(BOUND)
    b:await(BOUND)
    local cond = rille.cond()
    local c = waiting(function()
      local _ <close> = mutex:guard()
      cond:wait(mutex)
    end)
    assert.matches("^wait cond: 0x", (select(2, c:status())))
    cond:signal()
    c:await(BOUND)
  end)

  it("is named by what is expected when another stands there", function()
    raises("mutex expected, got semaphore", rille.mutex().lock, rille.semaphore(1))
    raises("semaphore expected, got number", rille.semaphore(1).acquire, 1)
    raises("string expected, got table", rille.mutex, {})
    raises("a number of permits of at least 1 expected", rille.semaphore, 0)
    raises("number expected, got string", rille.semaphore, "3")
    raises("number has no integer representation", rille.barrier, 1.5)
    raises("a number of tasks of at least 1 expected", rille.barrier, 0)
  end)

  it("waits where Lua cannot yield, too", function()
    local mutex = rille.mutex()
    mutex:lock()
    local task = waiting(function()
      table.sort({ 2, 1 }, function(a, b)
        if mutex:lock() then mutex:unlock() end
        return a < b
      end)
      return "sorted"
    end)
    mutex:unlock()
    assert.equal("sorted", task:await(BOUND))
  end)

  it("waits in no finalizer, but what is ready there works", function()
    local mutex, held, said = rille.mutex(), rille.mutex(), {}
    local release = select(2, keeper(held.lock, held))
    setmetatable({}, { __gc = function()
      said[1] = mutex:lock()
      mutex:unlock()
      said[2] = select(2, pcall(held.lock, held))
    end })
    collectgarbage()
    assert.is_true(said[1])
    assert.matches("cannot wait in a finalizer", said[2])
    release()
  end)
end)

describe("a mutex", function()
  it("lets one in at a time", function()
    local mutex, inside, over = rille.mutex(), rille.counter(), rille.counter()
    local group = rille.waitgroup()
    for i = 1, 8 do
      group:go(function()
        for _ = 1, 200 do
          local _ <close> = mutex:guard()
          inside:set(i)
          if i % 2 == 0 then require "rille".yield() end
          if inside:get() ~= i then over:add(1) end
        end
      end)
    end
    assert.is_true(group:wait(BOUND))
    assert.equal(0, over:get())
  end)

  it("goes to those who wait in their order", function()
    local mutex, order, tasks = rille.mutex(), rille.chan(10), {}
    mutex:lock()
    for i = 1, 10 do
      tasks[i] = waiting(function()
        mutex:lock()
        order:send(i)
        mutex:unlock()
      end)
    end
    mutex:unlock()
    for i = 1, 10 do assert.equal(i, (order:recv(BOUND))) end
    for i = 1, 10 do tasks[i]:await(BOUND) end
  end)

  it("is not overtaken by try_lock", function()
    local mutex = rille.mutex()
    assert.is_true(mutex:try_lock())
    assert.is_false(mutex:try_lock())
    local task = waiting(function() mutex:lock() rille.never:recv() end)
    mutex:unlock()
    assert.is_false(mutex:try_lock())
    task:interrupt()
    task:join(BOUND)
    assert.same({ true, "abandoned" }, { mutex:try_lock() })
    mutex:unlock()
  end)

  it("is unlocked by its holder alone", function()
    local mutex = rille.mutex()
    raises("unlock of unlocked mutex", mutex.unlock, mutex)
    mutex:lock()
    local ok, err = rille.go(function() mutex:unlock() end):join(BOUND)
    assert.is_false(ok)
    assert.matches("unlock of a mutex that another task has locked", err)
    mutex:unlock()
    raises("unlock of unlocked mutex", mutex.unlock, mutex)
  end)

  it("is not locked twice by one task", function()
    local mutex = rille.mutex()
    mutex:lock()
    raises("locked already", mutex.lock, mutex)
    raises("locked already", mutex.guard, mutex)
    mutex:unlock()
  end)

  it("is unlocked when its holder ends, whichever way, and the next one is told", function()
    local ways = {
      function(m) m:lock() end,
      function(m) m:lock() error("failed", 0) end,
      function(m) m:lock() rille.never:recv() end,
      function(m) m:lock() while true do end end,
    }
    for i, way in ipairs(ways) do
      local mutex, locked = rille.mutex(), rille.chan()
      local task = rille.go(function() way(mutex) end)
      if i > 2 then while mutex:try_lock() do mutex:unlock() rille.yield() end end
      local next_one = i > 2 and waiting(function() return select("#", mutex:lock()) end)
      locked:close()
      if i > 2 then task:interrupt() end
      task:join(BOUND)
      if next_one then
        assert.equal(2, next_one:await(BOUND))
      else
        assert.same({ true, "abandoned" }, { mutex:lock(BOUND) })
        mutex:unlock()
      end
    end
  end)

  it("tells of that once", function()
    local mutex = rille.mutex()
    rille.go(function() mutex:lock() end):join(BOUND)
    assert.same({ true, "abandoned" }, { mutex:lock() })
    mutex:unlock()
    assert.same({ true }, { mutex:lock() })
    mutex:unlock()
  end)

  it("held by a task that is collected as leaked goes on", function()
    local mutex = rille.mutex()
    waiting(function() mutex:lock() rille.chan():recv() end)
    assert.equal(1, rille.collect())
    assert.same({ true, "abandoned" }, { mutex:lock(BOUND) })
    mutex:unlock()
  end)
end)

describe("a guard", function()
  it("unlocks at the end of its scope, also by an error", function()
    local mutex = rille.mutex()
    do local _ <close> = mutex:guard() end
    pcall(function()
      local _ <close> = mutex:guard()
      error "out"
    end)
    assert.same({ true }, { mutex:try_lock() })
    mutex:unlock()
  end)

  it("unlocks what it has locked and nothing else", function()
    local mutex = rille.mutex()
    do
      local _ <close> = mutex:guard()
      mutex:unlock()
    end
    do
      local _ <close> = mutex:guard()
      mutex:unlock()
      mutex:lock()
    end
    assert.is_false(mutex:try_lock())
    mutex:unlock()
    local other, release
    do
      local _ <close> = mutex:guard()
      mutex:unlock()
      other, release = keeper(mutex.lock, mutex)
    end
    assert.is_false(mutex:try_lock())
    release()
    other:join(BOUND)
  end)

  it("unlocks when it is called, once", function()
    local mutex = rille.mutex()
    local guard <close> = mutex:guard()
    guard()
    assert.is_true(mutex:try_lock())
    guard()
    assert.is_false(mutex:try_lock())
    mutex:unlock()
  end)

  it("is nil when the done fired", function()
    local mutex = rille.mutex()
    mutex:lock()
    local task = rille.go(function()
      local guard <close>, err = mutex:guard(0)
      return guard == nil and err
    end)
    assert.equal("deadline exceeded", task:await(BOUND))
    mutex:unlock()
  end)

  it("that is collected unlocks", function()
    local mutex = rille.mutex()
    mutex:guard()
    collectgarbage()
    assert.same({ true, "abandoned" }, { mutex:try_lock() })
    mutex:unlock()
  end)

  it("is not taken for another one's lock that is collected while it is made", function()
    local rw = rille.rwmutex()
    rille.go(function()
      local rguard, runlock = rw.rguard, rw.runlock
      eager()
      for _ = 1, 100 do
        rguard(rw)
        local _ <close> = rguard(rw)
        runlock(rw)
      end
    end):await(BOUND)
    assert.is_true(rw:try_lock())
    rw:unlock()
  end)

  it("has what it takes, also when a finalizer takes the same meanwhile", function()
    local one, other = rille.semaphore(1), rille.semaphore(100)
    one:acquire()
    local task = waiting(function()
      local kept = {}
      setmetatable({}, { __gc = function() kept[1] = other:guard() end })
      local _ <close> = one:guard()
      return kept[1] ~= nil
    end)
    rille.leaks() -- collects what the task has left
    one:release()
    assert.is_true(task:await(BOUND))
    assert.is_true(one:try_acquire())
    assert.is_true(other:try_acquire(100))
  end)

  it("does not cross", function()
    raises("cannot send userdata %(rille.guard%) at argument 1", rille.go, print,
      rille.mutex():guard())
  end)

  it("never leaves the mutex abandoned, at whatever instruction its task is interrupted", function()
    local mutex, runs = rille.mutex(), rille.chan(1)
    for _ = 1, 100 do
      local task = rille.go(function()
        runs:send(true)
        while true do local _ <close> = mutex:guard() end
      end)
      runs:recv()
      task:interrupt "one"
      assert.same({ false, "one" }, { task:join(BOUND) })
      assert.same({ true }, { mutex:try_lock() })
      mutex:unlock()
    end
  end)
end)

describe("a rwmutex", function()
  it("lets readers in together, and a writer alone", function()
    local rw, group = rille.rwmutex(), rille.waitgroup()
    local over, value = rille.counter(), rille.counter()
    for i = 1, 6 do
      group:go(function()
        for _ = 1, 100 do
          if i <= 2 then
            local _ <close> = rw:guard()
            value:set(i)
            require "rille".yield()
            if value:get() ~= i then over:add(1) end
          else
            local _ <close> = rw:rguard()
            local seen = value:get()
            require "rille".yield()
            if value:get() ~= seen then over:add(1) end
          end
        end
      end)
    end
    assert.is_true(group:wait(BOUND))
    assert.equal(0, over:get())
    local reader, release = keeper(rw.rlock, rw)
    assert.is_true(rw:try_rlock())
    assert.is_false(rille.go(function() return rw:try_lock() end):await(BOUND))
    rw:runlock()
    release()
    reader:join(BOUND)
  end)

  it("lets a waiting writer keep back later readers", function()
    local rw, order = rille.rwmutex(), rille.chan(2)
    rw:rlock()
    local writer = waiting(function() rw:lock() order:send "writer" rw:unlock() end)
    local reader = waiting(function() rw:rlock() order:send "reader" rw:runlock() end)
    assert.is_false(rille.go(function() return rw:try_rlock() end):await(BOUND))
    rw:runlock()
    assert.equal("writer", (order:recv(BOUND)))
    assert.equal("reader", (order:recv(BOUND)))
    writer:await(BOUND)
    reader:await(BOUND)
  end)

  it("lets later readers in when the writer gives up", function()
    local rw, done, cancel = rille.rwmutex(), rille.done()
    rw:rlock()
    local writer = waiting(function() return rw:lock(done) end)
    local reader = waiting(function() return rw:rlock() end)
    cancel()
    assert.is_true(reader:await(BOUND))
    writer:join(BOUND)
    rw:runlock()
    assert.is_true(rw:try_lock())
    rw:unlock()
  end)

  it("lets a reader read again, also where a writer waits", function()
    local rw = rille.rwmutex()
    assert.is_true(rw:rlock())
    local writer = waiting(function() rw:lock() rw:unlock() end)
    assert.is_true(rw:rlock(0))
    assert.is_true(rw:try_rlock())
    rw:runlock()
    rw:runlock()
    assert.matches("^lock rwmutex", (select(2, writer:status())))
    rw:runlock()
    writer:await(BOUND)
  end)

  it("refuses what would never end, and what is not locked", function()
    local rw = rille.rwmutex()
    raises("unlock of unlocked rwmutex", rw.unlock, rw)
    raises("not locked for reading", rw.runlock, rw)
    rw:rlock()
    raises("locked for reading", rw.lock, rw)
    raises("another task has locked", rw.unlock, rw)
    rw:runlock()
    rw:lock()
    raises("locked already", rw.lock, rw)
    raises("locked already", rw.rlock, rw)
    raises("not locked for reading", rw.runlock, rw)
    rw:unlock()
  end)

  it("is unlocked when its holders end, and a lost writer is told of", function()
    local rw = rille.rwmutex()
    rille.go(function() rw:rlock() rw:rlock() end):await(BOUND)
    assert.same({ true }, { rw:try_lock() })
    rw:unlock()
    rille.go(function() rw:lock() end):await(BOUND)
    assert.same({ true, "abandoned" }, { rw:rlock() })
    rw:runlock()
    assert.same({ true }, { rw:rlock() })
    rw:runlock()
  end)

  it("has guards for both", function()
    local rw = rille.rwmutex()
    do
      local _ <close> = rw:rguard()
      local _ <close> = rw:rguard()
      assert.is_false(rille.go(function() return rw:try_lock() end):await(BOUND))
      rw:runlock()
    end
    assert.is_true(rw:try_lock())
    rw:unlock()
    do
      local _ <close> = rw:guard()
      assert.is_false(rille.go(function() return rw:try_rlock() end):await(BOUND))
    end
    assert.is_true(rw:try_rlock())
    rw:runlock()
  end)
end)

describe("a semaphore", function()
  it("has permits that any task may release", function()
    local slots = rille.semaphore(2)
    assert.is_true(slots:acquire(2))
    assert.is_false(slots:try_acquire())
    rille.go(function() slots:release(2) end):await(BOUND)
    assert.is_true(slots:try_acquire(2))
    slots:release()
    slots:release()
    raises("released more than held", slots.release, slots)
  end)

  it("keeps the permits of a guard for the guard", function()
    local slots = rille.semaphore(3)
    do
      local _ <close> = slots:guard(2)
      assert.is_false(slots:try_acquire(2))
      raises("released more than held", slots.release, slots)
    end
    assert.is_true(slots:try_acquire(3))
    slots:release(3)
    local guard <close> = slots:guard(3)
    guard()
    guard()
    assert.is_true(slots:try_acquire(3))
    assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { slots:guard(1, 0) })
    slots:release(3)
  end)

  it("is not disturbed by a finalizer that locks while a task waits for a guard", function()
    local slots, rw = rille.semaphore(1), rille.rwmutex()
    slots:acquire()
    local task = waiting(function()
      for _ = 1, 3 do setmetatable({}, { __gc = function() rw:try_rlock() end }) end
      local _ <close> = slots:guard()
      return "got it"
    end)
    assert.equal(0, #rille.leaks()) -- collects the garbage of the one who waits
    assert.is_false(rw:try_lock())
    slots:release()
    assert.equal("got it", task:await(BOUND))
    assert.is_true(rw:lock(BOUND))
    rw:unlock()
  end)

  it("gets back what a guard holds whose task ends", function()
    local slots = rille.semaphore(2)
    local task = rille.go(function()
      _G.kept = slots:guard(2)
      error("failed", 0)
    end)
    task:join(BOUND)
    assert.is_true(slots:try_acquire(2))
  end)
end)

describe("a waitgroup", function()
  it("lets all pass when nothing is left", function()
    local group, tasks = rille.waitgroup(), {}
    assert.is_true(group:wait())
    group:add(2)
    for i = 1, 5 do tasks[i] = waiting(function() return group:wait() end) end
    group:done()
    assert.equal("waiting", (tasks[1]:status()))
    group:done()
    for i = 1, 5 do assert.is_true(tasks[i]:await(BOUND)) end
  end)

  it("counts tasks, whichever way they end", function()
    local group = rille.waitgroup()
    local tasks = {
      group:go(function() end),
      group:go({ name = "failing" }, error, "failed"),
      group:go(function() rille.never:recv() end),
      group:go(function(...) return ... end, 1, 2),
    }
    assert.equal("failing", tasks[2]:name())
    tasks[3]:interrupt()
    assert.is_true(group:wait(BOUND))
    assert.same({ false, "failed" }, { tasks[2]:join(BOUND) })
    assert.is_false((tasks[3]:join(BOUND)))
    assert.same({ 1, 2 }, { tasks[4]:await(BOUND) })
  end)

  it("adds nothing when no task is started", function()
    local group = rille.waitgroup()
    raises("cannot send coroutine at argument 1", group.go, group, print, coroutine.create(print))
    raises("function or module name expected", group.go, group)
    raises("unknown option 'nane'", group.go, group, { nane = "x" }, print)
    assert.is_true(group:wait(0))
  end)

  it("is done no more often than was added, and not for its tasks", function()
    local group, stop = rille.waitgroup(), rille.chan()
    raises("negative waitgroup counter", group.done, group)
    raises("negative waitgroup counter", group.add, group, -1)
    raises("negative waitgroup counter", group.add, group, math.mininteger)
    local task = group:go(function() stop:recv() end)
    raises("negative waitgroup counter", group.done, group)
    group:add(math.maxinteger - 1)
    raises("waitgroup counter too large", group.add, group, 1)
    raises("waitgroup counter too large", group.go, group, print)
    group:add(1 - math.maxinteger)
    stop:close()
    assert.is_true(group:wait(BOUND))
    task:await(BOUND)
  end)
end)

describe("a cond", function()
  -- Tasks that have locked the mutex and wait, in their order.
  local function waiters(n, mutex, cond, done)
    local tasks = {}
    for i = 1, n do
      tasks[i] = waiting(function()
        local _ <close> = mutex:guard()
        return { cond:wait(mutex, done) }
      end)
    end
    return tasks
  end

  it("wakes one by a signal and all by a broadcast", function()
    local mutex, cond = rille.mutex(), rille.cond()
    local tasks = waiters(4, mutex, cond)
    cond:signal()
    assert.same({ true }, tasks[1]:await(BOUND))
    until_waiting(tasks[2], tasks[3], tasks[4])
    cond:broadcast()
    for i = 2, 4 do assert.same({ true }, tasks[i]:await(BOUND)) end
    cond:signal()
    cond:broadcast()
  end)

  it("holds the mutex again when it returns, also when its done fires", function()
    local mutex, cond, done, cancel = rille.mutex(), rille.cond(), rille.done()
    local task = waiting(function()
      mutex:lock()
      local _, err, cause = cond:wait(mutex, done)
      mutex:unlock()
      return err, cause
    end)
    mutex:lock()
    cancel "enough"
    while select(2, task:status()) ~= "lock " .. tostring(mutex) do rille.yield() end
    mutex:unlock()
    assert.same({ "canceled", "enough" }, { task:await(BOUND) })
    mutex:lock()
    assert.same({ nil, "canceled", "enough" }, { cond:wait(mutex, done) })
    assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { cond:wait(mutex, 0) })
    assert.same({ nil, "deadline exceeded", "deadline exceeded" }, { cond:wait(mutex, 0.001) })
    mutex:unlock()
  end)

  it("holds it again when the wait is interrupted, and once more while it locks", function()
    local mutex, cond = rille.mutex(), rille.cond()
    local task = waiting(function()
      mutex:lock()
      local _, err = pcall(cond.wait, cond, mutex)
      mutex:unlock()
      return err
    end)
    mutex:lock()
    task:interrupt "one"
    while select(2, task:status()) ~= "lock " .. tostring(mutex) do rille.yield() end
    task:interrupt "two"
    rille.sleep(0.005)
    until_waiting(task)
    mutex:unlock()
    assert.equal("two", task:await(BOUND))
    assert.same({ true }, { mutex:try_lock() })
    mutex:unlock()
  end)

  it("tells that the mutex was abandoned meanwhile", function()
    local mutex, cond, done, cancel = rille.mutex(), rille.cond(), rille.done()
    local tasks = { waiters(1, mutex, cond)[1], waiters(1, mutex, cond, done)[1] }
    local function lose() mutex:lock() cond:signal() end
    rille.go(lose):await(BOUND)
    assert.same({ true, "abandoned" }, tasks[1]:await(BOUND))
    mutex:lock()
    local loser = waiting(lose)
    cancel()
    while select(2, tasks[2]:status()) ~= "lock " .. tostring(mutex) do rille.yield() end
    mutex:unlock()
    loser:await(BOUND)
    assert.same({ nil, "canceled", "canceled", "abandoned" }, tasks[2]:await(BOUND))
  end)

  it("does so too in a task that has caught that it was unwound", function()
    local mutex, cond = rille.mutex(), rille.cond()
    local task = waiting(function()
      local _, leaked = pcall(rille.never.recv, rille.never)
      mutex:lock()
      local _, err = pcall(cond.wait, cond, mutex)
      mutex:unlock()
      return leaked, err
    end)
    assert.equal(1, rille.collect())
    until_waiting(task)
    mutex:lock()
    task:interrupt "one"
    while select(2, task:status()) ~= "lock " .. tostring(mutex) do rille.yield() end
    task:interrupt "two"
    rille.sleep(0.005)
    until_waiting(task)
    mutex:unlock()
    assert.same({ "leaked", "two" }, { task:await(BOUND) })
  end)

  it("does not give a signal to one that has left", function()
    local mutex, cond, done, cancel = rille.mutex(), rille.cond(), rille.done()
    local first = waiters(1, mutex, cond, done)[1]
    local second = waiters(1, mutex, cond)[1]
    cancel()
    cond:signal()
    assert.same({ nil, "canceled", "canceled" }, first:await(BOUND))
    assert.same({ true }, second:await(BOUND))
  end)

  it("leaves a guard of the mutex in force", function()
    local mutex, cond = rille.mutex(), rille.cond()
    do
      local _ <close> = mutex:guard()
      cond:wait(mutex, 0.001)
      assert.is_false(rille.go(function() return mutex:try_lock() end):await(BOUND))
    end
    assert.is_true(mutex:try_lock())
    mutex:unlock()
  end)

  it("wants the mutex locked by the caller", function()
    local mutex, cond = rille.mutex(), rille.cond()
    raises("the task has not locked this mutex", cond.wait, cond, mutex)
    raises("mutex expected, got rwmutex", cond.wait, cond, rille.rwmutex())
    local holder, release = keeper(mutex.lock, mutex)
    raises("the task has not locked this mutex", cond.wait, cond, mutex)
    release()
    holder:await(BOUND)
  end)

  it("wants it locked when the wait begins: a lost guard may be collected in its call", function()
    local mutex, cond = rille.mutex(), rille.cond()
    rille.go(function()
      local wait, unlock = cond.wait, mutex.unlock
      eager()
      for _ = 1, 100 do
        mutex:guard()
        local ok, err = pcall(wait, cond, mutex, 0.0001)
        assert(ok or err:find "the task has not locked this mutex", err)
        pcall(unlock, mutex)
      end
    end):await(BOUND)
    assert.is_true((mutex:try_lock()))
    mutex:unlock()
  end)

  it("keeps the mutex locked where it must not wait", function()
    local mutex, cond = rille.mutex(), rille.cond()
    local stop, err = rille.chan(), nil
    mutex:lock()
    local other = waiting(function() mutex:lock() stop:recv() mutex:unlock() end)
    setmetatable({}, { __gc = function() err = select(2, pcall(cond.wait, cond, mutex)) end })
    collectgarbage()
    assert.matches("cannot wait in a finalizer", err)
    stop:close()
    mutex:unlock()
    other:await(BOUND)
  end)
end)

describe("a barrier", function()
  it("opens for all at once, again and again, and tells each its place", function()
    local barrier = rille.barrier(3)
    for _ = 1, 5 do
      local a = waiting(function() return barrier:wait() end)
      local b = waiting(function() return barrier:wait() end)
      assert.equal(1, barrier:wait(BOUND))
      assert.same({ 3, 2 }, { a:await(BOUND), (b:await(BOUND)) })
    end
    assert.equal(1, rille.barrier(1):wait())
  end)

  it("waits for another when one has left", function()
    local barrier, done, cancel = rille.barrier(2), rille.done()
    local gone = waiting(function() return barrier:wait(done) end)
    cancel "enough"
    assert.same({ nil, "canceled", "enough" }, { gone:await(BOUND) })
    local struck = waiting(function() return barrier:wait() end)
    struck:interrupt()
    struck:join(BOUND)
    local first = waiting(function() return barrier:wait() end)
    assert.equal(1, barrier:wait(BOUND))
    assert.equal(2, first:await(BOUND))
  end)
end)

describe("a counter", function()
  it("loses nothing", function()
    local counter, group = rille.counter(), rille.waitgroup()
    for _ = 1, 4 do group:go(function() for _ = 1, 1000 do counter:add(1) end end) end
    group:wait(BOUND)
    assert.equal(4000, counter:get())
  end)

  it("adds, gets and sets, and wraps around", function()
    local counter = rille.counter(math.maxinteger)
    assert.equal(math.mininteger, counter:add(1))
    assert.equal(math.mininteger, counter:set(5))
    assert.equal(3, counter:add(-2))
    assert.equal(3, counter:get())
    assert.matches("^counter %(3%): 0x", tostring(counter))
    raises("number expected, got no value", counter.add, counter)
  end)
end)

describe("once", function()
  it("runs a single function, whoever asks, and gives all its results", function()
    local once, runs, tasks = rille.once(), rille.counter(), {}
    for i = 1, 10 do
      tasks[i] = rille.go(function()
        return once:run(function() runs:add(1) require "rille".yield() return "one", nil, 3 end)
      end)
    end
    for i = 1, 10 do assert.same({ "one", nil, 3 }, { tasks[i]:await(BOUND) }) end
    assert.equal(1, runs:get())
    assert.same({ "one", nil, 3 }, { once:run(function() return "other" end) })
  end)

  it("raises for all what the function has raised", function()
    local once = rille.once()
    for _ = 1, 2 do
      local ok, err = pcall(once.run, once, function() error({ code = 7 }) end)
      assert.is_false(ok)
      assert.same({ code = 7 }, err)
    end
  end)

  it("raises for all when the one who runs is interrupted", function()
    local once = rille.once()
    local runner = waiting(function() once:run(function() rille.never:recv() end) end)
    local other = waiting(function() return once:run(print) end)
    runner:interrupt "stop"
    assert.same({ false, "stop" }, { runner:join(BOUND) })
    assert.same({ false, "stop" }, { other:join(BOUND) })
    assert.same({ false, "stop" }, { pcall(once.run, once, print) })
  end)

  it("raises when results or error cannot cross", function()
    local once = rille.once()
    for _ = 1, 2 do
      raises("cannot send coroutine at result 2", once.run, once,
        function() return 1, coroutine.create(print) end)
    end
    once = rille.once()
    pcall(once.run, once, function() error(coroutine.create(print)) end)
    raises("cannot send coroutine at error", once.run, once, print)
  end)

  it("refuses to run within its own function", function()
    local once = rille.once()
    raises("within its own function", once.run, once, function() once:run(print) end)
    raises("function expected, got nil", rille.once().run, rille.once(), nil)
  end)
end)

-- Random exits. A crowd of tasks uses one object, and each is left early. What is then left is
-- looked at.

local CROWD = 25

-- In a task: `use(object, done, body)` calls the body while it holds the object.
local function player(done, plan, object, use)
  local yield = require "rille".yield
  local function body(check)
    if plan.way == "error" then error("mine", 0) end
    for _ = 1, plan.seed % 4 do yield() end
    if check and not check() then error("overlap", 0) end
    return plan.way == "break"
  end
  for _ = 1, 3 do
    if use(object, done, body) or done:err() then break end
  end
end

-- After each crowd `rest(object)` must be true.
local function leaves_nothing(title, make, use, rest)
  it("leave nothing behind at " .. title, function()
    exits.rounds(1000 // CROWD, function()
      local object = make()
      exits.crowd(CROWD, player, object, use)
      assert.is_true(rest(object))
    end)
    collectgarbage()
    assert.equal(0, #rille.leaks())
  end)
end

describe("random exits", function()
  leaves_nothing("a mutex", function() return { rille.mutex(), rille.counter() } end,
    function(object, done, body)
      local mutex, last = object[1], object[2]
      local guard <close> = mutex:guard(done)
      if not guard then return true end
      local me = last:add(1)
      return body(function() return last:get() == me end)
    end,
    function(object) return object[1]:try_lock() end)

  leaves_nothing("a mutex without guards", rille.mutex,
    function(mutex, done, body)
      if not mutex:lock(done) then return true end
      local left = body()
      mutex:unlock()
      return left
    end,
    function(mutex) return mutex:try_lock() end)

  leaves_nothing("a rwmutex", function() return { rille.rwmutex(), rille.counter() } end,
    function(object, done, body)
      local rw, last = object[1], object[2]
      if last:get() % 3 == 0 then
        local guard <close> = rw:guard(done)
        if not guard then return true end
        local me = last:add(1)
        return body(function() return last:get() == me end)
      end
      local guard <close> = rw:rguard(done)
      if not guard then return true end
      local seen = last:get()
      local left = body(function() return last:get() == seen end)
      guard()
      if rw:try_lock() then last:add(1) rw:unlock() end
      return left
    end,
    function(object) return object[1]:try_lock() end)

  leaves_nothing("a semaphore", function() return rille.semaphore(3) end,
    function(slots, done, body)
      local guard <close> = slots:guard(2, done)
      if not guard then return true end
      return body()
    end,
    function(slots) return slots:try_acquire(3) end)

  leaves_nothing("a waitgroup", rille.waitgroup,
    function(group, done, body)
      local child = group:go(function() require "rille".yield() end)
      if not group:wait(done) then return true end
      child:join()
      return body()
    end,
    function(group) return group:wait(BOUND) end)

  leaves_nothing("a cond", function() return { rille.mutex(), rille.cond() } end,
    function(object, done, body)
      local mutex, cond = object[1], object[2]
      cond:signal()
      local guard <close> = mutex:guard(done)
      if not guard then return true end
      cond:wait(mutex, done)
      if mutex:try_lock() then error("overlap", 0) end
      return body()
    end,
    function(object) return object[1]:try_lock() end)

  leaves_nothing("a barrier", function() return rille.barrier(3) end,
    function(barrier, done, body)
      local place = barrier:wait(done)
      if not place then return true end
      if place < 1 or place > 3 then error("overlap", 0) end
      return body()
    end,
    function(barrier)
      local others = { waiting(function() return barrier:wait() end),
        waiting(function() return barrier:wait() end) }
      return barrier:wait(0) == 1 and others[1]:await(BOUND) == 3 and others[2]:await(BOUND) == 2
    end)

  leaves_nothing("a once", function() return { rille.once(), rille.counter() } end,
    function(object, done, body)
      local once, runs = object[1], object[2]
      local result = once:run(function()
        runs:add(1)
        body()
        return "result"
      end, done)
      if result ~= nil and result ~= "result" then error("overlap", 0) end
      return result == nil
    end,
    function(object)
      pcall(object[1].run, object[1], function() end)
      return object[2]:get() <= 1
    end)
end)

-- Tasks that wait for one another and for nothing else, and all of which come to their end: while
-- the main program, which holds nothing but them, looks for leaks, it must find none.
describe("what goes on is never called a leak:", function()
  local ROUNDS = 60

  local function spared(title, start)
    it(title, function()
      local tasks = start()
      collectgarbage()
      local looks = 0
      local function over()
        for _, task in ipairs(tasks) do
          if task:join(0) == nil then return false end
        end
        return true
      end
      repeat
        looks = looks + 1
        local found = rille.leaks()
        assert.equal(0, #found, found[1] and found[1].traceback)
      until over()
      for _, task in ipairs(tasks) do task:await(BOUND) end
      assert.is_true(looks > 0)
    end)
  end

  local function several(n, fn, ...)
    local tasks = {}
    for i = 1, n do tasks[i] = rille.go(fn, i, ...) end
    return tasks
  end

  spared("mutexes in one order", function()
    return several(8, function(_, a, b)
      for _ = 1, ROUNDS do
        local _ <close> = a:guard()
        require "rille".yield()
        local _ <close> = b:guard()
      end
    end, rille.mutex(), rille.mutex())
  end)

  spared("readers and writers, some of which give up", function()
    return several(8, function(i, rw)
      for k = 1, ROUNDS do
        local _ <close> = i <= 2 and rw:guard(k % 2 == 0 and 0.0001 or nil) or rw:rguard()
        require "rille".yield()
      end
    end, rille.rwmutex())
  end)

  spared("permits of all sizes", function()
    return several(8, function(i, slots)
      for _ = 1, ROUNDS do
        slots:acquire(i % 3 + 1)
        require "rille".yield()
        slots:release(i % 3 + 1)
        local _ <close> = slots:guard()
      end
    end, rille.semaphore(4))
  end)

  spared("a barrier", function()
    return several(4, function(_, barrier)
      for _ = 1, ROUNDS do barrier:wait() end
    end, rille.barrier(4))
  end)

  spared("signals to and fro", function()
    return several(2, function(i, mutex, cond, turn)
      for _ = 1, ROUNDS do
        local _ <close> = mutex:guard()
        while turn:get() % 2 ~= i % 2 do cond:wait(mutex) end
        turn:add(1)
        cond:signal()
      end
    end, rille.mutex(), rille.cond(), rille.counter())
  end)

  spared("groups in groups, and a run", function()
    return several(4, function(_, once)
      for _ = 1, ROUNDS // 4 do
        local group = require "rille".waitgroup()
        for _ = 1, 3 do
          group:go(function() once:run(function() require "rille".yield() end) end)
        end
        group:wait()
      end
    end, rille.once())
  end)
end)

describe("at the end of a program #exec", function()
  local function run(script)
    return helper.run('local rille = require "rille"\n' .. script,
      { env = { RILLE_LEAKS = "report" } })
  end

  it("who waits for what main has locked is reported, and unwound", function()
    local result = run [[
      local mutex = rille.mutex "door"
      mutex:lock()
      local waiter = rille.go({ name = "waiter" }, function()
        local _ <close> = rille.defer(function() print "unwound" end)
        mutex:lock()
      end)
      while waiter:status() ~= "waiting" do rille.yield() end
    ]]
    assert.equal(0, result.code, result.err)
    assert.matches('"waiter".*leaked: waits in lock door', result.err)
    assert.equal("unwound\n", result.out)
  end)

  it("locks are no obstacle, wherever it is ended", function()
    local result = run [[
      local mutex, cond, slots = rille.mutex(), rille.cond(), rille.semaphore(1)
      local permit = slots:guard()
      for _ = 1, 3 do
        rille.go(function() local _ <close> = mutex:guard() cond:wait(mutex) end)
        rille.go(function() local _ <close> = slots:guard() end)
      end
      rille.go(function()
        rille.sleep(0.01)
        mutex:lock()
        os.exit(3)
      end)
      rille.sleep(60)
    ]]
    assert.equal(3, result.code)
    result = run [[
      local mutex = rille.mutex()
      local guard <close> = mutex:guard()
      rille.go(function() mutex:lock() end)
      error "failed"
    ]]
    assert.equal(1, result.code)
    assert.matches("failed", result.err)
  end)
end)

-- Locks and counters: mutexes, semaphores and their kin. What tasks do to each other is seen by
-- waiting for events; a wait that must not come to an end is looked at where its task waits.
--
--     RILLE_SEED=n      the seed of the random exits (by default that of the clock; it is printed
--                       when a test fails)
--     RILLE_EXITS=n     so many of each (1,000 by default)

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
      local guard <close> = mutex:guard()
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
          local guard <close> = mutex:guard()
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
    do local guard <close> = mutex:guard() end
    pcall(function()
      local guard <close> = mutex:guard()
      error "out"
    end)
    assert.same({ true }, { mutex:try_lock() })
    mutex:unlock()
  end)

  it("unlocks what it has locked and nothing else", function()
    local mutex = rille.mutex()
    do
      local guard <close> = mutex:guard()
      mutex:unlock()
    end
    do
      local guard <close> = mutex:guard()
      mutex:unlock()
      mutex:lock()
    end
    assert.is_false(mutex:try_lock())
    mutex:unlock()
    local other, release
    do
      local guard <close> = mutex:guard()
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

  it("does not cross", function()
    raises("cannot send userdata %(rille.guard%) at argument 1", rille.go, print, rille.mutex():guard())
  end)

  it("never leaves the mutex abandoned, at whatever instruction its task is interrupted", function()
    local mutex, runs = rille.mutex(), rille.chan(1)
    for _ = 1, 100 do
      local task = rille.go(function()
        runs:send(true)
        while true do local guard <close> = mutex:guard() end
      end)
      runs:recv()
      task:interrupt "one"
      assert.same({ false, "one" }, { task:join(BOUND) })
      assert.same({ true }, { mutex:try_lock() })
      mutex:unlock()
    end
  end)
end)

-- Tasks: starting, results, errors, waiting for them, what they are told of themselves.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local proc = require "spec.support.proc"
local rille = require "rille"

local BOUND = 30 -- a watchdog

local raises, until_waiting = helper.raises, helper.until_waiting

local function there(fn, ...)
  return rille.go(fn, ...):await(BOUND)
end

local function fired(cause)
  local done, cancel = rille.done()
  cancel(cause)
  return done
end

describe("rille.go", function()
  it("runs a function with its arguments, and gives its results", function()
    local task = rille.go(function(...) return select("#", ...), ... end, 1, nil, "c", nil)
    assert.same({ n = 6, true, 4, 1, nil, "c", nil }, table.pack(task:join(BOUND)))
    assert.same({ n = 5, 4, 1, nil, "c", nil }, table.pack(task:await(BOUND)))
    assert.same({ n = 1, true }, table.pack(rille.go(function() end):join(BOUND)))
  end)

  it("runs tasks in parallel to the main program and each other", function()
    local ch, list = rille.chan(), {}
    for i = 1, 20 do rille.go(function() ch:send(i) end) end
    for _ = 1, 20 do list[#list + 1] = ch:recv(BOUND) end
    table.sort(list)
    for i = 1, 20 do assert.equal(i, list[i]) end
  end)

  it("takes the name of a module that yields a function", function()
    local pipe = io.popen "mktemp -d"
    local dir = pipe:read "l"
    pipe:close()
    local file = assert(io.open(dir .. "/spec_job.lua", "w"))
    file:write "local name = ... return function(a, b) return a .. b, name end"
    file:close()
    local path = package.path
    package.path = dir .. "/?.lua;" .. path
    local a, name = there("spec_job", "x", "y")
    package.path = path
    os.execute("rm -r " .. dir)
    assert.equal("xy", a)
    assert.equal("spec_job", name)
  end)

  it("fails a task whose module is missing or yields no function", function()
    raises("module 'no.such.module' not found", there, "no.such.module")
    raises("module 'string' yields no function", there, "string")
  end)

  it("refuses what is no function", function()
    for _, bad in ipairs { 1, true, rille.chan(), coroutine.create(print) } do
      raises("#1", rille.go, bad)
    end
    raises("#1", rille.go)
    raises("#2", rille.go, {})
    raises("#2", rille.go, {}, 5)
    raises("cannot send C function", rille.go, coroutine.wrap(print))
  end)

  it("refuses bad options by name", function()
    local function f() end
    raises("name", rille.go, { name = 1 }, f)
    raises("memory", rille.go, { memory = "much" }, f)
    raises("memory", rille.go, { memory = -1 }, f)
    raises("memory", rille.go, { memory = 1.5 }, f)
    raises("pinned", rille.go, { pinned = 1 }, f)
    raises("daemon", rille.go, { daemon = "yes" }, f)
    raises("unknown option 'nmae'", rille.go, { nmae = "x" }, f)
    raises("option", rille.go, { "x" }, f)
  end)

  it("starts nothing when something cannot cross, and says where", function()
    local before = rille.stats().tasks
    local co = coroutine.create(print)
    raises("cannot send coroutine at upvalue 'co'", rille.go, function() return co end)
    raises("cannot send coroutine at argument 2", rille.go, print, 1, co)
    raises("cannot send coroutine at argument 1.x%[2%]", rille.go, print, { x = { 1, co } })
    local now = rille.stats().tasks
    assert.equal(before.running + before.runnable + before.waiting,
      now.running + now.runnable + now.waiting)
  end)

  it("leaves a task running whose handle is dropped", function()
    local ch = rille.chan()
    rille.go(function() rille.sleep(0.01) ch:send "still here" end)
    collectgarbage()
    collectgarbage()
    assert.equal("still here", ch:recv(BOUND))
  end)

  it("starts tasks from tasks, to any depth", function()
    local function deep(n)
      local lib = require "rille"
      if n == 0 then return "bottom" end
      return lib.go(deep, n - 1):await()
    end
    assert.equal("bottom", there(deep, 50))
  end)

  it("copies what it captures", function()
    local t = { 1 }
    local task = rille.go(function() t[1] = t[1] + 1 return t[1] end)
    assert.equal(2, task:await(BOUND))
    assert.equal(1, t[1])
  end)
end)

describe("a task", function()
  it("has an id of its own and a name", function()
    local a, b = rille.go(function() end), rille.go({ name = "worker" }, function() end)
    assert.equal("integer", math.type(a:id()))
    assert.not_equal(a:id(), b:id())
    assert.equal("worker", b:name())
    assert.matches("task_spec.lua:%d+", a:name())
    assert.matches("worker", tostring(b))
    a:join(BOUND)
    b:join(BOUND)
  end)

  it("is the same handle everywhere in a state", function()
    local ch = rille.chan(1)
    local task = rille.go(function() return rille.self() end)
    ch:send(task)
    assert.equal(task, ch:recv())
    assert.equal(task, (task:await(BOUND)))
  end)

  it("says what it is doing", function()
    local ch = rille.chan(0, "jobs")
    local task = rille.go(function() return ch:recv() end)
    until_waiting(task)
    local status, on = task:status()
    assert.equal("waiting", status)
    assert.equal("recv jobs", on)
    local joiner = rille.go(function() return task:join() end)
    until_waiting(joiner)
    assert.equal("join " .. task:name(), select(2, joiner:status()))
    ch:send(1)
    task:join(BOUND)
    joiner:join(BOUND)
    assert.equal("finished", (task:status()))
    local failing = rille.go(error, "x")
    failing:join(BOUND)
    assert.equal("failed", (failing:status()))
  end)

  it("says on what it waits also where Lua cannot yield", function()
    local ch = rille.chan(0, "jobs")
    local task = rille.go(function()
      return (("ab"):gsub("%l", function() return ch:recv() end))
    end)
    assert.same({ "waiting", "recv jobs" }, { until_waiting(task):status() })
    ch:send "c"
    ch:send "d"
    assert.equal("cd", task:await(BOUND))
  end)

  it("says on what it waits to each that asks, however it waits and is woken", function()
    local ch, stop = rille.chan(0, "jobs"), rille.chan()
    local function block() return (("a"):gsub("a", function() return ch:recv() end)) end
    local waiting = {
      rille.go(function() for _ in ch do end end),
      rille.go(function() while block() ~= "a" do end end),
    }
    local askers = {}
    for i = 1, 4 do
      askers[i] = rille.go(function()
        local asked = 0
        repeat
          for _, task in ipairs(waiting) do
            local status, on = task:status()
            assert(on == (status == "waiting" and "recv jobs" or nil), status)
            asked = asked + 1
          end
        until asked > 1000 and select(2, stop:try_recv()) == "closed"
      end)
    end
    for i = 1, 2000 do ch:send(i) end
    stop:close()
    for _, asker in ipairs(askers) do asker:await(BOUND) end
    ch:close()
    for _, task in ipairs(waiting) do task:await(BOUND) end
  end)

  it("knows itself", function()
    assert.is_nil(rille.self())
    local name, id = rille.go({ name = "me" }, function()
      return rille.self():name(), rille.self():id()
    end):await(BOUND)
    assert.equal("me", name)
    assert.is_number(id)
  end)

  it("has a body that is like a main program", function()
    local ok, err, yieldable, is_main = there(function()
      local ok, err = pcall(coroutine.yield, 1)
      local _, main = coroutine.running()
      return ok, err, coroutine.isyieldable(), main
    end)
    assert.is_false(ok)
    assert.matches("outside a coroutine", err)
    assert.is_false(yieldable)
    assert.is_true(is_main)
  end)

  it("has the standard libraries, and no globals of its starter", function()
    _G.spec_global = true
    local names, global = there(function()
      local list = {}
      for name in pairs(_G) do list[#list + 1] = name end
      table.sort(list)
      return table.concat(list, " "), _G.spec_global
    end)
    _G.spec_global = nil
    assert.equal("_G _VERSION assert collectgarbage coroutine debug dofile error getmetatable io "
      .. "ipairs load loadfile math next os package pairs pcall print rawequal rawget rawlen "
      .. "rawset require select setmetatable string table tonumber tostring type utf8 warn "
      .. "xpcall", names)
    assert.is_nil(global)
  end)

  it("draws random numbers of its own", function()
    local seen = {}
    for _ = 1, 10 do
      local n = there(function() return math.random(1 << 60) end)
      assert.is_nil(seen[n])
      seen[n] = true
    end
  end)

  it("is told when a global it misses is one that its starter has", function()
    _G.spec_helper = print
    local task = rille.go(function() spec_helper() end) -- luacheck: ignore 113
    local _, err = task:join(BOUND)
    _G.spec_helper = nil
    assert.matches("attempt to call a nil value %(global 'spec_helper'%)", err)
    assert.matches("globals stay behind", err)
    local _, other = rille.go(function() no_such_global() end):join(BOUND) -- luacheck: ignore 113
    assert.not_matches("stay behind", other)
  end)

  it("finds modules where its starter does", function()
    local path, cpath = there(function() return package.path, package.cpath end)
    assert.equal(package.path, path)
    assert.equal(package.cpath, cpath)
  end)

  it("waits in its own coroutines, and they yield as ever", function()
    local ch = rille.chan()
    local task = rille.go(function()
      local co = coroutine.create(function(a)
        local b = ch:recv()
        local c = coroutine.yield(a + b)
        return c + ch:recv()
      end)
      local _, first = coroutine.resume(co, 1)
      local _, second = coroutine.resume(co, 100)
      return first, second, coroutine.status(co), coroutine.resume(co)
    end)
    ch:send(10)
    ch:send(1000)
    local first, second, status, ok, err = task:await(BOUND)
    assert.equal(11, first)
    assert.equal(1100, second)
    assert.equal("dead", status)
    assert.is_false(ok)
    assert.matches("dead coroutine", err)
  end)

  it("waits in coroutines in coroutines, wrapped, with errors and pcall between", function()
    local ch = rille.chan(8)
    for i = 1, 8 do ch:send(i) end
    local sum, err = there(function()
      local function numbers(n)
        return coroutine.wrap(function()
          for _ = 1, n do
            local ok, v = pcall(ch.recv, ch)
            coroutine.yield(ok and v)
          end
        end)
      end
      local outer = coroutine.wrap(function()
        for v in numbers(4) do coroutine.yield(v) end
        for v in numbers(4) do coroutine.yield(v) end
        error("at the end", 0)
      end)
      local total = 0
      for _ = 1, 8 do total = total + outer() end
      return total, select(2, pcall(outer))
    end)
    assert.equal(36, sum)
    assert.equal("at the end", err)
  end)

  it("closes a coroutine that waits no more", function()
    local ok = there(function()
      local closed
      local co = coroutine.create(function()
        local _ <close> = rille.defer(function() closed = true end)
        coroutine.yield()
      end)
      coroutine.resume(co)
      return coroutine.close(co) and closed
    end)
    assert.is_true(ok)
  end)

  local nooks = {
    ["a sort's comparator"] = function(wait)
      local v
      table.sort({ 2, 1 }, function(a, b) v = wait() return a < b end)
      return v
    end,
    ["a gsub callback"] = function(wait) return (("x"):gsub("x", wait)) end,
    ["an __index metamethod"] = function(wait)
      return setmetatable({}, { __index = function() return wait() end }).key
    end,
    ["__tostring"] = function(wait)
      return tostring(setmetatable({}, { __tostring = function() return wait() end }))
    end,
    ["a for iterator"] = function(wait)
      local last
      for v in function() return not last and wait() or nil end do last = v end
      return last
    end,
    ["pcall"] = function(wait) return select(2, pcall(wait)) end,
    ["xpcall's handler"] = function(wait) return select(2, xpcall(error, wait)) end,
    ["load's reader"] = function(wait)
      local n = 0
      return load(function()
        n = n + 1
        if n == 1 then return "return '" .. wait() .. "'" end
      end)()
    end,
    ["__close"] = function(wait)
      local v
      do
        local _ <close> = setmetatable({}, { __close = function() v = wait() end })
      end
      return v
    end,
    ["a coroutine in a sort in a coroutine"] = function(wait)
      return coroutine.wrap(function()
        local v
        table.sort({ 2, 1 }, function(a, b) v = coroutine.wrap(wait)() return a < b end)
        return v
      end)()
    end,
  }
  for name, fn in pairs(nooks) do
    it("waits in " .. name, function()
      local ch = rille.chan()
      local task = rille.go(function() return fn(function() return ch:recv() end) end)
      until_waiting(task)
      while not ch:try_send "v" do rille.yield() end
      while task:status() ~= "finished" do
        if not ch:try_send "v" then rille.yield() end
      end
      assert.equal("v", (task:await(BOUND)))
    end)

    it("on the main program waits in " .. name, function()
      local ch, stop = rille.chan(), rille.chan()
      local sender = rille.go(function()
        while ch:send("v", stop) do end -- luacheck: ignore 542
      end)
      assert.equal("v", (fn(function() return ch:recv() end)))
      stop:close()
      sender:join(BOUND)
    end)
  end

  it("is pinned to one thread on request", function()
    local ch = rille.chan()
    local ids = rille.go({ pinned = true }, function()
      local function thread()
        local link = assert(io.popen("readlink /proc/$PPID/task 2>/dev/null; echo x"))
        link:close()
        local stat = assert(io.open "/proc/thread-self/stat")
        local id = stat:read "n"
        stat:close()
        return id
      end
      local list = {}
      for i = 1, 5 do
        list[i] = thread()
        ch:recv()
      end
      return list
    end)
    for i = 1, 5 do ch:send(i) end
    local list = ids:await(BOUND)
    for i = 2, 5 do assert.equal(list[1], list[i]) end
  end)

  it("does not hold up others while it sits in C", function()
    local tasks = {}
    for i = 1, 8 do tasks[i] = rille.go(function() return os.execute "sleep 0.2" end) end
    local ch = rille.chan()
    rille.go(function() ch:send "ran" end)
    assert.equal("ran", ch:recv(BOUND))
    for i = 1, 8 do assert.is_true((tasks[i]:await(BOUND))) end
  end)

  it("does not hold up others while it computes", function()
    local stop, tasks = rille.chan(1), {}
    for i = 1, 4 do
      tasks[i] = rille.go(function() while #stop == 0 do end end) -- luacheck: ignore 542
    end
    local ch = rille.chan()
    rille.go(function() ch:send "ran" end)
    assert.equal("ran", ch:recv(BOUND))
    stop:send(1)
    for i = 1, 4 do assert.is_true(tasks[i]:join(BOUND)) end
  end)
end)

describe("task:join", function()
  it("is repeatable, by many", function()
    local task = rille.go(function() return { 1 }, "b" end)
    local others = {}
    for i = 1, 10 do others[i] = rille.go(function() return task:join() end) end
    for i = 1, 10 do assert.same({ true, { 1 }, "b" }, { others[i]:await(BOUND) }) end
    for _ = 1, 3 do assert.same({ true, { 1 }, "b" }, { task:join(BOUND) }) end
  end)

  it("gives up when its done fires", function()
    local stop, done, cancel = rille.chan(), rille.done()
    local task = rille.go(function() stop:recv() return "end" end)
    local joiner = rille.go(function() return task:join(done) end)
    until_waiting(joiner)
    cancel "why"
    assert.same({ n = 3, nil, "canceled", "why" }, table.pack(joiner:await(BOUND)))
    local late = { n = 3, nil, "deadline exceeded", "deadline exceeded" }
    assert.same(late, table.pack(task:join(0)))
    assert.same(late, table.pack(task:join(0.001)))
    stop:close()
    assert.same({ true, "end" }, { task:join(BOUND) })
    assert.same({ n = 3, nil, "canceled", "x" }, table.pack(task:join(fired "x")))
    assert.same({ true, "end" }, { task:join(0) })
  end)

  it("of itself raises", function()
    raises("itself", there, function() rille.self():join() end)
    raises("itself", there, function() rille.self():await() end)
  end)

  it("names what is no task or done", function()
    local task = rille.go(function() end)
    raises("task expected, got number", task.join, 5)
    raises("task expected, got channel", task.await, rille.chan())
    raises("#2", task.join, task, "text")
    task:join(BOUND)
  end)
end)

describe("an error in a task", function()
  local function joined(fn, ...)
    return rille.go(fn, ...):join(BOUND)
  end

  it("comes back as it was thrown", function()
    for _, err in ipairs { 5, 2.5, true, "text" } do
      assert.same({ n = 2, false, err }, table.pack(joined(function() error(err, 0) end)))
    end
    assert.same({ n = 2, false, nil }, table.pack(joined(error)))
    local ok, err = joined(function() error { code = 7, inner = { "x" } } end)
    assert.is_false(ok)
    assert.same({ code = 7, inner = { "x" } }, err)
  end)

  it("keeps its class", function()
    local Class = setmetatable({}, { __name = "Class" })
    Class.__index = Class
    Class.__tostring = function(e) return "class " .. e.what end
    local _, err = joined(function() error(setmetatable({ what = "w" }, Class)) end)
    assert.equal(Class, getmetatable(err))
    assert.equal("class w", tostring(err))
  end)

  it("has its place, and a traceback", function()
    local function inner() error "deep" end
    local task = rille.go(function() inner() end)
    local _, err = task:join(BOUND)
    assert.matches("task_spec.lua:%d+: deep", err)
    assert.matches("stack traceback", task:traceback())
    assert.matches("inner", task:traceback())
    assert.is_nil(rille.go(function() end):traceback())
  end)

  it("is raised again by await", function()
    local e = { "an error" }
    local ok, err = pcall(there, function() error(e) end)
    assert.is_false(ok)
    assert.same(e, err)
    raises("^deep$", there, function() error("deep", 0) end)
  end)

  it("is the done's error when await gives up", function()
    local stop = rille.chan()
    local task = rille.go(function() stop:recv() end)
    raises("^canceled$", task.await, task, fired "why")
    raises("^deadline exceeded$", task.await, task, 0)
    stop:close()
    task:join(BOUND)
  end)

  it("says so when results or the error itself cannot cross", function()
    local _, err = joined(function() return 1, { co = coroutine.create(print) } end)
    assert.matches("cannot send coroutine at result 2.co", err)
    _, err = joined(function() error { co = coroutine.create(print) } end)
    assert.matches("cannot send coroutine at error.co", err)
    _, err = joined(function() error(coroutine.create(print)) end)
    assert.matches("cannot send coroutine at error", err)
  end)

  it("runs what is to be closed", function()
    local ch = rille.chan(3)
    local task = rille.go(function()
      local _ <close> = rille.defer(function() ch:send "closed" end)
      error "x"
    end)
    task:join(BOUND)
    assert.equal("closed", ch:try_recv())
  end)

  it("in a message handler or a finalizer does no harm", function()
    local ok = joined(function()
      xpcall(error, function() error "again" end, "first")
      setmetatable({}, { __gc = function() error "in gc" end })
      collectgarbage()
      return true
    end)
    assert.is_true(ok)
  end)

  it("of too deep a recursion is an error like others", function()
    local ok, err = joined(function()
      local function f() return 1 + f() end
      return f()
    end)
    assert.is_false(ok)
    assert.matches("stack overflow", err)
  end)

  it("is reported when nobody takes it, and only then #exec", function()
    local result = proc.run([[
      local taken = rille.go(function() error "taken" end)
      taken:join()
      do
        local task = rille.go({ name = "careless" }, function() error "untaken" end)
        rille.select(task)
      end
      collectgarbage()
      collectgarbage()
      -- its thread may have been the last to hold it
      repeat
        rille.yield()
        local err = io.open "/proc/self/fd/2"
        local reported = err:read("a"):find "stack traceback"
        err:close()
      until reported
      io.stderr:write "-- still running\n"
    ]], { env = "RILLE_LEAKS=report" })
    assert.matches('task %d+ "careless".*untaken.*stack traceback.*%-%- still running', result.err)
    assert.not_matches("taken.*taken.*taken", (result.err:gsub("untaken", "")))
    assert.equal(0, result.code)
  end)
end)

describe("rille.yield and the scheduler", function()
  it("let others run", function()
    rille.yield()
    local order = there(function()
      local list, ch = {}, rille.chan(4)
      rille.go(function() ch:send "other" end)
      repeat rille.yield() until #ch == 1
      list[1] = ch:recv()
      list[2] = "me"
      return list
    end)
    assert.same({ "other", "me" }, order)
  end)

  it("work in a coroutine and where one cannot yield", function()
    there(function()
      coroutine.wrap(function() rille.yield() end)()
      table.sort({ 2, 1 }, function(a, b) rille.yield() return a < b end)
    end)
  end)

  it("run thousands of tasks", function()
    local ch = rille.chan(100)
    for i = 1, 2000 do rille.go(function() ch:send(i) end) end
    local sum = 0
    for _ = 1, 2000 do sum = sum + ch:recv(BOUND) end
    assert.equal(2001000, sum)
  end)

  it("park ten thousand tasks on few threads, and wake them by one cancel #slow", function()
    local ch, done, cancel = rille.chan(), rille.done()
    local tasks = {}
    for i = 1, 10000 do tasks[i] = rille.go(function() return select(2, ch:recv(done)) end) end
    while rille.stats().tasks.waiting < 10000 do rille.sleep(0.001) end
    assert.is_true(rille.stats().threads < 16)
    cancel()
    for i = 1, 10000 do assert.equal("canceled", tasks[i]:await(BOUND)) end
  end)

  it("let fifty tasks sit in os.execute at once #slow", function()
    local dir = os.tmpname()
    assert(os.execute(("rm %s && mkdir %s && mkfifo %s/gate"):format(dir, dir, dir)))
    local tasks = {}
    for i = 1, 50 do
      local command = ("echo >%s/%d; read line <%s/gate"):format(dir, i, dir)
      tasks[i] = rille.go(function() return os.execute(command) end)
    end
    local function all_sit()
      for i = 1, 50 do
        local file = io.open(("%s/%d"):format(dir, i))
        if not file then return false end
        file:close()
      end
      return true
    end
    local sat = pcall(assert.eventually, all_sit, BOUND)
    local gate = io.open(dir .. "/gate", "r+") -- each that reads takes one line
    gate:write(("\n"):rep(50))
    gate:flush()
    for i = 1, 50 do assert.is_true((tasks[i]:await(BOUND))) end
    gate:close()
    os.execute("rm -r " .. dir)
    assert.is_true(sat)
  end)

  it("get rid of the threads that blocking calls took, also while others are busy #slow", function()
    local stop, blocked, busy = rille.chan(), {}, {}
    for i = 1, 30 do blocked[i] = rille.go(os.execute, "sleep 0.1") end
    for i = 1, 8 do
      busy[i] = rille.go(function()
        while rille.try_select(stop) == nil do rille.yield() end
      end)
    end
    for i = 1, 30 do blocked[i]:join(BOUND) end
    local limit = rille.now() + BOUND
    while rille.stats().threads > 16 and rille.now() < limit do rille.sleep(0.01) end
    local threads = rille.stats().threads
    stop:close()
    for i = 1, 8 do busy[i]:join(BOUND) end
    assert.is_true(threads <= 16, threads .. " threads")
  end)
end)

describe("rille.stats", function()
  it("counts", function()
    local stop = rille.chan()
    local channels = rille.stats().channels
    local kept = rille.chan()
    assert.equal(channels + 1, rille.stats().channels)
    local waiting = rille.stats().tasks.waiting
    local task = until_waiting(rille.go(function() stop:recv() end))
    local stats = rille.stats()
    assert.equal(waiting + 1, stats.tasks.waiting)
    for _, name in ipairs {
      "threads", "workers", "channels", "message_bytes", "parks", "steals",
    } do
      assert.equal("integer", math.type(stats[name]), name)
    end
    for _, name in ipairs { "runnable", "running", "waiting", "finished", "failed" } do
      assert.equal("integer", math.type(stats.tasks[name]), name)
    end
    assert.is_true(stats.workers >= 1 and stats.threads >= stats.workers)
    stop:close()
    task:join(BOUND)
    assert.is_not_nil(kept)
  end)

  it("knows the bytes under way", function()
    local ch = rille.chan(1)
    local before = rille.stats().message_bytes
    ch:send(("x"):rep(1000000)) -- garbage of earlier tests may go meanwhile, but is far less
    assert.is_true(rille.stats().message_bytes > before + 500000)
    ch:recv()
    assert.is_true(rille.stats().message_bytes < before + 500000)
  end)

  it("has a version", function()
    assert.matches("^Rille ", rille._VERSION)
  end)
end)

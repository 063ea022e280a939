-- Interrupting tasks, whatever they are doing, and sharing the workers with those that compute.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local proc = require "spec.support.proc"
local rille = require "rille"

local BOUND = 20 -- a watchdog

local function until_running(task)
  while task:status() ~= "running" do rille.sleep(0.001) end
  return task
end

local function spin()
  while true do end
end

-- What join gives of a task that is interrupted with `...` once it runs.
local function interrupt_running(fn, ...)
  local task = until_running(rille.go(fn))
  assert.is_true(task:interrupt(...))
  return task:join(BOUND)
end

local function interrupt_waiting(fn, ...)
  local task = helper.until_waiting(rille.go(fn))
  assert.is_true(task:interrupt(...))
  return task:join(BOUND)
end

local function assert_raised(reason, ok, err)
  assert.is_false(ok)
  assert.equal(reason, err)
end

describe("task:interrupt", function()
  it("raises its reason in a loop", function()
    assert_raised("enough", interrupt_running(spin, "enough"))
    assert_raised("enough", interrupt_running(function()
      local x = 0
      for i = 1, math.huge do x = x + i end
    end, "enough"))
    assert_raised("enough", interrupt_running(function()
      local function f(n) return f(n + 1) end
      f(1)
    end, "enough"))
  end)

  it("says by default where the task was", function()
    local ok, err = interrupt_running(spin)
    assert.is_false(ok)
    assert.matches("interrupt_spec%.lua:%d+: interrupted$", err)
    ok, err = interrupt_waiting(function() rille.never:recv() end)
    assert.is_false(ok)
    assert.matches("interrupt_spec%.lua:%d+: interrupted$", err)
  end)

  it("raises any value that can cross", function()
    assert_raised(false, interrupt_running(spin, false))
    assert_raised(17, interrupt_running(spin, 17))
    local ch = rille.chan()
    assert_raised(ch, interrupt_running(spin, ch))
    local ok, err = interrupt_running(spin, { code = 3, list = { "a" } })
    assert.is_false(ok)
    assert.same({ code = 3, list = { "a" } }, err)
  end)

  it("refuses what cannot cross, and then nothing has happened", function()
    local gate = rille.chan()
    local task = helper.until_waiting(rille.go(function() return gate:recv() end))
    helper.raises("cannot send coroutine at reason%.co", task.interrupt, task,
      { co = coroutine.create(print) })
    gate:send "fine"
    assert.equal("fine", task:await(BOUND))
  end)

  it("ends each kind of wait, with nothing sent or received", function()
    local ch, other = rille.chan(), rille.chan()
    local done = rille.done()
    local forever = rille.go(function() rille.never:recv() end)
    for name, wait in pairs {
      recv = function() ch:recv() end,
      send = function() ch:send(1) end,
      select = function() rille.select(ch, other:sending(2), 60) end,
      sleep = function() rille.sleep(60) end,
      wait = function() done:wait() end,
      join = function() forever:join() end,
      never = function() rille.never:recv() end,
      timer = function() rille.after(60):recv() end,
    } do
      local ok, err = interrupt_waiting(wait, name)
      assert.is_false(ok)
      assert.equal(name, err)
    end
    forever:interrupt()
    assert.is_false(forever:join(BOUND))
    assert.same({ nil, "empty" }, { ch:try_recv() })
    assert.same({ false, "full" }, { ch:try_send(1) })
    assert.same({ nil, "empty" }, { other:try_recv() })
  end)

  it("raises in coroutines, however deep", function()
    assert_raised("deep", interrupt_running(function()
      local function nest(n)
        if n == 0 then return spin() end
        local ok, err = coroutine.resume(coroutine.create(nest), n - 1)
        if not ok then error(err, 0) end
      end
      nest(20)
    end, "deep"))
    assert_raised("deep", interrupt_waiting(function()
      local ok, err = coroutine.resume(coroutine.create(function() rille.never:recv() end))
      if not ok then error(err, 0) end
    end, "deep"))
  end)

  it("raises where coroutines are switched all the time", function()
    local ok, err = interrupt_running(function()
      while true do
        local co = coroutine.wrap(function() for i = 1, 5 do coroutine.yield(i) end end)
        for _ = 1, 5 do co() end
      end
    end, { "switched" })
    assert.is_false(ok)
    assert.same({ "switched" }, err)
  end)

  it("raises where the task cannot yield, running or waiting", function()
    assert_raised("sorted", interrupt_running(function()
      table.sort({ 3, 2, 1 }, spin)
    end, "sorted"))
    assert_raised("sorted", interrupt_waiting(function()
      table.sort({ 3, 2, 1 }, function() rille.never:recv() end)
    end, "sorted"))
  end)

  it("raises as a C function returns", function()
    local pipe = os.tmpname()
    os.remove(pipe)
    assert(os.execute("mkfifo " .. pipe))
    local read = "read line <" .. pipe
    local function execute(command)
      os.execute(command)
      return "not interrupted"
    end
    for _, fn in ipairs { execute, os.execute } do
      local task = rille.go(fn, read)
      local writer = io.open(pipe, "w") -- opened as soon as the shell has opened its end
      assert.is_true(task:interrupt "returned")
      rille.sleep(0.05)
      assert.equal("running", (task:status()))
      writer:close()
      assert_raised("returned", task:join(BOUND))
    end
    os.remove(pipe)
  end)

  it("raises in a pinned task, running or waiting", function()
    local task = until_running(rille.go({ pinned = true }, spin))
    assert.is_true(task:interrupt "pinned")
    assert_raised("pinned", task:join(BOUND))
    task = helper.until_waiting(rille.go({ pinned = true }, function() rille.never:recv() end))
    assert.is_true(task:interrupt "pinned")
    assert_raised("pinned", task:join(BOUND))
  end)

  it("raises at the start of a task that has not begun", function()
    for _ = 1, 50 do
      local task = rille.go(spin)
      assert.is_true(task:interrupt())
      local ok, err = task:join(BOUND)
      assert.is_false(ok)
      assert.matches("interrupt_spec%.lua:%d+: interrupted$", err)
    end
  end)

  it("says false once the task has ended, whatever the reason", function()
    local task = rille.go(function() end)
    task:join(BOUND)
    assert.is_false(task:interrupt())
    assert.is_false(task:interrupt { rille.chan() })
  end)

  it("is what a task can do to itself", function()
    local ok, err, after = rille.go(function()
      local after = false
      local ok, err = pcall(function()
        rille.self():interrupt "myself"
        after = true
      end)
      return ok, err, after
    end):await(BOUND)
    assert.same({ false, "myself", false }, { ok, err, after })
    assert_raised("myself", rille.go(function()
      local co = coroutine.create(function() rille.self():interrupt "myself" end)
      error(select(2, coroutine.resume(co)), 0)
    end):join(BOUND))
  end)

  it("raises once for each call, in their order", function()
    local function receive() rille.never:recv() end
    for _, doing in ipairs { spin, receive } do
      local inside = rille.chan()
      local task = rille.go(function()
        -- One may come between any two instructions: a function in C notes it as its scope ends.
        local list = setmetatable({}, { __close = table.insert })
        local function catch(depth)
          local _ <close> = list
          if depth > 1 then pcall(catch, depth - 1) else inside:send(true) end
          doing()
        end
        pcall(catch, 5)
        return rille.sleep(0.05), table.unpack(list)
      end)
      inside:recv(BOUND)
      for i = 1, 5 do assert.is_true(task:interrupt(i)) end
      assert.same({ true, 1, 2, 3, 4, 5 }, { task:await(BOUND) })
    end
  end)

  it("runs <close> variables, which may compute and wait", function()
    local ready, seen = rille.chan(), rille.chan(9)
    local function close(wait)
      return function()
        local _ <close> = rille.defer(function()
          for _ = 1, 1000000 do end
          seen:send "computed"
          rille.sleep(0.02)
          seen:send "waited"
        end)
        ready:send(true)
        wait()
      end
    end
    for _, wait in ipairs { spin, function() rille.never:recv() end } do
      local task = rille.go(close(wait))
      ready:recv()
      assert.is_true(task:interrupt "off")
      assert_raised("off", task:join(BOUND))
    end
    local list = {}
    for i = 1, #seen do list[i] = seen:recv() end
    assert.same({ "computed", "waited", "computed", "waited" }, list)
  end)

  it("interrupts a <close> variable as anything else", function()
    local task = rille.go(function()
      local _ <close> = rille.defer(function() rille.never:recv() end)
      error "first"
    end)
    helper.until_waiting(task)
    assert.is_true(task:interrupt "second")
    assert_raised("second", task:join(BOUND))
  end)

  it("leaves the task as it was when the error is caught", function()
    local ch = rille.chan()
    local task = helper.until_waiting(rille.go(function()
      local ok, err = pcall(ch.recv, ch)
      return ok, err, ch:recv(), coroutine.wrap(function() return ch:recv() end)()
    end))
    task:interrupt "now"
    ch:send "a"
    ch:send "b"
    assert.same({ false, "now", "a", "b" }, { task:await(BOUND) })
  end)

  it("drops the reasons that were never raised, and what they hold", function()
    local before = rille.stats().message_bytes
    local task = rille.go(function() rille.sleep(0.01) end)
    for _ = 1, 100 do task:interrupt(("x"):rep(1000)) end
    task:join(BOUND)
    task = nil -- luacheck: ignore
    collectgarbage()
    for _ = 1, 1000 do
      if rille.stats().message_bytes <= before + 2000 then break end
      rille.sleep(0.002)
    end
    assert.is_true(rille.stats().message_bytes <= before + 2000)
  end)

  it("keeps the task's own hooks, which do not see ours #nottsan", function()
    local ok, lines, hook, mask = rille.go(function()
      local lines = 0
      local function count() lines = lines + 1 end
      debug.sethook(count, "l")
      local ok = pcall(function()
        rille.self():interrupt "me"
        while true do end
      end)
      local seen = lines
      for _ = 1, 10 do
        lines = lines
      end
      local hook, mask = debug.gethook()
      debug.sethook()
      return ok, lines - seen, hook == count, mask
    end):await(BOUND)
    assert.is_false(ok)
    assert.is_true(lines >= 10)
    assert.is_true(hook)
    assert.equal("l", mask)
    helper.raises("bad argument #1 to 'sethook'", function()
      rille.go(function() debug.sethook(1, 2, 3) end):await(BOUND)
    end)
  end)

  it("comes at any moment: in loops, coroutines, waits, collections, hooks", function()
    local function work(kind)
      local n = 0
      local function count() n = n + 1 end
      if kind == 1 then
        local co = coroutine.wrap(function() for i = 1, 20 do coroutine.yield { i } end end)
        for _ = 1, 20 do co() end
      elseif kind == 2 then
        coroutine.wrap(function()
          rille.sleep(0.0005)
          coroutine.wrap(function() rille.yield() for _ = 1, 1000 do count() end end)()
        end)()
      elseif kind == 3 then
        collectgarbage("step", 10)
        setmetatable({}, { __gc = count })
      elseif kind == 4 then
        table.sort({ 5, 4, 3, 2, 1 }, function(a, b) rille.yield() return a < b end)
      elseif kind == 5 then
        local _ <close> = rille.defer(function() rille.sleep(0) end)
        local co = coroutine.create(function()
          local _ <close> = rille.defer(count)
          while true do coroutine.yield() end
        end)
        for _ = 1, 5 do coroutine.resume(co) end
        coroutine.close(co)
      else
        debug.sethook(count, "l")
        for _ = 1, 200 do n = n + 1 end
        debug.sethook()
      end
    end
    local tasks, seconds = {}, tonumber(os.getenv "RILLE_STRESS") or 0.5
    local stop, cancel = rille.done()
    local function start(i)
      return rille.go({ pinned = i % 7 == 0 }, function(kind)
        while not stop:err() do pcall(work, kind) end
      end, i % 6)
    end
    local until_time = rille.now() + seconds
    repeat
      for i = 1, 12 do
        tasks[i] = tasks[i] or start(i)
        for k = 1, math.random(10) do tasks[i]:interrupt("r" .. k) end
        if tasks[i]:status() == "failed" then
          local ok, err = tasks[i]:join(BOUND)
          assert.is_false(ok)
          assert.matches("r%d+$", err)
          tasks[i] = nil
        end
      end
      rille.sleep(math.random() * 0.004)
    until rille.now() > until_time
    cancel()
    for _, task in pairs(tasks) do
      local ok, err = task:join(BOUND)
      assert.is_not_nil(ok)
      if not ok then assert.matches("r%d+$", err) end
    end
  end)

  it("checks its arguments", function()
    local task = rille.go(function() end)
    helper.raises("task expected", task.interrupt, 1)
    task:join(BOUND)
  end)
end)

describe("tasks that compute", function()
  it("are more than the workers, and all get on", function()
    local counts, tasks = {}, {}
    for i = 1, 10 do counts[i] = rille.chan(1) end
    for i = 1, 10 do
      tasks[i] = rille.go(function(ch)
        while true do ch:try_send(1) end
      end, counts[i])
    end
    for _ = 1, 3 do
      for i = 1, 10 do assert.equal(1, counts[i]:recv(BOUND)) end
    end
    for _, task in ipairs(tasks) do assert.is_true(task:interrupt()) end
    for _, task in ipairs(tasks) do assert.is_false(task:join(BOUND)) end
  end)

  it("let short ones run, and what waits for them", function()
    local tasks = {}
    for i = 1, 20 do tasks[i] = rille.go(spin) end
    for _ = 1, 20 do
      assert.equal(3, rille.go(function(a, b) return a + b end, 1, 2):await(BOUND))
    end
    local ch, back = rille.chan(), rille.chan()
    local echo = rille.go(function() for v in ch do back:send(v) end end)
    for i = 1, 20 do
      ch:send(i)
      assert.equal(i, back:recv(BOUND))
    end
    ch:close()
    echo:await(BOUND)
    for _, task in ipairs(tasks) do task:interrupt() end
    for _, task in ipairs(tasks) do assert.is_false(task:join(BOUND)) end
  end)

  it("give way in coroutines and in metamethods too", function()
    local function busy()
      local t = setmetatable({}, { __index = function() for _ = 1, 1e6 do end return 1 end })
      local co = coroutine.wrap(function()
        local n = 0
        for _ = 1, 10 do n = n + t.x end
        coroutine.yield(n)
      end)
      return co()
    end
    local tasks = {}
    for i = 1, 10 do tasks[i] = rille.go(busy) end
    for _, task in ipairs(tasks) do assert.equal(10, task:await(10 * BOUND)) end
  end)

  it("get on beside those that cannot give way", function()
    local tasks = {}
    for i = 1, 4 do tasks[i] = rille.go(function() table.sort({ 2, 1 }, spin) end) end
    assert.equal("through", rille.go(function() return "through" end):await(BOUND))
    for _, task in ipairs(tasks) do task:interrupt() end
    for _, task in ipairs(tasks) do assert.is_false(task:join(BOUND)) end
  end)
end)

describe("tasks that compute #exec", function()
  it("need no more threads than workers #nottsan", function()
    for _, workers in ipairs { 1, 2 } do
      local result = helper.run([[
        local rille = require "rille"
        local tasks, most = {}, 0
        for i = 1, 300 do
          tasks[i] = rille.go(function() for _ = 1, 500000 do end end)
        end
        for _ = 1, 30 do
          rille.sleep(0.01)
          most = math.max(most, rille.stats().threads)
        end
        for i = 1, 300 do tasks[i]:await() end
        io.write(most)
      ]], { env = { RILLE_THREADS = workers } })
      assert.equal("", result.err)
      assert.equal(tostring(workers), result.out)
    end
  end)
end)

describe("the end of the program #exec", function()
  it("interrupts tasks that compute, and their <close> variables run", function()
    local result = proc.run [[
      local started = rille.chan()
      rille.go(function()
        local _ <close> = rille.defer(function() io.stdout:write "closed\n" end)
        started:send(1)
        while true do end
      end)
      started:recv()
    ]]
    assert.equal(0, result.code)
    assert.equal("closed\n", result.out)
    assert.equal("", result.err)
  end)

  it("is not kept by those that catch every error", function()
    local result = proc.run [[
      local started = rille.chan()
      for i = 1, 5 do
        rille.go(function()
          started:send(1)
          while true do pcall(function() while true do end end) end
        end)
      end
      for i = 1, 5 do started:recv() end
    ]]
    assert.equal(0, result.code)
  end)

  it("reports those it has to abandon, but no daemons", function()
    local result = proc.run [[
      local started = rille.chan()
      local function sleep()
        started:send(1)
        os.execute "exec sleep 60"
      end
      rille.go({ name = "sleeper" }, sleep)
      rille.go({ name = "demon", daemon = true }, sleep)
      started:recv()
      started:recv()
    ]]
    assert.equal(0, result.code)
    assert.matches('^rille: task %d+ "sleeper", started at %S+:%d+, was abandoned[^\n]*\n$',
      result.err)
  end)
end)

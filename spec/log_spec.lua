-- The log: what rille.on_event and RILLE_LOG=tasks tell of tasks.

local plain = require "spec.support.plain"
local describe, it, assert, after_each = plain(describe), plain(it), assert, after_each
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local BOUND = 30 -- a watchdog

local until_waiting = helper.until_waiting

-- A channel that gets all events, and what ends that.
local function listen()
  local events = rille.chan(10000)
  return events, rille.on_event(function(event) events:send(event) end)
end

-- Waits until the tasks that call such functions have ended. They are daemons, which rille.busted
-- lets a test leave behind.
local function until_none_listens()
  assert.eventually(function() return #rille.tasks() == 0 end, BOUND)
end

-- The next event that `wanted` (an event's name, or a function) is true of.
local function next_event(events, wanted)
  while true do
    local event = assert(events:recv(BOUND))
    if type(wanted) == "function" and wanted(event) or event.event == wanted then return event end
  end
end

-- All events up to the end of the task with that id.
local function history(events, id)
  local list = {}
  repeat
    local event = next_event(events, function(e) return e.id == id end)
    list[#list + 1] = event
  until event.event == "finished" or event.event == "failed"
  return list
end

local function names(list)
  local words = {}
  for i, event in ipairs(list) do words[i] = event.event end
  return table.concat(words, " ")
end

-- "file:line" of the call, or of a line below it.
local function here(below)
  local info = debug.getinfo(2, "Sl")
  return ("%s:%d"):format(info.short_src, info.currentline + (below or 0))
end

-- How many lines of a program's stderr are of the log.
local function count_lines(text)
  local n = 0
  for _ in text:gmatch "rille: [^\n]*\n" do n = n + 1 end
  return n
end

describe("rille.on_event", function()
  after_each(until_none_listens)

  it("tells start, wait, wake and end of a task, in order", function()
    local events, stop = listen()
    local jobs = rille.chan(0, "jobs")
    local started = here(1)
    local task = rille.go({ name = "worker" }, function() return jobs:recv() end)
    until_waiting(task)
    jobs:send(1)
    assert.equal(1, task:await(BOUND))
    local list = history(events, task:id())
    stop()
    assert.equal("started waiting woken finished", names(list))
    for i, event in ipairs(list) do
      assert.equal("worker", event.name)
      assert.equal(started, event.at)
      assert.equal("float", math.type(event.time))
      assert.is_true(i == 1 or event.time >= list[i - 1].time)
      assert.is_nil(event.dropped)
    end
    local start, wait, wake, finish = table.unpack(list)
    assert.is_nil(start.duration)
    assert.is_nil(start.op)
    assert.is_nil(wait.duration)
    assert.equal("recv", wait.op)
    assert.equal("jobs", wait.on)
    assert.equal("recv", wake.op)
    assert.equal("jobs", wake.on)
    assert.equal(wake.time - wait.time, wake.duration)
    assert.is_true(finish.duration >= wake.duration)
    assert.is_nil(finish.op)
  end)

  it("tells where and on what a task waits, whatever it does", function()
    local events, stop = listen()
    local ch, done, cancel = rille.chan(0, "full"), rille.done { name = "end" }
    local other = rille.go({ name = "other" }, function() done:wait() end)
    local first = here(2)
    local task = rille.go(function()
      ch:send(1)
      rille.select(ch, done)
      other:join()
      rille.sleep(0.001)
      coroutine.wrap(function() rille.sleep(0.001) end)()
      table.sort({ 1, 2 }, function(a, b) rille.sleep(0.001) return a < b end)
    end)
    until_waiting(task, other)
    assert.equal(1, ch:recv(BOUND))
    until_waiting(task)
    testing.run(function() -- no sleep is over before it is waited for
      cancel()
      assert.is_true(task:join(BOUND))
    end)
    local waits = {}
    for _, event in ipairs(history(events, task:id())) do
      if event.event == "waiting" then waits[#waits + 1] = event end
    end
    stop()
    local file, line = first:match "^(.*):(%d+)$"
    assert.equal("send full", waits[1].op .. " " .. waits[1].on)
    assert.equal("select full, end", waits[2].op .. " " .. waits[2].on)
    local function place(offset) return ("%s:%d"):format(file, line + offset) end
    assert.equal(place(0), waits[1].at)
    assert.equal(place(1), waits[2].at)
    local sleeps = {}
    for _, event in ipairs(waits) do
      if event.op == "sleep" then sleeps[#sleeps + 1] = event.at end
    end
    assert.same({ place(3), place(4), place(5) }, sleeps)
  end)

  it("tells of a task that waits for another's end, or for a done", function()
    local events, stop = listen()
    local done, cancel = rille.done { name = "end" }
    local other = rille.go({ name = "other" }, function() done:wait() end)
    local task = rille.go(function() other:join() end)
    until_waiting(task, other)
    cancel()
    task:join()
    local wait = history(events, task:id())[2]
    stop()
    assert.equal("join other", wait.op .. " " .. wait.on)
    local mine, my_stop = listen()
    local again, fire = rille.done { name = "end" }
    local watcher = rille.go(function() again:wait() end)
    until_waiting(watcher)
    fire()
    wait = history(mine, watcher:id())[2]
    my_stop()
    assert.equal("wait end", wait.op .. " " .. wait.on)
  end)

  it("tells that a task failed", function()
    local events, stop = listen()
    local task = rille.go(error, "on purpose")
    assert.is_false(task:join(BOUND))
    local list = history(events, task:id())
    stop()
    assert.equal("started failed", names(list))
    assert.is_true(list[2].duration >= 0)
  end)

  it("tells of a task that a done starts", function()
    local events, stop = listen()
    local done, cancel = rille.done()
    done:after(function() end)
    cancel()
    local event = next_event(events, "started")
    next_event(events, function(e) return e.id == event.id and e.event == "finished" end)
    stop()
  end)

  it("tells nothing of the main program, turns given up, nor what is ready at once", function()
    local events, stop = listen()
    rille.sleep(0.001)
    local task = rille.go(function()
      local ch = rille.chan(1)
      ch:send(1)
      ch:recv()
      for _ = 1, 10 do rille.yield() end
    end)
    task:join()
    assert.equal("started finished", names(history(events, task:id())))
    stop()
  end)

  it("tells of a task that waited before", function()
    local ch = rille.chan()
    local task = until_waiting(rille.go(function() ch:recv() end))
    local events, stop = listen()
    ch:send(1)
    local list = history(events, task:id())
    stop()
    assert.equal("woken finished", names(list))
    assert.is_true(list[1].duration >= 0)
    assert.is_true(list[2].duration > 0)
  end)

  it("tells of a leak once, and that it was collected", function()
    local events, stop = listen()
    local started = here(1)
    rille.go({ name = "forgotten" }, function() rille.chan(0, "answers"):recv() end)
    next_event(events, "waiting")
    local function is_forgotten(list)
      for _, task in ipairs(list) do
        if task.name == "forgotten" then return true end
      end
    end
    while not is_forgotten(rille.leaks()) do rille.yield() end
    assert.is_true(is_forgotten(rille.leaks()))
    assert.equal(1, rille.collect())
    local leaked = assert(events:recv(BOUND))
    local collected = assert(events:recv(BOUND))
    local failed = assert(events:recv(BOUND))
    stop()
    assert.equal("leaked collected failed", names { leaked, collected, failed })
    for _, event in ipairs { leaked, collected } do
      assert.equal("forgotten", event.name)
      assert.equal("recv answers", event.op .. " " .. event.on)
      assert.equal(started, event.at)
      assert.is_true(event.duration >= 0)
    end
  end)

  it("is no leak itself", function()
    local _, stop = listen()
    rille.go(function() end):join()
    for _ = 1, 3 do assert.same({}, rille.leaks()) end
    stop()
  end)

  it("tells nothing once it was stopped, and stops once", function()
    local events, stop = listen()
    rille.go(function() end):join()
    next_event(events, "finished")
    assert.is_true(stop())
    assert.is_false(stop())
    rille.go(function() end):join()
    until_none_listens()
    assert.is_nil(events:try_recv())
  end)

  it("hands on what happened before the stop", function()
    local go, events = rille.chan(), rille.chan(100)
    local stop = rille.on_event(function(event)
      go:recv()
      events:send(event)
    end)
    for _ = 1, 10 do rille.go(function() end):join() end
    stop()
    go:close()
    until_none_listens()
    assert.equal(20, #events)
  end)

  it("gives a stop that crosses to other tasks", function()
    local events, stop = listen()
    assert.is_true(rille.go(function() return stop() end):await())
    assert.is_false(stop())
    next_event(events, "started")
  end)

  it("can be stopped by its own function", function()
    local stop_of = rille.chan(1)
    local stop = rille.on_event(function(event)
      if event.event == "started" then stop_of:recv()() end
    end)
    stop_of:send(stop)
    rille.go(function() end)
    until_none_listens()
    assert.is_false(stop())
  end)

  it("calls several functions, each with all events", function()
    local first, stop_first = listen()
    local second, stop_second = listen()
    local task = rille.go(function() rille.sleep(0.001) end)
    task:join()
    assert.same(history(first, task:id()), history(second, task:id()))
    stop_first()
    local other = rille.go(function() end)
    other:join()
    assert.equal("started finished", names(history(second, other:id())))
    stop_second()
    until_none_listens()
    assert.is_nil(first:try_recv())
  end)

  it("does not tell of the tasks that listen", function()
    local first, stop_first = listen()
    local second, stop_second = listen()
    local task = rille.go(function() end)
    task:join()
    for _, events in ipairs { first, second } do
      for _, event in ipairs(history(events, task:id())) do
        assert.equal(task:id(), event.id)
      end
    end
    stop_second()
    stop_first()
    until_none_listens()
    assert.is_nil(first:try_recv())
    assert.is_nil(second:try_recv())
  end)

  it("drops what does not fit, says how much, and keeps nobody waiting", function()
    local go, events, held = rille.chan(), rille.chan(10000), rille.chan(1)
    local stop = rille.on_event(function(event)
      held:try_send(true)
      go:recv()
      events:send(event)
    end)
    local tasks = 3000 -- 6,000 events for a buffer of 4,096
    for i = 1, tasks do
      rille.go(function() end):join()
      if i == 1 then held:recv(BOUND) end -- room is made once: now, or when all have been
    end
    go:close()
    for _ = 1, 4096 do assert.is_nil(assert(events:recv(BOUND)).dropped) end
    local told = 4096
    rille.go({ name = "last" }, function() end):join()
    local event = next_event(events, function(e)
      told = told + 1
      return e.name == "last"
    end)
    assert.equal(2 * tasks, told - 1 + event.dropped)
    stop()
  end)

  it("tells a thousand tasks' events, each task's in order", function()
    local events, stop = listen()
    local tasks, by_id, gate = {}, {}, rille.chan()
    for i = 1, 1000 do
      tasks[i] = until_waiting(rille.go(function() gate:recv() end))
      by_id[tasks[i]:id()] = {}
    end
    gate:close()
    local ended, last = 0, 0
    while ended < 1000 do
      local event = assert(events:recv(BOUND))
      assert.is_nil(event.dropped)
      assert.is_true(event.time >= last)
      last = event.time
      table.insert(by_id[event.id], event)
      if event.event == "finished" then ended = ended + 1 end
    end
    for _, list in pairs(by_id) do
      assert.equal("started waiting woken finished", names(list))
    end
    stop()
  end)

  it("works in a task", function()
    local count = rille.go(function()
      local events = rille.chan(100)
      local stop = rille.on_event(function(event) events:send(event.event) end)
      rille.go(function() end):join()
      local n = 0
      while events:recv(BOUND) ~= "finished" do n = n + 1 end
      stop()
      return n
    end):await(BOUND)
    assert.is_true(count >= 1)
  end)

  it("takes a name of any kind", function()
    local events, stop = listen()
    local name = ("long "):rep(500) .. "\n\255"
    local task = rille.go({ name = name }, function() end)
    task:join()
    assert.equal(name, history(events, task:id())[1].name)
    stop()
  end)

  it("refuses what is no function, and what cannot cross", function()
    helper.raises("bad argument #1 to '.*on_event' %(function expected", rille.on_event)
    helper.raises("function expected, got string", rille.on_event, "module")
    local co = coroutine.create(print)
    helper.raises("cannot send coroutine at .*co", rille.on_event, function() return co end)
    rille.go(function() end):join()
  end)
end)

describe("an error in a function that gets events", function()
  it("ends it, and is reported", function()
    local result = helper.run([[
      local rille = require "rille"
      local seen, gone = rille.chan(100), rille.chan()
      rille.on_event(function(event)
        local _ <close> = gone
        seen:send(event.event)
        error "went wrong"
      end)
      local other = rille.chan(100)
      local stop = rille.on_event(function(event) other:send(event.event) end)
      for _ = 1, 3 do rille.go(function() end):join() end
      gone:recv()
      rille.go(function() end):join()
      for _ = 1, 8 do assert(other:recv(5)) end
      print(#seen, stop())
    ]], { env = { RILLE_LEAKS = "report" } })
    assert.equal(0, result.code)
    assert.equal("1\ttrue\n", result.out)
    assert.matches('"rille.on_event", started at [^\n]*, failed: [^\n]*went wrong', result.err)
  end)
end)

describe("the end of a program", function()
  it("lets what is buffered be told", function()
    local result = helper.run [[
      local rille = require "rille"
      rille.on_event(function(event) io.write(event.event, "\n") end)
      for _ = 1, 100 do rille.go(function() end):join() end
    ]]
    assert.equal(0, result.code)
    assert.equal("", result.err)
    assert.equal(("started\nfinished\n"):rep(100), result.out)
  end)

  it("does not wait for a function that does not end", function()
    local doings = { "while true do end", "rille.never:recv()", "os.execute 'exec sleep 60'" }
    for _, doing in ipairs(doings) do
      local result = helper.run(([[
        local rille = require "rille"
        rille.on_event(function() %s end)
        for _ = 1, 10 do rille.go(function() end):join() end
      ]]):format(doing))
      assert.equal(0, result.code, doing .. ": " .. result.err)
    end
  end)

  it("comes while a function listens", function()
    local result = helper.run [[
      local rille = require "rille"
      rille.on_event(function() end)
      rille.go(function() rille.sleep(60) end)
      os.exit(0, true)
    ]]
    assert.equal("", result.err)
    assert.equal(0, result.code)
  end)

  it("makes a stop raise", function()
    local result = helper.run [[
      local rille = require "rille"
      local stop
      setmetatable({}, { __gc = function() print(pcall(stop)) end })
      stop = rille.on_event(function() end)
    ]]
    assert.matches("^false", result.out)
  end)
end)

describe("RILLE_LOG", function()
  local script = [[
    local rille = require "rille"
    local jobs = rille.chan(0, "jobs")
    local task = rille.go({ name = "two\nlines" }, function() return jobs:recv() end)
    while task:status() ~= "waiting" do rille.yield() end
    jobs:send(1)
    task:join()
    rille.go(error, "x"):join()
    local last = rille.go({ name = ("n"):rep(5000) }, function() rille.sleep(60) end)
    while last:status() ~= "waiting" do rille.yield() end
  ]]

  it("writes a line for each event", function()
    local result = helper.run(script, { env = { RILLE_LOG = "tasks" } })
    assert.equal(0, result.code)
    local lines = {}
    for line in result.err:gmatch "[^\n]+" do lines[#lines + 1] = line end
    local patterns = {
      '^rille: %d+%.%d+ task %d+ "two lines" started at .+:3$',
      '^rille: %d+%.%d+ task %d+ "two lines" waiting: recv jobs at .+:3$',
      '^rille: %d+%.%d+ task %d+ "two lines" woken after %d+%.%d+ s: recv jobs at .+:3$',
      '^rille: %d+%.%d+ task %d+ "two lines" finished after %d+%.%d+ s, started at .+:3$',
      '^rille: %d+%.%d+ task %d+ ".+:7" started at .+:7$',
      '^rille: %d+%.%d+ task %d+ ".+:7" failed after %d+%.%d+ s, started at .+:7$',
      '^rille: %d+%.%d+ task %d+ "n+" started at .+:8$',
      '^rille: %d+%.%d+ task %d+ "n+" waiting: sleep at .+:8$',
      '^rille: %d+%.%d+ task %d+ "n+" interrupted after %d+%.%d+ s: sleep at .+:8$',
      '^rille: %d+%.%d+ task %d+ "n+" failed after %d+%.%d+ s, started at .+:8$',
    }
    for i, pattern in ipairs(patterns) do assert.matches(pattern, lines[i]) end
    assert.equal(#patterns, #lines)
  end)

  it("tells of those that leaked when the program ends, but not of daemons", function()
    local result = helper.run([[
      local rille = require "rille"
      local ch = rille.chan(0, "jobs")
      local function wait() ch:recv() end
      local forgotten, daemon = rille.go(wait), rille.go({ daemon = true }, wait)
      for _, task in ipairs { forgotten, daemon } do
        while task:status() ~= "waiting" do rille.yield() end
      end
      print(forgotten:id())
    ]], { env = { RILLE_LOG = "tasks", RILLE_LEAKS = "report" } })
    local id = tonumber(result.out)
    local leaks = {}
    for who in result.err:gmatch "rille: [%d.]+ task (%d+) \"[^\n]-\" leaked after" do
      leaks[#leaks + 1] = tonumber(who)
    end
    assert.same({ id }, leaks)
  end)

  it("writes whole lines when many tasks run", function()
    local result = helper.run([[
      local rille = require "rille"
      local tasks = {}
      local gate = rille.chan()
      for i = 1, 1000 do
        tasks[i] = rille.go(function() gate:recv() end)
        while tasks[i]:status() ~= "waiting" do rille.yield() end
      end
      gate:close()
      for _, task in ipairs(tasks) do task:join() end
    ]], { env = { RILLE_LOG = "tasks" } })
    assert.equal(4000, count_lines(result.err))
    for line in result.err:gmatch "[^\n]+" do
      assert.matches("^rille: %d+%.%d+ task %d+ .* at .+:%d+$", line)
    end
  end)

  it("writes nothing when it is not set, or empty", function()
    for _, env in ipairs { {}, { RILLE_LOG = "" } } do
      local result = helper.run(script, { env = env })
      assert.equal(0, count_lines(result.err))
    end
  end)

  it("names what it does not know, once", function()
    local result = helper.run(script, { env = { RILLE_LOG = "everything" } })
    assert.equal(0, result.code)
    assert.equal(1, count_lines(result.err))
    assert.matches("RILLE_LOG=everything is unknown", result.err)
  end)

  it("goes together with functions that get events", function()
    local result = helper.run([[
      local rille = require "rille"
      local events = rille.chan(10)
      local stop = rille.on_event(function(event) events:send(event.event) end)
      rille.go(function() end):join()
      print(events:recv(5), events:recv(5), stop())
      rille.go(function() end):join()
    ]], { env = { RILLE_LOG = "tasks" } })
    assert.equal("started\tfinished\ttrue\n", result.out)
    assert.equal(4, count_lines(result.err))
  end)
end)

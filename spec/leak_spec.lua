-- Leaks: which waiting tasks nothing live can ever wake, what is told of them, and how they are
-- unwound.
--
-- Most tests here build something in a function that returns what the main program then holds: as
-- what that function had in its locals is garbage when it has returned, nothing else is held.

local plain = require "spec.support.plain"
local describe, it, assert, after_each = plain(describe), plain(it), assert, after_each
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"

local LONG = 60 -- a wait that must end by something else
local BOUND = 30 -- a watchdog

-- Starts a task and returns it when it waits.
local function parked(name, fn, ...)
  return (helper.until_waiting(rille.go({ name = name }, fn, ...)))
end

-- The names in a list of tasks, sorted.
local function names(list)
  local found = {}
  for i, task in ipairs(list) do found[i] = task.name end
  table.sort(found)
  return table.concat(found, " ")
end

local function leaked()
  return names(rille.leaks())
end

local function all_ended()
  assert.eventually(function() return #rille.tasks() == 0 end, BOUND)
end

local function collected(n)
  assert.equal(n, rille.collect())
  all_ended()
end

-- Unwinds whatever a test has left.
local function clean()
  collectgarbage()
  rille.collect()
  all_ended()
end

-- What `build` returns keeps all of its tasks alive; when it is dropped, they are `expected`,
-- leaked.
local function live(title, expected, build)
  it("spares " .. title, function()
    local held = build() -- luacheck: ignore 231 (it is there to hold)
    assert.equal("", leaked())
    held = nil -- luacheck: ignore 311 (as long as it is there it holds)
    assert.equal(expected, leaked())
    local _, n = expected:gsub("%S+", "")
    collected(n)
  end)
end

-- What `build` returns is held, and keeps none of them alive.
local function dead(title, expected, build)
  it("finds " .. title, function()
    local held = build() -- luacheck: ignore 211 (it is there to hold)
    assert.equal(expected, leaked())
    local _, n = expected:gsub("%S+", "")
    collected(n)
    assert.equal("", leaked())
  end)
end

local function receiver(name, ch)
  return parked(name, function() ch:recv() end)
end

local function sender(name, ch, v)
  return parked(name, function() ch:send(v or 1) end)
end

local function joiner(name, task)
  return parked(name, function() task:join() end)
end

local function watcher(name, done)
  return parked(name, function() done:wait() end)
end

-- A task that lives as long as `ch`, a channel that the main program can send on, and holds the
-- rest.
local function keeper(name, ch, ...)
  return parked(name, function(...)
    local held = { ... }
    ch:recv()
    return #held
  end, ...)
end

describe("leak analysis of the usual suspects", function()
  after_each(clean)

  dead("the forgotten receiver", "worker", function()
    local jobs = rille.chan(0, "jobs")
    parked("worker", function() for job in jobs do print(job) end end)
  end)

  dead("the forgotten sender", "writer", function()
    local numbers = rille.chan(0, "numbers")
    local writer = parked("writer", function() for n = 1, math.huge do numbers:send(n) end end)
    assert.equal(1, numbers:recv(BOUND))
    assert.equal(2, numbers:recv(BOUND))
    helper.until_waiting(writer)
  end)

  dead("the worker abandoned by an early return", "fetch", function()
    local function first_of(fail)
      local result = rille.chan()
      parked("fetch", function() result:send "late" end)
      if fail then return nil, "no" end
      return result:recv()
    end
    assert.is_nil(first_of(true))
  end)

  dead("the range over a channel that nobody closes", "range", function()
    local ch = rille.chan(2)
    ch:send(1)
    ch:send(2)
    parked("range", function() for _ in ch do rille.self() end end)
  end)

  dead("the one who lost the race for a result", "slow", function()
    local answers = rille.chan()
    local quick = parked("quick", function() answers:send "quick" end)
    parked("slow", function() answers:send "slow" end)
    assert.equal("quick", answers:recv(BOUND))
    quick:join(BOUND) -- until then it could still receive
  end)

  dead("the select whose every case is lost", "select", function()
    local a, b = rille.chan(), rille.chan()
    parked("select", function() rille.select(a, b:sending(1)) end)
  end)

  dead("the orphaned pool", "pool1 pool2 pool3", function()
    local jobs, results = rille.chan(), rille.chan()
    for i = 1, 3 do
      parked("pool" .. i, function() for job in jobs do results:send(job) end end)
    end
  end)

  dead("two tasks that wait for each other", "a b", function()
    local x, y = rille.chan(), rille.chan()
    parked("a", function() x:recv() y:send(1) end)
    parked("b", function() y:recv() x:send(1) end)
  end)

  dead("the second send of a task that was to send once", "twice", function()
    local ch = rille.chan(1)
    parked("twice", function() ch:send(1) ch:send(2) end)
  end)

  dead("the wait for a task that waits for ever", "inner outer", function()
    local ch = rille.chan()
    joiner("outer", receiver("inner", ch))
  end)

  dead("the wait for a done whose cancel was dropped", "watcher", function()
    watcher("watcher", (rille.done()))
  end)

  dead("a daemon like any other", "daemon", function()
    local ch = rille.chan()
    helper.until_waiting(rille.go({ name = "daemon", daemon = true }, function() ch:recv() end))
  end)
end)

describe("leak analysis of channels", function()
  after_each(clean)

  live("who receives what a full handle may send", "r", function()
    local ch = rille.chan()
    receiver("r", ch)
    return ch
  end)

  live("who receives what a sender view may send", "r", function()
    local ch = rille.chan()
    receiver("r", ch)
    return ch:sender()
  end)

  dead("who receives beside a receiver view", "r", function()
    local ch = rille.chan()
    receiver("r", ch)
    return ch:receiver()
  end)

  live("who sends to a receiver view", "s", function()
    local ch = rille.chan()
    sender("s", ch)
    return ch:receiver()
  end)

  live("who sends where a sender view may close", "s", function()
    local ch = rille.chan()
    sender("s", ch)
    return ch:sender()
  end)

  live("who sends on a full channel", "s", function()
    local ch = rille.chan(1)
    ch:send "fills it"
    sender("s", ch)
    return ch
  end)

  live("whoever waits in a view", "r s", function()
    local c, d = rille.chan(), rille.chan()
    receiver("r", c:receiver())
    sender("s", d:sender())
    return { c:sender(), d:receiver() }
  end)

  dead("who itself holds the only right to send", "r", function()
    local ch = rille.chan()
    parked("r", function() ch:recv() ch:send(1) end)
  end)

  live("the wait in a table's depth", "r", function()
    local ch = rille.chan()
    receiver("r", ch)
    return { a = { [{}] = { function() return ch end } } }
  end)

  live("the one that waits in a comparator", "r", function()
    local ch = rille.chan()
    parked("r", function()
      table.sort({ 1, 2 }, function(a, b) if ch then ch:recv() end ch = nil return a < b end)
    end)
    return ch:sender()
  end)

  live("the one that waits in a coroutine of a coroutine", "r", function()
    local ch = rille.chan()
    parked("r", function()
      coroutine.wrap(function() coroutine.wrap(function() ch:recv() end)() end)()
    end)
    return ch:sender()
  end)

  live("a pinned task", "r", function()
    local ch = rille.chan()
    helper.until_waiting(rille.go({ name = "r", pinned = true }, function() ch:recv() end))
    return ch:sender()
  end)

  dead("who waits for what is never ready", "n1 n2 n3", function()
    parked("n1", function() rille.never:recv() end)
    parked("n2", function() rille.never:send(1) end)
    parked("n3", function() for _ in rille.never do rille.self() end end)
    return rille.never
  end)

  live("many receivers for one right to send", "r1 r2 r3", function()
    local ch = rille.chan()
    for i = 1, 3 do receiver("r" .. i, ch) end
    return ch:sender()
  end)
end)

describe("leak analysis of selects and guards", function()
  after_each(clean)

  live("a select with one live case of three", "s", function()
    local a, b, c = rille.chan(), rille.chan(), rille.chan()
    parked("s", function() rille.select(a, b, c) end)
    return c:sender()
  end)

  live("a select by its send case", "s", function()
    local a, b = rille.chan(), rille.chan()
    parked("s", function() rille.select { a = a, b = b:sending { 1 } } end)
    return b:receiver()
  end)

  dead("a select beside the wrong ends of its channels", "s", function()
    local a, b = rille.chan(), rille.chan()
    parked("s", function() rille.select(a, b) end)
    return { a:receiver(), b:receiver() }
  end)

  dead("a select of nothing, and of cases that are switched off", "s1 s2 s3", function()
    parked("s1", function() rille.select() end)
    parked("s2", function() rille.select(nil, false) end)
    parked("s3", function() rille.select { a = false, b = rille.never } end)
  end)

  live("a select with a task as its case", "r s", function()
    local a, b = rille.chan(), rille.chan()
    local r = receiver("r", a)
    parked("s", function() rille.select(b, r) end)
    return a:sender()
  end)

  live("a wait whose guard can fire", "r s", function()
    local ch, done, cancel = rille.chan(), rille.done()
    parked("r", function() ch:recv(done) end)
    parked("s", function() rille.select(rille.chan(), done) end)
    return cancel
  end)

  dead("a wait whose guard cannot fire", "a b", function()
    local ch, done = rille.chan(), rille.done()
    parked("a", function() ch:recv(done) end)
    parked("b", function() ch:recv(rille.background) end)
    return { done, rille.background }
  end)

  live("a wait with a channel or a task as its guard", "a b c", function()
    local ch, stop, c = rille.chan(), rille.chan(), rille.chan()
    parked("a", function() ch:recv(stop) end)
    local task = receiver("c", c)
    parked("b", function() ch:recv(task) end)
    return { stop:sender(), c:sender() }
  end)

  it("spares waits with a deadline", function()
    testing.run(function() -- no deadline passes before all wait
      local ch = rille.chan()
      local tasks = {
        parked("a", function() ch:recv(0.2) end),
        parked("b", function() rille.select(ch, 0.2) end),
        parked("c", function() rille.sleep(0.2) end),
        parked("d", function() rille.never:recv((rille.done { timeout = 0.2 })) end),
      }
      ch = nil -- luacheck: ignore 311
      assert.equal("", leaked())
      for _, task in ipairs(tasks) do assert.is_true((task:join(BOUND))) end
    end)
  end)
end)

describe("leak analysis of dones", function()
  after_each(clean)

  live("who watches what a cancel may fire", "w", function()
    local done, cancel = rille.done()
    watcher("w", done)
    return cancel
  end)

  dead("who watches what others only watch", "w", function()
    local done = rille.done()
    watcher("w", done)
    return done
  end)

  live("who watches a descendant", "w1 w2", function()
    local done, cancel = rille.done()
    local below = rille.done((rille.done(done)))
    watcher("w1", below)
    watcher("w2", (rille.done(below, { timeout = math.huge })))
    return cancel
  end)

  dead("who watches a parent of what may be fired", "w", function()
    local done = rille.done()
    local _, below = rille.done(done)
    watcher("w", done)
    return below
  end)

  dead("who watches what is detached from it", "w", function()
    local done, cancel = rille.done()
    watcher("w", done:detached())
    return cancel
  end)

  live("who watches a done below a channel", "w", function()
    local ch = rille.chan()
    watcher("w", (rille.done(ch)))
    return ch:sender()
  end)

  dead("who watches a done below a channel nobody sends on", "w", function()
    local ch = rille.chan()
    watcher("w", (rille.done(ch)))
    return ch:receiver()
  end)

  live("who watches a done below a task that lives", "r w", function()
    local ch = rille.chan()
    watcher("w", (rille.done(receiver("r", ch))))
    return ch:sender()
  end)

  live("who watches an any with one live input", "w", function()
    local a, b, c = rille.chan(), rille.done(), rille.chan()
    watcher("w", rille.any(a, b, c))
    return c:sender()
  end)

  live("who watches an any over a done", "w", function()
    local done, cancel = rille.done()
    watcher("w", rille.any(rille.any(rille.chan(), done), false))
    return cancel
  end)

  dead("who watches an any of dead inputs", "w", function()
    local a, b = rille.chan(), rille.done()
    watcher("w", rille.any(a, b, rille.never, rille.background))
    return { a:receiver(), b }
  end)

  live("who watches an all whose inputs all are live", "w", function()
    local done, cancel = rille.done()
    local ch = rille.chan()
    watcher("w", rille.all(done, ch))
    return { cancel, ch:sender() }
  end)

  dead("who watches an all with an input that is not", "w", function()
    local done, cancel = rille.done()
    local ch = rille.chan()
    watcher("w", rille.all(done, ch))
    return { cancel, ch:receiver() }
  end)

  live("who watches an all whose other inputs have fired", "w", function()
    local done, cancel = rille.done()
    local fired, fire = rille.done()
    fire()
    watcher("w", rille.all(fired, done))
    return cancel
  end)

  dead("who watches an all that has one input that never fires", "w", function()
    local done, cancel = rille.done()
    watcher("w", rille.all(done, false))
    return cancel
  end)

  live("who hangs on a mixture, down to the last", "r w", function()
    local root, cancel = rille.done()
    local ch = rille.chan()
    local both = rille.all(rille.any(root, rille.chan()), receiver("r", ch))
    watcher("w", (rille.done(both)))
    return { cancel, ch:sender() }
  end)

  it("spares what a deadline will fire, also of a parent and an input", function()
    testing.run(function() -- no deadline passes before all wait
      local timed = rille.done { timeout = 0.3 }
      local tasks = {
        watcher("a", timed), watcher("b", (rille.done(timed))), watcher("c", rille.any(timed)),
        watcher("d", rille.all(timed)), watcher("e", rille.any(rille.chan(), 0.3)),
        watcher("f", rille.all(0.2, 0.3)),
      }
      timed = nil -- luacheck: ignore 311
      assert.equal("", leaked())
      for _, task in ipairs(tasks) do assert.is_true((task:join(BOUND))) end
    end)
  end)

  it("spares who waits for a signal #exec", function()
    local result = helper.run [[
      local rille = require "rille"
      local done = rille.notify "USR1"
      local task = rille.go(function() done:wait() end)
      done = nil
      while task:status() ~= "waiting" do rille.yield() end
      print(#rille.leaks())
      os.exit(0)
    ]]
    assert.equal("0\n", result.out)
  end)
end)

describe("leak analysis of timers", function()
  after_each(clean)

  it("spares who waits for an armed one", function()
    testing.run(function() -- none is due before all wait
      local tasks = {}
      for i, make in ipairs { rille.after, rille.timer, rille.tick } do
        local timer = make(0.2)
        tasks[i] = receiver("t" .. i, timer)
        tasks[i + 3] = receiver("v" .. i, i == 3 and rille.tick(0.2):receiver() or make(0.2))
      end
      assert.equal("", leaked())
      for _, task in ipairs(tasks) do assert.is_true((task:join(BOUND))) end
    end)
  end)

  live("who waits for a stopped one that may be reset", "r", function()
    local timer = rille.timer(LONG)
    timer:stop()
    receiver("r", timer)
    return timer
  end)

  dead("who waits for a stopped one beside a receiver view", "r", function()
    local timer = rille.timer(LONG)
    timer:stop()
    receiver("r", timer)
    return timer:receiver()
  end)

  dead("who alone could reset it", "r", function()
    local timer = rille.tick(LONG)
    timer:stop()
    receiver("r", timer)
  end)

  dead("who waits for one that has delivered already", "r", function()
    local timer = rille.after(0)
    timer:recv()
    receiver("r", timer)
  end)

  live("who watches an any over a timer that may be reset", "w", function()
    local timer = rille.timer(LONG)
    timer:stop()
    watcher("w", rille.any(timer, rille.chan()))
    return timer
  end)
end)

describe("leak analysis of tasks", function()
  after_each(clean)

  live("who waits for a task that lives", "a b c d e f r", function()
    local ch = rille.chan()
    local r = receiver("r", ch)
    joiner("a", r)
    parked("b", function() pcall(r.await, r) end)
    parked("c", function() rille.select(r, rille.chan()) end)
    watcher("d", rille.any(r))
    watcher("e", rille.all(r))
    parked("f", function() rille.never:recv(r) end)
    return ch:sender()
  end)

  live("a chain of waits", "t0 t1 t2 t3 t4", function()
    local ch = rille.chan()
    local task = receiver("t0", ch)
    for i = 1, 4 do task = joiner("t" .. i, task) end
    return ch:sender()
  end)

  dead("a chain of waits that hangs on nothing", "t0 t1 t2", function()
    local task = receiver("t0", rille.chan())
    for i = 1, 2 do task = joiner("t" .. i, task) end
    return task
  end)

  dead("a task though its handle is held", "r", function()
    return receiver("r", rille.chan())
  end)

  dead("tasks that wait for each other's end", "a b", function()
    local to_a, to_b = rille.chan(1), rille.chan(1)
    local function wait(inbox)
      local other = inbox:recv()
      inbox = nil -- luacheck: ignore 311
      other:join()
    end
    local a, b = rille.go({ name = "a" }, wait, to_a), rille.go({ name = "b" }, wait, to_b)
    to_a:send(b)
    to_b:send(a)
    while select(2, b:status()) ~= "join a" or select(2, a:status()) ~= "join b" do
      rille.yield()
    end
    return { a, b }
  end)

  it("spares whom a task that computes can wake, until it ends", function()
    local stop = rille.chan(1)
    local ch = rille.chan()
    local r = receiver("r", ch)
    local busy = rille.go(function()
      repeat until stop:try_recv()
      return ch:cap()
    end)
    ch = nil -- luacheck: ignore 311
    for _ = 1, 20 do assert.equal("", leaked()) end
    stop:send(true)
    assert.equal(0, busy:await(BOUND))
    busy = nil -- luacheck: ignore 311
    assert.equal("r", leaked())
    assert.equal(1, rille.collect())
    helper.raises("leaked", r.await, r, BOUND)
  end)

  live("whom a waiting task can wake that lives", "k r", function()
    local ch, c = rille.chan(), rille.chan()
    receiver("r", c)
    keeper("k", ch, { c:sender() })
    return ch:sender()
  end)

  live("whom a task can wake from its globals, its upvalues or a coroutine", "k r1 r2 r3",
    function()
      local ch, c1, c2, c3 = rille.chan(), rille.chan(), rille.chan(), rille.chan()
      receiver("r1", c1)
      receiver("r2", c2)
      receiver("r3", c3)
      parked("k", function(c)
        kept = c -- luacheck: ignore 111
        local co = coroutine.create(function(x) coroutine.yield() return x end)
        coroutine.resume(co, c3)
        c3 = nil
        ch:recv()
        return c2, co
      end, c1)
      return ch:sender()
    end)

  live("a ring with one live end", "k1 k2 k3 k4", function()
    local chans = {}
    for i = 0, 4 do chans[i] = rille.chan() end
    for i = 1, 4 do keeper("k" .. i, chans[i - 1], chans[i]:sender()) end
    return chans[0]:sender()
  end)

  dead("a ring of tasks that wake each other", "k1 k2 k3 k4", function()
    local chans = {}
    for i = 1, 4 do chans[i] = rille.chan() end
    for i = 1, 4 do keeper("k" .. i, chans[i], chans[i % 4 + 1]) end
  end)
end)

describe("leak analysis of what can be received", function()
  after_each(clean)

  -- `put(message)` returns what holds the message.
  local function with_right(title, put)
    live(title, "r", function()
      local ch = rille.chan()
      receiver("r", ch)
      return put(ch:sender())
    end)
  end

  local function without_right(title, put)
    dead(title, "r", function()
      local ch = rille.chan()
      receiver("r", ch)
      return put(ch:sender())
    end)
  end

  local function buffered(message)
    local box = rille.chan(1)
    box:send(message)
    return box
  end

  with_right("whom a buffered message can wake", buffered)
  with_right("whom a message can wake that a receiver view reaches", function(right)
    return buffered { deep = { right } }:receiver()
  end)
  without_right("whom only a message could wake that nobody can receive", function(right)
    return buffered(right):sender()
  end)
  with_right("whom a closure in a message can wake", function(right)
    return buffered(function() return right end)
  end)
  with_right("whom a channel in a channel in a channel can wake", function(right)
    return buffered { buffered { buffered(right):receiver() } }
  end)
  without_right("whom a channel in a channel could wake if somebody received there", function(right)
    return buffered { buffered(right):sender() }
  end)
  with_right("whom what a closed channel still has can wake", function(right)
    local box = buffered(right)
    box:close()
    return box:receiver()
  end)
  with_right("whom a result can wake", function(right)
    local task = rille.go(function() return { right } end)
    task:join()
    right = nil -- luacheck: ignore 311
    return task
  end)
  with_right("whom an error can wake", function(right)
    local task = rille.go(function() error { right } end)
    task:join()
    return task
  end)
  with_right("whom a cause can wake", function(right)
    local done, cancel = rille.done()
    cancel { right }
    return done
  end)
  with_right("whom the cause of a parent can wake", function(right)
    local done, cancel = rille.done()
    local below = rille.done(done)
    cancel { right }
    return below
  end)
  with_right("whom the cause of an input can wake", function(right)
    local done, cancel = rille.done()
    local any = rille.any(rille.chan(), done)
    cancel { right }
    return any
  end)
  with_right("whom what an any has received can wake", function(right)
    local ch = rille.chan()
    local any = rille.any(ch)
    ch:send { right }
    return any
  end)
  without_right("whom only a cause could wake that nobody can ask for", function(right)
    local done, cancel = rille.done()
    cancel { right }
    assert.equal("canceled", done:err())
    return cancel
  end)
  with_right("whom the cause of a deadline will let wake", function(right)
    return (rille.done { timeout = LONG, cause = { right } })
  end)
  with_right("whom the values of a done can wake", function(right)
    return (rille.done { values = { key = right } })
  end)
  with_right("whom the values of a parent can wake", function(right)
    return (rille.done((rille.done { values = { key = right } })))
  end)
  with_right("whom the values of a done can wake that this one is detached from", function(right)
    return (rille.done { values = { key = { right } } }):detached()
  end)
  with_right("whom the values of an input can wake", function(right)
    return rille.any(rille.chan(), (rille.done { values = { key = right } }))
  end)
  without_right("whom the values of a done could wake that can only be fired", function(right)
    return (select(2, rille.done { values = { key = right } }))
  end)
  with_right("whom a send case can wake", function(right)
    local box = rille.chan()
    return { box:sending { right }, box:receiver() }
  end)

  live("whom the message of a waiting sender can wake", "r s", function()
    local ch, box = rille.chan(), rille.chan()
    receiver("r", ch)
    sender("s", box, { ch:sender() })
    return box:receiver()
  end)

  dead("whom only the message of a sender could wake that is leaked itself", "r s", function()
    local ch, box = rille.chan(), rille.chan()
    receiver("r", ch)
    sender("s", box, { ch:sender() })
  end)

  live("whom the send case of a select can wake", "r s", function()
    local ch, box = rille.chan(), rille.chan()
    receiver("r", ch)
    parked("s", function() rille.select(rille.chan(), box:sending { ch:sender() }) end)
    return box:receiver()
  end)

  live("whom the send case can wake that a live task keeps", "k r", function()
    local live_end, ch, box = rille.chan(), rille.chan(), rille.chan()
    receiver("r", ch)
    parked("k", function()
      local case = box:sending { ch:sender() }
      ch = nil
      live_end:recv()
      return case
    end)
    return { live_end:sender(), box:receiver() }
  end)

  live("whom an after can wake whose done may fire", "r", function()
    local ch, done, cancel = rille.chan(), rille.done()
    receiver("r", ch)
    done:after(function() ch:send(1) end)
    return cancel
  end)

  dead("whom only an after could wake whose done cannot fire", "r", function()
    local ch, done = rille.chan(), rille.done()
    receiver("r", ch)
    local stop = done:after(function() ch:send(1) end)
    return { done, stop }
  end)
end)

-- What hangs on nothing but itself: each of `rings` puts what it is given into something that holds
-- itself, and returns a handle by which it can be got out again.
local rings = {
  ["a channel in its own buffer"] = function(v)
    local ch = rille.chan(2)
    ch:send(ch)
    ch:send(v)
    return ch
  end,
  ["a closed channel in its own buffer"] = function(v)
    local ch = rille.chan(2)
    ch:send { { ch }, v }
    ch:close()
    return ch:receiver()
  end,
  ["channels in each other's buffers"] = function(v)
    local a, b = rille.chan(2), rille.chan(2)
    a:send(b)
    b:send { a, v }
    return a
  end,
  ["a channel in a function in its own buffer"] = function(v)
    local ch = rille.chan(1)
    ch:send(function() return ch, v end)
    return ch
  end,
  ["a cell that was replaced by one that holds it"] = function(v)
    local cell = rille.chan(1)
    cell:send(0)
    assert.is_true(rille._replace(cell, select(2, rille._peek(cell)), { cell, v }))
    return cell
  end,
  ["a done that is its own cause"] = function(v)
    local done, cancel = rille.done()
    cancel { done, v }
    return done
  end,
  ["a done whose child is its cause"] = function(v)
    local done, cancel = rille.done()
    cancel { (rille.done(done)), v }
    return done
  end,
  ["an any that has received itself"] = function(v)
    local ch = rille.chan()
    local any = rille.any(ch)
    ch:send { any, v }
    return any
  end,
  ["a task that has returned itself"] = function(v)
    local mine = rille.chan(1)
    local task = rille.go(function() return mine:recv() end)
    mine:send { task, v }
    task:join(BOUND)
    return task
  end,
  ["a task that has failed with itself"] = function(v)
    local mine = rille.chan(1)
    local task = rille.go(function() error((mine:recv())) end)
    mine:send { task, v }
    task:join(BOUND)
    return task
  end,
  ["a once that has given itself"] = function(v)
    local once = rille.once()
    once:run(function() return once, v end)
    return once
  end,
  ["a channel in the values of a done in its buffer"] = function(v)
    local ch = rille.chan(1)
    ch:send((rille.done { values = { key = { ch, v } } }))
    return ch
  end,
}

describe("leak analysis of what hangs on nothing but itself", function()
  after_each(clean)

  for title, make in pairs(rings) do
    live("whom " .. title .. " can wake", "r", function()
      local ch = rille.chan()
      receiver("r", ch)
      return make(ch:sender())
    end)

    live("whom " .. title .. " can wake that lies in a buffer", "r", function()
      local ch, box = rille.chan(), rille.chan(1)
      receiver("r", ch)
      box:send(make(ch:sender()))
      return box:receiver()
    end)

    live("whom " .. title .. " can wake that a live task holds", "k r", function()
      local ch, live_end = rille.chan(), rille.chan()
      receiver("r", ch)
      keeper("k", live_end, make(ch:sender()))
      return live_end
    end)

    dead("whom " .. title .. " could wake that only a leaked task holds", "k r", function()
      local ch = rille.chan()
      receiver("r", ch)
      keeper("k", rille.chan(), make(ch:sender()))
    end)

    dead("who waits for what lies in " .. title, "r w", function()
      local ch, done, cancel = rille.chan(), rille.done()
      receiver("r", ch)
      watcher("w", done)
      make { ch, done, cancel }
    end)
  end

  live("whom any of a ring of channels can wake", "r", function()
    local ch, first = rille.chan(), rille.chan(1)
    receiver("r", ch)
    local last = first
    for _ = 1, 5 do
      local next_one = rille.chan(2)
      last:send(next_one)
      last = next_one
    end
    last:send(ch:sender())
    last:send(first)
    return first:receiver()
  end)

  dead("whom only who may receive from it could wake by a channel in its own buffer", "r",
    function()
      local ch, ring = rille.chan(), rille.chan(2)
      receiver("r", ch)
      ring:send { ring, ch:sender() }
      return ring:sender()
    end)

  dead("who waits on a channel that lies with it in its own buffer", "r", function()
    local ring = rille.chan(1)
    ring:send { ring, rille.chan(1) }
    local other = ring:recv()[2]
    other:send(other)
    ring:send { ring, other }
    parked("r", function() other:send(1) end)
  end)

  it("spares whoever has just received from it", function()
    local ch, ring = rille.chan(), rille.chan(1)
    local r = receiver("r", ch)
    ring:send { ring, ch:sender() }
    ch = nil -- luacheck: ignore 311
    local taken = rille.go(function()
      local message = ring:recv()
      message[1] = nil
      return message[2]
    end)
    ring = nil -- luacheck: ignore 311
    local right = taken:await(BOUND)
    taken = nil -- luacheck: ignore 311
    assert.equal("", leaked())
    assert.is_true(right:send(1))
    assert.is_true((r:join(BOUND)))
  end)

  it("spares whom a promise wakes that goes with a channel which somebody has", function()
    local done, cancel = rille._promise()
    local ch = rille.chan(1)
    local w = watcher("w", done)
    ch:send { cancel }
    rille._forget(cancel)
    ch, done = ch:sender(), nil -- luacheck: ignore 311
    assert.equal("", leaked())
    ch = nil -- luacheck: ignore 311
    collectgarbage()
    assert.is_true((w:join(BOUND)))
  end)

  it("finds whom a promise in its own ring keeps waiting", function()
    do
      local done, cancel = rille._promise()
      watcher("w", done)
      rings["a channel in its own buffer"](cancel)
      rille._forget(cancel)
    end
    assert.equal("w", leaked())
    collected(1)
  end)
end)

describe("leak analysis and garbage", function()
  after_each(clean)

  it("does not count what the caller holds no more", function()
    collectgarbage "stop"
    local ch = rille.chan()
    receiver("r", ch)
    assert.equal("", leaked())
    ch = nil -- luacheck: ignore 311
    assert.equal("r", leaked())
    collectgarbage "restart"
  end)

  it("does not count what a parked task holds no more", function()
    local ch, live_end = rille.chan(), rille.chan()
    receiver("r", ch)
    parked("k", function()
      collectgarbage "stop"
      local box = { ch:sender() }
      box, ch = #box, nil
      live_end:recv()
      return box
    end)
    ch = nil -- luacheck: ignore 311
    assert.equal("r", leaked())
    live_end:close()
  end)

  it("runs the finalizers of parked tasks, which may use rille", function()
    local out, live_end = rille.chan(1), rille.chan()
    parked("k", function()
      collectgarbage "stop"
      do
        setmetatable({}, { __gc = function() out:try_send "finalized" end })
      end
      live_end:recv()
    end)
    rille.leaks()
    rille.leaks()
    assert.equal("finalized", out:recv(BOUND))
    live_end:close()
  end)

  it("lets a task wait on as if nothing had happened", function()
    local ch, back = rille.chan(), rille.chan()
    rille.go(function() for v in ch do back:send(v + 1) end end)
    for i = 1, 500 do
      if i % 5 == 0 then assert.equal("", leaked()) end
      ch:send(i)
      if i % 7 == 0 then assert.equal("", leaked()) end
      assert.equal(i + 1, back:recv(BOUND))
    end
    ch:close()
  end)
end)

describe("a leak's entry", function()
  after_each(clean)

  local function line()
    return debug.getinfo(2, "l").currentline
  end

  local function only()
    local list = rille.leaks()
    assert.equal(1, #list)
    return list[1]
  end

  -- op, on, and how far below the call of parked() the wait is written.
  local function entry(op, on, start)
    it("tells of " .. op, function()
      local started = start()
      local leak = only()
      assert.equal("waiting", leak.status)
      assert.equal(op, leak.waiting.op)
      if on then assert.equal(on, leak.waiting.on) end
      assert.matches("leak_spec.lua:" .. started + 1 .. "$", leak.waiting.at)
      assert.matches("leak_spec.lua:%d+$", leak.started)
      collected(1)
    end)
  end

  entry("recv", "jobs", function()
    local jobs, at = rille.chan(0, "jobs"), line()
    parked("r", function() jobs:recv() end)
    return at
  end)

  entry("send", "jobs", function()
    local jobs, at = rille.chan(0, "jobs"), line()
    parked("s", function() jobs:send(1) end)
    return at
  end)

  entry("wait", "stop", function()
    local stop = rille.done { name = "stop" }
    local at = line()
    parked("w", function() stop:wait() end)
    return at
  end)

  entry("select", nil, function()
    local a, at = rille.chan(), line()
    parked("s", function() rille.select(a, a) end)
    return at
  end)

  entry("recv", "lines", function()
    local lines, at = rille.chan(0, "lines"), line()
    parked("r", function() for _ in lines do lines:cap() end end)
    return at
  end)

  entry("recv", "inner", function()
    local inner, at = rille.chan(0, "inner"), line()
    parked("r", function() coroutine.wrap(function() inner:recv() end)() end)
    return at
  end)

  entry("recv", "sorted", function()
    local sorted, at = rille.chan(0, "sorted"), line()
    parked("r", function() table.sort({ 1, 2 }, function() sorted:recv() end) end)
    return at
  end)

  it("names the task that is waited for", function()
    joiner("outer", receiver("inner", rille.chan()))
    for _, leak in ipairs(rille.leaks()) do
      if leak.name == "outer" then
        assert.equal("join", leak.waiting.op)
        assert.equal("inner", leak.waiting.on)
      end
    end
    collected(2)
  end)

  it("tells who and since when, and is a plain table", function()
    local at = line() + 1
    local task = rille.go(function() rille.never:recv() end)
    helper.until_waiting(task)
    local leak = only()
    assert.is_nil(getmetatable(leak))
    assert.equal(task:id(), leak.id)
    assert.equal(task:name(), leak.name)
    assert.matches("leak_spec.lua:" .. at .. "$", leak.started)
    assert.is_number(leak.age)
    assert.is_true(leak.age >= 0)
    assert.is_string(leak.traceback)
    assert.matches("leak_spec.lua:" .. at, leak.traceback)
    collected(1)
  end)
end)

describe("rille.tasks", function()
  after_each(clean)

  local function by_name(list)
    local map = {}
    for _, task in ipairs(list) do map[task.name] = task end
    return map
  end

  it("lists those that have not ended, whatever they do", function()
    local stop = rille.chan()
    local busy = rille.go({ name = "busy" }, function()
      repeat until select(2, stop:try_recv()) == "closed"
    end)
    receiver("waiting", stop)
    parked("asleep", function() rille.sleep(LONG, stop) end)
    rille.go({ name = "ended" }, function() end):join()
    local map
    assert.eventually(function() -- it gives way now and then
      map = by_name(rille.tasks())
      return map.busy.status == "running"
    end, BOUND)
    assert.is_nil(map.busy.waiting)
    assert.equal("recv", map.waiting.waiting.op)
    assert.equal("sleep", map.asleep.waiting.op)
    assert.is_nil(map.ended)
    stop:close()
    busy:join(BOUND)
  end)

  it("lists the task that asks", function()
    local map = by_name(rille.go({ name = "me" }, function() return rille.tasks() end):await(BOUND))
    assert.equal("running", map.me.status)
    assert.is_nil(map.me.waiting)
  end)

  it("has an empty list when there are none", function()
    assert.same({}, rille.tasks())
    assert.same({}, rille.leaks())
    assert.equal(0, rille.collect())
  end)

  it("lists thousands", function()
    local stop = rille.chan()
    for _ = 1, 2000 do rille.go({ name = "one" }, function() stop:recv() end) end
    assert.equal(2000, #rille.tasks())
    stop:close()
  end)
end)

describe("rille.collect", function()
  after_each(clean)

  it("raises `leaked` in the wait, at its place", function()
    local task = parked("r", function() rille.chan():recv() end)
    assert.equal(1, rille.collect())
    local ok, err = task:join(BOUND)
    assert.is_false(ok)
    assert.matches("leaked", err)
    assert.matches("leak_spec.lua:%d+", err)
    assert.equal("failed", task:status())
  end)

  it("does so in every kind of wait", function()
    local waits = {
      function(ch) ch:recv() end,
      function(ch) ch:send(1) end,
      function(ch) rille.select(ch) end,
      function(ch, done) rille.select(ch:sending(1), done) end,
      function(_, done) done:wait() end,
      function(ch) for _ in ch do ch:cap() end end,
      function(ch, done) ch:recv(done) end,
      function(ch) coroutine.wrap(function() ch:recv() end)() end,
      function(ch) table.sort({ 1, 2 }, function() ch:recv() end) end,
      function() rille.never:recv() end,
      function() rille.select() end,
    }
    local tasks = {}
    for i, wait in ipairs(waits) do
      tasks[i] = parked("w" .. i, wait, rille.chan(), (rille.done()))
    end
    tasks[#tasks + 1] = joiner("join", tasks[#tasks]) -- for one that is leaked itself
    assert.equal(#tasks, rille.collect())
    for _, task in ipairs(tasks) do helper.raises("leaked", task.await, task, BOUND) end
  end)

  it("raises once: who catches it goes on", function()
    local out = rille.chan(4)
    local task = parked("r", function()
      local ok, err = pcall(rille.never.recv, rille.never)
      out:send(tostring(ok) .. " " .. tostring(err))
      rille.sleep(0.01)
      out:send "went on"
      return "well"
    end)
    assert.equal(1, rille.collect())
    assert.equal("well", task:await(BOUND))
    assert.matches("^false .*leaked", out:recv())
    assert.equal("went on", out:recv())
  end)

  it("collects again who waits again for the same", function()
    local ch = rille.chan()
    local task = parked("r", function()
      local times = 0
      while times < 3 do
        if not pcall(ch.recv, ch) then times = times + 1 end
      end
      return times
    end)
    ch = nil -- luacheck: ignore 311
    for _ = 1, 3 do
      while leaked() ~= "r" do rille.yield() end
      assert.equal(1, rille.collect())
    end
    assert.equal(3, task:await(BOUND))
    assert.equal(0, rille.collect())
  end)

  it("runs <close> variables and deferred functions, which may wait", function()
    local out = rille.chan(4)
    local task = parked("r", function()
      local _ <close> = rille.defer(function()
        rille.sleep(0.005)
        out:send "deferred"
      end)
      local _ <close> = setmetatable({}, { __close = function(_, err)
        rille.yield()
        out:send("closed by " .. tostring(err))
      end })
      rille.never:recv()
    end)
    assert.equal(1, rille.collect())
    assert.is_false(task:join(BOUND))
    assert.matches("closed by .*leaked", out:recv(BOUND))
    assert.equal("deferred", out:recv(BOUND))
  end)

  it("sends and receives nothing", function()
    local out = rille.chan(4)
    parked("s", function()
      local ch = rille.chan(1)
      ch:send "first"
      pcall(ch.send, ch, "second")
      out:send(#ch)
      out:send(ch:recv())
    end)
    assert.equal(1, rille.collect())
    assert.equal(1, out:recv(BOUND))
    assert.equal("first", out:recv(BOUND))
  end)

  it("wakes nobody who lives", function()
    local live_end = rille.chan()
    local k = keeper("k", live_end)
    for i = 1, 20 do receiver("r" .. i, rille.chan()) end
    assert.equal(20, rille.collect())
    helper.until_waiting(k)
    assert.equal(0, rille.collect())
    live_end:send(1)
    assert.is_true((k:join(BOUND)))
  end)

  it("unwinds each once, whoever asks, and however many", function()
    for i = 1, 200 do receiver("r" .. i, rille.chan()) end
    local askers = {}
    for i = 1, 4 do askers[i] = rille.go(function() return rille.collect() end) end
    local sum = rille.collect()
    for _, asker in ipairs(askers) do sum = sum + asker:await(BOUND) end
    assert.equal(200, sum)
  end)

  it("unwinds a chain from all its ends at once", function()
    local task = receiver("t0", rille.chan())
    for i = 1, 30 do task = joiner("t" .. i, task) end
    assert.equal(31, rille.collect())
    assert.is_true((rille.done(task):wait(BOUND)))
  end)

  it("gives back what is in the messages", function()
    local function build()
      local ch = rille.chan(4)
      ch:send { ("x"):rep(100000) }
      parked("r", function() rille.never:recv() return ch end)
    end
    collectgarbage()
    local before = rille.stats()
    for _ = 1, 5 do
      build()
      collected(1)
    end
    collectgarbage()
    assert.eventually(function() -- the threads that ran them may be the last to hold them
      local after = rille.stats()
      assert.equal(before.channels, after.channels)
      assert.equal(before.message_bytes, after.message_bytes)
    end, BOUND)
  end)

  -- Main holds nothing of what `build` made: the number of channels is as before, and blobs too.
  local function given_back(build)
    collectgarbage()
    local before = rille.stats()
    build()
    collectgarbage()
    rille.collect()
    local after = rille.stats()
    assert.equal(before.channels, after.channels)
    assert.equal(before.message_bytes, after.message_bytes)
  end

  for title, make in pairs(rings) do
    it("gives back " .. title, function()
      given_back(function() make { rille.chan(), ("x"):rep(1000) } end)
    end)
  end

  it("gives back an after whose done nobody can fire, and what it would have done", function()
    given_back(function()
      local ch, done = rille.chan(), rille.done()
      done:after(function() return ch end)
    end)
  end)

  it("leaves what a leaked task may still use as it is unwound", function()
    local said = rille.chan(2)
    parked("k", function(report)
      local ring = rille.chan(2)
      ring:send(ring)
      ring:send "kept"
      local _ <close> = rille.defer(function()
        report:send(ring:recv() == ring)
        report:send((ring:recv()))
      end)
      rille.chan():recv()
    end, said:sender())
    collected(1)
    assert.is_true((said:recv(BOUND)))
    assert.equal("kept", (said:recv(BOUND)))
  end)

  it("lets no sender in that waits behind a ring", function()
    local ring = rille.chan(1)
    ring:send(ring)
    local s = sender("s", ring)
    ring = nil -- luacheck: ignore 311
    assert.equal(1, rille.collect())
    local ok, err = s:join(BOUND)
    assert.is_false(ok)
    assert.matches("leaked", tostring(err))
  end)

  it("gives back 10,000 rings #memory", function()
    local function round()
      for _ = 1, 10000 do
        local ring = rille.chan(1)
        ring:send { ring, ("x"):rep(100) }
      end
      collectgarbage()
      rille.collect()
      assert.equal(0, rille.stats().channels)
    end
    round()
    local before = helper.resident()
    for _ = 1, 5 do round() end
    assert.eventually(function() return helper.resident() - before < 4096 end, BOUND)
  end)

  it("gives the memory of tasks back #memory", function()
    local function round()
      local ready = rille.chan(1000)
      for _ = 1, 1000 do
        rille.go(function()
          ready:send(1)
          rille.chan():recv()
        end)
      end
      for _ = 1, 1000 do ready:recv(BOUND) end
      ready = nil -- luacheck: ignore 311
      local n = 0
      while n < 1000 do n = n + rille.collect() end
      assert.equal(1000, n)
      all_ended()
      collectgarbage()
    end
    round()
    round()
    local before = helper.resident()
    for _ = 1, 10 do round() end -- of 9 MB each; threads give them back when they are idle
    assert.eventually(function() return helper.resident() - before < 8192 end, BOUND)
  end)
end)

describe("leak analysis of locks and their kin", function()
  after_each(clean)

  -- A task that has locked `mutex` and waits in fn(...).
  local function holder(name, mutex, fn, ...)
    return parked(name, function(...)
      mutex:lock()
      fn(...)
    end, ...)
  end

  local function locker(name, mutex)
    return parked(name, function() mutex:lock() end)
  end

  local function receive(ch) ch:recv() end

  dead("two that have each locked what the other wants, though main has both", "a b", function()
    local first, second, go = rille.mutex(), rille.mutex(), rille.chan()
    local function both(mine, other)
      mine:lock()
      go:recv()
      other:lock()
    end
    parked("a", both, first, second)
    parked("b", both, second, first)
    go:close()
    assert.eventually(function()
      local n = 0
      for _, t in ipairs(rille.tasks()) do
        if t.waiting and t.waiting.op == "lock" then n = n + 1 end
      end
      return n == 2
    end, BOUND)
    return { first, second }
  end)

  dead("who waits for a mutex that a leaked task has locked, though main has it", "a b", function()
    local mutex = rille.mutex()
    holder("a", mutex, receive, rille.chan())
    locker("b", mutex)
    return mutex
  end)

  live("who waits for a mutex that a living task has locked", "a b", function()
    local mutex, ch = rille.mutex(), rille.chan()
    holder("a", mutex, receive, ch)
    locker("b", mutex)
    return ch
  end)

  dead("a crowd behind such a mutex", "a b c d", function()
    local mutex, rw = rille.mutex(), rille.rwmutex()
    parked("a", function()
      mutex:lock()
      rw:rlock()
      rille.chan():recv()
    end)
    locker("b", mutex)
    parked("c", function() rw:lock() end)
    parked("d", function() rw:rlock() end)
    return { mutex, rw }
  end)

  it("spares who waits for what the caller has locked", function()
    local mutex, rw = rille.mutex(), rille.rwmutex()
    mutex:lock()
    rw:rlock()
    local a, b = locker("a", mutex), locker("b", rw)
    assert.equal("", leaked())
    mutex:unlock()
    rw:runlock()
    a:await(BOUND)
    b:await(BOUND)
  end)

  it("spares who waits for what a running task has locked", function()
    local mutex, stop, locked = rille.mutex(), rille.counter(), rille.chan(1)
    local runner = rille.go(function()
      mutex:lock()
      locked:send(true)
      while stop:get() == 0 do end -- luacheck: ignore 542
    end)
    locked:recv(BOUND)
    local a = locker("a", mutex)
    for _ = 1, 20 do assert.equal("", leaked()) end
    stop:set(1)
    runner:await(BOUND)
    a:await(BOUND)
  end)

  it("spares a reader behind a writer that will give up", function()
    local rw = rille.rwmutex()
    local reader = parked("a", function(ch) rw:rlock() ch:recv() end, rille.chan())
    parked("writer", function() rw:lock(LONG) end)
    parked("b", function() rw:rlock() end)
    assert.equal("a", leaked())
    assert.is_true(reader:interrupt())
    collectgarbage()
    reader:join(BOUND)
    all_ended()
  end)

  live("who waits for a permit that a handle can release", "a", function()
    local slots = rille.semaphore(1)
    slots:acquire()
    parked("a", function() slots:acquire() end)
    return slots
  end)

  live("who waits for a permit that a living task's guard holds", "a b", function()
    local slots, once, ch = rille.semaphore(1), rille.chan(1), rille.chan()
    once:send(slots)
    parked("a", function()
      local _ <close> = once:recv():guard() -- the handle is garbage
      ch:recv()
    end)
    parked("b", function() slots:acquire() end)
    return ch
  end)

  live("who waits for a group that a living task belongs to", "a b", function()
    local group, ch = rille.waitgroup(), rille.chan()
    helper.until_waiting(group:go({ name = "a" }, function(way) way:recv() end, ch))
    parked("b", function() group:wait() end)
    return ch
  end)

  dead("who waits for a group whose task leaked", "a b", function()
    local group = rille.waitgroup()
    helper.until_waiting(group:go({ name = "a" }, function() rille.chan():recv() end))
    parked("b", function() group:wait() end)
  end)

  live("who waits for a signal", "a", function()
    local cond = rille.cond()
    parked("a", function()
      local mutex = rille.mutex()
      mutex:lock()
      cond:wait(mutex)
    end)
    return cond
  end)

  live("who waits at a barrier", "a b", function()
    local barrier = rille.barrier(3)
    for _, name in ipairs { "a", "b" } do parked(name, function() barrier:wait() end) end
    return barrier
  end)

  dead("who waits for a run that leaked, though main has the once", "a b", function()
    local once = rille.once()
    parked("a", function() once:run(function() rille.chan():recv() end) end)
    parked("b", function() once:run(print) end)
    return once
  end)

  live("who receives from a channel that came of a run", "a", function()
    local once = rille.once()
    parked("a", function(ch) ch:recv() end, (once:run(function() return rille.chan() end)))
    return once
  end)

  it("raises deadlock in a main program that waits for a mutex nobody will unlock", function()
    local mutex = rille.mutex "door"
    holder("a", mutex, receive, rille.chan())
    helper.raises("deadlock", mutex.lock, mutex)
    collected(1)
    assert.same({ true, "abandoned" }, { mutex:lock(BOUND) })
    mutex:unlock()
  end)
end)

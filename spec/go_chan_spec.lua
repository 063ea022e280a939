-- The semantics of Go's channels: what test/chan and runtime/chan_test.go check, in Lua.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"

local BOUND = 20 -- a watchdog

local raises, until_waiting = helper.raises, helper.until_waiting

local function await_all(tasks)
  local results = {}
  for i, task in ipairs(tasks) do results[i] = task:await(BOUND) end
  return results
end

-- Starts fn(1, ...) to fn(n, ...).
local function start(n, fn, ...)
  local tasks = {}
  for i = 1, n do tasks[i] = rille.go(fn, i, ...) end
  return tasks
end

local CAPACITIES = { 0, 1, 3, 17 }

describe("TestChan:", function()
  for _, cap in ipairs(CAPACITIES) do
    it("an empty channel blocks its receiver, cap " .. cap, function()
      local ch = rille.chan(cap)
      local tasks = {
        rille.go(function() return ch:recv() end),
        rille.go(function() return ch:recv() end),
      }
      until_waiting(table.unpack(tasks))
      assert.equal("empty", select(2, ch:try_recv()))
      assert.is_nil((rille.try_select(ch)))
      ch:send(7)
      ch:send(7)
      assert.same({ 7, 7 }, await_all(tasks))
    end)

    it("a full channel blocks its sender, cap " .. cap, function()
      local ch = rille.chan(cap)
      for i = 1, cap do ch:send(i) end
      local task = rille.go(function() return ch:send(0) end)
      until_waiting(task)
      assert.equal("full", select(2, ch:try_send(0)))
      assert.is_nil((rille.try_select(ch:sending(0))))
      ch:recv(BOUND)
      assert.is_true(task:await(BOUND))
    end)

    it("a closed channel gives what it holds, and then closed, cap " .. cap, function()
      local ch = rille.chan(cap)
      for i = 1, cap do ch:send(i) end
      ch:close()
      for i = 1, cap do assert.equal(i, ch:recv()) end
      for _ = 1, 3 do assert.same({ n = 2, nil, "closed" }, table.pack(ch:recv())) end
    end)

    it("close wakes a receiver, cap " .. cap, function()
      local ch = rille.chan(cap)
      local task = rille.go(function() return select(2, ch:recv()) end)
      until_waiting(task)
      ch:close()
      assert.equal("closed", task:await(BOUND))
    end)

    it("a hundred values arrive in order, cap " .. cap, function()
      local ch = rille.chan(cap)
      rille.go(function() for i = 1, 100 do ch:send(i) end end)
      for i = 1, 100 do assert.equal(i, ch:recv(BOUND)) end
    end)

    it("each value of many senders arrives once at many receivers, cap " .. cap, function()
      local ch, out = rille.chan(cap), rille.chan()
      local senders = start(5, function() for i = 1, 100 do ch:send(i) end end)
      start(5, function()
        local seen = {}
        for _ = 1, 100 do
          local v = ch:recv()
          seen[v] = (seen[v] or 0) + 1
        end
        out:send(seen)
      end)
      local counts = {}
      for _ = 1, 5 do
        for v, n in pairs(out:recv(BOUND)) do counts[v] = (counts[v] or 0) + n end
      end
      for i = 1, 100 do assert.equal(5, counts[i]) end
      await_all(senders)
    end)

    it("len and cap tell, cap " .. cap, function()
      local ch = rille.chan(cap)
      assert.equal(0, #ch)
      assert.equal(cap, ch:cap())
      for i = 1, cap do
        ch:send(i)
        assert.equal(i, #ch)
      end
    end)
  end
end)

describe("nonblock:", function()
  it("a receiver that tries sees a value that was sent before the other closed", function()
    for _ = 1, 200 do
      local ch = rille.chan(1)
      ch:send(1)
      local task = rille.go(function() return ch:try_recv() end)
      ch:close()
      assert.equal(1, (task:await(BOUND)))
    end
  end)

  it("a select with default over two channels, one of them ready, never says neither", function()
    for _ = 1, 200 do
      local c1, c2 = rille.chan(1), rille.chan(1)
      c1:send(1)
      local task = rille.go(function() return (rille.try_select(c1, c2)) end)
      c2:send(1)
      c1:try_recv()
      assert.is_not_nil((task:await(BOUND)))
    end
  end)

  it("nor when they are closed", function()
    for _ = 1, 200 do
      local c1, c2 = rille.chan(1), rille.chan()
      c1:send(1)
      local task = rille.go(function() return (rille.try_select(c1, c2)) end)
      c2:close()
      c1:try_recv()
      assert.is_not_nil((task:await(BOUND)))
    end
  end)
end)

describe("select:", function()
  for _, cap in ipairs { 0, 10 } do
    it("tasks that send to and receive from one channel in a select do not meet themselves, cap "
      .. cap, function()
      local ch = rille.chan(cap)
      local tasks = start(2, function(p)
        for i = 1, 500 do
          if p == 1 or i % 2 == 0 then
            local which, v = rille.select { out = ch:sending(p), get = ch }
            if which == "get" and cap == 0 and v == p then error "met itself" end
          else
            local which, v = rille.select { get = ch, out = ch:sending(p) }
            if which == "get" and cap == 0 and v == p then error "met itself" end
          end
        end
      end)
      -- the last one may be left alone: keep both company
      local helping = rille.go(function()
        local stop = rille.all(tasks[1], tasks[2])
        while not stop:err() do rille.select(ch, ch:sending(0), stop) end
      end)
      await_all(tasks)
      helping:await(BOUND)
    end)
  end

  it("many selects over four channels pass on all values", function()
    local channels = { rille.chan(), rille.chan(), rille.chan(2), rille.chan(3) }
    local N = 300
    local senders = start(4, function(i) for _ = 1, N do channels[i]:send(0) end end)
    local receivers = start(4, function(i) for _ = 1, N do channels[i]:recv() end end)
    local select_sender = rille.go(function()
      local left = { N, N, N, N }
      local cases = {}
      for i = 1, 4 do cases[i] = channels[i]:sending(0) end
      for _ = 1, 4 * N do
        local i = rille.select(cases[1], cases[2], cases[3], cases[4])
        left[i] = left[i] - 1
        if left[i] == 0 then cases[i] = false end
      end
    end)
    local select_receiver = rille.go(function()
      local left = { N, N, N, N }
      local cases = { table.unpack(channels) }
      for _ = 1, 4 * N do
        local i = rille.select(cases[1], cases[2], cases[3], cases[4])
        left[i] = left[i] - 1
        if left[i] == 0 then cases[i] = false end
      end
    end)
    await_all(senders)
    await_all(receivers)
    select_sender:await(BOUND)
    select_receiver:await(BOUND)
  end)

  it("is fair to each of two channels that are always ready", function()
    local c1, c2, stop = rille.chan(10), rille.chan(10), rille.chan()
    local feeders = start(2, function(i)
      local ch = i == 1 and c1 or c2
      while ch:send(i, stop) do end -- luacheck: ignore 542
    end)
    local count = { 0, 0 }
    for _ = 1, 2000 do
      while #c1 == 0 or #c2 == 0 do rille.yield() end
      local i = rille.select(c1, c2)
      count[i] = count[i] + 1
    end
    stop:close()
    await_all(feeders)
    assert.is_true(count[1] > 700 and count[2] > 700, count[1] .. " " .. count[2])
  end)

  it("the value is one of those sent, when the same channel stands in several cases", function()
    local ch, n = rille.chan(), 0
    local task = rille.go(function()
      for i = 1, 300 do ch:send(i) end
      ch:close()
    end)
    while true do
      local _, v = rille.select(ch, ch, ch)
      if not v then break end
      n = n + 1
      assert.equal(n, v)
    end
    assert.equal(300, n)
    task:await(BOUND)
  end)

  it("a waiting select with a channel twice is woken once", function()
    local ch, other, e = rille.chan(), rille.chan(), rille.chan()
    local task = rille.go(function() return rille.select(ch, ch, other) end)
    until_waiting(task)
    other:send(1)
    assert.equal(3, (task:await(BOUND)))
    rille.go(function() e:send(ch:recv()) end)
    ch:send(99)
    assert.equal(99, e:recv(BOUND))
  end)

  it("nil channels are never chosen", function()
    local ch = rille.chan(1)
    ch:send(1)
    for _ = 1, 100 do
      assert.is_nil((rille.try_select(nil, rille.never, rille.never:sending(1))))
    end
    assert.equal(3, (rille.select(rille.never, nil, ch)))
  end)

  it("sends at random to any of two, and both values arrive", function()
    for _, cap in ipairs { 0, 100 } do
      local ch, seen = rille.chan(cap), { 0, 0 }
      local task = rille.go(function()
        for _ = 1, 1000 do rille.select(ch:sending(1), ch:sending(2)) end
      end)
      for _ = 1, 1000 do
        local v = ch:recv(BOUND)
        seen[v] = seen[v] + 1
      end
      assert.is_true(seen[1] > 250 and seen[2] > 250)
      task:await(BOUND)
    end
  end)
end)

describe("misuse:", function()
  it("raises as Go panics", function()
    local ch = rille.chan()
    ch:close()
    raises("close of closed channel", ch.close, ch)
    raises("send on closed channel", ch.send, ch, 1)
    raises("send on closed channel", rille.select, ch:sending(1))
    raises("send on closed channel", rille.try_select, ch:sending(1))
  end)
end)

describe("sieve:", function()
  it("a chain of tasks finds the primes", function()
    local done, cancel = rille.done()
    local function filter(input, prime)
      local out = rille.chan()
      rille.go(function()
        for n in input:iter(done) do
          if n % prime ~= 0 and not out:send(n, done) then return end
        end
      end)
      return out
    end
    local numbers, primes = rille.chan(), {}
    rille.go(function()
      for n = 2, math.huge do
        if not numbers:send(n, done) then return end
      end
    end)
    for i = 1, 30 do
      primes[i] = numbers:recv(BOUND)
      numbers = filter(numbers, primes[i])
    end
    cancel()
    assert.equal(113, primes[30])
  end)
end)

describe("goroutines:", function()
  it("a chain of a thousand tasks passes a value on", function()
    local left = rille.chan()
    local first = left
    for _ = 1, 1000 do
      local right = rille.chan()
      local from = left
      rille.go(function() right:send(1 + from:recv()) end)
      left = right
    end
    first:send(0)
    assert.equal(1000, left:recv(BOUND))
  end)

  it("a power series is multiplied by tasks that ask each other", function()
    -- each series is a task that answers a request with its next coefficient
    local done, cancel = rille.done()
    local function series(fn)
      local ask, answer = rille.chan(), rille.chan()
      rille.go(function()
        local n = 0
        while ask:recv(done) do
          if not answer:send(fn(n), done) then return end
          n = n + 1
        end
      end)
      return function()
        ask:send(true)
        return answer:recv()
      end
    end
    local ones = series(function() return 1 end)
    local naturals = series(function(n) return n + 1 end)
    local sum = series(function() return ones() + naturals() end)
    local got = {}
    for i = 1, 5 do got[i] = sum() end
    cancel()
    assert.same({ 2, 3, 4, 5, 6 }, got)
  end)
end)

describe("a barrier:", function()
  it("what was written before a send is seen after the receive", function()
    local ch = rille.chan()
    for i = 1, 200 do
      local task = rille.go(function() ch:send { i, ("x"):rep(i) } end)
      assert.same({ i, ("x"):rep(i) }, ch:recv(BOUND))
      task:await(BOUND)
    end
  end)
end)

-- Streams: each source, stage and end; failure, cancellation and leaving at each of them; how far
-- ahead a source gets.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local errors = require "rille.errors"
local helper = require "spec.helper"
local rille = require "rille"
local stream = require "rille.stream"
local testing = require "rille.testing"

local BOUND = 20 -- a watchdog

local raises = helper.raises

local function add(a, b) return a + b end
local function double(n) return 2 * n end
local function even(n) return n % 2 == 0 end
local function same(v) return v end

local function fail_at(n)
  return function(v)
    if v == n then error("no " .. n, 0) end
    return v
  end
end

local function tasks_left()
  local names = {}
  for _, task in ipairs(rille.tasks()) do
    if not task.daemon then names[#names + 1] = task.name .. " " .. task.status end
  end
  return names
end

local function no_tasks()
  return #tasks_left() == 0
end

-- An end leaves no task behind, not even one that is about to end.
local function alone()
  assert.same({}, tasks_left())
end

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

-- A channel that gives the numbers to n and is closed.
local function channel_of(n)
  local ch = rille.chan(n)
  for i = 1, n do ch:send(i) end
  ch:close()
  return ch
end

local function failed(stage, value, ...)
  local result, err, more = ...
  assert.is_nil(result)
  assert.is_nil(more)
  assert.equal(errors.failure, getmetatable(err))
  assert.same({ stage, value }, { err.stage, err.value })
  return err
end

describe("a source", function()
  it("gives the items of a list, in order", function()
    assert.same({}, stream.from(nil, {}):collect())
    assert.same({ "a", false, { 1 } }, stream.from(nil, { "a", false, { 1 } }):collect())
    assert.same(numbers(1000), stream.from(nil, numbers(1000)):collect())
    alone()
  end)

  it("gives what a channel gives until it is closed", function()
    assert.same({}, stream.from(nil, channel_of(0)):collect())
    assert.same(numbers(5), stream.from(nil, channel_of(5)):collect())
    assert.same(numbers(5), stream.from(nil, channel_of(5):receiver()):collect())
    assert.same(numbers(300), stream.from(nil, (stream.range(nil, 1, 300):chan())):collect())
  end)

  local function generated(n)
    return coroutine.wrap(function()
      for i = 1, n do coroutine.yield(i) end
    end)
  end

  it("gives what an iterator gives that cannot cross, at every end", function()
    local function words() return stream.from(nil, ("a b c"):gmatch "%a") end
    assert.same({ "a", "b", "c" }, words():collect())
    assert.equal("abc", words():reduce(function(a, b) return a .. b end, ""))
    local seen = {}
    words():each(function(v) seen[#seen + 1] = v end)
    for v in words():iter() do seen[#seen + 1] = v end
    local s = words()
    for v in s do
      seen[#seen + 1] = v
      if v == "a" then break end
    end
    for v in s do seen[#seen + 1] = v end
    assert.equal("abcabcabc", table.concat(seen))
    assert.equal("[a]", words():map(function(v) return "[" .. v .. "]" end):take(1):collect()[1])
    assert.same({}, words():take(0):collect())
    assert.is_true(words():close())
    alone()
  end)

  it("gives what such an iterator gives through each stage that is apart", function()
    local function source(n) return stream.from(nil, generated(n)) end
    assert.same(numbers(500), source(500):map(same, { workers = 3 }):collect())
    assert.equal(500, #source(500):buffer(0):collect())
    assert.equal(4, #source(10):batch(3, 60):collect())
    assert.same(numbers(5), source(math.huge):take(5):collect())
    assert.equal(510, #stream.merge(nil, source(300), source(200), stream.range(nil, 1, 10))
      :collect())
    local a, b = source(500):tee()
    local ch, task = a:chan()
    local reader = rille.go(function()
      local n = 0
      for _ in ch do n = n + 1 end
      return n
    end)
    assert.equal(500, #b:collect())
    assert.equal(500, reader:await(BOUND))
    assert.is_true(task:await(BOUND))
    assert.eventually(no_tasks, BOUND) -- nobody waits for what keeps the source of the two
  end)

  it("lets such an iterator wait, fail and be stopped", function()
    local function source(done, fn) return stream.from(done, coroutine.wrap(fn)) end
    local list, err = source(0.01, function()
      coroutine.yield(1)
      rille.sleep(0.02)
      while true do coroutine.yield(1) end
    end):collect()
    assert.same({ nil, "deadline exceeded" }, { list, err })
    failed("from", "no", source(nil, function() return nil, "no" end):collect())
    raises("no more$", function() source(nil, function() error("no more", 0) end):collect() end)
    alone()
  end)

  it("refuses such an iterator where no end is to call it", function()
    local text = "no end is here to call the iterator, which is a C function"
    raises("^spec/stream_spec.lua:%d+: " .. text, function()
      local ch = stream.from(nil, generated(3)):chan()
      return ch
    end)
    for _, part in ipairs { "tee", "split" } do
      for _, leave in ipairs {
        function(b) b:chan() end, function(b) b:close() end,
        function(b) b:take(2):collect() end, function(b) b:each(error) end,
        function(b) for v in b:iter() do if v then break end end end,
        function(b)
          for v in b do if v then break end end
          b:close()
        end,
      } do
        local s = stream.from(nil, generated(math.huge)) -- more than `a` can take by itself
        local a, b = s[part](s, 2)
        local _, task = a:chan(500)
        pcall(leave, b)
        local ok, err = task:join(BOUND)
        assert.is_false(ok)
        assert.equal("from: " .. text, tostring(err))
      end
    end
    assert.eventually(no_tasks, BOUND)
  end)

  it("gives what a stream gives, until its own done fires", function()
    assert.same(numbers(300), stream.from(nil, stream.range(nil, 1, 300)):collect())
    local inner = stream.from(nil, rille.chan())
    local list, err = stream.from(0.001, inner):collect()
    assert.same({ nil, "deadline exceeded" }, { list, err })
    alone()
  end)

  it("gives what an iterator gives until nil", function()
    local n = 0
    local function iterator()
      n = n + 1
      return n <= 4 and n or nil
    end
    assert.same(numbers(4), stream.from(nil, iterator):collect())
    assert.equal(0, n)
    assert.same(numbers(4), stream.generate(nil, iterator):collect())
  end)

  it("gives a range", function()
    assert.same({ 3, 4, 5 }, stream.range(nil, 3, 5):collect())
    assert.same({}, stream.range(nil, 3, 2):collect())
    assert.same({ 0.5, 1.5 }, stream.range(nil, 0.5, 2):collect())
    assert.same({ 7, 8 }, stream.range(nil, 7):take(2):collect())
  end)

  it("repeats a function for ever", function()
    local function x() return "x" end
    assert.same({ "x", "x", "x" }, stream.repeat_fn(nil, x):take(3):collect())
    failed("repeat_fn", "the function returned nil",
      stream.repeat_fn(nil, function() end):collect())
  end)

  it("fails by raising, or by nil and an error", function()
    local function starts_with(n, last)
      local i = 0
      return function()
        i = i + 1
        if i <= n then return i end
        return last()
      end
    end
    for n = 0, 3 do
      for _, make in ipairs { stream.generate, stream.repeat_fn, stream.from } do
        local name = make == stream.repeat_fn and "repeat_fn" or make == stream.from and "from"
          or "generate"
        local err = failed(name, "bad", make(nil, starts_with(n, function()
          error("bad", 0)
        end)):collect())
        assert.matches(name .. ": bad", tostring(err))
        assert.matches("stream_spec.lua", err.traceback)
        failed(name, "worse", make(nil, starts_with(n, function()
          return nil, "worse"
        end)):collect())
      end
    end
  end)

  it("merges streams and channels", function()
    local list = stream.merge(nil, stream.range(nil, 1, 3), channel_of(3),
      stream.from(nil, { 10 }):map(double)):collect()
    table.sort(list)
    assert.same({ 1, 1, 2, 2, 3, 3, 20 }, list)
    assert.same({}, stream.merge(nil):collect())
    assert.same({ 1 }, stream.merge(nil, stream.range(nil, 1, 1)):collect())
    assert.same({ 1 }, stream.merge(nil, stream.merge(nil, channel_of(1))):collect())
    alone()
  end)

  it("bridges a channel of channels, one after the other", function()
    local channels = rille.chan(3)
    for i = 1, 3 do channels:send(channel_of(i)) end
    channels:close()
    assert.same({ 1, 1, 2, 1, 2, 3 }, stream.bridge(nil, channels):collect())
    assert.same({}, stream.bridge(nil, channel_of(0)):collect())
  end)

  it("starts nothing before there is an end", function()
    local ran = rille.chan(1)
    local s = stream.generate(nil, function() ran:send(true) end):map(same, { workers = 3 })
    alone()
    assert.equal(0, #ran)
    s:close()
    alone()
    assert.equal(0, #ran)
  end)
end)

describe("a stage", function()
  it("maps", function()
    assert.same({ 2, 4, 6 }, stream.range(nil, 1, 3):map(double):collect())
    assert.same({ "1", "2" }, stream.range(nil, 1, 2):map(tostring):collect())
    assert.same({ false }, stream.range(nil, 1, 1):map(function() return false end):collect())
  end)

  it("maps with workers in order, or as results are ready", function()
    for _, workers in ipairs { 1, 2, 7 } do
      local opts = { workers = workers }
      assert.same({}, stream.from(nil, {}):map(double, opts):collect())
      local list = stream.range(nil, 1, 500):map(double, opts):collect()
      for i = 1, 500 do assert.equal(2 * i, list[i]) end
      assert.equal(500, #list)
      opts.ordered = false
      list = stream.range(nil, 1, 500):map(double, opts):collect()
      table.sort(list)
      for i = 1, 500 do assert.equal(2 * i, list[i]) end
      alone()
    end
  end)

  it("runs so many workers at once", function()
    for _, ordered in ipairs { true, false } do
      local here, go = rille.chan(), rille.chan()
      local s = stream.range(nil, 1, 9):map(function(n)
        here:send(true)
        go:recv()
        return n
      end, { workers = 3, ordered = ordered })
      local ch, task = s:chan()
      for _ = 1, 3 do assert.is_true(here:recv(BOUND)) end
      assert.same({ "empty" }, { select(2, here:try_recv()) })
      go:close()
      for _ = 1, 6 do assert.is_true(here:recv(BOUND)) end
      local sum = 0
      for n in ch do sum = sum + n end
      assert.equal(45, sum)
      assert.is_true(task:await())
    end
  end)

  it("gets ahead of a slow item only by a bounded number", function()
    local gate, count = rille.chan(), rille.chan(1000)
    local s = stream.range(nil, 1, 1000):map(function(n)
      if n == 1 then gate:recv() else count:send(n) end
      return n
    end, { workers = 4 })
    local ch, task = s:chan(0)
    assert.eventually(function() return #count >= 8 end, BOUND) -- 2 for each worker
    for _ = 1, 100 do rille.yield() end
    assert.equal(8, #count)
    gate:close()
    local last = 0
    for n in ch do
      assert.equal(last + 1, n)
      last = n
    end
    assert.equal(1000, last)
    task:await()
  end)

  it("filters, takes, skips", function()
    assert.same({ 2, 4 }, stream.range(nil, 1, 5):filter(even):collect())
    assert.same({}, stream.range(nil, 1, 5):filter(function() end):collect())
    assert.same({ 1, 2 }, stream.range(nil, 1, 5):take(2):collect())
    assert.same({ 1, 2 }, stream.range(nil, 1, 2):take(5):collect())
    assert.same({ 4, 5 }, stream.range(nil, 1, 5):skip(3):collect())
    assert.same({}, stream.range(nil, 1, 5):skip(5):collect())
    assert.same({ 3, 4 }, stream.range(nil, 1):skip(2):take(2):collect())
    assert.same({ 1 }, stream.range(nil, 1):buffer():take(2):buffer(0):take(1):collect())
    alone()
  end)

  it("that takes nothing runs nothing", function()
    local ran = rille.chan(1)
    local s = stream.generate(nil, function() ran:send(true) return 1 end)
    assert.same({}, s:map(same, { workers = 2 }):take(0):collect())
    assert.equal(0, #ran)
  end)

  it("takes no more from a channel than was asked for", function()
    local ch = channel_of(10)
    assert.same({ 1, 2, 3 }, stream.from(nil, ch):take(3):collect())
    assert.equal(4, ch:recv())
  end)

  it("makes batches", function()
    local function sizes(list)
      for i, batch in ipairs(list) do list[i] = #batch end
      return list
    end
    assert.same({ { 1, 2 }, { 3, 4 }, { 5 } }, stream.range(nil, 1, 5):batch(2):collect())
    assert.same({ { 1, 2 } }, stream.range(nil, 1, 2):batch(2):collect())
    assert.same({}, stream.from(nil, {}):batch(2):collect())
    assert.same({ { 1, 2, 3 }, { 4, 5 } }, stream.range(nil, 1):take(5):batch(3):collect())
    assert.same({ { 1, 2, 3 } }, stream.range(nil, 1):batch(3):take(1):collect())
    assert.same({ { 1 }, { 2 } }, stream.range(nil, 1, 2):batch(1):collect())
    assert.same({ 3, 3, 1 }, sizes(stream.range(nil, 1, 7):batch(3, 1e6):collect()))
    assert.same({}, stream.from(nil, {}):batch(2, 1):collect())
  end)

  it("makes batches of a range up to its last number, whatever kind of number that is", function()
    local function batches(first, last, n)
      return stream.range(nil, first, last):batch(n):collect()
    end
    local max, min = math.maxinteger, math.mininteger
    assert.same({ { max - 4, max - 3, max - 2 }, { max - 1, max } }, batches(max - 4, max, 3))
    assert.same({ { max - 1, max } }, batches(max - 1, nil, 100))
    assert.same({ { 1, 2 }, { 3 } }, batches(1, 3.7, 2))
    assert.same({ { 1, 2, 3 } }, batches(1, 3, max))
    assert.same({ { 0.5, 1.5 }, { 2.5 } }, batches(0.5, 3, 2))
    assert.same({}, batches(1, -math.huge, 2))
    assert.same({ { min, min + 1 } }, stream.range(nil, min, max):batch(2):take(1):collect())
    assert.same({ 100, 101, 102 }, stream.range(nil, 1, 1000):batch(3):collect()[34])
    assert.same({ 1000 }, stream.range(nil, 1, 1000):batch(3):collect()[334])
    assert.same(numbers(250), stream.range(nil, 1):batch(250):take(1):collect()[1])
    for _, v in ipairs(batches(1, 3.0, 5)[1]) do assert.equal("integer", math.type(v)) end
  end)

  it("makes sliding windows, which are lists of their own", function()
    assert.same({ { 1, 2 }, { 2, 3 } }, stream.range(nil, 1, 3):window(2):collect())
    assert.same({}, stream.range(nil, 1, 3):window(4):collect())
    assert.same({ { 1 }, { 2 } }, stream.range(nil, 1, 2):window(1):collect())
    assert.same({ 1, 2, 3 }, stream.range(nil, 1, 5):window(3):map(function(w)
      local first = w[1]
      w[1], w[2], w[3] = 0, 0, 0
      return first
    end):collect())
  end)

  it("tees: both have all items", function()
    local a, b = stream.range(nil, 1, 1000):tee()
    local ch, task = a:map(double):chan()
    local sums = rille.go(function()
      local sum = 0
      for n in ch do sum = sum + n end
      return sum
    end)
    assert.equal(500500, b:reduce(add, 0))
    assert.equal(1001000, sums:await(BOUND))
    assert.is_true(task:await(BOUND))
    assert.eventually(no_tasks, BOUND)
  end)

  it("tees: the one goes on when the other has enough, or is closed", function()
    local a, b = stream.range(nil, 1, 1000):tee()
    local ch, task = a:take(3):chan()
    assert.equal(500500, b:reduce(add, 0))
    local list = {}
    for n in ch do list[#list + 1] = n end
    assert.same({ 1, 2, 3 }, list)
    assert.is_true(task:await(BOUND))

    a, b = stream.range(nil, 1, 1000):tee()
    a:close()
    assert.equal(500500, b:reduce(add, 0))

    a, b = stream.range(nil, 1, 10):tee()
    assert.same({}, a:take(0):collect())
    assert.equal(55, b:reduce(add, 0))

    a, b = stream.range(nil, 1):tee()
    ch = b:chan()
    for n in a:iter() do
      if n == 5 then break end
    end
    for n in ch do
      if n == 1000 then break end
    end
    b:close()
    assert.eventually(no_tasks, BOUND)
  end)

  it("tees and splits: a merge of the branches has all", function()
    local a, b = stream.range(nil, 1, 300):tee()
    assert.equal(3 * 45150, stream.merge(nil, a, b:map(double)):reduce(add, 0))
    a, b = stream.range(nil, 1, 300):tee()
    local c, d = a:tee()
    assert.equal(900, #stream.merge(nil, b, c, d):collect())
    local list = stream.merge(nil, stream.range(nil, 1, 300):split(5)):collect()
    table.sort(list)
    assert.same(numbers(300), list)
    alone()
  end)

  it("splits: an item goes to whoever is first", function()
    local a, b = stream.range(nil, 1):split(2)
    local ch = a:chan(0)
    local list = b:take(1000):collect()
    assert.equal(1000, #list)
    assert.equal("integer", math.type(ch:recv()))
    a:close()
    assert.eventually(no_tasks, BOUND)
  end)

  it("tees and splits: what cannot cross is told to all ends", function()
    local co = coroutine.create(print)
    for _, parted in ipairs { "tee", "split" } do
      local s = stream.range(nil, 1, 10):map(function() return co end)
      local a, b = s[parted](s, 2)
      local ch, task = a:map(same):chan()
      raises("^spec/stream_spec.lua:%d+: cannot send coroutine at ", function() b:collect() end)
      assert.is_nil(ch:recv(BOUND))
      local ok, err = task:join(BOUND)
      assert.is_false(ok)
      assert.matches("^range | map 1: spec/stream_spec.lua:%d+: cannot send coroutine",
        tostring(err))
    end
  end)

  it("tells where it was started when it waits", function()
    local s <close> = stream.from(nil, rille.chan()):map(same)
    s:chan()
    local places = {}
    for i, task in ipairs(rille.tasks()) do places[i] = task.started:gsub(":%d+$", "") end
    assert.same({ "spec/stream_spec.lua", "spec/stream_spec.lua" }, places)
  end)

  it("tees and splits: to wait for one before the others have ends raises", function()
    local a, b = stream.range(nil, 1, 10):tee()
    raises("stream_spec.lua:%d+: the other streams of this tee or split have no end yet",
      function() a:collect() end)
    b:close()
    a, b = stream.range(nil, 1, 10):split(2)
    raises("have no end yet", function() for _ in a:map(same, { workers = 2 }):iter() do end end)
    b:close()
    assert.eventually(no_tasks, BOUND)
  end)

  it("is a boundary where a buffer is", function()
    assert.same(numbers(300), stream.range(nil, 1, 300):buffer():buffer(0):buffer(3):collect())
  end)
end)

describe("a stage on the clock", function()
  local HOUR = 3600

  -- Sends each value so many seconds after the one before, then closes.
  local function timed(...)
    local ch, plan = rille.chan(), { ... }
    rille.go(function()
      for i = 1, #plan, 2 do
        rille.sleep(plan[i])
        if plan[i + 1] ~= "end" then ch:send(plan[i + 1]) end
      end
      ch:close()
    end)
    return ch
  end

  -- The items, each with the seconds from the start.
  local function log(s)
    local start, list = rille.now(), {}
    for v in s:iter() do list[#list + 1] = { rille.now() - start, v } end
    return list
  end

  it("gives a batch when it is full, or some time after its first item", function()
    testing.run(function()
      local ch = timed(1, "a", 1, "b", 1, "c", 1, "d", 20, "e", 9, "f", 100, "g", 5, "end")
      assert.same({
        { 3, { "a", "b", "c" } }, { 14, { "d" } }, { 34, { "e", "f" } }, { 138, { "g" } },
      }, log(stream.from(nil, ch):batch(3, 10)))
    end)
  end)

  it("spaces items evenly, and drops none", function()
    testing.run(function()
      assert.same({ { 0, 1 }, { 0.5, 2 }, { 1, 3 }, { 1.5, 4 } },
        log(stream.range(nil, 1, 4):throttle(2)))
      local ch = timed(0, "a", 1, "b", 9, "c", 0, "d", 0, "e")
      assert.same({ { 0, "a" }, { 4, "b" }, { 10, "c" }, { 14, "d" }, { 18, "e" } },
        log(stream.from(nil, ch):throttle(0.25)))
    end)
  end)

  it("gives what nothing has followed, and the last item at the end", function()
    testing.run(function()
      local ch = timed(1, "a", 1, "b", 1, "c", 5, "d", 10, "e", 1, "f", 1, "end")
      assert.same({ { 6, "c" }, { 11, "d" }, { 20, "f" } },
        log(stream.from(nil, ch):debounce(3)))
      assert.same({}, log(stream.from(nil, timed(1, "end")):debounce(3)))
    end)
  end)

  it("ends when the stream is stopped by a deadline", function()
    testing.run(function()
      for _, make in ipairs {
        function(s) return s:batch(3, HOUR) end,
        function(s) return s:throttle(1 / HOUR) end,
        function(s) return s:debounce(HOUR) end,
      } do
        local start, ch = rille.now(), rille.chan(2)
        ch:send(1)
        ch:send(2)
        local result, err = make(stream.from(60, ch)):collect()
        assert.same({ nil, "deadline exceeded" }, { result, err })
        assert.is_true(rille.now() - start < 61)
      end
    end)
  end)

  it("works at the pace of its workers, and keeps the order", function()
    testing.run(function()
      local start = rille.now()
      local s = stream.from(nil, { 5, 1, 1, 1, 4, 1 }):map(function(n)
        rille.sleep(n)
        return n
      end, { workers = 2 })
      assert.same({ { 5, 5 }, { 5, 1 }, { 5, 1 }, { 5, 1 }, { 7, 4 }, { 7, 1 } }, log(s))
      assert.equal(7, rille.now() - start)
    end)
  end)
end)

describe("an end", function()
  it("collects, folds, calls, loops", function()
    assert.same({ 1, 2, 3 }, stream.range(nil, 1, 3):collect())
    assert.equal(6, stream.range(nil, 1, 3):reduce(add, 0))
    assert.equal("none", stream.range(nil, 1, 0):reduce(add, "none"))
    local list = {}
    assert.is_true(stream.range(nil, 1, 3):each(function(n) list[#list + 1] = n end))
    assert.same({ 1, 2, 3 }, list)
    list = {}
    for n in stream.range(nil, 1, 300):iter() do list[#list + 1] = n end
    assert.same(numbers(300), list)
    list = {}
    for n in stream.range(nil, 1, 300) do list[#list + 1] = n end
    assert.same(numbers(300), list)
    alone()
  end)

  it("is a channel, and a task that tells of the end", function()
    for _, capacity in ipairs { 0, 1, 500 } do
      local ch, task = stream.range(nil, 1, 300):chan(capacity)
      assert.equal(capacity, ch:cap())
      local list = {}
      for n in ch do list[#list + 1] = n end
      assert.same(numbers(300), list)
      assert.same({ true, true }, { task:join(BOUND) })
      raises("send", function() ch:send(1) end)
    end
    assert.equal(128, (stream.range(nil, 1, 0):chan()):cap())
    assert.eventually(no_tasks, BOUND)
  end)

  it("reads what came before the tasks had ended", function()
    for _ = 1, 50 do
      local s = stream.range(nil, 1, 20)
      local list = {}
      for n in s:iter() do
        list[#list + 1] = n
        if n == 1 then assert.eventually(no_tasks, BOUND) end
      end
      assert.same(numbers(20), list)
    end
  end)

  it("takes no part for the whole when the done fires late", function()
    local done, cancel = rille.done()
    local list, err = {}, nil
    local ok = pcall(function()
      for n in stream.range(done, 1, 20):iter() do
        list[#list + 1] = n
        if n == 1 then
          assert.eventually(no_tasks, BOUND)
          cancel()
        end
      end
    end)
    assert.same({ false, { 1 } }, { ok, list, err })
  end)

  it("can be left, and a loop without iter gone on with", function()
    local s = stream.range(nil, 1)
    for n in s do
      if n == 3 then break end
    end
    assert.equal(4, s())
    assert.is_true(s:close())
    alone()
    local stopped = stream.range(nil, 1)
    do
      local _ <close> = stopped
      for n in stopped do
        if n == 3 then break end
      end
    end
    alone()
    for n in stream.range(nil, 1):map(same, { workers = 3 }):iter() do
      if n == 3 then break end
    end
    alone()
  end)

  it("is gone when its stream is garbage", function()
    local function begin()
      for n in stream.range(nil, 1):map(same, { workers = 2 }) do
        if n == 3 then break end
      end
      for _ in stream.range(nil, 1):iter() do -- luacheck: ignore 512
        return
      end
    end
    begin()
    assert.eventually(function()
      collectgarbage()
      return no_tasks()
    end, BOUND)
  end)

  it("that is a channel needs no stream", function()
    local function begin() return (stream.range(nil, 1, 1000):chan(0)) end
    local ch, sum = begin(), 0
    for n in ch do
      if n % 100 == 0 then collectgarbage() end
      sum = sum + n
    end
    assert.equal(500500, sum)
  end)

  it("is a channel, which its task's interruption closes", function()
    for i = 0, 20 do
      local ch, task = stream.range(nil, 1):map(function(n)
        return n == 5 and rille.never:recv() or n
      end, { workers = 2 }):chan(0)
      for _ = 1, i do rille.yield() end
      task:interrupt "enough"
      for _ in ch do end -- luacheck: ignore 542
      assert.same({ false, "enough" }, { task:join(BOUND) })
      assert.eventually(no_tasks, BOUND)
    end
  end)

  it("that nobody reads any more is a leak, and can be collected", function()
    local function drop()
      stream.range(nil, 1):map(same, { workers = 2 }):filter(even):chan()
    end
    drop()
    assert.eventually(function()
      rille.collect()
      return no_tasks()
    end, BOUND)
  end)

  it("raises what its function raises, when all tasks have ended", function()
    for _, name in ipairs { "each", "reduce" } do
      local s = stream.range(nil, 1):map(same, { workers = 2 })
      local err = { "as it is" }
      local ok, raised = pcall(s[name], s, function() error(err) end)
      assert.is_false(ok)
      assert.equal(err, raised)
      alone()
    end
    raises("out of the loop", function()
      for _ in stream.range(nil, 1):iter() do error "out of the loop" end
    end)
    alone()
  end)

  it("fails when its function gives nil and an error", function()
    local function fails(a, b)
      if (b or a) == 3 then return nil, "bad" end
      return 0
    end
    failed("each", "bad", stream.range(nil, 1):each(fails))
    failed("reduce", "bad", stream.range(nil, 1):reduce(fails, 0))
    failed("each", "bad", stream.range(nil, 1, 3):each(fails))
    alone()
  end)

  it("gives a task's failure, whichever end it is", function()
    local function make() return stream.range(nil, 1):map(fail_at(3)) end
    failed("map 1", "no 3", make():collect())
    failed("map 1", "no 3", make():reduce(add, 0))
    failed("map 1", "no 3", make():each(same))
    local ok, err = pcall(function() for _ in make():iter() do end end)
    failed("map 1", "no 3", ok or nil, err)
    ok, err = pcall(function() for _ in make() do end end)
    failed("map 1", "no 3", ok or nil, err)
    local ch, task = make():chan()
    for _ in ch do end -- luacheck: ignore 542
    ok, err = task:join(BOUND)
    failed("map 1", "no 3", ok or nil, err)
    ok, err = pcall(task.await, task)
    failed("map 1", "no 3", ok or nil, err)
    alone()
  end)

  it("tells of a failure that came before it was left", function()
    local gate = rille.chan()
    local s = stream.range(nil, 1):map(function(n)
      if n == 100 then
        gate:recv()
        error("no 100", 0)
      end
      return n
    end)
    local function failure_is_there() return s.pipe.done:err() end
    local ok, err = pcall(function()
      for n in s:iter() do
        gate:close()
        assert.eventually(failure_is_there, BOUND)
        if n == 1 then break end
      end
    end)
    failed("map 1", "no 100", ok or nil, err)
    s = stream.range(nil, 1):map(fail_at(100))
    local ch, task = s:chan()
    for _ = 1, 70 do ch:recv() end
    for _ in ch do end -- luacheck: ignore 542
    failed("map 1", "no 100", s:close())
    assert.is_false((task:join()))
  end)

  it("leaves a failure to be reported when an error is under way", function()
    local result = helper.run([[
      local rille = require "rille"
      local gate = rille.chan()
      local s = rille.stream.range(nil, 1):map(function(n)
        if n == 100 then
          gate:recv()
          error "unlucky"
        end
        return n
      end)
      print(pcall(function()
        for _ in s:iter() do
          gate:close()
          while not s.pipe.done:err() do rille.yield() end
          error("mine", 0)
        end
      end))
    ]], { env = { RILLE_LEAKS = "report" } })
    assert.same({ 0, "false\tmine\n" }, { result.code, result.out })
    assert.matches("map 1: .*unlucky", result.err)
  end)
end)

describe("a failure", function()
  it("in any stage comes out with its name, and nothing stays", function()
    local function bad(n)
      return function(v)
        v = type(v) == "table" and v[1] or v
        if v == n then return nil, "bad" end
        return v
      end
    end
    for _, n in ipairs { 1, 2, 200, 1000 } do
      local function make() return stream.range(nil, 1, 1000) end
      for name, s in pairs {
        ["map 1"] = make():map(bad(n)),
        ["map 2"] = make():map(same):map(bad(n)):map(same),
        ["filter 2"] = make():map(same, { workers = 2 }):filter(bad(n)),
        ["map 3"] = make():batch(1):map(same):map(bad(n), { workers = 3 }):take(1001),
        ["map 4"] = make():skip(0):filter(same):map(same)
          :map(bad(n), { workers = 3, ordered = false }),
        ["map 5"] = make():buffer():batch(1, 1000):map(bad(0)):map(same):map(same):map(bad(n)),
      } do
        failed(name, "bad", s:collect())
        alone()
      end
    end
  end)

  it("of a map is also that it gives nil", function()
    local err = failed("map 1", "the function returned nil",
      stream.range(nil, 1, 3):map(function() end):collect())
    assert.equal("map 1: the function returned nil", tostring(err))
    assert.equal("range | map 1", err.task)
  end)

  it("has the value that was raised, as far as it can cross", function()
    local _, err = stream.range(nil, 1, 3):map(function() error { code = 7 } end):collect()
    assert.same({ code = 7 }, err.value)
    assert.same({ code = 7 }, errors.unwrap(err))
    _, err = stream.range(nil, 1, 3):map(function()
      error(setmetatable({ coroutine.create(print) }, { __tostring = function() return "odd" end }))
    end):collect()
    assert.same({ "odd", "map 1: odd" }, { err.value, tostring(err) })
    _, err = stream.range(nil, 1, 3):map(function()
      return assert(rille.stream.range(nil, 1, 3):filter(error):collect())
    end):collect()
    assert.equal("filter 1", err.stage) -- of the stream within
  end)

  it("of a value that cannot cross names where it is", function()
    local _, err = stream.range(nil, 1, 3):map(function() return coroutine.create(print) end)
      :collect()
    assert.matches("cannot send coroutine", tostring(err))
    collectgarbage "stop" -- nobody else shall stop the tasks that were started already
    raises("cannot send coroutine", function()
      local co = coroutine.create(print)
      stream.range(nil, 1, 3):map(same, { workers = 2 }):map(function() return co end):collect()
    end)
    assert.eventually(no_tasks, BOUND)
    collectgarbage "restart"
  end)

  it("before a tee comes out at both ends, behind it at its own", function()
    local a, b = stream.range(nil, 1):map(fail_at(50)):tee()
    local _, task = a:chan()
    failed("map 1", "no 50", b:collect())
    local ok, err = task:join(BOUND)
    failed("map 1", "no 50", ok or nil, err)

    a, b = stream.range(nil, 1, 1000):tee()
    _, task = a:map(fail_at(50)):chan()
    assert.equal(500500, b:reduce(add, 0))
    ok, err = task:join(BOUND)
    failed("map 2", "no 50", ok or nil, err)
    assert.eventually(no_tasks, BOUND)
  end)

  it("of what is merged is one of the whole", function()
    failed("map 1", "no 5", stream.merge(nil, stream.range(nil, 1),
      stream.range(nil, 1):map(fail_at(5))):collect())
    failed("map 1", "no 5", stream.merge(nil, rille.chan(),
      stream.range(nil, 1):map(fail_at(5), { workers = 2 })):collect())
    alone()
  end)

  it("that cannot even be told of stops the stream all the same", function()
    local list, err, cause = stream.range(nil, 1, 3):map(function()
      _G["require"] = nil
      error "lost"
    end):collect()
    assert.same({ nil, "canceled", "a stage died" }, { list, err, cause })
    alone()
  end)

  it("is a deadlock where nothing can come, and leaves nothing", function()
    raises("deadlock", function() stream.from(nil, rille.chan()):map(same):collect() end)
    alone()
  end)

  it("after it was told to stop does not count", function()
    local hold = rille.chan()
    local s = stream.range(nil, 1):map(function(n)
      if n == 5 then
        local _ <close> = rille.defer(function() error "late" end)
        hold:recv()
      end
      return n
    end, { workers = 2 })
    assert.same({ 1, 2, 3 }, s:take(3):collect())
    alone()

    local function running(name)
      for _, task in ipairs(rille.tasks()) do
        if task.name == name then return true end
      end
    end
    local ch, task = stream.range(nil, 1):map(function(n)
      if n == 4 then
        hold:recv()
        error "late"
      end
      return n
    end, { workers = 2 }):take(3):buffer(3):map(same):chan(0)
    assert.eventually(function() return not running "take 2" end, BOUND)
    hold:close()
    assert.eventually(function() return not running "map 1" end, BOUND)
    local list = {}
    for n in ch do list[#list + 1] = n end
    assert.same({ 1, 2, 3 }, list)
    assert.is_true(task:await(BOUND))
  end)

  it("names the argument that is bad", function()
    local s = stream.range(nil, 1, 3)
    raises("stream_spec.lua:%d+: bad argument #1 to 'range' %(done, .* expected, got table%)",
      function() stream.range({}, 1) end)
    raises("#2 to 'range' %(number", stream.range, nil, "x")
    raises("#3 to 'range' %(number", stream.range, nil, 1, {})
    raises("#2 to 'from' %(list, channel, timer, stream or function expected, got nil%)",
      stream.from)
    raises("#2 to 'from'", stream.from, nil, rille.done())
    raises("#2 to 'generate'", stream.generate, nil, 1)
    raises("#2 to 'repeat_fn'", stream.repeat_fn, nil, {})
    raises("#3 to 'merge' %(stream or channel expected, got number%)", stream.merge, nil,
      rille.chan(), 3)
    raises("#2 to 'bridge' %(channel", stream.bridge, nil, {})
    raises("#1 to 'map'", s.map, s)
    raises("#2 to 'map' %(option 'workers': integer of at least 1 expected, got 0%)", s.map, s,
      same, { workers = 0 })
    raises("#2 to 'map' %(unknown option 'x'%)", s.map, s, same, { x = 0 })
    raises("#1 to 'filter'", s.filter, s, 1)
    raises("#1 to 'take' %(at least 0", s.take, s, -1)
    raises("#1 to 'skip'", s.skip, s, 1.5)
    raises("#1 to 'batch'", s.batch, s, 0)
    raises("#2 to 'batch'", s.batch, s, 1, "x")
    raises("#1 to 'window'", s.window, s, 0)
    raises("#1 to 'throttle' %(number above 0 expected, got 0", s.throttle, s, 0)
    raises("#1 to 'debounce'", s.debounce, s)
    raises("#1 to 'buffer'", s.buffer, s, -1)
    raises("#1 to 'split'", s.split, s, 0)
    raises("#1 to 'reduce'", s.reduce, s)
    raises("#1 to 'each'", s.each, s)
    raises("#1 to 'chan'", s.chan, s, -1)
    assert.same({ 1, 2, 3 }, s:collect()) -- it was not used up
  end)

  it("is that a stream is used twice, or sent", function()
    local s = stream.range(nil, 1, 3)
    local t = s:map(double)
    raises("stream_spec.lua:%d+: the stream is used already", function() s:map(double) end)
    raises("stream_spec.lua:%d+: the stream is used already", function() s:collect() end)
    raises("the stream is used already", function() stream.merge(nil, s) end)
    raises("cannot send a stream", rille.go, function() end, t)
    for _ in t do end -- luacheck: ignore 542
    raises("the stream is used already", function() for _ in t do end end)
    raises("the stream is used already", function() s:tee() end)
  end)
end)

describe("a done", function()
  local function forever(done)
    return {
      stream.from(done, rille.chan()),
      stream.range(done, 1):filter(function() return false end),
      stream.range(done, 1):map(same, { workers = 3 }):filter(function() return false end),
      stream.generate(done, function() return rille.never:recv() end),
      stream.generate(done, function() return rille.never:recv() end):map(same, { workers = 3 }),
      stream.merge(done, rille.chan(), stream.range(nil, 1):filter(function() end)),
      stream.bridge(done, rille.chan()),
      stream.from(done, rille.chan()):batch(2, 1000):debounce(1000),
      stream.merge(done, stream.from(nil, rille.chan()):tee()),
      stream.merge(done, stream.from(nil, rille.chan()):split(3)),
    }
  end

  it("that has fired stops a stream at once", function()
    local done, cancel = rille.done()
    cancel "enough"
    for _, s in ipairs(forever(done)) do
      assert.same({ nil, "canceled", "enough" }, { s:collect() })
      alone()
    end
    assert.same({ nil, "canceled", "enough" }, { stream.range(done, 1, 3):reduce(add, 0) })
    assert.same({ nil, "canceled", "enough" }, { stream.range(done, 1, 3):each(same) })
    raises("^canceled$", function() for _ in stream.range(done, 1, 3):iter() do end end)
    local _, task = stream.range(done, 1, 3):chan()
    assert.same({ true, nil, "canceled", "enough" }, { task:join() })
  end)

  it("that fires stops a stream whatever it waits for", function()
    for i = 1, #forever() do
      local done, cancel = rille.done()
      local ended = rille.go({ daemon = true }, function() -- it may end last
        for _ = 1, 3 * i do rille.yield() end
        cancel "enough"
      end)
      assert.same({ nil, "canceled", "enough" }, { forever(done)[i]:collect() })
      alone()
      ended:join()
    end
  end)

  it("that has fired lets no function be called any more", function()
    local done, cancel = rille.done()
    local ch, called = rille.chan(), rille.chan(1)
    local s = stream.from(done, ch):batch(5):map(function(list)
      called:send(list)
      return list
    end)
    local _, task = s:chan()
    ch:send(1)
    ch:send(2)
    cancel()
    assert.is_true((task:join(BOUND)))
    assert.equal(0, #called)
  end)

  it("may be a number, or a channel", function()
    testing.run(function()
      local start = rille.now()
      local list, err = stream.from(60, rille.chan()):collect()
      assert.same({ nil, "deadline exceeded", 60 }, { list, err, rille.now() - start })
    end)
    local stop = rille.chan()
    stop:close()
    assert.same({ nil, "canceled", "canceled" }, { stream.range(stop, 1):collect() })
  end)

  it("of one that is merged stops the whole, and tells why", function()
    for _ = 1, 20 do
      local done, cancel = rille.done()
      local task = rille.go({ daemon = true }, function() -- it may end last
        for _ = 1, math.random(20) do rille.yield() end
        cancel "mine"
      end)
      assert.same({ nil, "canceled", "mine" },
        { stream.merge(nil, rille.chan(), stream.range(done, 1):map(same)):collect() })
      task:join()
      alone()
    end
  end)

  it("that stops one branch of a tee leaves the other", function()
    local a, b = stream.range(nil, 1, 500):tee()
    local ch, task = a:chan(0)
    local all = b:chan(0)
    assert.same({ 1, 1, 2 }, { ch:recv(), all:recv(), ch:recv() })
    assert.is_true(a:close())
    local sum = 1
    for n in all do sum = sum + n end
    assert.equal(125250, sum)
    assert.same({ true, nil, "canceled", "canceled" }, { task:join() })
  end)
end)

describe("a source is ahead of its reader", function()
  -- How many items a source has given when all tasks wait: only then does the clock go on.
  local function ahead(make)
    return testing.run(function()
      local counted = rille.chan(5000)
      local s = make(stream.repeat_fn(nil, function()
        counted:send(true)
        return 1
      end))
      local _ = s:chan(4)
      rille.sleep(1)
      local n = #counted
      s.pipe.cancel()
      return n
    end)
  end

  it("by what the channels hold, and one for each task", function()
    assert.equal(4 + 1, ahead(function(s) return s end))
    assert.equal(4 + 1, ahead(function(s) return s:map(same):filter(same):skip(0) end))
    assert.equal(4 + 1 + 7 + 1, ahead(function(s) return s:buffer(7):map(same) end))
    assert.equal(4 + 1 + 128 + 1, ahead(function(s)
      return s:map(same, { workers = 1 })
    end))
    assert.equal(4 + 1 + 128 + 1 + 128 + 1, ahead(function(s)
      return s:map(same, { workers = 1 }):map(same)
    end))
    assert.equal(4 + 3 + 2 + 1 + 1, ahead(function(s)
      return s:buffer(2):map(same, { workers = 3, ordered = false }):buffer(0):map(same)
    end))
  end)

  it("by two for each worker that keeps the order, and two", function()
    local n = ahead(function(s) return s:buffer(0):map(same, { workers = 3 }) end)
    assert.is_true(n <= 4 + 1 + (2 * 3 + 2) + 1, n)
  end)
end)

describe("the page on streams", function()
  it("has examples that run", function()
    local file = assert.is_truthy(io.open "docs/reference/stream.md")
    local page, n = file:read "a", 0
    file:close()
    for code in page:gmatch "\n```lua\n(.-)\n```" do
      n = n + 1
      assert.has_no.errors(assert(load("local rille = require 'rille' local done\n" .. code, code)))
    end
    assert.is_true(n > 5)
    rille.collect() -- what the example of tee leaves unread
    assert.eventually(no_tasks, BOUND)
  end)
end)

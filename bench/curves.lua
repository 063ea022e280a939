-- What one operation costs as there are more of what it works on: it should stay flat, or grow as
-- the logarithm. A line for each size, in nanoseconds per operation, the median of some rounds.
-- lua5.4 bench/curves.lua [rounds]

local harness = require "bench.harness"
local rille = require "rille"

local rounds = harness.arg(1, 5)

local function per_op(n, start) return (rille.now() - start) / n * 1e9 end

local function wait(ready, ch)
  ready:send(true)
  ch:recv()
end

local curves = {}

-- Tasks that wait on one channel: starting them until all wait, waking each by a value of its own
-- until all have ended.
curves[1] = { names = { "start", "wake" }, sizes = { 10, 1000, 100000 }, run = function(n)
  local ready, ch, tasks = rille.chan(n), rille.chan(), {}
  local start = rille.now()
  for i = 1, n do tasks[i] = rille.go(wait, ready, ch) end
  for _ = 1, n do ready:recv() end
  local started = per_op(n, start)
  start = rille.now()
  for i = 1, n do ch:send(i) end
  for i = 1, n do tasks[i]:join() end
  return started, per_op(n, start)
end }

-- A task that waits on one of many channels, handed a value, with the others waiting on theirs.
curves[2] = { names = { "hand-over" }, sizes = { 10, 1000, 100000 }, run = function(n)
  local ready, ch, tasks = rille.chan(n), rille.chan(), {}
  for i = 1, n do tasks[i] = rille.go(wait, ready, ch) end
  for _ = 1, n do ready:recv() end
  local took = harness.time(10000, harness.round_trips)
  ch:close()
  for i = 1, n do tasks[i]:join() end
  return took * 1e9
end }

-- Dones below one parent: making them, firing all by the parent.
curves[3] = { names = { "done", "cascade" }, sizes = { 10, 1000, 100000 }, run = function(n)
  local parent, cancel = rille.done()
  local children, start = {}, rille.now()
  for i = 1, n do children[i] = rille.done(parent) end
  local made = per_op(n, start)
  start = rille.now()
  cancel()
  local fired = per_op(n, start)
  assert(children[n]:err())
  return made, fired
end }

-- An or-channel over many: making it, firing it by the last input.
curves[4] = { names = { "any", "any-fire" }, sizes = { 10, 1000, 100000 }, run = function(n)
  local dones, cancel = {}, nil
  for i = 1, n do dones[i], cancel = rille.done() end
  local start = rille.now()
  local either = rille.any(table.unpack(dones))
  local made = per_op(n, start)
  start = rille.now()
  cancel()
  assert(either:err())
  return made, per_op(n, start)
end }

-- Timers that are armed: arming one more, stopping it.
curves[5] = { names = { "arm", "stop" }, sizes = { 1000, 10000, 100000, 1000000 }, run = function(n)
  local timers, start = {}, rille.now()
  for i = 1, n do timers[i] = rille.timer(1000 + i % 97) end
  local armed = per_op(n, start)
  start = rille.now()
  for i = 1, n do timers[i]:stop() end
  return armed, per_op(n, start)
end }

local function median(values)
  table.sort(values)
  return values[#values // 2 + 1]
end

local function measure(curve, n)
  local first, second = {}, {}
  for i = 1, rounds do first[i], second[i] = rille.go(curve.run, n):await() end
  return { median(first), curve.names[2] and median(second) }
end

for _, curve in ipairs(curves) do
  for _, n in ipairs(curve.sizes) do
    local figures = measure(curve, n)
    for i, name in ipairs(curve.names) do
      harness.report(("%s/%d"):format(name, n), figures[i], "ns")
    end
    collectgarbage()
  end
end

-- Cancel 1,000 parked tasks: from the call until all have ended.
-- lua5.4 bench/cancel.lua [rounds] [tasks]

local harness = require "bench.harness"
local rille = require "rille"

local count, width = harness.arg(1, 20), harness.arg(2, 1000)

-- `ready` has room for all, so that a task goes from there to its wait without a pause.
local function park(ready, ch, done)
  ready:send(true)
  ch:recv(done)
end

local function round()
  local ready, ch, tasks = rille.chan(width), rille.chan(), {}
  local done, cancel = rille.done()
  for i = 1, width do tasks[i] = rille.go(park, ready, ch, done) end
  for _ = 1, width do ready:recv() end
  local start = rille.now()
  cancel()
  for i = 1, width do tasks[i]:join() end
  return rille.now() - start
end

local function rounds(n)
  local total = round() * 0
  for _ = 1, n do total = total + round() end
  return total / n
end

harness.report("cancel-" .. width, rille.go(rounds, count):await() * 1e6, "us")

-- Many parked tasks: what starting them costs, what they hold, how they end together.
-- lua5.4 bench/parked.lua [tasks] [rounds]

local harness = require "bench.harness"
local rille = require "rille"

local count, rounds = harness.arg(1, 10000), harness.arg(2, 1)

-- `ready` has room for all, so that a task goes from there to its wait without a pause.
local function park(ready, ch, done)
  ready:send(true)
  ch:recv(done)
end

local function start(n, ch, done)
  local ready, tasks = rille.chan(n), {}
  for i = 1, n do tasks[i] = rille.go(park, ready, ch, done) end
  for _ = 1, n do ready:recv() end
  return tasks
end

local function round(prefix, n)
  local ch = rille.chan()
  local done, cancel = rille.done()
  local rss, t0 = harness.status "VmRSS", rille.now()
  local tasks = start(n, ch, done)
  local t1 = rille.now()
  harness.report(prefix .. "start", (t1 - t0) * 1e3, "ms")
  harness.report(prefix .. "memory", (harness.status "VmRSS" - rss) / n, "KB/task")
  harness.report(prefix .. "threads", harness.status "Threads", "threads")
  t1 = rille.now()
  cancel()
  for i = 1, n do tasks[i]:join() end
  harness.report(prefix .. "cancel", (rille.now() - t1) * 1e3, "ms")
end

local function after(prefix)
  collectgarbage()
  collectgarbage()
  harness.report(prefix .. "threads-after", harness.status "Threads", "threads")
  harness.report(prefix .. "memory-after", harness.status "VmRSS" / 1024, "MB")
end

rille.go(function() end):join()
local name = "parked-" .. count .. "/"
harness.report(name .. "memory-before", harness.status "VmRSS" / 1024, "MB")
for i = 1, rounds do
  local prefix = i == 1 and name or name .. i .. "/"
  rille.go(round, prefix, count):await()
  after(prefix)
end

-- Finding leaks: so many leaked tasks among as many that wait and live. How long a verdict takes,
-- also when there is nothing to find, and unwinding; what the tasks hold before and after. lua5.4
-- bench/leaks.lua [leaked] [live]

local harness = require "bench.harness"
local rille = require "rille"

local leaked = harness.arg(1, 100000)
local live = harness.arg(2, leaked)

-- `ready` has room for all, so that a task goes from there to its wait without a pause; then it
-- holds `ready` no more.
local function park(ready, ch)
  ready:send(true)
  ready = nil -- luacheck: ignore 311
  ch:recv()
end

-- Each waits on a channel of its own, unless they share one.
local function start(n, shared)
  local ready = rille.chan(n)
  for _ = 1, n do rille.go(park, ready, shared or rille.chan()) end
  for _ = 1, n do ready:recv() end
end

local function report(name, value, unit)
  harness.report(("leaks-%d/%s"):format(leaked, name), value, unit)
end

-- How long fn() takes, in milliseconds, and its result.
local function timed(name, fn)
  local t = rille.now()
  local result = fn()
  report(name, (rille.now() - t) * 1e3, "ms")
  return result
end

-- Returns when no more than n tasks are left.
local function wait_for(n)
  while true do
    local tasks = rille.stats().tasks
    if tasks.runnable + tasks.running + tasks.waiting <= n then return end
    rille.sleep(0.001)
  end
end

local function memory(name)
  collectgarbage()
  collectgarbage()
  report(name, harness.status "VmRSS" / 1024, "MB")
end

memory "memory-before"
local stop = rille.chan()
start(live, stop)
timed("none", function() return rille.leaks() end)
start(leaked)
memory "memory-leaked"
assert(#timed("find", function() return rille.leaks() end) == leaked)
assert(timed("collect", function() return rille.collect() end) == leaked)
wait_for(live)
stop:close()
wait_for(0)
rille.sleep(0.1) -- until the workers have given memory back
memory "memory-after"

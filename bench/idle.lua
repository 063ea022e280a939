-- An idle program with many parked tasks: the CPU time it uses and the times its threads wake up.
-- lua5.4 bench/idle.lua [tasks] [seconds]

local harness = require "bench.harness"
local rille = require "rille"

local count, seconds = harness.arg(1, 10000), harness.arg(2, 2)

local function park(ready, ch)
  ready:send(true)
  ch:recv()
end

-- The files in which the kernel counts for each of this process's threads.
local function files()
  local list, pid = {}, io.open("/proc/self/stat"):read("n")
  local pipe <close> = io.popen("ls -d /proc/" .. pid .. "/task/*")
  for path in pipe:lines() do list[#list + 1] = path .. "/status" end
  return list
end

-- How often these threads have begun to run again after a wait.
local function wake_ups(list)
  local n = 0
  for _, path in ipairs(list) do
    local file <close> = assert(io.open(path))
    n = n + tonumber(file:read("a"):match "\nvoluntary_ctxt_switches:%s*(%d+)")
  end
  return n
end

local ready, ch = rille.chan(count), rille.chan()
for _ = 1, count do rille.go(park, ready, ch) end
for _ = 1, count do ready:recv() end
rille.sleep(1) -- until the workers rest

local list = files()
local cpu, woken = os.clock(), wake_ups(list)
rille.sleep(seconds)
cpu, woken = os.clock() - cpu, wake_ups(list) - woken
ch:close()

harness.report("idle-" .. count .. "/cpu", cpu / seconds * 1e6, "us/s")
harness.report("idle-" .. count .. "/wake-ups", woken / seconds, "1/s")

-- Ping-pong alone, and beside 100 tasks that sit in a blocking C call.
-- lua5.4 bench/blocking.lua [round trips] [tasks]

local harness = require "bench.harness"
local rille = require "rille"

local count, width = harness.arg(1, 500000), harness.arg(2, 100)

local function size(path)
  local file <close> = assert(io.open(path))
  return file:seek("end")
end

-- Each command leaves one byte in `path` as its sleep begins.
local function block(path)
  local command = "echo >>" .. path .. "; exec sleep 2"
  local tasks = {}
  for i = 1, width do
    tasks[i] = rille.go(function() return os.execute(command) end)
  end
  local limit = rille.now() + 10
  while size(path) < width and rille.now() < limit do rille.sleep(0.01) end
  return tasks
end

local alone = harness.time_in_task(count, harness.round_trips)
local path = os.tmpname()
local tasks = block(path)
local beside = harness.time_in_task(count, harness.round_trips)
for _, task in ipairs(tasks) do task:await() end
os.remove(path)

harness.report("blocking/alone", alone * 1e9, "ns")
harness.report("blocking/beside", beside * 1e9, "ns")
harness.report("blocking/slowdown", beside / alone, "times")

-- Independent pairs of tasks at ping-pong: with RILLE_THREADS=1 and 2, how throughput grows.
-- lua5.4 bench/pairs.lua [round trips] [pairs]

local harness = require "bench.harness"
local rille = require "rille"

local count, width = harness.arg(1, 1000000), harness.arg(2, 8)

local function round_trips(n)
  local tasks = {}
  for i = 1, width do tasks[i] = rille.go(harness.round_trips, n // width) end
  for _, task in ipairs(tasks) do task:await() end
end

local name = "pairs/" .. (os.getenv "RILLE_THREADS" or "all")
harness.report(name, harness.time_in_task(count, round_trips) * 1e9, "ns")

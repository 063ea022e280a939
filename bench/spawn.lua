-- Spawn and join, one task at a time.
-- lua5.4 bench/spawn.lua [tasks]

local harness = require "bench.harness"
local rille = require "rille"

local function body() end

local function spawn(n)
  for _ = 1, n do rille.go(body):join() end
end

harness.report("spawn", harness.time_in_task(harness.arg(1, 20000), spawn) * 1e9, "ns")

-- 1 MiB strings through a channel.
-- lua5.4 bench/strings.lua [strings]

local harness = require "bench.harness"
local rille = require "rille"

local size = 1 << 20

local function produce(ch, n)
  local s = string.rep("x", size)
  for _ = 1, n do ch:send(s) end
end

local function transfer(n)
  local ch = rille.chan()
  local producer = rille.go(produce, ch, n)
  for _ = 1, n do ch:recv() end
  producer:await()
end

local seconds = harness.time_in_task(harness.arg(1, 2000), transfer)
harness.report("strings-1MiB", size / seconds * 1e-9, "GB/s")

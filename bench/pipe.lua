-- Integers from some producers to as many consumers over one channel.
-- lua5.4 bench/pipe.lua [values] [producers] [capacity]

local harness = require "bench.harness"
local rille = require "rille"

local count, peers, capacity = harness.arg(1, 1000000), harness.arg(2, 1), harness.arg(3, 128)

local function produce(ch, n)
  for i = 1, n do ch:send(i) end
end

local function consume(ch, n)
  for _ = 1, n do ch:recv() end
end

local function transfer(n)
  local ch, tasks = rille.chan(capacity), {}
  local share = n // peers
  for _ = 1, peers do
    tasks[#tasks + 1] = rille.go(consume, ch, share)
    tasks[#tasks + 1] = rille.go(produce, ch, share)
  end
  for _, task in ipairs(tasks) do task:await() end
end

local name = string.format("%d-to-%d/%d", peers, peers, capacity)
harness.report(name, harness.time_in_task(count, transfer) * 1e9, "ns")

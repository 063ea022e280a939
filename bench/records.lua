-- A table of 1,000 records { id, name } through a channel.
-- lua5.4 bench/records.lua [tables]

local harness = require "bench.harness"
local rille = require "rille"

local function records()
  local list = {}
  for i = 1, 1000 do list[i] = { id = i, name = "record " .. i } end
  return list
end

local function produce(ch, n)
  local list = records()
  for _ = 1, n do ch:send(list) end
end

local function transfer(n)
  local ch = rille.chan()
  local producer = rille.go(produce, ch, n)
  for _ = 1, n do ch:recv() end
  producer:await()
end

harness.report("records-1000", harness.time_in_task(harness.arg(1, 500), transfer) * 1e6, "us")

-- A select that receives from 2 or 16 channels, which one producer feeds in turn.
-- lua5.4 bench/select.lua [values] [2|16] [capacity]

local harness = require "bench.harness"
local rille = require "rille"

local count, width, capacity = harness.arg(1, 500000), harness.arg(2, 2), harness.arg(3, 128)

local function produce(chans, n)
  local k = #chans
  for i = 0, n - 1 do chans[i % k + 1]:send(i) end
end

-- Cases are written out, as Go's select statement has them.
local consume = {
  [2] = function(n, a, b)
    for _ = 1, n do rille.select(a, b) end
  end,
  [16] = function(n, a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q)
    for _ = 1, n do rille.select(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q) end
  end,
}

local function transfer(n)
  local chans = {}
  for i = 1, width do chans[i] = rille.chan(capacity) end
  local producer = rille.go(produce, chans, n)
  consume[width](n, table.unpack(chans))
  producer:await()
end

local name = string.format("select-%d/%d", width, capacity)
harness.report(name, harness.time_in_task(count, transfer) * 1e9, "ns")

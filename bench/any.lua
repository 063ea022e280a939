-- The or-channel over 1,000 dones: from firing the last of them to the end of the wait.
-- lua5.4 bench/any.lua [rounds] [dones]

local harness = require "bench.harness"
local rille = require "rille"

local count, width = harness.arg(1, 50), harness.arg(2, 1000)

local function round()
  local dones, cancel = {}, nil
  for i = 1, width do dones[i], cancel = rille.done() end
  local either = rille.any(table.unpack(dones))
  local start = rille.now()
  cancel()
  either:wait()
  return rille.now() - start
end

local function rounds(n)
  local total = round() * 0
  for _ = 1, n do total = total + round() end
  return total / n
end

harness.report("any-" .. width, rille.go(rounds, count):await() * 1e6, "us")

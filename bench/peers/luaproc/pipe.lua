-- Integers from some producers to as many consumers over one channel of luaproc.
-- lua5.4 bench/peers/luaproc/pipe.lua [values] [producers] [capacity]

local harness = require "bench.harness"
local luaproc = require "luaproc"

local count, peers, capacity = harness.arg(1, 1000000), harness.arg(2, 1), harness.arg(3, 128)

-- All its channels are rendezvous.
if capacity ~= 0 then os.exit() end

assert(luaproc.newchannel "values")

local function transfer(n)
  local share = n // peers
  for _ = 1, peers do
    assert(luaproc.newproc(function()
      local proc = require "luaproc"
      for _ = 1, share do proc.receive "values" end
    end))
    assert(luaproc.newproc(function()
      local proc = require "luaproc"
      for i = 1, share do proc.send("values", i) end
    end))
  end
  luaproc.wait()
end

local name = string.format("%d-to-%d/%d", peers, peers, capacity)
harness.report(name, harness.time(count, transfer) * 1e9, "ns")

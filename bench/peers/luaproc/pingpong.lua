-- A round trip between two processes of luaproc.
-- lua5.4 bench/peers/luaproc/pingpong.lua [round trips]

local harness = require "bench.harness"
local luaproc = require "luaproc"

assert(luaproc.newchannel "there")
assert(luaproc.newchannel "back")

local function round_trips(n)
  assert(luaproc.newproc(function()
    local proc = require "luaproc"
    for _ = 1, n do proc.send("back", proc.receive "there") end
  end))
  assert(luaproc.newproc(function()
    local proc = require "luaproc"
    for i = 1, n do
      proc.send("there", i)
      proc.receive "back"
    end
  end))
  luaproc.wait()
end

harness.report("pingpong", harness.time(harness.arg(1, 1000000), round_trips) * 1e9, "ns")

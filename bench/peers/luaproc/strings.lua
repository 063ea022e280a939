-- 1 MiB strings through a channel of luaproc.
-- lua5.4 bench/peers/luaproc/strings.lua [strings]

local harness = require "bench.harness"
local luaproc = require "luaproc"

local size = 1 << 20

assert(luaproc.newchannel "strings")

local function transfer(n)
  assert(luaproc.newproc(function()
    local proc, s = require "luaproc", require "string".rep("x", size)
    for _ = 1, n do proc.send("strings", s) end
  end))
  assert(luaproc.newproc(function()
    local proc = require "luaproc"
    for _ = 1, n do proc.receive "strings" end
  end))
  luaproc.wait()
end

local seconds = harness.time(harness.arg(1, 2000), transfer)
harness.report("strings-1MiB", size / seconds * 1e-9, "GB/s")

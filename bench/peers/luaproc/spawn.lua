-- Spawn a process of luaproc and wait for its end, one at a time. Nothing waits for one
-- process alone, so each says that it is done.
-- lua5.4 bench/peers/luaproc/spawn.lua [processes]

local harness = require "bench.harness"
local luaproc = require "luaproc"

assert(luaproc.newchannel "done")

local function spawn(n)
  assert(luaproc.newproc(function()
    local proc = require "luaproc"
    local function body() require "luaproc".send("done", true) end
    for _ = 1, n do
      assert(proc.newproc(body))
      proc.receive "done"
    end
  end))
  luaproc.wait()
end

harness.report("spawn", harness.time(harness.arg(1, 20000), spawn) * 1e9, "ns")

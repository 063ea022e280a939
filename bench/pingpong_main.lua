-- A round trip between the main program, which waits on its own thread, and a task.
-- lua5.4 bench/pingpong_main.lua [round trips]

local harness = require "bench.harness"

local seconds = harness.time(harness.arg(1, 200000), harness.round_trips)
harness.report("pingpong-main", seconds * 1e9, "ns")

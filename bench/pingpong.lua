-- A round trip between two tasks over two rendezvous channels.
-- lua5.4 bench/pingpong.lua [round trips]

local harness = require "bench.harness"

local seconds = harness.time_in_task(harness.arg(1, 1000000), harness.round_trips)
harness.report("pingpong", seconds * 1e9, "ns")

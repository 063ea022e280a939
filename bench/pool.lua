-- Small jobs: a pool of workers with a future for each job, beside a task for each job.
-- lua5.4 bench/pool.lua [jobs [workers]]

local harness = require "bench.harness"
local rille = require "rille"

local BATCH = 100 -- jobs that are on their way at a time

local function batches(n, start)
  local under_way = {}
  for _ = 1, n // BATCH do
    for i = 1, BATCH do under_way[i] = start(i) end
    for i = 1, BATCH do under_way[i]:await() end
  end
end

local function pooled(n, workers)
  local pool <close> = rille.pool(workers, function(i) return i + 1 end, { queue = BATCH })
  return harness.time(n, function(count)
    batches(count, function(i) return pool:submit(i) end)
  end)
end

local function next_of(i) return i + 1 end

local function spawned(n)
  return harness.time(n, function(count)
    batches(count, function(i) return rille.go(next_of, i) end)
  end)
end

local n, workers = harness.arg(1, 100000), harness.arg(2, 2)
harness.report("pool", rille.go(pooled, n, workers):await() * 1e9, "ns")
harness.report("pool/task-per-job", rille.go(spawned, n):await() * 1e9, "ns")

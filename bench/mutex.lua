-- Locking and unlocking a mutex that nobody else wants, and one that two tasks want; taking and
-- releasing a permit. lua5.4 bench/mutex.lua [rounds]

local harness = require "bench.harness"
local rille = require "rille"

local n = harness.arg(1, 1000000)

local function lock(rounds)
  local mutex = rille.mutex()
  for _ = 1, rounds do
    mutex:lock()
    mutex:unlock()
  end
end

local function guard(rounds)
  local mutex = rille.mutex()
  for _ = 1, rounds do
    local _ <close> = mutex:guard()
  end
end

local function acquire(rounds)
  local slots = rille.semaphore(1)
  for _ = 1, rounds do
    slots:acquire()
    slots:release()
  end
end

-- Half of the rounds in each of two tasks.
local function contend(rounds)
  local mutex, group = rille.mutex(), rille.waitgroup()
  for _ = 1, 2 do
    group:go(function()
      for _ = 1, rounds // 2 do
        mutex:lock()
        mutex:unlock()
      end
    end)
  end
  group:wait()
end

harness.report("mutex", harness.time_in_task(n, lock) * 1e9, "ns")
harness.report("mutex/guard", harness.time_in_task(n, guard) * 1e9, "ns")
harness.report("mutex/contended", harness.time(n, contend) * 1e9, "ns")
harness.report("mutex/semaphore", harness.time_in_task(n, acquire) * 1e9, "ns")

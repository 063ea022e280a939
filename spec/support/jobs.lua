-- A module of functions for a pool, which keeps state and counts how often it is loaded.

local jobs = { calls = 0 }

loads = (loads or 0) + 1 -- luacheck: ignore 111 113

function jobs.count()
  jobs.calls = jobs.calls + 1
  return jobs.calls, loads -- luacheck: ignore 113
end

function jobs.sum(a, b) return a + b end

return jobs

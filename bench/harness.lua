-- What every benchmark shares: its arguments, the clock, one line of output per figure.

local rille = require "rille"

local harness = {}

-- The i-th argument of the program as an integer.
function harness.arg(i, default)
  return math.tointeger(arg[i]) or math.tointeger(tonumber(arg[i])) or default
end

-- Seconds per operation of body(n), which carries out n of them, after a warm-up.
function harness.time(n, body)
  body(n // 10 + 1)
  local start = rille.now()
  body(n)
  return (rille.now() - start) / n
end

-- The same in a task, where waits park.
function harness.time_in_task(n, body)
  return rille.go(harness.time, n, body):await()
end

-- Round trips with another task over two rendezvous channels.
function harness.round_trips(n)
  local there, back = rille.chan(), rille.chan()
  local echo = rille.go(function()
    for _ = 1, n do back:send(there:recv()) end
  end)
  for i = 1, n do
    there:send(i)
    back:recv()
  end
  echo:await()
end

function harness.report(name, value, unit)
  print(string.format("%s %.3f %s", name, value, unit))
end

-- A number of /proc/self/status: "VmRSS" in KiB, "Threads".
function harness.status(field)
  for line in io.lines("/proc/self/status") do
    local n = line:match("^" .. field .. ":%s*(%d+)")
    if n then return math.tointeger(n) end
  end
end

return harness

-- A job queue that is shut down by a signal: it accepts no more jobs, finishes what runs if that
-- does not take too long, and says what was left. Jobs that fail are tried again.

local rille = require "rille"

local WORKERS, GRACE = 2, 0.2 -- so many seconds for what runs when the signal comes

-- One job at a time, until no more are to be begun. `done` fires when there is no time any more.
local function worker(done, jobs, stop, results)
  for job in jobs:iter(stop) do
    local made
    local _, err = rille.retry(done, function(inner, attempt)
      made = attempt
      return job.run(inner)
    end, { attempts = 3, backoff = 0.001 })
    results:send { name = job.name, attempts = made, err = err and tostring(err) }
  end
end

-- Starts the workers; returns how to hand in a job, and how to wait for the end.
local function queue(stop)
  local jobs, results = rille.chan(10), rille.chan(10)
  local group = rille.group()
  for i = 1, WORKERS do group:go({ name = "worker " .. i }, worker, jobs, stop, results) end

  local function submit(name, run)
    local ok, err = jobs:send({ name = name, run = run }, stop)
    print(ok and "accepted: " .. name or "refused: " .. name .. ", " .. err)
  end

  local function shut_down()
    local _ <close> = group
    jobs:close()
    if not group:wait(GRACE) then group:cancel "out of time" end
    group:wait()
    results:close()
    local left = {}
    for job in jobs do left[#left + 1] = job.name end
    return results, left
  end

  return submit, shut_down
end

local stop = rille.notify "TERM"
local submit, shut_down = queue(stop)

local calls, running = rille.chan(10), rille.chan(1)
local pid = io.open "/proc/self/stat":read "n"

submit("resize", function() return true end)
submit("mail", function()
  calls:send(true)
  if #calls < 3 then return nil, "the server is busy" end
  return true
end)
submit("print", function() error("no paper", 0) end)
submit("backup", function()
  for _ = 1, 2 do running:recv() end -- now both workers are at work, and all is handed in
  os.execute("kill -TERM " .. pid)
  stop:wait()
  return true
end)
submit("import", function(done)
  running:send(true)
  return done:wait() and nil, done:err()
end)
submit("index", function() return true end)
submit("purge", function() return true end)
running:send(true)

stop:wait()
print("signal: " .. stop:cause())
submit("audit", function() return true end)

local results, left = shut_down()
local lines = {}
for r in results do
  local how = r.err and "failed: " .. r.err:match "%S[^\n]*$" or "done" -- the last error
  lines[#lines + 1] = ("%s, attempt %d: %s"):format(r.name, r.attempts, how)
end
table.sort(lines)
print(table.concat(lines, "\n"))
print("left: " .. table.concat(left, ", "))

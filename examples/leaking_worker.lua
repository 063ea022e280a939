-- A task that leaks: its input channel is nil-like, nobody will ever send on it or close it, so the
-- worker waits for ever. In Go it would stay for the life of the process, and in silence; here the
-- end of the program tells of it, on stderr.

local rille = require "rille"

local function work(strings)
  return rille.go({ name = "worker" }, function()
    for s in strings do print("working on " .. s) end
    print "worker: done"
  end)
end

local worker = work(rille.never)

-- ... other work is done here, and the worker forgotten ...
while worker:status() ~= "waiting" do rille.yield() end

print("the program goes on; the worker is " .. worker:status())
print("tasks that wait: " .. rille.stats().tasks.waiting)

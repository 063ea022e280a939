-- The cure for the leaking worker: whoever starts a task passes a done, by which it can be told to
-- stop. The or-done loop ends with the channel or with the done, whichever comes first.

local rille = require "rille"

local function work(done, strings)
  return rille.go({ name = "worker" }, function()
    for s in strings:iter(done) do print("working on " .. s) end
    return done:err()
  end)
end

local done, cancel = rille.done()
local worker = work(done, rille.never)

cancel()
print("the worker ended: " .. worker:await())
print("tasks that wait: " .. rille.stats().tasks.waiting)

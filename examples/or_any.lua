-- The or-channel that Rille has: a done that fires with the first of channels, dones, tasks, timers
-- and numbers of seconds. No tasks, no tree: a registration with each, withdrawn when it fires.

local rille = require "rille"

local stop = rille.chan()
local parent, cancel = rille.done()
local task = rille.go(function() rille.sleep(0.01) end)

local first = rille.any(rille.never, stop, parent, task, 3600)
first:wait()
print("the task was first: " .. first:err())

local second = rille.any(stop, parent)
rille.go(function() cancel "enough for today" end)
second:wait()
print("then the done: " .. second:cause())

-- A value that is delivered is not lost: it is the cause.
local third = rille.any(stop, 3600)
stop:send "the value"
print("then the channel: " .. third:cause())
print("it is a done like any other: " .. tostring(rille.chan():recv(third)))

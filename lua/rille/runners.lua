--- Functions that run against each other: what `rille.race` and `rille.first_ok` share.
-- @module rille.runners

local rille = require "rille"
local args = require "rille.args"
local errors = require "rille.errors"

local runners = {}
runners.__index = runners

runners.OPTIONS = { delay = args.seconds }

--- Prepares the functions, which start in the group as `next` is called.
function runners.new(group, fns, opts)
  group:_in_order()
  return setmetatable({ group = group, fns = fns, delay = opts.delay, tasks = {}, ended = 0 },
    runners)
end

local function start_one(self)
  local n = #self.tasks + 1
  self.tasks[n] = self.group:go(self.fns[n])
end

local function start(self)
  repeat start_one(self) until self.delay or #self.tasks == #self.fns or self.group.done:err()
end

--- Starts what is to be started and waits until one has ended. Returns its task and its number; nil
-- when all have; or nil, the error and the cause of the group's done.
function runners:next()
  local done = self.group.done
  while true do
    local more = #self.tasks < #self.fns
    if more then start(self) end
    more = more and #self.tasks < #self.fns
    local till = more and rille.any(done, self.delay) or done
    local place = self.group:_end(self.ended + 1, till)
    if place then
      self.ended = self.ended + 1
      return self.tasks[place], place
    end
    if done:err() or not more then return nil, done:err(), done:cause() end
  end
end

--- Cancels the rest and waits for it. Its errors are what the winner spares us.
function runners:finish()
  self.group:cancel()
  self.group:wait()
end

--- `true` and the results of a task that has ended, or `false` and its failure.
function runners.outcome(task)
  local outcome = table.pack(task:join())
  if outcome[1] then return table.unpack(outcome, 1, outcome.n) end
  return false, errors._of(task, outcome[2])
end

return runners

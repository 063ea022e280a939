--- Functions that run against each other: what `rille.race` and `rille.first_ok` share.
-- @module rille.runners

local rille = require "rille"
local args = require "rille.args"
local errors = require "rille.errors"

local runners = {}
runners.__index = runners

runners.OPTIONS = { delay = args.seconds }

-- They start in the group as `next` is called.
local function new(group, fns, opts)
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

--- `true` and the results of a task that has ended, or `false` and its failure.
function runners.outcome(task)
  local outcome = table.pack(task:join())
  if outcome[1] then return table.unpack(outcome, 1, outcome.n) end
  return false, errors._of(task, outcome[2])
end

-- Cancels the rest and waits for it. Its errors are what the winner spares us.
local function finish(group)
  group:cancel()
  group:wait()
end

--- Runs the functions against each other. `decide(field)` asks for `next` until it can return the
-- outcome of the winner, in a list, or nil and the error.
function runners.run(done, fns, opts, decide)
  local group <close> = rille.group(done, { policy = "all" })
  local outcome, failure = decide(new(group, fns, opts))
  local err, cause = group.done:err(), group.done:cause()
  finish(group)
  if outcome then return table.unpack(outcome, 2, outcome.n) end
  if err then return nil, err, cause end
  return nil, failure
end

return runners

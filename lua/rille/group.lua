--- Groups.
-- Tasks that belong together: the first error stops them all, and none outlives the scope. Go's
-- `errgroup` and the nursery of Trio in one.
--
--     local group <close> = rille.group(done)
--     for _, url in ipairs(urls) do group:go(fetch, url) end
--     local ok, err = group:wait()
--
-- A function that is started gets the group's done as its first argument. It fails by raising, or
-- by returning `nil` and an error: both end its task as failed, and both are the group's error. By
-- default the first failure fires the done, at once and from the task that fails, whatever the
-- owner of the group is doing. What the others then raise or return because they were
-- told to stop (the done's error or its cause) is no failure.
--
-- At the end of its scope a group declared `<close>` cancels what still runs and waits for all of
-- it, so no task outlives the scope, in whatever way that is left. A failure that nobody has asked
-- for by `wait` is then reported on stderr, as that of any task. An error that leaves the scope
-- goes on as it is. A group that is just dropped leaves its tasks alone: they go on as other tasks
-- do.
--
-- A group is its owner's, the task that has made it, and does not cross to another. A task that
-- wants to start others makes a group below the done that it was given.
--
-- What a group remembers are its failures and what its functions return, so one that runs
-- for long stays small when they return nothing.
-- @module group
-- @pragma nostrip

local rille = require "rille"
local args = require "rille.args"
local backoff = require "rille.backoff"
local errors = require "rille.errors"

local group = { __name = "rille.group" }
group.__index = group

local MANY <const> = 0x7fffffff
local NONE <const> = {}

local count <const> = args.at_least(1)

local function policy(value)
  return value ~= "first" and value ~= "all" and "'first' or 'all'" or nil
end

local TASK <const> = { name = "string", memory = count, pinned = "boolean", daemon = "boolean" }
local OPTIONS <const> = { limit = count, policy = policy, max_errors = count, name = "string" }

-- How many failures fire the done; 0: no number does.
local function most(opts)
  return opts.max_errors or opts.policy == "all" and 0 or 1
end

--- Makes a group.
-- @function rille.group
-- @tparam[opt] done done the parent of its done
-- @tparam[opt] table opts `limit` (integer, how many tasks may run at the same time), `policy`
-- (`"first"`: the first failure fires the done; `"all"`: none does, all are collected),
-- `max_errors` (integer: the failure with this number fires the done, those before are collected),
-- `name` (string, that of the done)
-- @treturn group with the field `done`
-- @raise on a bad argument or option, named
-- @usage
-- local group <close> = rille.group { limit = 2 }
-- for i = 1, 4 do group:go(function(done, n) return rille.sleep(0.01 * n, done) and n * n end, i)
-- end assert(group:wait())
-- assert(table.concat(group:results(), " ") == "1 4 9 16")
-- @usage
-- local group <close> = rille.group()
-- group:go({ name = "bad" }, function() error("boom", 0) end)
-- group:go({ name = "good" }, function(done) return rille.sleep(60, done) end)
-- local ok, first, failures = group:wait()
-- assert(ok == nil and first.task == "bad" and first.value == "boom" and #failures == 1)
local function new(_, parent, opts)
  local at = 2
  if opts == nil and type(parent) == "table" and not getmetatable(parent) then
    parent, opts, at = nil, parent, 1
  end
  args.done(1, "group", parent)
  opts = args.options(at, "group", opts, OPTIONS)
  local done, cancel = rille.done(parent, { name = opts.name })
  local ended = rille.chan(MANY, "group")
  return setmetatable({
    done = done,
    _cancel = cancel,
    _ended = ended, -- the places of tasks that have
    _crew = rille._crew(cancel, ended, most(opts)),
    _limit = opts.limit or MANY,
    _tasks = {}, -- by place, in the order of their start; without those that were settled
    _started = 0,
    _active = 0,
    _unsure = false,
    _failed = {}, -- by place: tasks
    _stopped = nil, -- the first task that failed because it was told to stop
    _values = {},
    _order = nil, -- the places of those that have ended, in that order, where this is asked for
  }, group)
end

-- Is `a` what became of `b`, which was an error and has crossed?
local function same(a, b, depth)
  if a == b then return true end
  if type(a) == "string" and type(b) == "string" then
    return a:match "^.-:%d+: (.*)$" == b -- a position that `error` has put before it
  end
  if type(a) ~= "table" or type(b) ~= "table" or depth > 8 then return false end
  if getmetatable(a) ~= getmetatable(b) then return false end
  for key, value in pairs(a) do
    if not same(value, b[key], depth + 1) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- Has a task raised or returned nothing but that it was told to stop?
local function tells_stop(done, err)
  if getmetatable(err) == errors.join then
    for _, part in err:iter() do
      if not tells_stop(done, part) then return false end
    end
    return true
  end
  local value = errors.unwrap(err)
  return same(value, done:err(), 0) or same(value, errors.unwrap(done:cause()), 0)
end

-- Puts away a task that has ended. Errors are left untaken until somebody waits for them.
local function settle(self, place)
  local task = self._tasks[place]
  if not task then return end
  local rank, late, err = rille._failure(task)
  if not rank then
    local _, value = task:join()
    self._values[place] = value
  elseif late and tells_stop(self.done, err) then
    task:join()
    self._stopped = self._stopped or task
  else
    self._failed[place] = task
  end
  if self._order then self._order[#self._order + 1] = place end
  self._tasks[place] = nil
  self._active = self._active - 1
end

local function ended(task)
  local status = task:status()
  return status == "finished" or status == "failed"
end

-- An interruption may have come anywhere in what follows: then the tasks are gone through.
local function steady(self)
  if not self._unsure then return end
  local active = 0
  for place, task in pairs(self._tasks) do
    self._started = math.max(self._started, task and place or 0)
    if task and ended(task) then settle(self, place) end
    active = active + (self._tasks[place] and 1 or 0)
  end
  self._active = active
  self._unsure = false
end

-- Waits until one more has ended, and puts that away.
local function reap(self, done)
  steady(self)
  self._unsure = true
  local place, err, cause = self._ended:recv(done)
  if place then settle(self, place) end
  self._unsure = false
  return place, err, cause
end

local function reap_ready(self)
  steady(self)
  while #self._ended > 0 do reap(self) end
end

-- As numbers count from the call and let what is ready come first.
local function until_done(self, done)
  if type(done) ~= "number" then return done end
  reap_ready(self)
  return done > 0 and rille.after(done) or 0
end

local function has_room(self)
  if self.done:err() then return nil, self.done:err(), self.done:cause() end
  reap_ready(self)
  if self._active < self._limit then return true end
  return false, "full"
end

local function wait_for_room(self)
  local room, err, cause = has_room(self)
  while room == false do
    local place
    place, err, cause = reap(self, self.done)
    room = place and self._active < self._limit
  end
  return room, err, cause
end

local function start(self, opts, fn, ...)
  self._unsure = true
  local place = self._started + 1
  local ok, task = pcall(rille._member, self._crew, self._tasks, place, opts, fn, self.done, ...)
  if ok then self._started, self._active = place, self._active + 1 end
  self._unsure = false
  return args.sent(ok, task)
end

-- `room_in` says whether there is room. It is called last, in the place of the method of that name,
-- so its caller is whom a bad argument is told.
local function start_in(self, name, room_in, opts, ...)
  local fn = opts
  if type(opts) == "table" then
    args.options(1, name, opts, TASK)
    fn = args.task(2, name, (...))
  else
    args.task(1, name, fn)
  end
  local room, err, cause = room_in(self)
  if not room then return room, err, cause end
  if fn == opts then return start(self, NONE, fn, ...) end
  return start(self, opts, ...)
end

--- Starts `fn(done, ...)` as a task of the group.
-- At the group's limit it first waits until one of the others has ended.
-- @function group:go
-- @tparam[opt] table opts of the task, as for [`rille.go`](tasks.md)
-- @tparam function|string fn a Lua function, or the name of a module that yields one; it gets the
-- group's done before its arguments
-- @param ... its arguments
-- @treturn task its handle
-- @treturn nil,string,any when the group was cancelled, or was waited for: the error and the cause
-- of its done; nothing is started
-- @raise as `rille.go`
function group:go(opts, ...)
  return start_in(self, "go", wait_for_room, opts, ...)
end

--- The same, but never waits.
-- @function group:try_go
-- @tparam[opt] table opts as for `group:go`
-- @tparam function|string fn as for `group:go`
-- @param ... its arguments
-- @treturn task its handle
-- @treturn boolean,string `false` and `"full"` at the limit
-- @treturn nil,string,any as `group:go`
-- @raise as `rille.go`
-- @usage
-- local group <close> = rille.group { limit = 1 }
-- assert(group:try_go(function(done) done:wait() end))
-- assert(select(2, group:try_go(print)) == "full")
function group:try_go(opts, ...)
  return start_in(self, "try_go", has_room, opts, ...)
end

-- The failures in the order of their starts, and the one that was first in time.
local function failures(self)
  local places, list, first, lowest = {}, {}, nil, math.huge
  for place in pairs(self._failed) do places[#places + 1] = place end
  table.sort(places)
  for i, place in ipairs(places) do
    local task = self._failed[place]
    local rank = rille._failure(task)
    local _, err = task:join()
    list[i] = errors._of(task, err)
    if rank < lowest then first, lowest = list[i], rank end
  end
  return first, list
end

local function conclude(self)
  local first, list = failures(self)
  if not first and self._stopped then
    first = errors._of(self._stopped, self.done:err(), self.done:cause())
    list = { first }
  end
  self._outcome = first and { n = 3, nil, first, list } or { n = 1, true }
  self._cancel()
end

--- Waits until all tasks of the group have ended.
-- Then the group is over: its done fires, and nothing more can be started. Waiting again gives the
-- same answer.
-- @function group:wait
-- @tparam[opt] done done what cuts the wait short; the group goes on, and can be waited for again
-- @treturn boolean `true` when none has failed
-- @treturn nil,failure,table otherwise the first failure in time, and the list of all in the order
-- in which their tasks were started. A failure has `value` (what was raised or returned), `task`
-- (its name), `id` and `traceback`. When nothing has failed but tasks have stopped because the
-- group was cancelled from outside, there is one failure, whose value is the done's error, with
-- its `cause`
-- @treturn nil,string,any when `done` has fired first: its error and cause
-- @usage
-- local done, cancel = rille.done()
-- local group <close> = rille.group(done)
-- group:go(function(stop) return rille.sleep(60, stop) end)
-- cancel "no more"
-- local ok, err = group:wait()
-- assert(ok == nil and rille.errors.is(err, "canceled") and err.cause == "no more")
function group:wait(done)
  done = until_done(self, args.done(1, "wait", done))
  while not self._outcome do
    steady(self)
    if self._active == 0 then
      conclude(self)
    else
      local place, err, cause = reap(self, done)
      if not place then return nil, err, cause end
    end
  end
  return table.unpack(self._outcome, 1, self._outcome.n)
end

--- What the functions have returned, so far.
-- @function group:results
-- @treturn table the first result of each, in the order in which they were started; `nil` where one
-- has failed, returned nothing or not ended; `n` is the number of all. Do not change it
function group:results()
  reap_ready(self)
  self._values.n = self._started
  return self._values
end

--- Fires the group's done.
-- @function group:cancel
-- @param[opt="canceled"] cause any value that can cross
function group:cancel(cause)
  args.sent(pcall(self._cancel, cause))
end

local SUPERVISED <const> = {
  attempts = backoff.OPTIONS.attempts, backoff = backoff.expected,
  jitter = backoff.expected_jitter, restart_if = "function",
  name = "string", memory = count, pinned = "boolean",
}

-- One attempt: a group, so that whatever happens to the supervisor nothing is left of it.
local function attempt(done, opts, fn, ...)
  local once <close> = rille.group(done)
  once:go(opts, fn, ...)
  local ok, err = once:wait()
  if ok then return true, once:results()[1] end
  return false, err
end

-- What runs in a supervised task.
local function supervise(done, opts, task, fn, ...)
  local pauses, tries = backoff.of(opts.backoff, opts.jitter), {}
  repeat
    local ok, outcome = attempt(done, task, fn, ...)
    if ok then return outcome end
    local n = #tries + 1
    tries[n] = outcome
    local again = n ~= opts.attempts and (not opts.restart_if or opts.restart_if(outcome, n))
  until not again or not rille.sleep(pauses(n), done)
  return nil, done:err() or errors.join(tries)
end

--- Starts a task that is started again when it fails.
-- Its failures are no failures of the group, and the others run on. When it has failed for the last
-- time, that is one, with all its failures [joined](errors.md). Each attempt is a task of its own.
-- @function group:supervise
-- @tparam[opt] table opts `attempts` (integer, after so many it is not started again; by default
-- `math.huge`: always), `backoff` (the pause before a new attempt: the first one in seconds, by
-- default 0.1, from where it doubles to 30 s; or a table with `first`, `factor`, `max` and
-- `jitter`; or a function from the number of the attempt to the pause), `jitter` (from 0 to 1, the
-- share of a pause that is random), `restart_if(failure, attempt)` (a function that says whether to
-- go on), and `name`, `memory` and `pinned`, as for [`rille.go`](tasks.md)
-- @tparam function|string fn as for `group:go`
-- @param ... its arguments
-- @treturn task,... as `group:go`; it has the first result of the attempt that went well
-- @usage
-- local group <close> = rille.group()
-- local ch = rille.chan(3)
-- for n = 1, 3 do ch:send(n) end
-- local task = group:supervise({ attempts = 5, backoff = 0.001 }, function()
--   local n = ch:recv()
--   if n < 3 then error("only " .. n) end
--   return n
-- end)
-- assert(group:wait() and task:await() == 3)
function group:supervise(opts, ...)
  if type(opts) ~= "table" then
    args.task(1, "supervise", opts)
    return self:go(supervise, NONE, NONE, opts, ...)
  end
  args.options(1, "supervise", opts, SUPERVISED)
  args.task(2, "supervise", (...))
  local task = { name = opts.name, memory = opts.memory, pinned = opts.pinned }
  return self:go({ name = opts.name }, supervise, opts, task, ...)
end

-- For the modules that are made of a group: from now on the order of ends is kept.
function group:_in_order()
  self._order = {}
end

-- Returns the place of the task that was the `n`th to end, for which it waits; nil when all have
-- ended before; or the done's error and cause.
function group:_end(n, done)
  steady(self)
  while not self._order[n] and self._active > 0 do
    local place, err, cause = reap(self, done)
    if not place then return nil, err, cause end
  end
  return self._order[n]
end

function group:__close()
  self._cancel()
  steady(self)
  while self._active > 0 do reap(self) end
end

function group.__transfer()
  error("a group stays with the task that has made it", 0)
end

-- The options that others pass on.
group._parts = { limit = count, policy = policy, max_errors = count }

return setmetatable(group, { __call = new })

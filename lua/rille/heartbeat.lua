--- Heartbeats.
-- A task that hangs looks like one that works. A worker that says with each unit of work that it
-- lives can be told apart: when it has said nothing for too long, a done fires. After the chapter
-- on heartbeats, and on healing unhealthy goroutines, in Katherine Cox-Buday's "Concurrency in Go".
--
--     local heart <close> = rille.heartbeat(5)
--     rille.go(function()
--       for job in jobs:iter(heart:done()) do
--         work(job)
--         heart:beat()
--       end
--     end)
--     heart:done():wait()
--     print(heart:done():cause())                -- silent
--
-- A heart crosses to other tasks. Nothing polls or ticks: a beat sets a timer back. One that nobody
-- refers to any more ends when its time is over.
-- @module heartbeat
-- @pragma nostrip

local rille = require "rille"
local args = require "rille.args"
local backoff = require "rille.backoff"

-- The class of its objects: a module's table, so it is the same in all tasks.
local heartbeat = { __name = "rille.heartbeat" }
heartbeat.__index = heartbeat

local function give_up(cancel) cancel "silent" end -- in a task, which needs nothing else

local function make(timeout, done)
  local silence, cancel = rille.done(done)
  local timer = rille.timer(timeout)
  return setmetatable({
    timeout = timeout,
    timer = timer,
    silence = silence,
    cancel = cancel,
    unwatch = rille.any(timer):after(give_up, cancel),
    pulses = rille.chan(1),
  }, heartbeat)
end

--- Makes a heart, whose first beat is now.
-- @function rille.heartbeat
-- @tparam number timeout so many seconds without a beat are too long
-- @tparam[opt] done done what fires the heart's done as well
-- @treturn heart `local heart <close> = ...` stops it at the end of the scope
-- @usage
-- local heart = rille.heartbeat(0.01)
-- assert(heart:beat())
-- assert(heart:done():wait() and heart:done():cause() == "silent" and not heart:beat())
local function new(_, timeout, done)
  args.number(1, "heartbeat", timeout, 0)
  args.done(2, "heartbeat", done)
  return make(timeout, done)
end

--- Says that the worker lives. Never waits.
-- @function heart:beat
-- @treturn boolean `false` when it is too late, or the heart was stopped: a worker that learns this
-- should end
function heartbeat:beat()
  if self.silence:err() then return false end
  self.timer:reset(self.timeout)
  self.pulses:try_send(true)
  return true
end

--- What fires when there was no beat for too long; with the cause `"silent"`.
-- It is the worker's done as well: who is given up should stop.
-- @function heart:done
-- @treturn done
function heartbeat:done()
  return self.silence
end

--- The beats as a channel, to be watched: a slow reader misses some.
-- @function heart:pulse
-- @treturn receiver
function heartbeat:pulse()
  return self.pulses:receiver()
end

--- Stops the heart: its done fires, unless it has, and nothing waits for a beat any more.
-- @function heart:stop
function heartbeat:stop()
  self.cancel()
  self.unwatch()
  self.timer:stop()
end

heartbeat.__close = heartbeat.stop

-- The worker of one attempt. When its scope is left, it is told to stop, and awaited: as long as it
-- may be silent, and then it is interrupted. That is seen to by a task, which goes on when its
-- starter is interrupted in turn.
local Ward = {}

local function see_off(task, timeout)
  if task:join(timeout) == nil then task:interrupt "silent" end
  local ended, err = task:join()
  return not ended and err or nil
end

-- Returns what the worker has raised, if it has.
local function dismiss(ward)
  ward.heart:stop()
  if ward.task:join(0) ~= nil then return see_off(ward.task) end
  return rille.go(see_off, ward.task, ward.heart.timeout):await()
end

Ward.__close = dismiss

local function outcome(ward, ended, ...)
  local task, heart = ward.task, ward.heart
  if ended then return ... end
  if ended == false then return nil, rille.errors._of(task, (...)) end
  if heart.silence:cause() ~= "silent" then return nil, ... end
  return nil, rille.errors.failure("silent", { task = task:name(), cause = dismiss(ward) })
end

-- The worker begins when it is known that it will be awaited.
local function work(clearance, fn, done, heart)
  if clearance:recv() then return fn(done, heart) end
end

local function attend(timeout, fn, done)
  local heart <close> = make(timeout, done)
  local clearance <close> = rille.chan(1)
  local opts = { name = "ward" }
  local task = args.sent(pcall(rille._go, opts, work, clearance, fn, heart.silence, heart))
  local ward <close> = setmetatable({ task = task, heart = heart }, Ward)
  clearance:send(true)
  return outcome(ward, task:join(heart.silence))
end

--- Keeps a worker alive: runs `fn(done, heart)` in a task, and again when it fails or falls silent.
-- A silent worker is told to stop by its done; if it has not ended after `timeout` seconds more, it
-- is interrupted. Then, after a pause, comes the next. No worker is left when this returns.
-- @function heartbeat.steward
-- @tparam done done what stops it all, or `nil`
-- @tparam number timeout so many seconds without a beat are too long
-- @tparam function fn the worker: calls `heart:beat()`, and stops when `done` fires
-- @tparam[opt] table opts as for [rille.retry](retry.md); `attempts` is `math.huge` by default
-- @return the results of `fn`, once it returns any but `nil` and an error
-- @treturn nil,any,any as of `rille.retry`; of a silent worker the error is `"silent"`
-- @usage
-- local calls = rille.chan(2)
-- local function worker(done, heart)
--   heart:beat()
--   if calls:try_send(true) then done:wait() end    -- the first two hang
--   return "done at last"
-- end
-- local opts = { backoff = 0.001 }
-- assert(rille.heartbeat.steward(nil, 0.01, worker, opts) == "done at last")
function heartbeat.steward(done, timeout, fn, opts)
  args.done(1, "steward", done)
  args.number(2, "steward", timeout, 0)
  args.fn(3, "steward", fn)
  local own = { attempts = math.huge }
  args.options(4, "steward", opts, backoff.OPTIONS)
  for key, value in pairs(opts or {}) do own[key] = value end
  return rille.retry(done, function(below) return attend(timeout, fn, below) end, own)
end

return setmetatable(heartbeat, { __call = new })

--- Limiter.
-- So many events a second, and a few at once: a token bucket, after Go's `golang.org/x/time/rate`.
-- It holds up to `burst` tokens, is full at first, and gets `rate` new ones each second.
--
--     local limiter = rille.limiter(10, 3)       -- ten a second, three at once
--     for job in jobs:iter(done) do
--       if not limiter:wait(done) then break end
--       handle(job)
--     end
--
-- It crosses to other tasks, which share it. Who waits has a moment of its own, reserved when it
-- came: so first come is first served. Nothing ticks meanwhile.
-- @module limiter
-- @pragma nostrip

local rille = require "rille"
local args = require "rille.args"
local cell = require "rille.cell"

-- The class of its objects: a module's table, so it is the same in all tasks.
local limiter = { __name = "rille.limiter" }
limiter.__index = limiter

-- Time is counted in tokens that have come since `start`. An object has a cell with the time at
-- which the bucket is full again: each token taken moves it on by one, and a token can be had when
-- that is not more than `burst` ahead.

local function now(self)
  return (rille.now() - self.start) * self.rate
end

-- The time after n more tokens; nil when they cannot be had within `most` tokens from now.
local function taken(full, self, n, most)
  local time = now(self)
  local after = math.max(full, time) + n
  return after - self.burst <= time + most and after or nil
end

-- Seconds from now until that time leaves the burst's room.
local function wait_for(self, after)
  local tokens = after - self.burst - now(self)
  return tokens <= 0 and 0 or tokens / self.rate
end

-- When others have reserved behind it, who come next would overtake them: then nothing is.
local function given_back(full, n, after)
  return full == after and full - n or nil
end

-- The tokens that one caller has reserved until it uses them. It notes what it is about to reserve
-- before it does, so that it knows afterwards, whatever it was interrupted in.
local Reservation = {}

function Reservation.__close(r)
  if r.used or not r.after then return end
  local full, version = rille._peek(r.cell)
  if r.made or version == r.version + 1 and full == r.after then
    cell.update(r.cell, given_back, r.n, r.after)
  end
end

local function reserve(self, r, most)
  repeat
    local full, version = rille._peek(self.cell)
    local after = taken(full, self, r.n, most)
    if not after then return false end
    r.after, r.version = after, version
  until rille._replace(self.cell, version, after)
  r.made = true
  return true
end

-- Seconds until that deadline.
local function remaining(done)
  if type(done) == "number" then return math.max(done, 0) end
  return type(done) == "userdata" and done.remaining and done:remaining() or math.huge
end

local function use(r, slept, ...)
  r.used = slept
  return slept, ...
end

local function sleep_until(self, r, done)
  local seconds = wait_for(self, r.after)
  if seconds == 0 and done == nil then return use(r, true) end
  return use(r, rille.sleep(seconds, done))
end

-- What has fired comes first.
local function too_late(slept, ...)
  if not slept then return slept, ... end
  return nil, "deadline exceeded", "deadline exceeded"
end

local function check_burst(self, i, name, n)
  if n > self.burst and self.rate < math.huge then
    local text = "bad argument #%d to '%s' (at most the burst of %d expected, got %d)"
    error(text:format(i, name, self.burst, n), 3)
  end
end

--- Makes a limiter.
-- @function rille.limiter
-- @tparam number rate tokens per second: 0 for none but the first burst, `math.huge` for no limit
-- @tparam[opt=1] integer burst how many can be had at once
-- @treturn limiter it crosses to other tasks by reference
local function new(_, rate, burst)
  return setmetatable({
    rate = args.number(1, "limiter", rate, 0),
    burst = args.integer(2, "limiter", burst == nil and 1 or burst, 1),
    start = rille.now(),
    cell = cell.new(0.0),
  }, limiter)
end

--- Waits until it can have a token, or `n`, and takes them.
-- The moment is fixed when it comes, behind those of all who came before. Who gives up gives back
-- what it has reserved, unless others have reserved behind it: they keep their moments, and nobody
-- overtakes them.
-- @function limiter:wait
-- @tparam[opt] done done what cuts the wait short. If it has a deadline, or is a number, and the
-- tokens will come too late, the wait fails at once and takes nothing
-- @tparam[opt=1] integer n how many tokens, not more than the burst
-- @treturn boolean `true`
-- @treturn nil,string,any when `done` fires first, or would: `nil`, `"canceled"` or
-- `"deadline exceeded"`, and the cause
-- @usage
-- local limiter = rille.limiter(1000, 2)
-- for _ = 1, 4 do assert(limiter:wait()) end   -- the last two come a millisecond apart
-- assert(select(2, limiter:wait(0)) == "deadline exceeded")
function limiter:wait(done, n)
  args.done(1, "wait", done)
  n = args.integer(2, "wait", n == nil and 1 or n, 1)
  check_burst(self, 2, "wait", n)
  if self.rate == math.huge then return rille.sleep(0, done) end
  local seconds = remaining(done)
  local most = seconds < math.huge and seconds * self.rate or seconds
  local r <close> = setmetatable({ cell = self.cell, n = n }, Reservation)
  if not reserve(self, r, most) then return too_late(rille.sleep(0, done)) end
  return sleep_until(self, r, done)
end

--- Takes a token, or `n`, if it can have them now.
-- @function limiter:try
-- @tparam[opt=1] integer n how many tokens, not more than the burst
-- @treturn boolean did it get them?
function limiter:try(n)
  n = args.integer(1, "try", n == nil and 1 or n, 1)
  check_burst(self, 1, "try", n)
  if self.rate == math.huge then return true end
  return select(2, cell.update(self.cell, taken, self, n, 0))
end

return setmetatable(limiter, { __call = new })

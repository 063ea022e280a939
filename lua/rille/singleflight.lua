--- Calls that share one run.
-- Many ask for the same thing at once, and it is dear: only the first call runs the function, the
-- others wait for it and get the same. After Go's `golang.org/x/sync/singleflight`.
--
--     local flights = rille.singleflight()
--     local function page(url, done)             -- in any number of tasks
--       return flights:run(url, fetch, done)
--     end
--
-- It crosses to other tasks, which share it. The function runs in a task of its own, so a caller
-- that gives up does not take it away from the others; when all have given up, it is told to stop.
-- @module singleflight
-- @pragma nostrip

local rille = require "rille"
local args = require "rille.args"
local cell = require "rille.cell"

local update = cell.update

-- The class of its objects: a module's table, so it is the same in all tasks.
local singleflight = { __name = "rille.singleflight" }
singleflight.__index = singleflight

-- An object has a cell with the flights by their keys. A flight has a `task`, the `cancel` of the
-- done that the function gets, and a cell of its own, `seats`: the number `n` of its callers, and
-- `gone`, a done that fires when all of them have left. Once nobody can come aboard any more, as
-- the function has returned or all have left, the seats are a mere number.

local function sit_down(seats, left)
  if type(seats) == "number" then return nil end
  return { n = seats.n + 1, gone = rille.all(seats.gone, left) }
end

local function shut(seats)
  return type(seats) == "table" and seats.n or nil
end

local function shut_if_gone(seats)
  return type(seats) == "table" and seats.gone:err() and 0 or nil
end

local function shared(flight)
  local seats = cell.get(flight.seats)
  return (shut(seats) or seats) > 1
end

-- The task of a flight runs these. It loads the errors only where there are some.

local function raised(value) return rille.errors._raised(value) end

-- What was raised when nobody waits any more is to be reported, but for that of being told to stop.
local function unheard(done, failure)
  if not rille.errors.is(failure, done:err()) and not rille.errors.is(failure, done:cause()) then
    error(failure.message .. "\n" .. failure.traceback, 0)
  end
end

local function outcome(seats, done, ok, value, err)
  local held = update(seats, shut)
  if ok then return true, value, err end
  if held == 0 or held.gone:err() then unheard(done, value) end
  return true, nil, value
end

-- Returns nothing when its starter has found another in the air, or was interrupted.
local function fly(clearance, seats, done, fn, key)
  if clearance:recv() then return outcome(seats, done, xpcall(fn, raised, done, key)) end
end

local function prepare(clearance, left, fn, key)
  local done, cancel = rille.done()
  local seats = cell.new { n = 1, gone = left }
  local opts = { name = "singleflight" }
  local task = args.sent(pcall(rille._go, opts, fly, clearance, seats, done, fn, key))
  return { task = task, seats = seats, cancel = cancel }
end

local function over(flight)
  local status = flight.task:status()
  return status == "finished" or status == "failed"
end

-- The flights with `after` in the place of `before`, and without those that are over; both may be
-- nil. There is no change if another was faster.
local function exchanged(flights, key, before, after)
  local there = flights[key]
  if (there and there.task) ~= (before and before.task) then return nil end
  local changed = {}
  for k, flight in pairs(flights) do
    if not over(flight) then changed[k] = flight end
  end
  changed[key] = after
  return changed
end

local function without(flights, key)
  if not flights[key] then return nil end
  flights[key] = nil
  return flights
end

-- A caller's seat notes the flight before the caller is counted, so it leaves whatever happens.
local Seat = {
  __close = function(seat)
    local flight = seat.flight
    if flight and select(2, update(flight.seats, shut_if_gone)) then flight.cancel() end
  end,
}

local function board(seat, flight, left)
  seat.flight = flight
  return flight and select(2, update(flight.seats, sit_down, left))
end

-- Takes a seat in the flight of that key, or in a new one, which is cleared once it is known.
local function embark(flights, seat, left, key, fn)
  local clearance <close> = rille.chan(1)
  local own
  while true do
    local flight = cell.get(flights)[key]
    if board(seat, flight, left) then return flight end
    own = own or prepare(clearance, left, fn, key)
    seat.flight = own
    if select(2, update(flights, exchanged, key, flight, own)) then
      clearance:send(true)
      return own
    end
  end
end

local function arrived(flights, key, flight, joined, ...)
  if joined == nil then
    local err, cause = ...
    return true, nil, err, false, cause
  end
  update(flights, exchanged, key, flight, nil)
  local value, err = select(2, ...)
  if not joined then
    value, err = nil, rille.errors.failure(..., { traceback = flight.task:traceback() })
  end
  return not joined or ..., value, err, shared(flight)
end

local function once(flights, key, fn, done)
  local seat <close> = setmetatable({}, Seat)
  local left, leave <close> = rille.done() -- luacheck: ignore 211 (fires before the seat is left)
  local flight = embark(flights, seat, left, key, fn)
  return arrived(flights, key, flight, flight.task:join(done))
end

-- A flight whose starter was interrupted never takes off; then it is tried once more.
local function until_flown(self, key, fn, done, flown, ...)
  if flown then return ... end
  return until_flown(self, key, fn, done, once(self.flights, key, fn, done))
end

local KEY = "string, number, boolean or handle"
local KEYS = { string = true, number = true, boolean = true, userdata = true }

local function is_key(value)
  return KEYS[type(value)] and value == value
end

--- Makes a place where calls are shared.
-- @function rille.singleflight
-- @treturn singleflight it crosses to other tasks by reference
local function new()
  return setmetatable({ flights = cell.new {} }, singleflight)
end

--- Runs `fn(done, key)` in a task of its own, or waits for the run of that key which is under way.
-- The next call after the end runs the function anew: nothing is kept. The done that the function
-- gets fires when all callers have left.
-- @function flights:run
-- @tparam string|number|boolean|handle key what is asked for
-- @tparam function fn crosses to its task; its first result and its error cross back
-- @tparam[opt] done done what makes this caller leave
-- @return the value that the function returned
-- @return its error: what it returned as such, or a [failure](errors.md) with the traceback of what
-- it raised; all callers get it
-- @treturn boolean was it given to more than one caller?
-- @treturn nil,string,boolean,any when `done` fired first: `nil`, `"canceled"` or
-- `"deadline exceeded"`, `false`, and the cause
-- @raise what of the function cannot cross
-- @usage
-- local flights = rille.singleflight()
-- local function load(done, key)
--   rille.sleep(0.01, done)
--   return "the value of " .. key
-- end
-- local tasks = {}
-- for i = 1, 10 do                             -- load is not called ten times
--   tasks[i] = rille.go(function() return flights:run("x", load) end)
-- end
-- for _, task in ipairs(tasks) do assert(task:await() == "the value of x") end
function singleflight:run(key, fn, done)
  args.as(1, "run", is_key(key), KEY, key)
  args.fn(2, "run", fn)
  args.done(3, "run", done)
  if done ~= nil then
    if type(done) == "number" then done = rille.any(done) end -- it counts from here
    local ok, err, cause = rille.sleep(0, done)
    if not ok then return nil, err, false, cause end
  end
  return until_flown(self, key, fn, done)
end

--- Lets the next call of that key run its function, even if one is under way, which goes on for
-- those who wait for it.
-- @function flights:forget
-- @tparam string|number|boolean|handle key what is asked for
function singleflight:forget(key)
  args.as(1, "forget", is_key(key), KEY, key)
  update(self.flights, without, key)
end

return setmetatable(singleflight, { __call = new })

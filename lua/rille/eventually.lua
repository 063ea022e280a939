--- An assertion of luassert for what other tasks bring about: `assert.eventually`.
-- @module rille.eventually

local luassert = require "luassert"
local say = require "say"
local rille = require "rille"

local DEFAULT = 1 -- second
local SHORTEST, LONGEST = 0.001, 0.05 -- pauses between two calls

local function callable(value)
  local meta = debug.getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

local function check(ok, position, expected, value, level)
  if ok then return end
  local text = "bad argument #%d to 'eventually' (%s expected, got %s)"
  level = level + 2 -- this function, and the assertion
  error(text:format(position, expected, type(value)), level)
end

-- A function that returns nothing says by not raising that it is content: it may be made of
-- assertions.
local function content(result)
  return result[1] and (result.n == 1 or result[2])
end

-- The results of the last call, as pcall gives them.
local function last_try(fn, seconds)
  local deadline, pause = rille.now() + seconds, SHORTEST
  while true do
    local result = table.pack(pcall(fn))
    local remaining = deadline - rille.now()
    if content(result) or remaining <= 0 then return result end
    rille.sleep(math.min(pause, remaining))
    pause = math.min(2 * pause, LONGEST)
  end
end

-- A failed assertion's error is a table that has a text.
local function text_of(value)
  local meta = debug.getmetatable(value)
  local says = type(value) == "string" or type(meta) == "table" and meta.__tostring
  return says and tostring(value) or luassert:format({ value, n = 1 })[1]
end

--- Calls a function until it returns a true value; if it returns nothing, until it does not raise.
-- In between it sleeps by `rille.sleep`, 1 ms at first and then ever longer, up to 50 ms. It is
-- called at least once. `assert.is_not.eventually` fails as soon as the function is content.
-- @function assert.eventually
-- @tparam function fn called without arguments
-- @tparam[opt=1] number seconds for how long at most
-- @return what fn returned
-- @raise fails with the last value, or the last error; raises on a bad argument
local function eventually(_, arguments, level)
  local fn, seconds = arguments[1], arguments[2]
  check(callable(fn), 1, "function", fn, level)
  if seconds == nil then seconds = DEFAULT end
  check(type(seconds) == "number" and seconds >= 0, 2, "number of seconds", seconds, level)
  local result = last_try(fn, seconds)
  local kind = result[1] and "value" or "error"
  arguments[1], arguments[2], arguments[3], arguments.n = seconds, kind, text_of(result[2]), 3
  arguments.nofmt = { true, true, true }
  return content(result), content(result) and table.pack(table.unpack(result, 2, result.n))
end

say:set("assertion.eventually.positive", "Expected to come true within %s s.\nThe last %s:\n%s")
say:set("assertion.eventually.negative", "Expected not to come true within %s s.\nThe last %s:\n%s")
luassert:register("assertion", "eventually", eventually,
  "assertion.eventually.positive", "assertion.eventually.negative")

return eventually

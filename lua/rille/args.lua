--- What the modules of Rille share to refuse bad arguments: the error names the function, the
-- argument and what stands there, as those of C functions do, and points at the caller.
-- @module rille.args

local rille = require "rille"

local args = {}

-- Called from the functions of this module, which are called from the one whose argument it is:
-- the error points at that one's caller.
local function refuse(n, name, text)
  error(("bad argument #%d to '%s' (%s)"):format(n, name, text), 4)
end

local function name_of(value)
  if value ~= value then return "nan" end
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and type(meta.__name) == "string" and meta.__name or type(value)
end

-- Of what is of the right type it does not help to be told that.
local function shown(expected, value)
  local kind = type(value)
  if kind == "number" and (expected:find "^number" or expected:find "^integer") then
    return value ~= value and "nan" or ("%.14g"):format(value)
  elseif kind == "string" and expected:find "^'" then
    return ("'%s'"):format(value)
  end
  return name_of(value)
end

local function wrong(expected, value)
  return ("%s expected, got %s"):format(expected, shown(expected, value))
end

local function callable(value)
  local meta = debug.getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

-- Each returns `value`, or raises that argument `n` of the function `name` is bad. They are
-- called from the function itself, not from a helper of it.

--- A function, or what can be called like one; or what `expected` says, which was looked for
-- before.
function args.fn(n, name, value, expected)
  if not callable(value) then refuse(n, name, wrong(expected or "function", value)) end
  return value
end

local function startable(value)
  return type(value) == "function" or type(value) == "string"
end

--- A function, or the name of a module that yields one: what `rille.go` starts.
function args.task(n, name, value)
  if not startable(value) then
    refuse(n, name, wrong("function or module name", value))
  end
  return value
end

--- A list of these, of at least one unless it may be `empty`.
function args.tasks(n, name, value, empty)
  if type(value) ~= "table" then refuse(n, name, wrong("list of functions", value)) end
  if #value == 0 and not empty then refuse(n, name, "a list of at least one function expected") end
  for i, fn in ipairs(value) do
    if not startable(fn) then
      refuse(n, name, ("%s at %d"):format(wrong("function or module name", fn), i))
    end
  end
  return value
end

function args.table(n, name, value)
  if type(value) ~= "table" then refuse(n, name, wrong("table", value)) end
  return value
end

--- A number that is not nan, of at least `least`, if that is given.
function args.number(n, name, value, least)
  if type(value) ~= "number" or value ~= value then refuse(n, name, wrong("number", value)) end
  if least and value < least then
    refuse(n, name, ("at least %g expected, got %g"):format(least, value))
  end
  return value
end

--- An integer (or a float that is one) of at least `least`, if that is given.
function args.integer(n, name, value, least)
  local integer = type(value) == "number" and math.tointeger(value)
  if not integer then refuse(n, name, wrong("integer", value)) end
  if least and integer < least then
    refuse(n, name, ("at least %d expected, got %d"):format(least, integer))
  end
  return integer
end

-- For `args.options`, which calls these: what is expected when a value is not it.

--- An integer (or a float that is one) of at least `least`.
function args.at_least(least)
  return function(value)
    local integer = type(value) == "number" and math.tointeger(value)
    if not integer or integer < least then return ("integer of at least %d"):format(least) end
  end
end

--- How long something lasts.
function args.seconds(value)
  if type(value) ~= "number" or value ~= value or value < 0 then return "number of seconds" end
end

--- What was made of `value`; if that is nil or false, something else was expected.
function args.as(n, name, made, expected, value)
  if not made then refuse(n, name, wrong(expected, value)) end
  return made
end

--- Whatever may stand for a done (a done, channel, task, timer or number), or nil.
function args.done(n, name, value)
  if value ~= nil and not rille._stands_for_done(value) then
    refuse(n, name, wrong("done, channel, task, timer or number", value))
  elseif value ~= value then
    refuse(n, name, wrong("number of seconds", value))
  end
  return value
end

--- A table of options, or nil, which counts as an empty one. `known` has for each option its type
-- ("number", "string"...), or a function that returns what is expected when a value is not it.
function args.options(n, name, value, known)
  if value == nil then return {} end
  if type(value) ~= "table" then refuse(n, name, wrong("table of options", value)) end
  for key, given in pairs(value) do
    local want = known[key]
    if not want then refuse(n, name, ("unknown option '%s'"):format(tostring(key))) end
    local expected = want
    if type(want) == "function" then
      expected = want(given)
    elseif type(given) == want then
      expected = nil
    end
    if expected then refuse(n, name, ("option '%s': %s"):format(key, wrong(expected, given))) end
  end
  return value
end

--- What came of a `pcall` of what sends something to a task. Its error has no position: that it
-- cannot be sent is told of the place from where Rille was called.
function args.sent(ok, ...)
  if ok then return ... end
  local err = ...
  if type(err) == "string" and err:find "^cannot " then err = rille._starter() .. ": " .. err end
  error(err, 0)
end

return args

--- Errors as values.
-- An error that comes out of a task has more to tell than its value: which task, and where it was.
-- A *failure* couples them. Several errors are one value too, a *join*. Both print readably, keep
-- their class when they cross to another task, and are looked into by `errors.is`.
--
--     local errors = require "rille.errors"
--     local failure = errors.failure("no route", { task = "fetch" })
--     local both = errors.join(failure, "disk full")
--     print(both)
--     assert(errors.is(both, "no route") and errors.unwrap(failure) == "no route")
--
-- A failure has the fields `value` (what was raised or returned), `message` (a string), and what
-- its maker knows: `task` (the task's name), `id`, `traceback`, `cause`. Both have the method `is`:
-- `err:is "canceled"`. As strings they can be printed, formatted by `%s` and concatenated, but not
-- compared: not `err == "canceled"` but `err:is "canceled"` or, of an error of any type,
-- `errors.is(err, "canceled")`.
--
-- After Go's package `errors`.
-- @module errors

local rille = require "rille"
local args = require "rille.args"

local errors = {}

-- What a class says of its objects that are errors: `__error(object)` returns the error within.
local function inner(err)
  local meta = getmetatable(err)
  local look = type(meta) == "table" and rawget(meta, "__error")
  if look then return true, look(err) end
end

local function text_of(value)
  local kind = type(value)
  if kind == "string" then return value end
  local meta = getmetatable(value)
  if kind ~= "table" and kind ~= "userdata" or type(meta) == "table" and meta.__tostring then
    local ok, text = pcall(tostring, value)
    if ok then return text end
  end
  if kind == "table" and type(value.message) == "string" then return value.message end
  return ("(error object is a %s value)"):format(kind)
end

local failure = { __name = "rille.failure" }
failure.__index = failure

function failure.__tostring(err)
  return err.message
end

function failure.__error(err)
  return err.value
end

--- Couples an error with what is known of it.
-- @function errors.failure
-- @param value the error, as it was raised or returned
-- @tparam[opt] table fields what else is known, as `task`, `traceback`, `cause`: they become fields
-- of the failure
-- @treturn failure `value` itself when it is a failure already. `tostring` gives its message: the
-- value if that is a string, else what its `__tostring` or its field `message` says
-- @usage
-- local failure = rille.errors.failure({ code = 404, message = "not found" }, { task = "fetch" })
-- assert(tostring(failure) == "not found" and failure.value.code == 404)
errors.failure = setmetatable(failure, {
  __call = function(class, value, fields)
    if getmetatable(value) == class then return value end
    local err = {}
    for key, known in pairs(args.table(2, "failure", fields or {})) do err[key] = known end
    err.value, err.message = value, text_of(value)
    return setmetatable(err, class)
  end,
})

-- For the modules of Rille: the failure of a task that has ended with that error.
function errors._of(task, value, cause)
  return errors.failure(value, { task = task:name(), id = task:id(), traceback = task:traceback(),
    cause = cause })
end

-- For `xpcall` in them: the failure of what was raised there.
function errors._raised(value)
  local task = rille.self()
  local traceback = debug.traceback(nil, 2)
  return errors.failure(value, { task = task and task:name(), traceback = traceback })
end

local joined = { __name = "rille.errors" }
joined.__index = joined

function joined.__tostring(err)
  if #err == 1 then return text_of(err[1]) end
  local lines = { ("%d errors:"):format(#err) }
  for i, part in ipairs(err) do lines[i + 1] = "  " .. text_of(part):gsub("\n", "\n  ") end
  return table.concat(lines, "\n")
end

--- The errors of a join, in their order: `for i, err in joined:iter() do`. Their number is
-- `#joined`, one of them `joined[i]`.
-- @function joined:iter
-- @treturn function an iterator
joined.iter = ipairs

-- One table without a metatable is a list of errors.
local function listed(...)
  local first = ...
  if select("#", ...) == 1 and type(first) == "table" and not getmetatable(first) then
    return first, first.n or #first
  end
  return { ... }, select("#", ...)
end

--- Makes one error of several.
-- @function errors.join
-- @param ... errors, of any type; or one table without a metatable, which is a list of them (of
-- `list.n`, if it has that field); `nil`s are skipped
-- @treturn join|nil the errors in their order; `nil` of none. `tostring` gives the message of a
-- single one, else their number and then a line for each
-- @usage
-- local both = rille.errors.join("disk full", nil, "no route")
-- assert(#both == 2 and tostring(both) == "2 errors:\n  disk full\n  no route")
errors.join = setmetatable(joined, {
  __call = function(class, ...)
    local list, n = listed(...)
    local err = {}
    for i = 1, n do err[#err + 1] = list[i] end
    return #err > 0 and setmetatable(err, class) or nil
  end,
})

--- Is that error in this one?
-- Compares by `==`: `err` itself, the value and the cause of a failure, the error of a
-- [result](result.md), the parts of a join, however deep. A table that has crossed to another
-- task is another table there, so an error that is to be known on both sides is a string, or has a
-- class with `__eq`.
-- @function errors.is
-- @param err an error
-- @param target what is looked for
-- @treturn boolean
-- @usage
-- local failure = rille.errors.failure("closed", { task = "reader" })
-- assert(rille.errors.is(rille.errors.join("full", failure), "closed"))
function errors.is(err, target)
  if err == target then return true end
  local meta = getmetatable(err)
  if meta == joined then
    for _, part in ipairs(err) do
      if errors.is(part, target) then return true end
    end
    return false
  end
  if meta == failure and err.cause ~= nil and errors.is(err.cause, target) then return true end
  local holds, within = inner(err)
  return holds and errors.is(within, target) or false
end

--- The error as it was raised or returned.
-- @function errors.unwrap
-- @param err a failure, an error [result](result.md) or any other error
-- @return the value within, however deep; of any other error that itself
-- @usage
-- assert(rille.errors.unwrap(rille.errors.failure("closed")) == "closed")
-- assert(rille.errors.unwrap("closed") == "closed")
function errors.unwrap(err)
  local holds, within = inner(err)
  if holds then return errors.unwrap(within) end
  return err
end

failure.is, joined.is = errors.is, errors.is

local function concatenated(a, b)
  return tostring(a) .. tostring(b)
end

failure.__concat, joined.__concat = concatenated, concatenated

return errors

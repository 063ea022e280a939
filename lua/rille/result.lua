--- Results.
-- What a call came to, as one value: its values, or its error. Results can be kept in lists and
-- sent to other tasks. After Rust's `Result`.
--
--     local result = require "rille.result"
--     local r = result.from(io.open "/no/such/file")
--     print(r)
--     local file = r:or_else(io.stdin)
--
-- A result has the fields `ok` (a boolean), `value` (the first value, when `ok`) and `err`
-- (otherwise). Two are equal (`==`) when both are ok and all their values are equal, or neither is
-- and their errors are equal.
-- @module result
-- @pragma nostrip

local result = {}

local Result = { __name = "rille.result", __index = {} }
local methods = Result.__index
result._class = Result -- here it is known by its name to other tasks

--- A result that is ok.
-- @function result.ok
-- @param ... its values
-- @treturn result
function result.ok(...)
  local r = table.pack(...)
  r.ok, r.value = true, (...)
  return setmetatable(r, Result)
end

--- A result that is an error.
-- @function result.err
-- @param err the error, any value
-- @treturn result
function result.err(err)
  return setmetatable({ ok = false, err = err }, Result)
end

--- Makes a result of what a call has returned, by one of the usual conventions.
-- @function result.from
-- @param ... `true, ...` as from `pcall` and `task:join` is ok with the values after it; `false,
-- err` and `nil, err` are an error, `nil` only if there is one; anything else is ok with all of it
-- @treturn result
-- @usage
-- local result = rille.result
-- assert(result.from(pcall(error, "boom", 0)) == result.err "boom")
-- assert(result.from(rille.go(math.max, 1, 2):join()) == result.ok(2))
-- assert(result.from(rille.chan():recv(0)).err == "deadline exceeded")
function result.from(...)
  local first, second = ...
  if first == true then return result.ok(select(2, ...)) end
  if first == false or first == nil and second ~= nil then return result.err(second) end
  return result.ok(...)
end

--- The values, or raises the error.
-- @function result:unwrap
-- @return the values
-- @raise the error, unchanged
function methods:unwrap()
  if not self.ok then error(self.err, 0) end
  return table.unpack(self, 1, self.n)
end

--- The values, or something else.
-- @function result:or_else
-- @param default what to return in place of the error; or a function, which is called with the
-- error and whose results are returned
-- @return the values
-- @usage
-- local bad = rille.result.err "boom"
-- assert(bad:or_else(7) == 7)
-- assert(bad:or_else(function(err) return err:upper() end) == "BOOM")
function methods:or_else(default)
  if self.ok then return table.unpack(self, 1, self.n) end
  if type(default) == "function" then return default(self.err) end
  return default
end

local function written(value)
  return type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or tostring(value)
end

function Result:__tostring()
  if not self.ok then return ("err(%s)"):format(written(self.err)) end
  local texts = {}
  for i = 1, self.n do texts[i] = written(self[i]) end
  return ("ok(%s)"):format(table.concat(texts, ", "))
end

function Result.__eq(a, b)
  if getmetatable(a) ~= getmetatable(b) or a.ok ~= b.ok or a.n ~= b.n then return false end
  for i = 1, a.n or 0 do
    if a[i] ~= b[i] then return false end
  end
  return a.err == b.err
end

-- What rille.errors looks into.
function Result:__error()
  return self.err
end

return result

--- Pauses that grow from one attempt to the next: what `rille.retry` and supervisors share.
-- @module rille.backoff

local backoff = {}

-- Functions of plain numbers, which cross to a task as they are.
local function growing(first, factor, max, jitter)
  return function(attempt)
    local pause = first == 0 and 0 or math.min(first * factor ^ (attempt - 1), max)
    return pause * (1 - jitter * math.random())
  end
end

local function jittered(pauses, jitter)
  return function(attempt) return pauses(attempt) * (1 - jitter * math.random()) end
end

--- Returns the pauses as a function of the attempt that has failed, from 1 on. Options: `first`
-- pause (0.1 s), the `factor` from each to the next (2), `max` that none exceeds (30 s), and
-- `jitter`, the share of each pause that is random: with 1 it is anything up to all of it.
function backoff.new(opts)
  return growing(opts.first or 0.1, opts.factor or 2, opts.max or 30, opts.jitter or 0)
end

--- The same for what users give: nothing, the first pause, a table of options, or a function from
-- the attempt to the pause; with a share of jitter beside it, or nil.
function backoff.of(given, jitter)
  if type(given) == "function" then return jitter and jittered(given, jitter) or given end
  local opts = type(given) == "table" and given or { first = given }
  return backoff.new { first = opts.first, factor = opts.factor, max = opts.max,
    jitter = jitter or opts.jitter }
end

local function number(value, least, most)
  return type(value) == "number" and value >= least and value <= most
end

--- For `args.options`: what is expected when a value is no share of jitter.
function backoff.expected_jitter(value)
  if not number(value, 0, 1) then return "number from 0 to 1" end
end

-- From where to where.
local KNOWN = {
  first = { 0, math.huge },
  factor = { 1, math.huge },
  max = { 0, math.huge },
  jitter = { 0, 1 },
}

--- The same when it is nothing that `of` takes.
function backoff.expected(value)
  if type(value) == "function" or number(value, 0, math.huge) then return end
  if type(value) ~= "table" then return "number of seconds, function or table" end
  for key, given in pairs(value) do
    local range = KNOWN[key]
    if not range then return ("table without '%s'"):format(tostring(key)) end
    if not number(given, range[1], range[2]) then
      return ("table with '%s' from %g to %g"):format(key, range[1], range[2])
    end
  end
end

local function expected_attempts(value)
  local integer = type(value) == "number" and math.tointeger(value)
  if value ~= math.huge and not (integer and integer >= 1) then
    return "integer above 0 or math.huge"
  end
end

--- For `args.options`: what those who try again are told.
backoff.OPTIONS = {
  attempts = expected_attempts,
  backoff = backoff.expected,
  jitter = backoff.expected_jitter,
  retry_if = "function",
}

return backoff

--- Circuit breaker.
-- What fails again and again is left alone for a while, so that it can recover and nobody waits for
-- it in vain. A breaker is *closed* at first: calls go through. After so many failures in a row it
-- is *open*: calls fail at once. After so long it is *half-open*: a few calls go through, and when
-- these succeed it is closed, when one fails it is open again.
--
--     local breaker = rille.breaker { failures = 5, reset = 30 }
--     local page, err = breaker:run(fetch, url)
--     if err == "open" then page = cached[url] end
--
-- It crosses to other tasks, which share it.
-- @module breaker
-- @pragma nostrip

local rille = require "rille"
local args = require "rille.args"
local cell = require "rille.cell"
local errors = require "rille.errors"

-- The class of its objects: a module's table, so it is the same in all tasks.
local breaker = { __name = "rille.breaker" }
breaker.__index = breaker

-- An object has a cell with its state, which has a `life`, the number of changes so far, so that a
-- call that began in another life does not count. It is closed when it has `failed`, how often in a
-- row; open when it has `till`, when that ends; else half-open, with `succeeded`, how often, and
-- `probes`, for each call that went through a done that fires when it has left, however it did.

local function opened(self, life)
  return { life = life + 1, till = rille.now() + self.reset }
end

local function under_way(probes)
  local list = {}
  for _, left in ipairs(probes) do
    if not left:err() then list[#list + 1] = left end
  end
  return list
end

-- The state when one more probe goes through; nil when none does, or the breaker is closed.
local function probed(state, self, left)
  if state.failed or state.till and rille.now() < state.till then return nil end
  local life = state.till and state.life + 1 or state.life
  local probes, succeeded = under_way(state.probes or {}), state.succeeded or 0
  if #probes + succeeded >= self.half_open then return nil end
  probes[#probes + 1] = left
  return { life = life, probes = probes, succeeded = succeeded }
end

local function after_success(state, self, life)
  if state.life ~= life then return nil end
  if state.failed then return state.failed > 0 and { life = life, failed = 0 } or nil end
  local succeeded = state.succeeded + 1
  if succeeded >= self.half_open then return { life = life + 1, failed = 0 } end
  return { life = life, probes = state.probes, succeeded = succeeded }
end

local function after_failure(state, self, life)
  if state.life ~= life then return nil end
  local failed = state.failed and state.failed + 1
  if not failed or failed >= self.failures then return opened(self, life) end
  return { life = life, failed = failed }
end

-- The life in which a call goes through, or nil.
local function enter(self, left)
  local state, through = cell.update(self.cell, probed, self, left)
  if state.failed then return state.life end
  return through and (state.till and state.life + 1 or state.life) or nil
end

-- Reports how a call has ended, when its scope is left: by returning, or by an error.
local Report = {}

function Report.__close(report, raised)
  local err = report.err
  if raised ~= nil then err = raised end
  if errors.is(err, "canceled") then return end
  local after = report.succeeded and after_success or after_failure
  cell.update(report.of.cell, after, report.of, report.life)
end

local function noted(report, ...)
  local value, err = ...
  if value == nil then report.err = err end
  report.succeeded = report.err == nil
  return ...
end

local KNOWN = { failures = args.at_least(1), reset = args.seconds, half_open = args.at_least(1) }

--- Makes a breaker.
-- @function rille.breaker
-- @tparam[opt] table opts `failures`: after how many in a row it opens (5); `reset`: for how many
-- seconds (30); `half_open`: how many calls then go through, all of which have to succeed (1)
-- @treturn breaker it crosses to other tasks by reference
local function new(_, opts)
  opts = args.options(1, "breaker", opts, KNOWN)
  return setmetatable({
    failures = opts.failures or 5,
    reset = opts.reset or 30,
    half_open = opts.half_open or 1,
    cell = cell.new { life = 0, failed = 0 },
  }, breaker)
end

--- Calls `fn(...)`, in the caller's own task, unless the breaker is open.
-- The call fails when `fn` raises, or returns `nil` and an error. What comes of being canceled, an
-- error that is `"canceled"`, counts for nothing.
-- @function breaker:run
-- @tparam function fn what may fail
-- @param ... its arguments
-- @return the results of `fn`, also `nil` and its error
-- @treturn nil,string when the breaker is open: `nil, "open"`
-- @raise what `fn` raises, unchanged
-- @usage
-- local breaker = rille.breaker { failures = 2, reset = 60 }
-- local function fails() return nil, "no answer" end
-- for _ = 1, 2 do assert(select(2, breaker:run(fails)) == "no answer") end
-- assert(breaker:state() == "open" and select(2, breaker:run(fails)) == "open")
function breaker:run(fn, ...)
  args.fn(1, "run", fn)
  local left, leave <close> = rille.done() -- luacheck: ignore 211 (ends the probe)
  local life = enter(self, left)
  if not life then return nil, "open" end
  local report <close> = setmetatable({ of = self, life = life }, Report)
  return noted(report, fn(...))
end

--- What it does with a call now.
-- @function breaker:state
-- @treturn string `"closed"`, `"open"` or `"half-open"`
function breaker:state()
  local state = cell.get(self.cell)
  if state.failed then return "closed" end
  return state.till and rille.now() < state.till and "open" or "half-open"
end

return setmetatable(breaker, { __call = new })

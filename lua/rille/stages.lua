--- What the tasks of a stream run. All of it crosses by code, so nothing here has upvalues but
-- `rille` and functions alike.
--
-- A task runs a *segment*, described by a plain table: a `source`, the `stages` behind it, and a
-- `sink`. The source pushes item after item through the stages, each of which is a closure that
-- calls the next, into the sink, which sends. `push(item)` returns true when no more is wanted.
-- Fields of a segment:
--
-- * `source`, `sink`, `stages` (a list of `{ make =, arg =, name = }`), `name`, and what the source
--   and the sink need: `input`, `list`, `fn`, `out`...
-- * `done`: fires when nothing of it is wanted any more; `stop`: fires that of the segments before
-- * `tokens`: of several tasks that send to `out`, one less than there are; the last closes it
-- * `roots`: the ends that are told of a failure, each `{ cancel =, id = }`
-- * `own`, `above`: of a stream within another: its own done, and the done of the one it feeds
-- @module rille.stages

local rille = require "rille"

local stages = {}

local GRACE = 0.01 -- seconds from the moment all is cancelled until functions are interrupted

-- Sources: `source(push, segment, index)`; `index` tells workers apart.

function stages.from_list(push, segment)
  for _, v in ipairs(segment.list) do
    if push(v) then return end
  end
end

function stages.from_range(push, segment)
  for i = segment.first, segment.last do
    if push(i) then return end
  end
end

-- The same in batches, which are made faster here than by a stage, which is called for each item.

function stages.from_list_in_batches(push, segment)
  local list, size = segment.list, segment.size
  for first = 1, #list, size do
    local batch = {}
    for i = first, math.min(first + size - 1, #list) do batch[i - first + 1] = list[i] end
    if push(batch) then return end
  end
end

local function integers(first, n)
  local list = {}
  for i = 1, n do list[i] = first + i - 1 end
  return list
end

-- A function that does the same for one `n`: as a single expression it is three times faster.
local function maker(n)
  local items = {}
  for i = 1, n do items[i] = "first + " .. i - 1 end
  return load("local first = ... return { " .. table.concat(items, ", ") .. " }")
end

function stages.from_integers_in_batches(push, segment)
  local first, size = segment.first, segment.size
  if segment.last < first then return end
  local last = math.floor(math.min(segment.last, math.maxinteger))
  local pays = size <= 250 and not math.ult(last - first, 100 * size)
  local make = pays and maker(size) or integers
  for i = first, last, size do
    local more = last - i -- as an unsigned number, as in Lua's own loop
    local short = math.ult(more, size - 1)
    if push(short and integers(i, more + 1) or make(i, size)) then return end
  end
end

function stages.from_calls(push, segment)
  local fn = segment.fn
  while true do
    local v, err = fn()
    if v == nil then
      if err ~= nil then error(err, 0) end
      if not segment.endless then return end
      error("the function returned nil", 0)
    end
    if push(v) then return end
  end
end

function stages.from_channel(push, segment)
  for v in segment.input:iter(segment.done) do
    if push(v) then return end
  end
end

function stages.from_channels(push, segment)
  local done = segment.done
  for inner in segment.input:iter(done) do
    for v in inner:iter(done) do
      if push(v) then return end
    end
  end
end

-- Ordered workers: the one who has the baton receives an item and says that the next result is to
-- be read from its own channel.
function stages.from_channel_in_turn(push, segment, index)
  local done, input, baton, order = segment.done, segment.input, segment.baton, segment.order
  while baton:recv(done) do
    local v, err = input:recv(done)
    if err == "closed" then order:close() end -- the others are stopped by the reader
    if v == nil or not order:send(index, done) then return end
    baton:send(true)
    if push(v) then return end
  end
end

function stages.from_workers(push, segment)
  local done, results = segment.done, segment.results
  for index in segment.order:iter(done) do
    local v = results[index]:recv(done)
    if v == nil or push(v) then return end
  end
end

-- Batches that are passed on some time after their first item, however few they are.
function stages.from_channel_in_batches(push, segment)
  local input, done, timeout = segment.input, segment.done, { timeout = segment.seconds }
  local batch, limit = {}, done
  while true do
    local v, err = input:recv(limit)
    if v ~= nil then
      batch[#batch + 1] = v
      if #batch == 1 then limit = (rille.done(done, timeout)) end
    end
    if #batch == segment.size or v == nil and #batch > 0 then
      if push(batch) then return end
      batch, limit = {}, done
    end
    if err == "closed" or v == nil and done:err() then return end
  end
end

-- The items after which nothing came for some time.
function stages.from_channel_settled(push, segment)
  local input, done, timeout = segment.input, segment.done, { timeout = segment.seconds }
  local v = input:recv(done)
  while v ~= nil do
    local later = input:recv((rille.done(done, timeout)))
    if later == nil and not done:err() then
      if push(v) then return end
      later = input:recv(done)
    end
    v = later
  end
end

-- Stages: `make(push, finish, arg, done)` gives what takes the items, and what is called when there
-- are no more.

function stages.map(push, finish, fn)
  return function(v)
    local result, err = fn(v)
    if result == nil then error(err == nil and "the function returned nil" or err, 0) end
    return push(result)
  end, finish
end

function stages.filter(push, finish, fn)
  return function(v)
    local keep, err = fn(v)
    if keep then return push(v) end
    if keep == nil and err ~= nil then error(err, 0) end
  end, finish
end

function stages.take(push, finish, n)
  local left = n
  return function(v)
    left = left - 1
    return push(v) or left == 0
  end, finish
end

function stages.skip(push, finish, n)
  local left = n
  return function(v)
    if left == 0 then return push(v) end
    left = left - 1
  end, finish
end

function stages.batch(push, finish, size)
  local batch, n = {}, 0
  local function flush()
    local full = batch
    batch, n = {}, 0
    return push(full)
  end
  return function(v)
    n = n + 1
    batch[n] = v
    if n == size then return flush() end
  end, function()
    if n > 0 then flush() end
    finish()
  end
end

function stages.window(push, finish, size)
  local last, n = {}, 0
  return function(v)
    if n == size then
      for i = 2, size do last[i - 1] = last[i] end
    else
      n = n + 1
    end
    last[n] = v
    if n < size then return end
    local window = {}
    for i = 1, size do window[i] = last[i] end
    return push(window)
  end, finish
end

function stages.throttle(push, finish, period, done)
  local due
  return function(v)
    local now = rille.now()
    if due and due > now then
      if not rille.sleep(due - now, done) then return true end
      now = due
    end
    due = now + period
    return push(v)
  end, finish
end

-- Sinks: `sink(segment, index)` gives the last `push`.

function stages.send(segment)
  local out, done = segment.out, segment.done
  return function(v) return not out:send(v, done) end
end

function stages.send_result(segment, index)
  local out, done = segment.results[index], segment.done
  return function(v) return not out:send(v, done) end
end

-- To each of several readers; those that have gone do not count.
function stages.send_each(segment)
  local outs, dones = segment.outs, segment.dones
  return function(v)
    local stopped = true
    for i, out in ipairs(outs) do
      if out:send(v, dones[i]) then stopped = false end
    end
    return stopped
  end
end

-- Tells the ends of a failure. Its value may be one that cannot cross: then its message does.
local function fail(roots, value, fields)
  local errors = require "rille.errors"
  local failure = errors.failure(value, fields)
  if not rawequal(failure, value) then
    failure.message = fields.stage .. ": " .. failure.message
  end
  for _, root in ipairs(roots) do
    failure.stream = root.id
    if not pcall(root.cancel, failure) then
      local plain = errors.failure(errors.failure(value).message, fields)
      plain.message, plain.stream = failure.message, root.id
      root.cancel(plain)
    end
  end
end
stages.fail = fail

-- Pushes everything through; returns nothing, or the value of an error and what is known of it.
local function pump(segment, index)
  local done, names, fields = segment.done, { [segment.source] = segment.name }, nil
  local function explain(value)
    fields = { task = segment.task, traceback = debug.traceback(nil, 2) }
    local level, frame = 2, debug.getinfo(2, "f")
    while frame and not names[frame.func] do
      level = level + 1
      frame = debug.getinfo(level, "f")
    end
    fields.stage = frame and names[frame.func]
    return value
  end
  local ok, err = xpcall(function()
    local push, finish = segment.sink(segment, index), function() end
    for i = #segment.stages, 1, -1 do
      local stage = segment.stages[i]
      push, finish = stage.make(push, finish, stage.arg, done)
      names[push] = stage.name
    end
    segment.source(push, segment, index)
    if not done:err() then finish() end
  end, explain)
  if ok then return end
  fields = fields or { task = segment.task }
  fields.stage = fields.stage or segment.name
  return err, fields
end

-- A stream within another that was cancelled by its own done has not given all it has.
local function tell_cancelled(segment)
  local err, cause = segment.own:err(), segment.own:cause()
  for _, root in ipairs(segment.roots) do
    root.cancel { stream = root.id, canceled = err, cause = cause }
  end
end

local function close_outs(segment)
  if segment.tokens and segment.tokens:try_recv() then return end
  if segment.out then segment.out:close() end
  for _, out in ipairs(segment.outs or {}) do out:close() end
end

--- The body of a task. What fails after it was told to stop does not count. However it ends, the
-- ends know of it before what it sends to is closed, so that nobody takes a part for the whole.
function stages.run(segment, index)
  local done, settled = segment.done, false
  local _ <close> = rille.defer(function()
    if not settled then
      for _, root in ipairs(segment.roots) do root.cancel "a stage died" end
    end
    if not segment.stays_open then close_outs(segment) end
  end)
  local _ <close> = segment.stop
  local value, fields = pump(segment, index)
  if fields and not done:err() then fail(segment.roots, value, fields) end
  local own, above = segment.own, segment.above
  if own and own:err() and not above:err() then tell_cancelled(segment) end
  settled = true
end

-- What a fired done says of its stream: nil, error and cause. A failure is an error without a
-- cause.
local function outcome(done, id)
  local err, cause = done:err(), done:cause()
  if type(cause) ~= "table" or rawget(cause, "stream") ~= id then return nil, err, cause end
  if cause.canceled then return nil, cause.canceled, cause.cause end
  return nil, cause
end
stages.outcome = outcome

-- Waits for all tasks. Functions that wait for something else than the stream are interrupted.
local function see_off(tasks)
  local grace = (rille.done { timeout = GRACE })
  for _, task in ipairs(tasks) do
    if task:join(grace) == nil then task:interrupt "canceled" end
  end
  for _, task in ipairs(tasks) do task:join() end
end

--- The body of the task that keeps a running stream: when the `last` tasks have ended, or the
-- stream is cancelled, it waits for all tasks. Returns true, or nil, error and cause; raises a
-- failure. If it is interrupted itself, the stream is, once it has `begun`.
function stages.keep(keeper)
  local done, ended = keeper.done, false
  local _ <close> = rille.defer(function()
    if keeper.out then keeper.out:close() end
  end)
  local _ <close> = rille.defer(function()
    if not ended then keeper.cancel() end
    see_off(keeper.tasks)
  end)
  if keeper.begun then keeper.begun:close() end
  for _, task in ipairs(keeper.last) do task:join(done) end
  ended = true
  if not done:err() then return true end
  local _, err, cause = outcome(done, keeper.id)
  if cause == nil then error(err, 0) end
  return nil, err, cause
end

return stages

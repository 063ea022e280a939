--- Streams.
-- A pipeline of tasks, written as one expression: a source, stages, and an end. Items go through
-- it one by one, at the pace of the slowest stage; the first failure stops all of it and comes out
-- at the end; when the end is left, however that happens, nothing of the stream stays behind.
--
--     local stream = require "rille.stream"
--
--     local sum, err = stream.range(done, 1, 1000)
--       :map(function(n) return n * n end)
--       :filter(function(n) return n % 3 == 1 end)
--       :reduce(function(a, b) return a + b end, 0)
--
-- **What runs where.** Nothing runs before an end is attached. Then the source and the stages
-- behind it run in one task, item by item, up to where a stage needs tasks of its own: `map` with
-- `workers`, `batch` with `seconds`, `debounce`, `merge`, `tee`, `split`. What is behind that, up
-- to the next, is one task again. `buffer` sets such a boundary where stages are to run in
-- parallel. The end runs in its caller. So the functions of sources and stages cross to a task, by
-- code and upvalues, as those of `rille.go` do; the functions of `each` and `reduce` do not. They
-- are called with the item alone, so `tonumber` and its like will do as they are.
--
-- **Backpressure.** Items cross boundaries, the end's included, in channels that hold 128 items,
-- or as many as `buffer` says. So a source is ahead of its reader by at most that number for each
-- boundary and one item for each task between (`workers` that keep the order: two for each of
-- them, and two). What was read ahead when a stream is stopped is lost.
--
-- **Failures.** A function given to a stream fails by raising, or by returning `nil` and an error.
-- The stream is cancelled at once, what is on its way is dropped, and the end gives a failure, see
-- [errors](errors.md): `value` is the error, `stage` who failed (`"map 2"`: the second stage, a
-- map), `task` and `traceback` where. What the functions of `each` and `reduce` raise is raised,
-- as it is. When the done given to the source fires, the end gives `nil`, the done's error and
-- cause.
--
-- **Stopping.** A stream is stopped by its failure, by its done, when its end has what it wants
-- (`take`), by `s:close()`, also at the end of the scope (`local s <close> = ...`), when the end
-- is left by an error, or a loop over `s:iter()` in any way, and when a stream on which a loop was
-- begun is garbage. Then tasks that wait for their neighbours end at once. A function that runs
-- on is interrupted after 10 ms, as `task:interrupt` does; the end waits until all have ended.
--
-- A stream is used once: each method gives another stream and uses up the old. Streams do not
-- cross to other tasks; what `s:chan()` gives does. `done` may be `nil` everywhere.
--
-- The names follow "Concurrency in Go", by Katherine Cox-Buday.
-- @module stream

local args = require "rille.args"
local errors = require "rille.errors"
local rille = require "rille"
local stages = require "rille.stages"

local CAPACITY = 128

local stream = {}

local Stream = { __name = "rille.stream" }
Stream.__index = Stream

function Stream.__transfer()
  error("cannot send a stream, but what its chan() gives", 0)
end

-- A pipe is what the streams made of one source have in common: the done, with the right to fire
-- it.

local made = 0

local function new_pipe(parent)
  local task, done, cancel = rille.self(), rille.done(parent)
  made = made + 1
  return { done = done, cancel = cancel, id = ("%d.%d"):format(task and task:id() or 0, made) }
end

-- A plan is a segment to be (see rille.stages), the number of tasks that are to run it, and
-- `feed(above, launching)`, which starts those it reads from, to be stopped by `above`, and returns
-- the last of them. `launching` gathers the tasks that were started, and the iterators that stay
-- `here`: they are called by the end.

local function new_plan(name, source, segment, feed)
  segment.name, segment.source, segment.stages = name, source, {}
  return { segment = segment, feed = feed, width = 1 }
end

local function new_stream(pipe, plan, count)
  return setmetatable({ pipe = pipe, plan = plan, count = count or 0 }, Stream)
end

local function source(done, name, from, segment)
  return new_stream(new_pipe(done), new_plan(name, from, segment))
end

-- Takes the plan out of a stream; the error is that of the caller at this level.
local function use(self, level)
  local plan = self.plan
  if not plan then error("the stream is used already", level) end
  self.plan = nil
  return plan
end

-- Tasks are named after what runs in them: "range | map 1".
local function name_of(segment)
  local name = segment.name
  for _, stage in ipairs(segment.stages) do
    name = name .. (name == "" and "" or " | ") .. stage.name
  end
  return name == "" and "stream" or name
end

-- Starts the tasks of a plan, and before them those that feed it. Returns them.
local function launch(plan, done, launching)
  local segment, tasks = plan.segment, {}
  segment.task = name_of(segment)
  segment.done, segment.roots = done, launching.roots
  segment.own, segment.above = launching.own, launching.above
  if plan.feed then
    local above, stop = rille.done(done)
    segment.stop = stop
    plan.feed(above, launching)
  end
  for i = 1, plan.width do
    tasks[i] = args.sent(pcall(rille._go, { name = segment.task }, stages.run, segment, i))
    table.insert(launching.tasks, tasks[i])
  end
  return tasks
end

local function keep(keeper)
  return rille._go({ name = "keeper of a stream" }, stages.keep, keeper)
end

-- What each of `width` tasks takes one of as it ends, but for the last: there is none left.
local function tokens(width)
  if width == 1 then return nil end
  local ch = rille.chan(width - 1)
  for _ = 2, width do ch:send(true) end
  return ch
end

local function feeder(plan)
  return function(above, launching) return launch(plan, above, launching) end
end

-- Ends a plan at a channel. It may be one of several.
local function write(plan, out, writers)
  local segment = plan.segment
  segment.sink, segment.out, segment.tokens = stages.send, out:sender(), writers
end

-- A plan that reads from a channel to which others write.
local function read(link, feed, writers)
  local plan = new_plan("", stages.from_channel, { input = link:receiver() }, feed)
  plan.writers = writers
  return plan
end

-- Does it do nothing but read what its writers write?
local function bare(plan)
  return plan.writers and #plan.segment.stages == 0
end

-- A plan that does: one that reads what this one writes, or this one itself.
local function cut(plan)
  if bare(plan) then return plan end
  local link = rille.chan(CAPACITY)
  write(plan, link, tokens(plan.width))
  return read(link, feeder(plan), { plan })
end

-- Puts another channel between it and its writers.
local function relink(plan, link)
  for _, writer in ipairs(plan.writers) do writer.segment.out = link:sender() end
  plan.segment.input = link:receiver()
end

-- What the branches of a tee or split share goes on until the last of them is left.
local function leave(list)
  for _, shared in ipairs(list) do
    shared.open = shared.open - 1
    if shared.open == 0 then
      shared.keeper:join()
      leave(shared.before)
    end
  end
end

local NOT_HERE = "no end is here to call the iterator, which is a C function"

-- There is no end here, or not any more, to call these iterators. What ends elsewhere learns of it.
local function refuse(iterators)
  for _, feed in ipairs(iterators) do stages.fail(feed.roots, NOT_HERE, { stage = "from" }) end
end

-- Nothing will read what a plan gives. That a branch has ended, those that share it have to know.
local function drop(pipe, plan)
  if not pipe.branch then return end
  local done, cancel = rille.done()
  cancel()
  local launching = { roots = {}, tasks = {}, shared = {}, here = {} }
  plan.feed(done, launching)
  refuse(launching.here)
  leave(launching.shared)
end

-- Stages that run with those before them, in one task.

local function numbered(self, kind)
  return ("%s %d"):format(kind, self.count + 1)
end

local function fused(self, kind, make, arg)
  local plan = use(self, 3)
  table.insert(plan.segment.stages, { make = make, arg = arg, name = numbered(self, kind) })
  return new_stream(self.pipe, plan, self.count + 1)
end

-- Stages that need a task of their own, which reads from a channel.
local function apart(self, kind, from, fields)
  local plan = cut(use(self, 3))
  local segment = plan.segment
  segment.name, segment.source, plan.writers = numbered(self, kind), from, nil
  for name, value in pairs(fields) do segment[name] = value end
  return new_stream(self.pipe, plan, self.count + 1)
end

local RECEIVED = { ["rille.channel"] = true, ["rille.receiver"] = true, ["rille.timer"] = true }

-- What can be received from, without the right to send; nil: it is something else.
local function received(value)
  local meta = type(value) == "userdata" and debug.getmetatable(value)
  if not meta or not RECEIVED[meta.__name] then return nil end
  return meta.__name == "rille.timer" and value or value:receiver()
end

-- What an iterator gives that stays here.
local function from_here(done, fn)
  local link = rille.chan(CAPACITY)
  local function feed(_, launching)
    table.insert(launching.here, { fn = fn, out = link:sender(), roots = launching.roots })
    return {}
  end
  local plan = new_plan("from", stages.from_channel, { input = link:receiver() }, feed)
  return new_stream(new_pipe(done), plan)
end

--- A stream of what is there: the items of a list, what a channel gives until it is closed, or what
-- an iterator gives until it gives `nil`.
-- The list crosses to a task as a copy, in one message. An iterator that is a Lua function crosses
-- too; it is called without arguments, and is what `stream.generate` takes. A C function, as those
-- of `io.lines`, `string.gmatch` and `coroutine.wrap`, stays here: the end calls it while it waits
-- for items, so that is no `chan`, and when it leaves, the other ends of a `tee` or `split` fail.
-- Of a channel that is somebody else's, and of a stream, this is the or-done pattern.
-- @function stream.from
-- @tparam done done what stops the stream, or `nil`
-- @tparam list|channel|timer|stream|function items where they are
-- @treturn stream
-- @raise on anything else
-- @usage
-- local list = rille.stream.from(nil, { 3, 1, 2 }):map(function(n) return 2 * n end):collect()
-- assert(table.concat(list, " ") == "6 2 4")
-- @usage
-- local words = rille.stream.from(nil, ("one small step"):gmatch "%a+"):map(string.upper):collect()
-- assert(table.concat(words, " ") == "ONE SMALL STEP")
function stream.from(done, items)
  args.done(1, "from", done)
  if getmetatable(items) == Stream then return stream.merge(done, items) end
  local input = received(items)
  if input then
    return source(done, "from", stages.from_channel, { input = input })
  elseif type(items) == "table" and not debug.getmetatable(items) then
    return source(done, "from", stages.from_list, { list = items })
  end
  args.fn(2, "from", items, "list, channel, timer, stream or function")
  if type(items) == "function" and debug.getinfo(items, "S").what == "C" then
    return from_here(done, items)
  end
  return source(done, "from", stages.from_calls, { fn = items })
end

--- The numbers from `first` to `last`.
-- @function stream.range
-- @tparam done done what stops the stream, or `nil`
-- @tparam number first the first one; each is greater than the one before by 1
-- @tparam[opt=math.huge] number last where they end
-- @treturn stream
function stream.range(done, first, last)
  args.done(1, "range", done)
  first = args.number(2, "range", first)
  last = last == nil and math.huge or args.number(3, "range", last)
  return source(done, "range", stages.from_range, { first = first, last = last })
end

--- What a function gives, call after call, until it gives `nil`.
-- @function stream.generate
-- @tparam done done what stops the stream, or `nil`
-- @tparam function fn called without arguments
-- @treturn stream
-- @usage
-- local function countdown(n)
--   return function()
--     n = n - 1
--     return n >= 0 and n or nil
--   end
-- end
-- assert(#rille.stream.generate(nil, countdown(3)):collect() == 3)
function stream.generate(done, fn)
  args.done(1, "generate", done)
  return source(done, "generate", stages.from_calls, { fn = args.fn(2, "generate", fn) })
end

--- What a function gives, call after call, for ever.
-- That it gives `nil` is a failure.
-- @function stream.repeat_fn
-- @tparam done done what stops the stream, or `nil`
-- @tparam function fn called without arguments
-- @treturn stream
-- @usage
-- local dice = rille.stream.repeat_fn(nil, function() return math.random(6) end):take(3):collect()
-- assert(#dice == 3)
function stream.repeat_fn(done, fn)
  args.done(1, "repeat_fn", done)
  fn = args.fn(2, "repeat_fn", fn)
  return source(done, "repeat_fn", stages.from_calls, { fn = fn, endless = true })
end

-- A stream, or a stream of what is received from a channel; nil: it is something else.
local function as_stream(done, value)
  if getmetatable(value) == Stream then return value end
  return received(value) and stream.from(done, value)
end

-- Starts the plans of streams that are read as one.
local function feed_all(pipes, plans, above, launching)
  local tasks = {}
  for i, plan in ipairs(plans) do
    local own = pipes[i].done
    local within = { roots = launching.roots, tasks = launching.tasks, shared = launching.shared,
      here = launching.here, own = own, above = above }
    for _, task in ipairs(launch(plan, rille.any(own, above), within)) do
      table.insert(tasks, task)
    end
  end
  return tasks
end

--- Several streams and channels as one: a fan-in.
-- Items come in the order in which they are there; those of one input keep theirs. It ends when all
-- have ended. The failure of one is that of the whole. One that is stopped by its own done ends the
-- whole with that done's error and cause.
-- @function stream.merge
-- @tparam done done what stops the stream, and with it all that it reads; or `nil`
-- @param ... streams and channels
-- @treturn stream
-- @raise on anything else, with the argument named
-- @usage
-- local a, b = rille.stream.range(nil, 1, 3), rille.stream.from(nil, { 10, 20 })
-- assert(#rille.stream.merge(nil, a, b):collect() == 5)
function stream.merge(done, ...)
  args.done(1, "merge", done)
  if select("#", ...) == 0 then return stream.from(done, {}) end
  local pipe, pipes, plans, link = new_pipe(done), {}, {}, rille.chan(CAPACITY)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    local input = as_stream(pipe.done, value)
    args.as(i + 1, "merge", input, "stream or channel", value)
    pipes[i], plans[i] = input.pipe, use(input, 3)
    pipe.branch = pipe.branch or input.pipe.branch
  end
  local writers = tokens(#plans)
  for _, plan in ipairs(plans) do write(plan, link, writers) end
  local function feed(above, launching) return feed_all(pipes, plans, above, launching) end
  return new_stream(pipe, read(link, feed, plans))
end

--- What the channels give that come out of a channel, one after the other.
-- It ends when that channel is closed, and the last one that came out of it.
-- @function stream.bridge
-- @tparam done done what stops the stream, or `nil`
-- @tparam channel channels a channel of channels
-- @treturn stream
function stream.bridge(done, channels)
  args.done(1, "bridge", done)
  local input = args.as(2, "bridge", received(channels), "channel", channels)
  return source(done, "bridge", stages.from_channels, { input = input })
end

-- Workers whose results are read in the order of their items. An item's number is not known to
-- them: `order` says whose result comes next.
local function in_order(plan)
  local segment, width = plan.segment, plan.width
  local order, results, baton = rille.chan(2 * width), {}, rille.chan(1)
  segment.results = {}
  for i = 1, width do
    local ch = rille.chan(2 * width)
    segment.results[i], results[i] = ch:sender(), ch:receiver()
  end
  baton:send(true)
  segment.source, segment.sink = stages.from_channel_in_turn, stages.send_result
  segment.order, segment.baton = order:sender(), baton
  local reading = { order = order:receiver(), results = results }
  return new_plan("", stages.from_workers, reading, feeder(plan))
end

local MAP_OPTIONS = { workers = args.at_least(1), ordered = "boolean" }

--- What a function makes of each item.
-- With `workers` it is called by so many tasks at once. The results keep the order of the items
-- unless `ordered` is `false`: then they come as they are ready. A slow item holds up those behind
-- it: the others are ahead of it by at most two for each worker, and two. `workers = 1` is a
-- task of its own.
-- @function s:map
-- @tparam function fn called with the item; that it returns `nil` is a failure, with or without an
-- error
-- @tparam[opt] table opts `workers` (integer); `ordered` (boolean, `true` by default)
-- @treturn stream
-- @usage
-- local slow = rille.stream.range(nil, 1, 100)
--   :map(function(n) rille.sleep(0.001) return n end, { workers = 10 })
-- assert(slow:reduce(function(last, n) assert(n == last + 1) return n end, 0) == 100)
function Stream:map(fn, opts)
  args.fn(1, "map", fn)
  opts = args.options(2, "map", opts, MAP_OPTIONS)
  if not opts.workers then return fused(self, "map", stages.map, fn) end
  local plan = cut(use(self, 3))
  plan.segment.stages[1] = { make = stages.map, arg = fn, name = numbered(self, "map") }
  plan.width = opts.workers
  local unordered = opts.ordered == false or plan.width == 1
  return new_stream(self.pipe, unordered and cut(plan) or in_order(plan), self.count + 1)
end

--- The items for which a function returns something true.
-- @function s:filter
-- @tparam function fn called with the item; `nil` and an error is a failure
-- @treturn stream
function Stream:filter(fn)
  return fused(self, "filter", stages.filter, args.fn(1, "filter", fn))
end

--- The first `n` items: then what is before is stopped.
-- @function s:take
-- @tparam integer n of 0, nothing runs at all
-- @treturn stream
-- @usage
-- assert(#rille.stream.range(nil, 1):take(3):collect() == 3)
function Stream:take(n)
  args.integer(1, "take", n, 0)
  if n > 0 then return fused(self, "take", stages.take, n) end
  drop(self.pipe, use(self, 3))
  return new_stream(self.pipe, new_plan("take", stages.from_list, { list = {} }), self.count + 1)
end

--- All but the first `n` items.
-- @function s:skip
-- @tparam integer n
-- @treturn stream
function Stream:skip(n)
  return fused(self, "skip", stages.skip, args.integer(1, "skip", n, 0))
end

-- The source that gives batches in place of this one, if there is one.
local function in_batches(segment)
  if #segment.stages > 0 then return nil end
  if segment.source == stages.from_list then return stages.from_list_in_batches end
  if segment.source == stages.from_range and math.type(segment.first) == "integer" then
    return stages.from_integers_in_batches
  end
end

local function batched(self, size)
  local from = self.plan and in_batches(self.plan.segment)
  if not from then return fused(self, "batch", stages.batch, size) end
  local plan = use(self)
  local segment = plan.segment
  segment.source, segment.size = from, size
  segment.name = segment.name .. " | " .. numbered(self, "batch")
  return new_stream(self.pipe, plan, self.count + 1)
end

--- Lists of `n` items; the last may have fewer.
-- What crosses to another task is cheaper by the list. With `seconds` a list is given at the latest
-- so long after its first item came, in a task of its own.
-- @function s:batch
-- @tparam integer n
-- @tparam[opt] number seconds
-- @treturn stream
function Stream:batch(n, seconds)
  args.integer(1, "batch", n, 1)
  if seconds == nil then return batched(self, n) end
  args.number(2, "batch", seconds, 0)
  local fields = { size = n, seconds = seconds }
  return apart(self, "batch", stages.from_channel_in_batches, fields)
end

--- Sliding windows: for each item from the `n`th on a list of it and the `n - 1` before it.
-- @function s:window
-- @tparam integer n
-- @treturn stream
-- @usage
-- local windows = rille.stream.from(nil, { 1, 2, 3 }):window(2):collect()
-- assert(#windows == 2 and windows[2][1] == 2 and windows[2][2] == 3)
function Stream:window(n)
  return fused(self, "window", stages.window, args.integer(1, "window", n, 1))
end

--- At most so many items a second, evenly spaced.
-- Nothing is dropped: those before have to wait.
-- @function s:throttle
-- @tparam number rate items a second, above 0
-- @treturn stream
function Stream:throttle(rate)
  local above_0 = type(rate) == "number" and rate > 0
  args.as(1, "throttle", above_0, "number above 0", rate)
  return fused(self, "throttle", stages.throttle, 1 / rate)
end

--- The items after which nothing came for so long; all others are dropped.
-- The last item comes at the end of the stream.
-- @function s:debounce
-- @tparam number seconds
-- @treturn stream
function Stream:debounce(seconds)
  local fields = { seconds = args.number(1, "debounce", seconds, 0) }
  return apart(self, "debounce", stages.from_channel_settled, fields)
end

--- A boundary: the stages before and behind run in parallel, and `n` items fit in between.
-- Right behind a stage with tasks of its own it says how many fit into the boundary that is there.
-- @function s:buffer
-- @tparam[opt=128] integer n of 0, the item that is sent waits for its reader
-- @treturn stream
-- @usage
-- local sum = rille.stream.range(nil, 1, 10):buffer(0):reduce(function(a, b) return a + b end, 0)
-- assert(sum == 55)
function Stream:buffer(n)
  n = n == nil and CAPACITY or args.integer(1, "buffer", n, 0)
  local plan = cut(use(self, 3))
  relink(plan, rille.chan(n))
  return new_stream(self.pipe, plan, self.count)
end

-- A branch is there when it has an end, or was closed. With the last of them what they have in
-- common is started. It goes on until nobody wants anything of it.
local function attach(shared, i, above, launching)
  shared.dones[i] = above
  table.move(launching.roots, 1, #launching.roots, #shared.roots + 1, shared.roots)
  table.insert(launching.shared, shared)
  shared.missing = shared.missing - 1
  if shared.missing > 0 then return {} end
  local tasks, done, cancel = {}, rille.done(rille.all(table.unpack(shared.dones)))
  local within = { roots = shared.roots, tasks = tasks, shared = shared.before,
    here = launching.here }
  local ok, last = pcall(launch, shared.plan, done, within)
  if not ok then -- the other ends wait for what is not going to start
    stages.fail(shared.roots, last, { stage = name_of(shared.plan.segment) })
    error(last, 0)
  end
  shared.keeper = keep { done = done, cancel = cancel, last = last, tasks = tasks, id = false }
  return {}
end

local function branches(self, plan, links)
  local streams, dones = {}, {}
  local shared = { plan = plan, missing = #links, open = #links, dones = dones, roots = {},
    before = {} }
  plan.segment.dones = dones
  for i, link in ipairs(links) do
    local branch = read(link, function(above, launching)
      return attach(shared, i, above, launching)
    end)
    streams[i] = new_stream(new_pipe(self.pipe.done), branch, self.count + 1)
    streams[i].pipe.branch = true
  end
  return table.unpack(streams)
end

--- Two streams, each of which has all items.
-- The slower one sets the pace, until it is closed: then the other goes on alone. What is before
-- starts when both have an end, so the first one to get one cannot be waited for:
-- use `chan`. A failure before the tee comes out at both ends, one behind it at its own.
-- @function s:tee
-- @treturn stream
-- @treturn stream
-- @usage
-- local a, b = rille.stream.range(nil, 1, 10):tee()
-- local evens = a:filter(function(n) return n % 2 == 0 end):chan()
-- assert(b:reduce(function(sum, n) return sum + n end, 0) == 55 and evens:recv() == 2)
function Stream:tee()
  local plan, outs, links = use(self, 3), {}, {}
  for i = 1, 2 do
    links[i] = rille.chan(CAPACITY)
    outs[i] = links[i]:sender()
  end
  plan.segment.sink, plan.segment.outs = stages.send_each, outs
  return branches(self, plan, links)
end

--- `n` streams that share the items: each goes to one of them, to whoever is first. A fan-out.
-- As with `tee`, all need an end before anything starts, and the others go on when one is closed.
-- @function s:split
-- @tparam integer n
-- @treturn stream,...
-- @usage
-- local a, b = rille.stream.range(nil, 1, 10):split(2)
-- assert(#rille.stream.merge(nil, a, b):collect() == 10)
function Stream:split(n)
  args.integer(1, "split", n, 1)
  local plan, link, links = use(self, 3), rille.chan(CAPACITY), {}
  for i = 1, n do links[i] = link end
  write(plan, link)
  return branches(self, plan, links)
end

-- A run is a stream that runs: what its end reads, and the task that keeps it.

local Run = {}

-- Waits for the end of all tasks. Then `run.ok`, or `run.err` and `run.cause`, say what came of
-- them.
local function settle(run)
  if run.settled then return end
  local ended, ok, err, cause = run.keeper:join()
  if ended then run.ok, run.err, run.cause = ok, err, cause else run.err = ok end
  run.settled = true
  refuse(run.here)
  leave(run.shared)
end

-- What comes out of an end that has read until nothing came: true, or nil, error and cause. The
-- tasks may have ended well, and the done fired before all was read.
local function finish(run)
  settle(run)
  local cut_short = run.ok and run.done:err() and select(2, run.out:try_recv()) ~= "closed"
  if cut_short then return stages.outcome(run.done, run.id) end
  return run.ok, run.err, run.cause
end

-- What comes out of an end whose own function fails, which may come second.
local function fail(run, name, err)
  stages.fail({ run }, err, { stage = name })
  settle(run)
  return stages.outcome(run.done, run.id)
end

local function has_failed(run)
  return getmetatable(run.err) == errors.failure
end

-- The end is left early. A failure that came before is told of: it is raised, or, as there is an
-- error already, left to be reported with its task.
function Run.__close(run, err)
  run.cancel()
  if run.settled then return end
  refuse(run.here)
  if err ~= nil then
    rille.any(run.keeper):wait()
  else
    settle(run)
    if has_failed(run) then error(run.err, 0) end
  end
end

function Run.__gc(run)
  if run.detached then return end
  run.cancel()
  refuse(run.here)
end

-- Calls the iterators of which nothing is left to be sent; those that have ended go.
local function refill(feeds)
  for i = #feeds, 1, -1 do
    local feed = feeds[i]
    if feed.item == nil then
      local item, err = feed.fn()
      if item == nil and err ~= nil then stages.fail(feed.roots, err, { stage = "from" }) end
      if item == nil then table.remove(feeds, i).out:close() else feed.item = item end
    end
  end
end

-- The next item, or nil. While it waits, what stays here is sent.
local function receive(run)
  while run.here[1] do
    refill(run.here)
    local cases = { done = run.done, out = run.out }
    for i, feed in ipairs(run.here) do cases[i] = feed.out:sending(feed.item) end
    local which, v = rille.select(cases)
    if which == "out" then return v end
    if which == "done" then return nil end
    run.here[which].item = nil
  end
  return run.out:recv(run.done)
end

-- What the loop of an end goes over.
local function items_of(run)
  if not run.here[1] then return run.out:iter(run.done) end
  return receive, run
end

local function all_attached(list)
  for _, shared in ipairs(list) do
    if shared.missing > 0 or not all_attached(shared.before) then return false end
  end
  return true
end

-- Starts the tasks of a stream. Their end is in the caller, or in another task, which reads `out`:
-- then the keeper closes that.
local function start(self, out, begun)
  local plan, pipe = cut(use(self, 4)), self.pipe
  local launching = { roots = { { cancel = pipe.cancel, id = pipe.id } }, tasks = {}, shared = {},
    here = {} }
  local run = setmetatable({ done = pipe.done, cancel = pipe.cancel, id = pipe.id,
    here = launching.here }, Run)
  local _ <close> = rille.defer(function()
    if pipe.run then return end
    pipe.cancel()
    refuse(launching.here)
  end)
  if out then
    relink(plan, out)
    for _, writer in ipairs(plan.writers) do writer.segment.stays_open = true end
  end
  local last = plan.feed(pipe.done, launching)
  if out and launching.here[1] then error(NOT_HERE, 3) end
  if not out and not all_attached(launching.shared) then
    error("the other streams of this tee or split have no end yet", 3)
  end
  run.out, run.shared = plan.segment.input, launching.shared
  run.keeper = keep { done = pipe.done, cancel = pipe.cancel, last = last, tasks = launching.tasks,
    out = out and out:sender(), begun = begun, id = pipe.id }
  pipe.run = run
  return run
end

local function next_item(run)
  if run.settled then error("the stream is used already", 3) end
  local v = receive(run)
  if v ~= nil then return v end
  local ok, err = finish(run)
  if not ok then error(err, 0) end
end

--- All items, in a list.
-- @function s:collect
-- @treturn table a list
-- @treturn nil,error,any when it failed, or was stopped by its done: `nil` and the failure, or the
-- done's error and cause
function Stream:collect()
  local run <close> = start(self)
  local list, n = {}, 0
  for v in items_of(run) do
    n = n + 1
    list[n] = v
  end
  local ok, err, cause = finish(run)
  if ok then return list end
  return nil, err, cause
end

--- Folds the items into one value.
-- @function s:reduce
-- @tparam function fn `fn(value, item)` gives the value for the next call; it is called here, not
-- in another task. `nil` and an error is a failure
-- @param init the first value; what comes out of no items
-- @return the last value
-- @treturn nil,error,any as for `s:collect`
-- @raise what `fn` raises
function Stream:reduce(fn, init)
  args.fn(1, "reduce", fn)
  local run <close> = start(self)
  local value = init
  for v in items_of(run) do
    local folded, err = fn(value, v)
    if folded == nil and err ~= nil then return fail(run, "reduce", err) end
    value = folded
  end
  local ok, err, cause = finish(run)
  if ok then return value end
  return nil, err, cause
end

--- Calls a function for each item.
-- @function s:each
-- @tparam function fn called with the item, here and not in another task. `nil` and an error
-- is a failure
-- @treturn boolean `true`
-- @treturn nil,error,any as for `s:collect`
-- @raise what `fn` raises
function Stream:each(fn)
  args.fn(1, "each", fn)
  local run <close> = start(self)
  for v in items_of(run) do
    local ok, err = fn(v)
    if ok == nil and err ~= nil then return fail(run, "each", err) end
  end
  return finish(run)
end

--- A loop over the items, which stops the stream when it is left.
-- A failure is raised in the loop, and so is the error of the done that has stopped it. A failure
-- that came before the loop was left by `break` is raised there.
--
-- `for v in s do` is the same without the stop: a loop that is left can be gone on with by another
-- one over `s`. What ends it then is `s:close()`, a `<close>` variable, or that `s` is garbage.
-- @function s:iter
-- @return what a `for` takes
-- @usage
-- for n in rille.stream.range(nil, 1):iter() do
--   if n == 1000 then break end
-- end
function Stream:iter()
  local run = start(self)
  return function() return next_item(run) end, nil, nil, run
end

function Stream:__call()
  self.run = self.run or start(self)
  return next_item(self.run)
end

--- A channel that gives the items, for any task to read.
-- It is closed when the stream has ended, and all its tasks. The second result is the task that
-- waits for that, and raises the failure: join it after the channel was read. If nobody does, the
-- failure is reported as that of any task. Who stops reading before the end stops the
-- stream by its done, by `s:close()`, or by interrupting that task.
--
-- In a list of arguments the channel alone is `(s:chan())`.
-- @function s:chan
-- @tparam[opt=128] integer capacity
-- @treturn receiver
-- @treturn task its results are `true`; or `nil`, the error and cause of the done that has stopped
-- the stream
-- @usage
-- local ch, task = rille.stream.range(nil, 1, 3):chan()
-- local sum = 0
-- for n in ch do sum = sum + n end
-- assert(task:await() and sum == 6)
function Stream:chan(capacity)
  capacity = capacity == nil and CAPACITY or args.integer(1, "chan", capacity, 0)
  local out, begun = rille.chan(capacity), rille.chan()
  local run = start(self, out, begun)
  begun:recv(run.keeper) -- from then on it may be interrupted
  run.detached = true
  return out:receiver(), run.keeper
end

--- Stops the stream, whatever was made of it since its source.
-- Waits until its tasks have ended.
-- @function s:close
-- @treturn boolean `true`
-- @treturn nil,failure when it had failed before
function Stream:close()
  local pipe = self.pipe
  pipe.cancel()
  if self.plan then drop(pipe, use(self)) end
  if not pipe.run then return true end
  settle(pipe.run)
  if has_failed(pipe.run) then return nil, pipe.run.err end
  return true
end

function Stream:__close(err)
  if self.pipe.run then
    Run.__close(self.pipe.run, err)
  else
    self:close()
  end
end

return stream

-- Random plans for the property test of leak analysis. A plan is plain data and names no handle of
-- rille: leak_model tells what it should come to, leak_player carries it out. In a plan,
--
--   a handle is { of = the index of its object, as = "full", "send", "recv", "watch", "cancel" or
--   "join" },
--   a box is a list of handles with a `shape`: how they travel in a message,
--   plan.objects are channels, timers, tasks, ended tasks, dones and afters, in the order in which
--   they are made,
--   plan.main are the handles that the main program holds, plan.trash those it holds as garbage.
--
-- Every task waits, and none of the waits may be ready when it begins. So a channel is either
-- waited on by receivers (and then empty), or by senders (and then full), or by nobody; nobody
-- waits on a done that has fired or a task that has ended.

local graph = {}

local random = math.random

local function chance(percent)
  return random(100) <= percent
end

local function pick(list)
  return list[random(#list)]
end

local MODES = { "receivers", "receivers", "senders", "idle" }
local RIGHTS = {
  chan = { "full", "send", "recv" },
  timer = { "full", "recv", "recv" },
  done = { "watch", "cancel", "cancel" },
  task = { "join" },
  ended = { "join" },
}

local function add(plan, object)
  local kind = object.kind
  plan.objects[#plan.objects + 1] = object
  plan.count[kind] = (plan.count[kind] or 0) + 1
  object.name = kind .. plan.count[kind]
  return #plan.objects
end

-- Objects for which `fits` says yes.
local function those(plan, fits)
  local list = {}
  for i, o in ipairs(plan.objects) do
    if fits(o) then list[#list + 1] = i end
  end
  return list
end

local function some_handle(plan)
  local i = pick(those(plan, function(o) return o.kind ~= "after" end))
  local o = plan.objects[i]
  local as = pick(RIGHTS[o.kind])
  if as == "cancel" and not o.cancel then as = "watch" end
  return { of = i, as = as }
end

local function handles(plan, least, most)
  local list = {}
  for n = 1, random(least, most) do list[n] = some_handle(plan) end
  return list
end

local function box(plan, most)
  local list = handles(plan, 1, most or 2)
  list.shape = #list == 1 and chance(30) and "bare" or pick { "table", "nested", "closure" }
  return list
end

-- Objects

local function add_channel(plan)
  add(plan, { kind = "chan", mode = pick(MODES), cap = random(0, 2), buffer = {} })
end

local function add_timer(plan, timed)
  add(plan, { kind = "timer", armed = timed and chance(30) })
end

-- What a done may hang on: nothing that has happened already.
local function may_happen(o)
  if o.kind == "chan" then return o.mode == "receivers" end
  return o.kind == "timer" or o.kind == "task" or (o.kind == "done" and not o.fired)
end

local function add_done(plan, timed)
  local o = { kind = "done", how = "plain", inputs = {} }
  local inputs, how = those(plan, may_happen), random(10)
  if how <= 4 then
    if chance(60) and #inputs > 0 then o.inputs = { pick(inputs) } end
    o.cancel = true
    o.timed = timed and chance(20)
    if chance(30) and #o.inputs == 0 and not o.timed then o.fired = true end
  elseif how <= 9 and #inputs > 0 then
    o.how = how <= 7 and "any" or "all"
    for n = 1, random(3) do o.inputs[n] = pick(inputs) end
    if o.how == "any" and #o.inputs == 1 and plan.objects[o.inputs[1]].kind == "done" then
      o.inputs[2] = o.inputs[1] -- `any` of one done is that done
    end
    o.blocked = o.how == "all" and chance(10)
  else
    local dones = those(plan, function(d) return d.kind == "done" and not d.fired end)
    if #dones == 0 then return end
    o.how, o.inputs = "detached", { pick(dones) }
  end
  if o.how == "plain" and chance(20) then o.values = box(plan) end
  if o.timed and chance(50) then o.cause = box(plan) end
  add(plan, o)
end

local function add_ended(plan)
  add(plan, { kind = "ended", outcome = box(plan), fails = chance(30) })
end

-- Does time alone fire it? Then an `after` on it would outlive the test.
local function timely(plan, i)
  local o = plan.objects[i]
  if o.kind == "timer" then return true end
  if o.kind ~= "done" then return false end
  if o.timed then return true end
  for _, input in ipairs(o.inputs) do
    if timely(plan, input) then return true end
  end
  return false
end

local function add_after(plan)
  local dones = those(plan, function(o) return o.kind == "done" and not o.fired end)
  if #dones == 0 then return end
  local on = pick(dones)
  if not timely(plan, on) then add(plan, { kind = "after", on = on, held = box(plan) }) end
end

-- Waits

local function sending(plan, cases, op)
  local channels = those(plan, function(o) return o.kind == "chan" and o.mode == "senders" end)
  if #channels == 0 then return end
  local as = pick { "full", "send" }
  cases[#cases + 1] = { op = op, on = pick(channels), as = as, offer = box(plan) }
end

local function receiving(plan, cases)
  local sources = those(plan, function(o)
    return o.kind == "timer" or (o.kind == "chan" and o.mode == "receivers")
  end)
  if #sources == 0 then return end
  cases[#cases + 1] = { op = "recv", on = pick(sources), as = pick { "full", "recv" } }
end

local function joining(plan, cases, self)
  local tasks = those(plan, function(o) return o.kind == "task" and o ~= self end)
  if #tasks > 0 then cases[#cases + 1] = { op = "join", on = pick(tasks), as = "join" } end
end

local function watching(plan, cases)
  local dones = those(plan, function(o) return o.kind == "done" and not o.fired end)
  if #dones > 0 then cases[#cases + 1] = { op = "wait", on = pick(dones), as = "watch" } end
end

-- Adds a case of any kind but a send.
local function any_case(plan, cases, self)
  local kinds = { receiving, joining, watching }
  kinds[random(3)](plan, cases, self)
end

-- The kinds of wait. The last case of one that is no select is its guard.
local WAITS = {
  "recv", "recv", "recv", "send", "send", "send", "join", "wait", "wait", "select", "select",
  "select", "never",
}

local function make_wait(plan, self, timed)
  local w = { op = pick(WAITS), cases = {} }
  local add_case = { recv = receiving, send = sending, join = joining, wait = watching }
  if w.op == "select" then
    for _ = 1, random(4) do
      if chance(30) then sending(plan, w.cases, "send") else any_case(plan, w.cases, self) end
    end
    w.named = chance(30)
  elseif w.op ~= "never" then
    add_case[w.op](plan, w.cases, w.op == "send" and "send" or self)
    if #w.cases == 0 then w.op = "never" end
  end
  if w.op == "select" and #w.cases == 0 then w.op = "never" end
  if w.op ~= "select" and chance(20) then
    local n = #w.cases
    any_case(plan, w.cases, self)
    w.guarded = #w.cases > n
  end
  w.timed = timed and not w.guarded and w.op ~= "select" and chance(10)
  if w.op == "select" and timed then w.timed = chance(5) end
  return w
end

local STYLES = { "plain", "plain", "plain", "coroutine", "nested" }

local function fill_task(plan, o, timed)
  o.held, o.trash = handles(plan, 0, 3), handles(plan, 0, 1)
  o.wait = make_wait(plan, o, timed)
  o.style = chance(1) and "sort" or pick(STYLES)
  -- What a task waits on and offers it holds, too.
  for _, case in ipairs(o.wait.cases) do
    o.held[#o.held + 1] = { of = case.on, as = case.as }
    for _, h in ipairs(case.offer or {}) do o.held[#o.held + 1] = h end
  end
end

-- A channel that senders wait on is full; one that receivers wait on stays empty.
local function fill_channel(plan, o)
  local n = o.mode == "senders" and o.cap or o.mode == "idle" and random(0, o.cap) or 0
  for i = 1, n do o.buffer[i] = box(plan) end
  o.closed = o.mode == "idle" and chance(20)
end

local function fill_done(plan, o)
  if o.fired then o.cause = box(plan) end
end

-- Only a done that no other hangs on has a cause for its deadline: what an `all` then takes as its
-- own depends on which input is the last.
local function drop_causes(plan)
  for _, o in ipairs(plan.objects) do
    for _, input in ipairs(o.inputs or {}) do plan.objects[input].cause = nil end
  end
end

local function times(least, most, fn, ...)
  for _ = 1, random(least, most) do fn(...) end
end

--- A new plan, the same for the same numbers. `timed`: may anything in it happen by time alone?
function graph.new(seed, number, timed)
  math.randomseed(seed, number)
  local plan = { objects = {}, count = {}, number = number }
  timed = timed and chance(25)
  times(1, 4, add_channel, plan)
  times(0, 1, add_timer, plan, timed)
  times(1, 6, function() add(plan, { kind = "task" }) end)
  times(0, 4, add_done, plan, timed)
  times(0, 2, add_ended, plan)
  times(0, 1, add_after, plan)
  drop_causes(plan)
  for _, o in ipairs(plan.objects) do
    if o.kind == "task" then fill_task(plan, o, timed) end
    if o.kind == "chan" then fill_channel(plan, o) end
    if o.kind == "done" then fill_done(plan, o) end
  end
  plan.main, plan.trash = handles(plan, 0, 10), handles(plan, 0, 1)
  plan.asked_by_task, plan.kept = chance(10), chance(15)
  return plan
end

-- Text

local function handle_text(plan, list)
  local words = {}
  for i, h in ipairs(list or {}) do words[i] = plan.objects[h.of].name .. ":" .. h.as end
  return "{" .. table.concat(words, " ") .. "}"
end

local function inputs_text(plan, o)
  local words = {}
  for i, input in ipairs(o.inputs) do words[i] = plan.objects[input].name end
  return table.concat(words, " ")
end

local function wait_text(plan, w)
  local words = { w.op }
  for i, case in ipairs(w.cases) do
    local guard = w.guarded and i == #w.cases and "guard " or ""
    local offer = case.offer and " of " .. handle_text(plan, case.offer) or ""
    words[#words + 1] = guard .. case.op .. " " .. plan.objects[case.on].name .. offer .. ";"
  end
  if w.timed then words[#words + 1] = "with a deadline" end
  return table.concat(words, " ")
end

local texts = {}

function texts.chan(plan, o)
  local words = { ("capacity %d%s"):format(o.cap, o.closed and ", closed" or "") }
  for _, message in ipairs(o.buffer) do
    words[#words + 1] = "buffers " .. handle_text(plan, message)
  end
  return table.concat(words, ", ")
end

function texts.timer(_, o)
  return o.armed and "armed" or "stopped"
end

function texts.task(plan, o)
  return ("(%s) holds %s, waits in %s"):format(o.style, handle_text(plan, o.held),
    wait_text(plan, o.wait))
end

function texts.ended(plan, o)
  return (o.fails and "failed with " or "returned ") .. handle_text(plan, o.outcome)
end

function texts.done(plan, o)
  return ("%s of (%s)%s%s%s, values %s, cause %s"):format(o.how, inputs_text(plan, o),
    o.blocked and " and false" or "", o.timed and ", with a deadline" or "",
    o.fired and ", fired" or "", handle_text(plan, o.values), handle_text(plan, o.cause))
end

function texts.after(plan, o)
  return ("on %s, holds %s"):format(plan.objects[o.on].name, handle_text(plan, o.held))
end

--- The plan as text, one line for each object.
function graph.text(plan)
  local lines = { "main holds " .. handle_text(plan, plan.main) }
  for _, o in ipairs(plan.objects) do
    lines[#lines + 1] = o.name .. " " .. texts[o.kind](plan, o)
  end
  return table.concat(lines, "\n")
end

return graph

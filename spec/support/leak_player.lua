-- Carries out a plan of leak_graph: makes its objects, starts its tasks, gives each what it holds,
-- and keeps nothing else. A task that something wakes then does, with all it holds, what could
-- wake others: it closes, receives, fires, reads. So whether a task lives is not a matter of
-- opinion: the main program does the same with its own handles, and who lives has to end.

local rille = require "rille"

local player = {}

local HOUR = 3600

-- The part of a task

-- Does with a value from a message, or a handle, whatever could wake somebody.
local function release(v, seen)
  if type(v) == "function" then return release(v(), seen) end
  if type(v) == "table" then
    for _, w in pairs(v) do release(w, seen) end
    return
  end
  if type(v) ~= "userdata" or seen[v] then return end
  seen[v] = true
  local kind = tostring(v):match "^%a+"
  if kind == "cancel" then
    v()
  elseif kind == "done" then
    if v:err() then release(v:cause(), seen) end
    for n = 1, 4 do release(v:value("done" .. n), seen) end -- its own, and its parents'
  elseif kind == "task" then
    local status = v:status()
    if status == "finished" or status == "failed" then
      local _, outcome = v:join()
      release(outcome, seen)
    end
  else -- a channel, one of its views, or a timer: what it may not do raises
    pcall(function() v:close() end)
    pcall(function()
      for message in function() return (v:try_recv()) end do release(message, seen) end
    end)
    pcall(function() v:reset(0.0005) end)
  end
end

local function wait(job)
  local lib = require "rille"
  local w = job.wait
  local first, guard = w.handles[1], w.guard or w.seconds
  if w.op == "recv" then return first:recv(guard) end
  if w.op == "send" then return first:send(w.offers[1], guard) end
  if w.op == "join" then return first:join(guard) end
  if w.op == "wait" then return first:wait(guard) end
  if w.op == "never" then return lib.never:recv(guard) end
  local cases, n = {}, 0
  for i, handle in ipairs(w.handles) do
    n = n + 1
    cases[n] = w.offers[i] and handle:sending(w.offers[i]) or handle
  end
  if w.seconds then cases[n + 1], n = w.seconds, n + 1 end
  if not w.named then return lib.select(nil, table.unpack(cases, 1, n)) end
  local named = {}
  for i = 1, n do named["case " .. i] = cases[i] end
  return lib.select(named)
end

local styles = { plain = wait }

function styles.coroutine(job)
  return coroutine.wrap(wait)(job)
end

function styles.nested(job)
  return coroutine.wrap(function() return coroutine.wrap(pcall)(wait, job) end)()
end

-- In a comparator Lua cannot yield: the wait blocks its thread.
function styles.sort(job)
  local results
  table.sort({ 1, 2 }, function(a, b)
    results = results or table.pack(wait(job))
    return a < b
  end)
  return table.unpack(results, 1, results.n)
end

-- What a task runs: takes its job, waits, tells how that ended, and passes the wake on.
local function body(mailbox, report)
  local job = mailbox:recv()
  mailbox = nil -- luacheck: ignore 311 (as a handle on the stack it would hold)
  job.trash = nil
  report:send { job.name, "ready" }
  local results = table.pack(pcall(styles[job.style], job))
  local failed = not results[1] or results[2] == false
  local err = tostring(failed and results[results[1] and 3 or 2] or "")
  local how = err:find "leaked" and "leaked" or err:find "interrupted" and "interrupted" or "woken"
  if how ~= "leaked" then
    local seen = { [report] = true }
    release(results, seen)
    release(job, seen)
  end
  report:send { job.name, how }
end

-- The part of the main program

-- What it needs while it builds: the plan, and the handles of its objects by index.
local function new_stage(plan, report)
  return { plan = plan, handles = {}, cancels = {}, stops = {}, mailboxes = {}, report = report }
end

local function handle_of(stage, h)
  local full = stage.handles[h.of]
  if h.as == "send" then return full:sender() end
  if h.as == "recv" then return full:receiver() end
  if h.as == "cancel" then return stage.cancels[h.of] end
  return full
end

local function handles_of(stage, list)
  local handles = {}
  for i, h in ipairs(list or {}) do handles[i] = handle_of(stage, h) end
  return handles
end

local function message(stage, box)
  local handles = handles_of(stage, box)
  if box.shape == "bare" then return handles[1] end
  if box.shape == "nested" then return { { [0.5] = { deep = handles } }, handles[1] } end
  if box.shape == "closure" then return function() return handles end end
  return handles
end

local make = {}

function make.chan(stage, i, o)
  stage.handles[i] = rille.chan(o.cap, o.name)
end

function make.timer(stage, i, o)
  local timer = rille.tick(HOUR) -- one that repeats: it may have to wake several
  if not o.armed then timer:stop() end
  stage.handles[i] = timer
end

function make.task(stage, i, o)
  local mailbox = rille.chan(1, "mailbox")
  stage.handles[i] = rille.go({ name = o.name }, body, mailbox, stage.report)
  stage.mailboxes[i] = mailbox
end

function make.ended(stage, i, o)
  local task = rille.go({ name = o.name }, function(outcome, fails)
    if fails then error(outcome) end
    return outcome
  end, message(stage, o.outcome), o.fails)
  task:join()
  stage.handles[i] = task
end

local function plain_done(stage, i, o)
  local opts = {
    timeout = o.timed and HOUR or nil,
    cause = o.timed and o.cause and message(stage, o.cause) or nil,
    values = o.values and { [o.name] = message(stage, o.values) } or nil,
    name = o.name,
  }
  local parent = o.inputs[1] and stage.handles[o.inputs[1]]
  stage.handles[i], stage.cancels[i] = rille.done(parent, opts)
end

function make.done(stage, i, o)
  if o.how == "plain" then return plain_done(stage, i, o) end
  local inputs = {}
  for n, input in ipairs(o.inputs) do inputs[n] = stage.handles[input] end
  if o.how == "detached" then
    stage.handles[i] = inputs[1]:detached()
  elseif o.blocked then
    stage.handles[i] = rille.all(false, table.unpack(inputs))
  else
    stage.handles[i] = rille[o.how](table.unpack(inputs))
  end
end

function make.after(stage, i, o)
  stage.handles[o.on]:after(function(held)
    release(held, {})
  end, message(stage, o.held))
  stage.handles[i] = false
end

local fill = {}

function fill.chan(stage, i, o)
  for _, box in ipairs(o.buffer) do assert(stage.handles[i]:try_send(message(stage, box))) end
  if o.closed then stage.handles[i]:close() end
end

function fill.done(stage, i, o)
  if o.fired then stage.cancels[i](message(stage, o.cause)) end
end

local function job_of(stage, o)
  local w = {
    op = o.wait.op, named = o.wait.named, seconds = o.wait.timed and HOUR or nil,
    handles = {}, offers = {},
  }
  for n, case in ipairs(o.wait.cases) do
    local handle = handle_of(stage, { of = case.on, as = case.as })
    if o.wait.guarded and n == #o.wait.cases then
      w.guard = handle
    else
      w.handles[n] = handle
      w.offers[n] = case.offer and message(stage, case.offer)
    end
  end
  return {
    name = o.name, style = o.style, held = handles_of(stage, o.held),
    trash = handles_of(stage, o.trash), wait = w,
  }
end

function fill.task(stage, i, o)
  stage.mailboxes[i]:send(job_of(stage, o))
end

-- What the tasks have told: a table from names to the last word of each.
local function listen(report, said)
  for word in function() return (report:try_recv()) end do said[word[1]] = word[2] end
  return said
end

-- Returns when every task waits in what its job says.
local function settle(stage, report)
  local said = {}
  for i, o in ipairs(stage.plan.objects) do
    if o.kind == "task" then
      while listen(report, said)[o.name] ~= "ready" do rille.yield() end
      while stage.handles[i]:status() ~= "waiting" do rille.yield() end
    end
  end
end

local function task_handles(stage)
  local tasks = {}
  for i, o in ipairs(stage.plan.objects) do
    if o.kind == "task" then tasks[o.name] = stage.handles[i] end
  end
  return tasks
end

--- Makes what the plan says. Returns a game: what the main program holds, and `report`. With
-- `interrupts` it also keeps the handles of the tasks, which changes nothing about who lives.
function player.build(plan, interrupts)
  local n = 0
  for _, o in ipairs(plan.objects) do n = n + (o.kind == "task" and 2 or 0) end
  local report = rille.chan(n, "report")
  local stage = new_stage(plan, report:sender())
  for i, o in ipairs(plan.objects) do make[o.kind](stage, i, o) end
  for i, o in ipairs(plan.objects) do
    if fill[o.kind] then fill[o.kind](stage, i, o) end
  end
  settle(stage, report)
  local game = {
    plan = plan, report = report:receiver(), said = {}, held = handles_of(stage, plan.main),
    tasks = interrupts and task_handles(stage) or nil,
  }
  game.trash = handles_of(stage, plan.trash)
  game.trash = nil
  return game
end

--- What the tasks have told by now.
function player.said(game)
  return listen(game.report, game.said)
end

--- Does with what the main program holds all that could wake somebody.
function player.release(game)
  release(game.held, {})
  game.held = nil
end

return player

-- The rule of leak analysis once more, as a brute-force fixpoint over a plan (see leak_graph):
-- which of its tasks can something live still wake? It knows nothing of rille and of how the
-- analysis works, and it takes no care to be fast: it applies all rules again and again until
-- nothing changes.

local model = {}

-- What holding a handle allows, by the kind of its object and what the handle is.
local RIGHTS = {
  chan = { full = { "sends", "receives" }, send = { "sends" }, recv = { "receives" } },
  timer = { full = { "delivers" }, recv = {} }, -- by a reset
  done = { watch = { "read" }, cancel = { "fires" } },
  task = { join = {} }, -- a handle wakes nobody: that a task could be interrupted does not count
  ended = { join = { "read" } },
}

-- A world: for each object the set of what can happen to it. `set` notes that something can.
local function new_world(plan)
  local world = { plan = plan, can = {}, ends = {}, changed = false }
  for i = 1, #plan.objects do world.can[i] = {} end
  return world
end

local function set(world, i, what)
  if world.can[i][what] then return end
  world.can[i][what] = true
  world.changed = true
end

local function hold(world, handles)
  for _, h in ipairs(handles or {}) do
    local rights = RIGHTS[world.plan.objects[h.of].kind][h.as]
    for _, right in ipairs(rights) do set(world, h.of, right) end
  end
end

-- Does something live make this input of a done, or this case of a wait, happen?
local function happens(world, i, op)
  local kind, can = world.plan.objects[i].kind, world.can[i]
  if op == "send" then return can.receives or can.sends end -- a close ends it, too
  if kind == "chan" then return can.sends end
  if kind == "timer" then return can.delivers end
  if kind == "done" then return can.fires end
  return can.lives or world.ends[i] -- a live task ends some day
end

local rules = {}

function rules.chan(world, i, o)
  if not world.can[i].receives then return end
  for _, message in ipairs(o.buffer) do hold(world, message) end
end

function rules.timer(world, i, o)
  if o.armed and world.time then set(world, i, "delivers") end
end

function rules.ended(world, i, o)
  if world.can[i].read then hold(world, o.outcome) end
end

local function inputs_happen(world, o)
  local all = #o.inputs > 0 and not o.blocked -- by an input that never fires
  for _, input in ipairs(o.inputs) do
    if happens(world, input) then
      if o.how ~= "all" then return o.how ~= "detached" end
    else
      all = false
    end
  end
  return o.how == "all" and all
end

-- Where the values of a done are looked up further: the first of its inputs that is one.
local function values_from(world, o)
  for _, input in ipairs(o.inputs) do
    if world.plan.objects[input].kind == "done" then return input end
  end
end

function rules.done(world, i, o)
  local can = world.can[i]
  if o.timed and world.time then set(world, i, "fires") end
  if inputs_happen(world, o) then set(world, i, "fires") end
  if can.read then
    if o.fired or (o.timed and world.time) then hold(world, o.cause) end
    set(world, i, "valued")
  end
  if can.valued then
    hold(world, o.values)
    local from = values_from(world, o)
    if from then set(world, from, "valued") end
  end
end

function rules.after(world, _, o)
  if world.can[o.on].fires then hold(world, o.held) end
end

function rules.task(world, i, o)
  if world.ends[i] then return end -- unwound: it does nothing any more
  if o.wait.timed and world.time then set(world, i, "lives") end
  for _, case in ipairs(o.wait.cases) do
    if happens(world, case.on, case.op) then set(world, i, "lives") end
  end
  if not world.can[i].lives then return end
  hold(world, o.held)
  for _, case in ipairs(o.wait.cases) do hold(world, case.offer) end
end

local function spread(world)
  repeat
    world.changed = false
    for i, o in ipairs(world.plan.objects) do rules[o.kind](world, i, o) end
  until not world.changed
  local live = {}
  for i, o in ipairs(world.plan.objects) do
    if o.kind == "task" and world.can[i].lives then live[i] = true end
  end
  return live
end

--- The tasks of the plan that live, as a set of indices; `timeless` leaves out what comes by time.
function model.live(plan, timeless)
  local world = new_world(plan)
  world.time = not timeless
  hold(world, plan.main)
  return spread(world)
end

--- Those of them that are woken, without the main program, when the leaked are unwound and so end.
function model.woken_by_collect(plan)
  local world, live = new_world(plan), model.live(plan)
  for i, o in ipairs(plan.objects) do world.ends[i] = o.kind == "task" and not live[i] end
  return spread(world)
end

--- The names of the tasks that are leaked, sorted.
function model.leaked(plan)
  local live, names = model.live(plan), {}
  for i, o in ipairs(plan.objects) do
    if o.kind == "task" and not live[i] then names[#names + 1] = o.name end
  end
  table.sort(names)
  return names
end

return model

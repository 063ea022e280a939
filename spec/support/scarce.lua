-- Every operation while memory runs out, at its first allocation, its second, and so on until it
-- passes. A program of its own: it prints what went wrong, one line each, and nothing else. Its
-- arguments are how many rounds to go, and the library made of failing.c.

local failing = assert(package.loadlib(arg[2], "luaopen_failing"))()
local rille = require "rille"

local BOUND = 20 -- seconds: a watchdog
local LONG = ("x"):rep(100)

-- By name: a function that prepares, and gives the operation and, if there is more to see than what
-- the counts tell, a check of what its failure or success has left.
local operations = {}

local function nothing_waits(ch)
  return function()
    assert(select(2, ch:try_send(1)) == "full", "a receiver is still queued")
    assert(select(2, ch:try_recv()) == "empty", "a sender is still queued")
  end
end

local function class_instances()
  local Class = { __name = "Class" }
  Class.__index = Class
  function Class.new() return setmetatable({}, Class) end
  return { Class.new(), setmetatable({}, setmetatable({ __index = 1 }, Class)) }
end

local function functions()
  local n, f = { 0 }, nil
  function f() n[1] = n[1] + 1 return f end
  return { f, function() return n, f end }
end

local function rebuilt()
  local o = setmetatable({}, { __transfer = function() return setmetatable, {}, {} end })
  return { o, { o } }
end

local function deep()
  local t = {}
  for _ = 1, 200 do t = { t } end
  return t
end

local values = {
  number = function() return 1 end,
  string = function() return LONG end,
  table = function() return { 1, x = { LONG } } end,
  handles = function() return { rille.chan(), rille.done() } end,
  functions = functions,
  classes = class_instances,
  rebuilt = rebuilt,
  deep = deep,
  module = function() return { string, rille.chan, print } end,
}

local function with_value(name, prepare)
  for kind, make in pairs(values) do
    operations[name .. " " .. kind] = function() return prepare(make()) end
  end
end

with_value("send", function(v)
  local ch = rille.chan(1)
  return function() return ch:send(v) end, function(ok) assert(#ch == (ok and 1 or 0)) end
end)

with_value("recv", function(v)
  local ch = rille.chan(1)
  ch:send(v)
  return function() return ch:recv() end, function(ok) assert(not ok or #ch == 0) end
end)

with_value("send cut short", function(v)
  local ch, stop = rille.chan(), rille.chan(1)
  stop:send(v)
  return function() return ch:send(v, stop) end, nothing_waits(ch)
end)

with_value("recv that times out", function()
  local ch = rille.chan()
  return function() return ch:recv(0.001) end, nothing_waits(ch)
end)

with_value("select", function(v)
  local a, b, c = rille.chan(1), rille.chan(1), rille.chan()
  local first, second = a:sending(v), b:sending(v)
  return function() return rille.select(first, second, c, 9) end,
    function(ok) assert(#a + #b == (ok and 1 or 0)) end
end)

with_value("select by name", function(v)
  local a, b, c = rille.chan(1), rille.chan(), rille.chan()
  a:send(v)
  local cases = { a = a, b = b:sending(v), c = c }
  return function() return rille.select(cases) end, nothing_waits(b)
end)

with_value("sending", function(v)
  local ch = rille.chan()
  return function() return ch:sending(v) end
end)

with_value("cancel", function(v)
  local done, cancel = rille.done()
  return function() cancel(v) end, function(ok) assert(ok == (done:err() ~= nil)) end
end)

with_value("cause", function(v)
  local done, cancel = rille.done()
  cancel(v)
  return function() return done:cause() end
end)

with_value("values", function(v)
  return function()
    local done = rille.done { values = { v = v }, cause = v, timeout = 99, name = "n" }
    return done:value "v"
  end
end)

with_value("join", function(v)
  local task = rille.go(function(...) return ... end, v)
  task:join()
  return function() return task:join() end, function() assert(task:join()) end
end)

with_value("go", function(v)
  local ran = rille.chan(1)
  local go, task = rille.go, nil
  local function body() ran:send(1) return v end
  return function() task = go(body, v) end, function(ok)
    if task then assert(task:join()) end
    assert(ok == (#ran == 1), "started, or not")
  end
end)

with_value("after", function(v)
  local ran, done, cancel = rille.chan(1), rille.done()
  local function body() ran:send(v) end
  cancel()
  return function() return done:after(body) end,
    function(ok) assert(ok == (ran:recv(ok and 9 or 0.001) ~= nil), "started, or not") end
end)

operations["send again"] = function()
  local ch, n = rille.chan(3), 0
  local function f() n = n + 1 return LONG end
  ch:send(f)
  return function() return ch:send(f) and ch:send(f) end
end

function operations.chan()
  return function()
    local ch = rille.chan(3, "name")
    return ch:sender(), ch:receiver(), tostring(ch), ch:name()
  end
end

function operations.loop()
  local ch = rille.chan(2)
  ch:send { 1 }
  ch:close()
  return function() for _ in ch:iter(9) do end end
end

function operations.done()
  local parent, ch, task = rille.done(), rille.chan(), rille.go(function() end)
  task:join()
  return function()
    local child <const>, cancel <close> = rille.done(parent)
    return rille.done(ch), rille.done(task), rille.done(9), child:detached(), tostring(cancel)
  end
end

function operations.any()
  local done, ch, full = rille.done(), rille.chan(), rille.chan(1)
  full:send { LONG }
  return function() return rille.any(done, ch, full, 9), rille.all(done, ch, 9) end
end

function operations.time()
  return function()
    local timer <const> = rille.timer(9)
    return timer:reset(8), timer:stop(), rille.tick(9), rille.sleep(0.001), tostring(timer)
  end
end

function operations.sync()
  return function()
    return rille.mutex "name", rille.rwmutex(), rille.semaphore(2), rille.waitgroup(), rille.cond(),
      rille.barrier(2), rille.counter(), rille.once()
  end
end

local function abandoned_mutex()
  local mutex = rille.mutex()
  rille.go(function() mutex:lock() end):join()
  return mutex
end

for _, method in ipairs { "lock", "try_lock" } do
  operations[method] = function()
    local mutex = abandoned_mutex()
    return function() return mutex[method](mutex) end,
      function(ok) assert(ok == not mutex:try_lock(), "locked, or not") mutex:unlock() end
  end
end

function operations.guard()
  local mutex = abandoned_mutex()
  return function() local _ <close> = mutex:guard() end,
    function() assert(mutex:try_lock(), "it is unlocked") mutex:unlock() end
end

function operations.reading()
  local rw = rille.rwmutex()
  return function()
    local _ <close> = rw:rguard()
    assert(rw:rlock())
    rw:runlock()
  end, function() assert(rw:try_lock(), "it is unlocked") rw:unlock() end
end

operations["cond wait"] = function()
  local mutex, cond = rille.mutex(), rille.cond()
  mutex:lock()
  return function() return cond:wait(mutex, 0.001) end, function() mutex:unlock() end
end

function operations.permits()
  local slots = rille.semaphore(2)
  return function() local _ <close> = slots:guard(2, 9) end,
    function() assert(slots:try_acquire(2), "all are free") end
end

operations["group go"] = function()
  local group = rille.waitgroup()
  return function() return group:go(function() end) end,
    function() assert(group:wait(9), "nothing is left") end
end

with_value("once", function(v)
  local once, runs = rille.once(), 0
  local function body() runs = runs + 1 return v end
  return function() return once:run(body) end, function()
    pcall(once.run, once, body)
    assert(runs <= 1, "run once")
  end
end)

function operations.rest()
  local task = rille.go({ name = "x" }, error, "lost")
  task:join()
  return function()
    local _ <close> = rille.defer(function() end)
    return rille.stats(), rille.self(), task:traceback(), task:name(), tostring(task), task:status()
  end
end

-- What is alive, as one string.
local function counts()
  for _ = 1, 3 do collectgarbage() end
  local stats = rille.stats()
  local tasks = stats.tasks
  local line = "%d channels, %d bytes, %d runnable, %d running, %d waiting tasks"
  return line:format(stats.channels, stats.message_bytes, tasks.runnable, tasks.running,
    tasks.waiting)
end

local function settled(before)
  local limit, now = rille.now() + BOUND, counts()
  while now ~= before and rille.now() < limit do
    rille.sleep(0.001)
    now = counts()
  end
  return now
end

local function complain(...)
  print(table.concat({ ... }, ": "))
end

-- True when nothing failed any more.
local function passes(prepare, n, once, complaint)
  local operation, check = prepare()
  collectgarbage()
  local failed, ok, err = failing(n, once, operation)
  if not ok and not tostring(err):find "memory" then complain(complaint, tostring(err)) end
  if check then
    local fine, why = pcall(check, ok)
    if not fine then complain(complaint, ok and "passed" or tostring(err), tostring(why)) end
  end
  return failed == 0
end

local function try(name, prepare, once)
  local before = counts()
  for n = 0, 1000 do
    local complaint = name .. (once and ", once after " or " after ") .. n
    local passed = passes(prepare, n, once, complaint)
    local now = settled(before)
    if now ~= before then complain(complaint, before, now) end
    if passed then return end
    before = now
  end
  complain(name, "never passes")
end

rille.go(function() end):join() -- what the first task leaves is no leak

local names = {}
for name in pairs(operations) do table.insert(names, name) end
table.sort(names)
-- Tables that are full make room: how many handles there are matters too.
local others = {}
for _ = 1, tonumber(arg[1]) do
  table.insert(others, rille.chan())
  for _, name in ipairs(names) do
    try(name, operations[name], true)
    try(name, operations[name], false)
  end
end

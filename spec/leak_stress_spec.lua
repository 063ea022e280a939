-- Leak analysis while everything moves: random programs in which the rights that can wake somebody
-- travel, by every way there is, from task to task all the time. Nobody in them is ever leaked, so
-- each verdict given meanwhile has to be empty, and in the end all must have been woken. A round
-- is repeated by its seed:
--
--     RILLE_SEED=n      that round alone
--     RILLE_STRESS=s    rounds for so many seconds (2 by default)

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local BOUND = 60 -- a watchdog

-- Passes a token on: the only right to wake somebody, and how many hops it has left. Each hop takes
-- another way. `ring` are the channels of the carriers, `report` counts those that were woken.
local function hop(token, ring)
  local lib = require "rille"
  local random = math.random
  token.hops = token.hops - 1
  if token.hops <= 0 then
    token.right:send "woken"
    return
  end
  local to = ring[random(#ring)]
  local ways = {
    function() to:send(token) end,
    function() lib.select(to:sending(token), lib.never) end,
    function() -- in the call of a task that is to start
      lib.go(function(t) to:send(t) end, token)
    end,
    function() -- as an upvalue
      lib.go(function() lib.select { there = to:sending(token) } end)
    end,
    function() -- as a result, taken by a third
      local giver = lib.go(function() lib.yield() return token end)
      lib.go(function() to:send((giver:await())) end)
    end,
    function() -- as an error
      local giver = lib.go(function() error { token } end)
      lib.go(function() to:send(select(2, giver:join())[1]) end)
    end,
    function() -- as a cause
      local done, cancel = lib.done()
      cancel { token }
      lib.go(function() to:send(done:cause()[1]) end)
    end,
    function() -- as a value of a done
      local done = lib.done { values = { token = token } }
      lib.go(function() to:send((lib.done(done):value "token")) end)
    end,
    function() -- with an after
      local done, cancel = lib.done()
      done:after(function() to:send(token) end)
      if random(2) == 1 then lib.go(function() cancel() end) else cancel() end
    end,
    function() -- as a buffered message in a channel in a message
      local box = lib.chan(1)
      box:send(token)
      lib.go(function(b) to:send((b.box:recv())) end, { box = box:receiver() })
    end,
    function() -- out of a channel in its own buffer
      local box = lib.chan(1)
      box:send { box, token }
      lib.go(function(b) to:send(b:recv()[2]) end, box:receiver())
    end,
    function() -- out of one of several channels in each other's buffers
      local a, b = lib.chan(1), lib.chan(1)
      a:send(b)
      b:send { a, token }
      lib.go(function(first) to:send(first:recv():recv()[2]) end, a)
    end,
    function() -- out of a cell that stays in itself, and is lost
      local cell = lib.chan(1)
      cell:send { cell, token }
      lib.go(function(c) to:send(lib._peek(c)[2]) end, cell)
    end,
    function() -- with a done that is its own cause, and is lost
      local done, cancel = lib.done()
      cancel { done, token }
      lib.go(function(d) to:send(d:cause()[2]) end, done)
    end,
    function() -- with the cause of a child of such a done, and through both
      local done, cancel = lib.done()
      cancel { done, token }
      local child = lib.done(done)
      lib.go(function(d) to:send(d:cause()[1]:cause()[2]) end, (child))
    end,
    function() -- with values behind a ring
      local box = lib.chan(1)
      local done = lib.done { values = { token = token, box = box } }
      box:send((lib.done(done)))
      lib.go(function(b) to:send(b:recv():value "token") end, box)
    end,
    function() -- as a result beside the task itself
      local mine = lib.chan(1)
      local giver = lib.go(function() return mine:recv(), token end)
      mine:send(giver)
      lib.go(function(t) to:send((select(2, t:await()))) end, giver)
    end,
    function() -- of a once that has itself
      local once = lib.once()
      once:run(function() return once, token end)
      lib.go(function(o) to:send((select(2, o:run(print)))) end, once)
    end,
    function() -- from a coroutine, and from where Lua cannot yield
      if random(4) > 1 then return coroutine.wrap(function() to:send(token) end)() end
      local sent
      table.sort({ 1, 2 }, function(a, b)
        if not sent then to:send(token) end
        sent = true
        return a < b
      end)
    end,
    function() -- by a task that waits for another to end first
      local first = lib.go(lib.yield)
      lib.go(function() first:join() to:send(token) end)
    end,
    function() -- after a moment
      if random(20) > 1 then return to:send(token) end
      lib.go(function() lib.sleep(random() * 0.002) to:send(token) end)
    end,
    function()
      collectgarbage()
      to:send(token)
    end,
  }
  ways[random(#ways)]()
end

-- A carrier passes on what comes, until its channel is closed.
local function carrier(inbox, ring, seed, id)
  math.randomseed(seed, id)
  for token in inbox do hop(token, ring) end
end

-- Waits for its own token, in one of several ways.
local function waiter(ch, how, report)
  local lib = require "rille"
  if how == 1 then
    ch:recv()
  elseif how == 2 then
    lib.select(lib.never, ch)
  elseif how == 3 then
    lib.any(ch, lib.background):wait()
  elseif how == 4 then
    lib.done(ch):wait()
  else
    lib.go(function() ch:recv() end):join()
  end
  report:send "woken"
end

-- Asks again and again, until told to stop: how often, and the first verdict that was not empty.
-- Every other time it also collects what hangs on nothing but itself.
local function inspector(stop)
  local lib = require "rille"
  local n = 0
  while true do
    local _, err = stop:try_recv()
    if err == "closed" then return n end
    local leaks = lib.leaks()
    n = n + 1
    if n % 2 == 0 and lib.collect() > 0 then return n, "a task was collected" end
    if #leaks > 0 then
      local leak = leaks[1]
      return n, ("%s, started at %s, in %s at %s, and %d more"):format(leak.name, leak.started,
        leak.waiting and leak.waiting.op, leak.waiting and leak.waiting.at, #leaks - 1)
    end
  end
end

local function launch(seed, ring, report)
  math.randomseed(seed)
  local waiters = math.random(1, 12)
  for i = 1, waiters do
    local ch = rille.chan(0, "own")
    rille.go({ name = "waiter" .. i }, waiter, ch:receiver(), math.random(5), report)
    -- Up to as many tokens as the ring has room for are on their way: someone can always go on.
    ring[math.random(#ring)]:send { right = ch:sender(), hops = math.random(100) }
  end
  return waiters
end

local function round(seed)
  local report, stop = rille.chan(64), rille.chan()
  local ring = {}
  math.randomseed(seed)
  for i = 1, math.random(1, 6) do ring[i] = rille.chan(16) end
  local carriers = {}
  for i, inbox in ipairs(ring) do carriers[i] = rille.go(carrier, inbox, ring, seed, i) end
  local inspectors = {}
  for i = 1, 1 + seed % 2 do inspectors[i] = rille.go(inspector, stop) end
  local waiters = launch(seed, ring, report)
  for _ = 1, waiters do assert.equal("woken", report:recv(BOUND)) end
  stop:close()
  local asked = 0
  for _, task in ipairs(inspectors) do
    local n, false_verdict = task:await(BOUND)
    assert.is_nil(false_verdict)
    asked = asked + n
  end
  for _, inbox in ipairs(ring) do inbox:close() end
  for _, task in ipairs(carriers) do task:await(BOUND) end
  return asked
end

-- In the end nothing is left, as what hangs on nothing but itself is collected.
local function round_and_clear(seed)
  round(seed)
  local deadline = rille.now() + BOUND
  repeat
    collectgarbage()
    rille.collect()
    assert(rille.now() < deadline, "channels are left")
  until rille.stats().channels == 0
end

describe("leak analysis", function()
  it("never gives a false verdict while all that can wake is on its way", function()
    local fixed = math.tointeger(os.getenv "RILLE_SEED")
    local seed = fixed or os.time()
    local until_then = rille.now() + (tonumber(os.getenv "RILLE_STRESS") or 2)
    repeat
      local ok, err = pcall(round_and_clear, seed)
      if not ok then error(("RILLE_SEED=%d: %s"):format(seed, tostring(err)), 0) end
      seed = seed + 1
    until fixed or rille.now() > until_then
  end)
end)

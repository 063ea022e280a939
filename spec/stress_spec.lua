-- Stress: random programs of tasks, channels, selects, closes and cancels. What is asserted holds
-- for all of them: each value is delivered once or still with its sender, values of one sender over
-- one channel arrive in order, and in the end nobody waits. A round is repeated by its seed:
--
--     RILLE_SEED=n      that round alone
--     RILLE_STRESS=s    rounds for so many seconds (2 by default)

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local BOUND = 60 -- a watchdog

-- One task of the round: it does random things to the channels until its steps or the done end it,
-- and returns what it has sent, as { channel, text } in order, and received, likewise.
local function player(id, seed, channels, done, steps)
  local lib = require "rille"
  math.randomseed(seed, id)
  local random, sent, received, counts = math.random, {}, {}, {}

  -- A value tells its sender, its channel, its number there; some are tables.
  local function value(c)
    counts[c] = (counts[c] or 0) + 1
    local text = ("%d:%d:%d"):format(id, c, counts[c])
    local kind = random(4)
    if kind == 1 then return { text = text, pad = ("x"):rep(random(60)) }, text end
    return text, text
  end

  local function got(c, v)
    received[#received + 1] = { c, type(v) == "table" and v.text or v }
  end

  local function tell(c, text, ok)
    if ok then sent[#sent + 1] = { c, text } else counts[c] = counts[c] - 1 end
  end

  -- What ends a wait: nothing but the round's done, or a short time, or a done of its own below.
  local function guard()
    local kind = random(6)
    if kind == 1 then return random() * 0.002 end
    if kind == 2 then return (lib.done(done, { timeout = random() * 0.002 })) end
    if kind == 3 then return lib.any(done, random() * 0.002) end
    return done
  end

  local acts = {
    function(c, ch)
      local v, text = value(c)
      local ok, result = pcall(ch.send, ch, v, guard())
      tell(c, text, ok and result)
      return not ok
    end,
    function(c, ch)
      local v, err = ch:recv(guard())
      if v ~= nil then got(c, v) end
      return err == "closed"
    end,
    function(c, ch)
      local v, text = value(c)
      local ok, result = pcall(ch.try_send, ch, v)
      tell(c, text, ok and result)
      return not ok
    end,
    function(c, ch)
      local v, err = ch:try_recv()
      if v ~= nil then got(c, v) end
      return err == "closed"
    end,
    function(c, ch)
      local d = random(#channels)
      local other = channels[d]
      local v, text = value(c)
      local choose = ({ lib.select, lib.select_first, lib.try_select })[random(3)]
      local ok, i, w, err = pcall(choose, ch:sending(v), other, guard())
      tell(c, text, ok and i == 1)
      if ok and i == 2 and w ~= nil then got(d, w) end
      return not ok or err == "closed"
    end,
    function(c, ch)
      local d = random(#channels)
      local i, v, err = lib.select(ch, channels[d], done, random() * 0.002)
      if i == 1 and v ~= nil then got(c, v) end
      if i == 2 and v ~= nil then got(d, v) end
      return err == "closed"
    end,
    function(c, ch)
      coroutine.wrap(function()
        local v = ch:recv(guard())
        if v ~= nil then got(c, v) end
      end)()
    end,
    function() lib.yield() end,
    function() if random(20) == 1 then collectgarbage() end end,
  }

  local ended = 0
  for _ = 1, steps do
    if done:err() or ended > 20 then break end
    local c = random(#channels)
    if acts[random(#acts)](c, channels[c]) then ended = ended + 1 end
    if random(500) == 1 then pcall(channels[c].close, channels[c]) end
  end
  return sent, received
end

-- What is left in the buffers, after all have ended.
local function drain(channels)
  local left = {}
  for c, ch in ipairs(channels) do
    for v in function() return (ch:try_recv()) end do
      left[#left + 1] = { c, type(v) == "table" and v.text or v }
    end
  end
  return left
end

local function count(lists)
  local n, order = {}, {}
  for _, list in ipairs(lists) do
    for _, pair in ipairs(list) do
      local key = pair[1] .. "|" .. pair[2]
      n[key] = (n[key] or 0) + 1
      order[#order + 1] = key
    end
  end
  return n, order
end

-- One receiver sees the values of one sender over one channel in the order they were sent.
local function in_order(list, where)
  local last = {}
  for _, pair in ipairs(list) do
    local sender, channel, number = pair[2]:match "(%d+):(%d+):(%d+)"
    assert(tonumber(channel) == pair[1], where .. ": a value in another channel")
    local key = sender .. ":" .. channel
    number = tonumber(number)
    assert(number > (last[key] or 0), where .. ": out of order: " .. pair[2])
    last[key] = number
  end
end

local function round(seed)
  local where = "RILLE_SEED=" .. seed
  math.randomseed(seed)
  local random = math.random
  local players = ({ 2, 5, 20, 100, 500 })[random(5)]
  local channels, done, cancel = {}, rille.done { timeout = random(3) == 1 and 0.05 or 20 }
  for i = 1, random(8) do channels[i] = rille.chan(random(0, 1) * random(0, 8)) end
  local tasks = {}
  for id = 1, players do
    tasks[id] = rille.go(player, id, seed, channels, done, random(400))
  end
  -- Senders and receivers that wait for somebody who has ended are left to the cancel.
  local all = rille.all(table.unpack(tasks))
  if not all:wait(random() * 0.3) then cancel() end
  local sent, received = {}, {}
  for id, task in ipairs(tasks) do
    local ok, s, r = task:join(BOUND)
    if ok == nil then error(where .. ": still there: " .. table.concat({ task:status() }, ", ")) end
    assert(ok, where .. ": " .. tostring(s))
    sent[id], received[id] = s, r
    in_order(r, where)
  end
  received[#received + 1] = drain(channels)
  local had, got = count(sent), count(received)
  for key, n in pairs(got) do
    assert(n == 1, where .. ": delivered twice: " .. key)
    assert(had[key], where .. ": delivered, but not sent: " .. key)
  end
  for key in pairs(had) do assert(got[key], where .. ": lost: " .. key) end
  return #tasks
end

describe("random programs", function()
  it("deliver each value once, in order, or leave it with its sender", function()
    local one = tonumber(os.getenv "RILLE_SEED" or nil)
    if one then return round(one) end
    local until_ = rille.now() + (tonumber(os.getenv "RILLE_STRESS" or nil) or 2)
    local seed, rounds = math.floor(os.time() * 1000 % 2 ^ 31), 0
    print(("stress: rounds from RILLE_SEED=%d on"):format(seed))
    repeat
      round(seed)
      seed, rounds = seed + 1, rounds + 1
    until rille.now() > until_
    print(("stress: %d rounds"):format(rounds))
    assert.is_true(rounds > 0)
  end)
end)

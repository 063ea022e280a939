-- Groups and what is made of them leave nothing behind, however and whenever they are left. See
-- spec/support/exits.lua for the settings.

local plain = require "spec.support.plain"
local describe, it = plain(describe), plain(it)
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

require "spec.helper"
local rille = require "rille"
local exits = require "spec.support.exits"

-- What a task of a group may do; `how` is a random number. None fails by itself.
local function member(done, how)
  local rille = require "rille" -- luacheck: ignore 431
  local what = how % 5
  if what == 0 then return how end
  if what == 1 then done:wait() return nil, done:err() end
  if what == 2 then done:wait() done:check() end
  if what == 3 then
    local ch = rille.chan()
    return ch:recv(rille.any(done, 1e-4)) or true
  end
  for _ = 1, how % 20 do rille.yield() end
  return true
end

-- Nobody asks what has become of it.
local function quiet(done, how)
  if how % 2 == 0 then done:wait() end
end

-- Fails now and then, where the caller hears of it. One that is interrupted twice does not even
-- hear of what was canceled.
local function failing(done, how, plan)
  if plan.way == "twice" then return quiet(done, how) end
  local heard = plan.way == "end" or plan.way == "cancel" or plan.way == "deadline"
  if heard and how % 3 == 0 then error("by itself", 0) end
  if heard and how % 3 == 1 then return nil, "returned" end
  return member(done, how)
end

local POLICIES = { { policy = "first" }, { policy = "all" }, { max_errors = 3 } }

local function options(plan)
  local opts = {}
  for key, value in pairs(POLICIES[plan.seed % 3 + 1]) do opts[key] = value end
  opts.limit = plan.seed % 2 == 0 and 3 or nil
  return opts
end

local function some(plan)
  local list = {}
  for i = 1, 3 + plan.seed % 5 do list[i] = plan.seed // i end
  return list
end

local function functions(plan)
  local fns = {}
  for i, how in ipairs(some(plan)) do
    fns[i] = function(done) return failing(done, how, plan) end
  end
  return fns
end

local function leave(plan)
  if plan.way == "error" then error("mine", 0) end
end

describe("1,000 early exits leave nothing behind", function()
  it("of a group, whose tasks are waited for", function()
    exits.run(1, function(done, plan)
      local group <close> = rille.group(done, options(plan))
      for _, how in ipairs(some(plan)) do
        if not group:go(failing, how, plan) then break end
        if plan.way == "break" and how % 7 == 0 then break end
      end
      leave(plan)
      if plan.way ~= "break" then group:wait(plan.seed % 4 == 0 and 1e-4 or nil) end
      if plan.way ~= "break" then group:wait() end
    end)
  end)

  it("of a group that is dropped", function()
    exits.run(1, function(done, plan)
      local group = rille.group(done, options(plan))
      for _, how in ipairs(some(plan)) do
        if not group:go(quiet, how) then break end
      end
      leave(plan)
    end)
  end)

  it("of a group with supervised tasks", function()
    exits.run(1, function(done, plan)
      local group <close> = rille.group(done)
      for i = 1, 1 + plan.seed % 3 do
        group:supervise({ attempts = 2, backoff = 1e-4 }, failing, plan.seed // i, plan)
      end
      leave(plan)
      if plan.way ~= "break" then group:wait() end
    end)
  end)

  it("of a group whose owner runs out of memory #memory", function()
    local function owner()
      local group <close> = require "rille".group { limit = 3 }
      for i = 1, 6 do
        group:go(function(done)
          if i % 2 == 1 then return i end
          done:wait()
        end)
      end
    end
    local memory, rounds = 60000, 0
    repeat
      memory, rounds = memory + 160, rounds + 1
      local whole, err = rille.go({ memory = memory }, owner):join(20)
      assert(whole or tostring(err):find "not enough memory", err)
      exits.settle()
    until whole
    assert(rounds > 100)
  end)

  it("of map", function()
    exits.run(1, function(done, plan)
      rille.map(done, some(plan), function(d, how) return failing(d, how, plan) end, options(plan))
      leave(plan)
    end)
  end)

  for _, name in ipairs { "race", "first_ok", "all_settled" } do
    it("of " .. name, function()
      exits.run(1, function(done, plan)
        local delay = name ~= "all_settled" and plan.seed % 3 == 0 and { delay = 1e-4 } or nil
        rille[name](done, functions(plan), delay)
        leave(plan)
      end)
    end)
  end
end)

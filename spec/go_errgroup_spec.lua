-- The tests of golang.org/x/sync/errgroup (v0.3), as properties of rille.group. Left out: what is
-- Go's alone, a change of the limit, and a limit of 0, which would block every go for ever.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

require "spec.helper"
local rille = require "rille"

local BOUND = 20

local function returns(_, err) return nil, err end

describe("errgroup", function()
  it("ZeroGroup: the first error, whatever comes after, also nil", function()
    for _, case in ipairs { { n = 0 }, { n = 1 }, { n = 1, "one" }, { n = 2, "one", nil },
      { n = 3, "one", nil, "two" } } do
      local group <close> = rille.group()
      local first
      for i = 1, case.n do
        local task = group:go(returns, case[i])
        if task then task:join(BOUND) end -- so that the order is known
        first = first or case[i]
      end
      local ok, err = group:wait(BOUND)
      assert.equal(first == nil or nil, ok)
      assert.equal(first, err and err.value)
    end
  end)

  it("WithContext: the done has fired when wait returns, with an error or without", function()
    for _, errs in ipairs { { n = 0 }, { n = 1 }, { n = 1, "doom" }, { n = 2, "doom", nil } } do
      local group <close> = rille.group()
      for i = 1, errs.n do group:go(returns, errs[i]) end
      assert.is_true(errs[1] ~= nil or group.done:err() == nil)
      local _, err = group:wait(BOUND)
      assert.equal(errs[1], err and err.value)
      assert.equal("canceled", group.done:err())
      assert.equal(errs[1] or "canceled", group.done:cause())
    end
  end)

  it("TryGo: refuses at the limit, and takes again when there is room", function()
    local n <const> = 42
    local group <close> = rille.group { limit = n }
    local ch = rille.chan()
    for _ = 1, n do assert.is_truthy(group:try_go(function() ch:recv() end)) end
    assert.is_false((group:try_go(function() end)))
    rille.go(function() for _ = 1, n do ch:send(true) end end)
    assert.is_true(group:go(function() end) ~= nil) -- it has waited for one of them
    assert.is_true(group:wait(BOUND))
  end)

  it("TryGo: never refuses without a limit", function()
    local group <close> = rille.group()
    for _ = 1, 100 do assert.is_truthy(group:try_go(function() end)) end
    assert.is_true(group:wait(BOUND))
  end)

  it("GoLimit: no more than so many are ever active", function()
    local limit <const> = 10
    local group <close> = rille.group { limit = limit }
    local active = rille.chan(1000)
    for _ = 1, 200 do
      group:go(function()
        active:send(true)
        local n = #active
        require "rille".yield()
        active:recv()
        if n > limit then return nil, ("saw %d active"):format(n) end
      end)
    end
    assert.is_true(group:wait(BOUND))
  end)

  it("JustErrors and Parallel: the error of one of several, their results in order", function()
    local group <close> = rille.group()
    local kinds = { "web", "image", "video" }
    for _, kind in ipairs(kinds) do
      group:go(function(_, query) return ("%s result for %q"):format(kind, query) end, "golang")
    end
    assert.is_true(group:wait(BOUND))
    for i, kind in ipairs(kinds) do
      assert.equal(kind .. ' result for "golang"', group:results()[i])
    end
  end)

  it("Pipeline: the stages of a pipeline share one group, and stop with it", function()
    local group <close> = rille.group(BOUND)
    local paths, sums = rille.chan(), rille.chan()
    group:go(function(done)
      local out <close> = paths
      for i = 1, 50 do
        local ok, err = out:send(i, done)
        if not ok then return nil, err end
      end
    end)
    local left = rille.chan(4)
    for i = 1, 4 do left:send(i) end
    for _ = 1, 4 do
      group:go(function(done)
        for path in paths:iter(done) do
          if not sums:send(path * path, done) then return nil, done:err() end
        end
        left:recv()
        if #left == 0 then pcall(sums.close, sums) end
      end)
    end
    local total = 0
    for sum in sums do total = total + sum end
    assert.is_true(group:wait())
    assert.equal(50 * 51 * 101 // 6, total)
  end)
end)

-- defer runs a function at scope exit, whatever ends the scope.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local BOUND = 30 -- a watchdog

describe("rille.defer", function()
  it("runs at scope exit, once, and not before", function()
    local n = 0
    do
      local _ <close> = rille.defer(function() n = n + 1 end)
      assert.equal(0, n)
    end
    assert.equal(1, n)
    collectgarbage()
    collectgarbage()
    assert.equal(1, n)
  end)

  it("runs the last one first", function()
    local order = {}
    do
      local _ <close> = rille.defer(function() order[#order + 1] = "outer" end)
      local _ <close> = rille.defer(function() order[#order + 1] = "inner" end)
    end
    assert.same({ "inner", "outer" }, order)
  end)

  it("runs on return, break and goto", function()
    local n = 0
    local function leave()
      local _ <close> = rille.defer(function() n = n + 1 end)
      return "result", 2
    end
    assert.same({ "result", 2 }, { leave() })
    for _ = 1, 3 do
      local _ <close> = rille.defer(function() n = n + 1 end)
      if n == 2 then break end
    end
    assert.equal(3, n)
    do
      do
        local _ <close> = rille.defer(function() n = n + 1 end)
        goto out
      end
      ::out::
    end
    assert.equal(4, n)
  end)

  it("runs on error, which goes on as it was thrown", function()
    local ran
    local problem = { code = 1 }
    local ok, err = pcall(function()
      local _ <close> = rille.defer(function() ran = true end)
      error(problem)
    end)
    assert.is_false(ok)
    assert.equal(problem, err)
    assert.is_true(ran)
  end)

  it("an error of the function itself reaches the caller", function()
    local ok, err = pcall(function()
      local _ <close> = rille.defer(function() error("in defer", 0) end)
    end)
    assert.is_false(ok)
    assert.equal("in defer", err)
  end)

  it("runs in a task that ends, fails or is canceled", function()
    local out = rille.chan(3)
    local done, cancel = rille.done()
    rille.go(function()
      local _ <close> = rille.defer(function() out:send "ended" end)
    end)
    assert.equal("ended", (out:recv(BOUND)))
    rille.go(function()
      local _ <close> = rille.defer(function() out:send "failed" end)
      error("boom", 0)
    end):join(BOUND)
    assert.equal("failed", (out:recv(BOUND)))
    local task = rille.go(function()
      local _ <close> = rille.defer(function() out:send "canceled" end)
      done:wait()
      done:check()
    end)
    cancel()
    assert.equal("canceled", (out:recv(BOUND)))
    assert.same({ false, "canceled" }, { task:join(BOUND) })
  end)

  it("may wait in the function, also while an error passes", function()
    local ch = rille.chan()
    local task = rille.go(function()
      local _ <close> = rille.defer(function() ch:recv() end)
      error("boom", 0)
    end)
    ch:send(true)
    assert.same({ false, "boom" }, { task:join(BOUND) })
  end)

  it("may wait in the function on the main program", function()
    local ch = rille.chan()
    rille.go(function() ch:send "v" end)
    local got
    do
      local _ <close> = rille.defer(function() got = ch:recv(BOUND) end)
    end
    assert.equal("v", got)
  end)

  it("runs at the end of a for loop that has it as its closing value", function()
    local n = 0
    local function upto3(_, i) return i < 3 and i + 1 or nil end
    for i in upto3, nil, 0, rille.defer(function() n = n + 1 end) do
      assert.equal(0, n)
      assert.is_true(i <= 3)
    end
    assert.equal(1, n)
  end)

  it("never closed does not run", function()
    local n = 0
    rille.defer(function() n = n + 1 end)
    collectgarbage()
    collectgarbage()
    assert.equal(0, n)
  end)

  it("raises on what is no function", function()
    for _, bad in ipairs { 1, "x", {}, true } do
      local ok, err = pcall(rille.defer, bad)
      assert.is_false(ok)
      assert.matches("bad argument #1", err)
    end
    assert.is_false(pcall(rille.defer))
  end)
end)

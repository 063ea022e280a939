-- Cells: what modules of Rille share between tasks.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"

local peek, replace = rille._peek, rille._replace

local function cell(value)
  local ch = rille.chan(1)
  ch:send(value)
  return ch
end

describe("a cell", function()
  it("is read where it lies", function()
    local c = cell { a = { 1 } }
    for _ = 1, 3 do assert.same({ a = { 1 } }, (peek(c))) end
    assert.equal(1, #c)
  end)

  it("is replaced by who has read it last", function()
    local c = cell(1)
    local _, version = peek(c)
    assert.is_true(replace(c, version, "2"))
    assert.is_false(replace(c, version, "3"))
    assert.equal("2", (peek(c)))
  end)

  it("is not replaced when its value was taken or put back", function()
    local c = cell "same"
    local _, version = peek(c)
    c:send(c:recv())
    assert.is_false(replace(c, version, "other"))
    assert.equal("same", (peek(c)))
  end)

  it("loses no change of many tasks", function()
    local c, tasks = cell { n = 0 }, {}
    for i = 1, 8 do
      tasks[i] = rille.go(function()
        for _ = 1, 500 do
          repeat local state, version = rille._peek(c)
          until rille._replace(c, version, { n = state.n + 1 })
        end
      end)
    end
    for _, task in ipairs(tasks) do task:await() end
    assert.equal(4000, (peek(c)).n)
  end)

  it("holds what lies in it, and lets go of what it held", function()
    local c = (function() return cell { rille.chan() } end)()
    local task = rille.go(function() return rille._peek(c)[1]:recv() end)
    helper.until_waiting(task)
    assert.equal(0, #rille.leaks())
    replace(c, select(2, peek(c)), false)
    assert.equal(1, rille.collect())
    helper.raises("leaked", task.await, task)
  end)

  it("is a channel that holds a value", function()
    helper.raises("channel expected, got number", peek, 1)
    helper.raises("empty channel", peek, rille.chan(1))
    helper.raises("cannot send coroutine", replace, cell(1), 0, coroutine.create(print))
    assert.is_false(replace(rille.chan(1), 0, 1))
  end)
end)

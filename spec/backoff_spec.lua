-- Pauses between attempts.

local backoff = require "rille.backoff"
local rille = require "rille"
require "spec.helper"

local function first(n, pauses)
  local list = {}
  for attempt = 1, n do list[attempt] = pauses(attempt) end
  return list
end

describe("the pauses of a backoff", function()
  it("double from a tenth of a second up to half a minute", function()
    assert.same({ 0.1, 0.2, 0.4, 0.8 }, first(4, backoff.new {}))
    assert.equal(30, backoff.new {}(10))
  end)

  it("grow by their factor up to their limit", function()
    local pauses = backoff.new { first = 1, factor = 3, max = 20 }
    assert.same({ 1, 3, 9, 20, 20 }, first(5, pauses))
    assert.equal(20, pauses(100000))
    assert.same({ 2, 2, 2 }, first(3, backoff.new { first = 2, factor = 1 }))
  end)

  it("can be none", function()
    assert.same({ 0, 0 }, first(2, backoff.new { first = 0 }))
    assert.equal(0, backoff.new { first = 0 }(100000))
  end)

  it("are shorter by at most their share of jitter, and differ", function()
    local seen, n = {}, 0
    local pauses = backoff.new { first = 8, factor = 1, jitter = 0.25 }
    for attempt = 1, 200 do
      local pause = pauses(attempt)
      assert.is_true(pause >= 6 and pause <= 8)
      if not seen[pause] then n = n + 1 end
      seen[pause] = true
    end
    assert.is_true(n > 100)
  end)

  it("are the same in a task", function()
    local pauses = backoff.new { first = 1 }
    assert.equal(4, rille.go(pauses, 3):await())
  end)

  it("come of a number, a table or a function, with jitter beside it or in it", function()
    assert.equal(2, backoff.of(1)(2))
    assert.equal(0.2, backoff.of(nil)(2))
    assert.equal(3, backoff.of { first = 1, factor = 3 }(2))
    assert.equal(10, backoff.of(function(attempt) return 5 * attempt end)(2))
    for _, given in ipairs { 8, { first = 8 }, function() return 8 end } do
      local pause = backoff.of(given, 0.5)(1)
      assert.is_true(pause >= 4 and pause < 8)
    end
  end)

  it("are refused when they are none", function()
    for _, value in ipairs { -1, 0 / 0, "1", true, { first = -1 }, { factor = 0.5 }, { fist = 1 },
      { jitter = 2 }, { max = "1" } } do
      assert.is_string(backoff.expected(value))
    end
    for _, value in ipairs { 0, 1.5, { max = 1 }, {}, function() end } do
      assert.is_nil(backoff.expected(value))
    end
    assert.is_string(backoff.expected_jitter(1.1))
    assert.is_nil(backoff.expected_jitter(1))
  end)
end)

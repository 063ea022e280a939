-- Lists and sets of functions run in tasks: map, each, race, first_ok, all_settled.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"
local errors, result = rille.errors, rille.result
local raises = helper.raises

local function double(_, n) return 2 * n end
local function odd(_, n)
  if n % 2 == 0 then error("even " .. n, 0) end
  return n
end
local function stops(done) done:wait() return nil, done:err() end
local function throws() error("boom", 0) end
local function refuses() return nil, "no luck" end

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

-- A function that takes so many (virtual) seconds, then does `fn`.
local function after(seconds, fn)
  return function(done)
    local ok, err = require "rille".sleep(seconds, done)
    if not ok then return nil, err end
    return fn(done)
  end
end

local function value(v) return function() return v end end

-- What f(...) returns, and how long it took on a virtual clock.
local function timed(f, ...)
  local args = table.pack(...)
  return testing.run(function()
    local start = rille.now()
    local results = table.pack(f(table.unpack(args, 1, args.n)))
    assert.same({}, rille.tasks())
    return rille.now() - start, table.unpack(results, 1, results.n)
  end)
end

describe("rille.map", function()
  it("gives the results in the order of the list, whoever ends first", function()
    local took, results = timed(rille.map, nil, { 3, 1, 2 }, function(done, n)
      require "rille".sleep(n, done)
      return n
    end)
    assert.same({ n = 3, 3, 1, 2 }, results)
    assert.equal(3, took)
  end)

  it("passes the done, the item and its number", function()
    local results = rille.map(nil, { "a", "b" }, function(done, item, i)
      return item .. i .. tostring(done:err())
    end)
    assert.same({ n = 2, "a1nil", "b2nil" }, results)
  end)

  it("takes holes as items, where the list says how long it is", function()
    local kinds = rille.map(nil, { n = 3, 1, nil, 3 }, function(_, v) return type(v) end)
    assert.same({ n = 3, "number", "nil", "number" }, kinds)
    assert.same({ n = 0 }, rille.map(nil, {}, double))
    assert.same({ n = 2, nil, nil }, rille.map(nil, { 1, 2 }, function() end))
  end)

  it("runs as many at the same time as its limit says", function()
    local nap = function(done) return require "rille".sleep(1, done) end
    assert.equal(4, (timed(rille.map, nil, range(8), nap, { limit = 2 })))
    assert.equal(1, (timed(rille.map, nil, range(8), nap)))
  end)

  it("stops at the first failure, and has the results that there are", function()
    local took, results, err, partial = timed(rille.map, nil, range(5), function(done, n)
      local ok, why = require "rille".sleep(n, done)
      if not ok then return nil, why end
      if n == 3 then error("three", 0) end
      return n
    end)
    assert.is_nil(results)
    assert.equal(3, took)
    assert.equal("three", err.value)
    assert.matches("map_spec", err.traceback)
    assert.same({ n = 5, 1, 2 }, partial)
  end)

  it("collects all failures, or as many as it may, and joins them", function()
    local _, err, partial = rille.map(nil, range(5), odd, { policy = "all" })
    assert.equal("2 errors:\n  even 2\n  even 4", tostring(err))
    assert.same({ n = 5, 1, nil, 3, nil, 5 }, partial)
    _, err = rille.map(nil, range(3), odd, { policy = "all" })
    assert.equal("even 2", err.value)
    _, err, partial = rille.map(nil, range(9), odd, { max_errors = 2, limit = 1 })
    assert.equal(2, #err)
    assert.is_true(errors.is(err, "even 4"))
    assert.is_nil(partial[7])
  end)

  it("tells of its done, whether its calls notice or have not begun", function()
    local done, cancel = rille.done()
    cancel "why"
    local results, err, partial = rille.map(done, { 1, 2 }, double)
    assert.is_nil(results)
    assert.same({ "canceled", "why" }, { err.value, err.cause })
    assert.same({ n = 2 }, partial)
    local took
    took, results, err = timed(rille.map, 5, range(3), stops, { limit = 2 })
    assert.same({ 5, nil, "deadline exceeded" }, { took, results, err.value })
  end)

  it("has all results when its done fires after the last one", function()
    local done, cancel = rille.done()
    local results = rille.map(done, { 1 }, double)
    cancel()
    assert.same({ n = 1, 2 }, results)
  end)

  it("says what is wrong with its arguments", function()
    raises("#1 to 'map'", rille.map, "x", {}, double)
    raises("#2 to 'map' %(table", rille.map, nil, nil, double)
    raises("#3 to 'map' %(function", rille.map, nil, {}, nil)
    raises("#4 to 'map' %(option 'limit'", rille.map, nil, {}, double, { limit = 0 })
    raises("#4 to 'map' %(unknown option 'name'", rille.map, nil, {}, double, { name = "x" })
    raises("^spec/map_spec.lua:%d+: cannot send coroutine at argument 2", function()
      rille.map(nil, { coroutine.create(print) }, double)
    end)
  end)
end)

describe("rille.each", function()
  it("is true when all went well, else the error", function()
    local seen = rille.chan(9)
    assert.same({ true }, { rille.each(nil, range(9), function(_, n) seen:send(n) end) })
    assert.equal(9, #seen)
    local ok, err = rille.each(nil, range(4), odd, { limit = 1 })
    assert.is_nil(ok)
    assert.equal("even 2", err.value)
    ok, err = rille.each(nil, range(4), odd, { policy = "all" })
    assert.is_nil(ok)
    assert.equal(2, #err)
  end)

  it("says what is wrong with its arguments", function()
    raises("#2 to 'each' %(table", rille.each, nil, nil, double)
    raises("#4 to 'each' %(unknown option 'x'", rille.each, nil, {}, double, { x = 1 })
  end)
end)

describe("rille.race", function()
  it("is won by the first to end, and the others have ended too", function()
    local took, a, b = timed(rille.race, nil, {
      after(2, value "slow"), after(1, function() return "quick", 7 end), stops,
    })
    assert.same({ 1, "quick", 7 }, { took, a, b })
  end)

  it("is lost when that has failed", function()
    local took, won, err = timed(rille.race, nil, { after(2, value "slow"), after(1, throws) })
    assert.same({ 1, nil, "boom" }, { took, won, err.value })
    won, err = rille.race(nil, { refuses, stops })
    assert.same({ nil, "no luck" }, { won, err.value })
  end)

  it("does not count what becomes of the others", function()
    assert.equal(1, rille.race(nil, {
      value(1), function(done) done:wait() error("late", 0) end,
    }))
  end)

  it("ends with its done", function()
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ nil, "canceled", "why" }, { rille.race(done, { value(1), stops }) })
    local took, won, err = timed(rille.race, 5, { stops, stops })
    assert.same({ 5, nil, "deadline exceeded" }, { took, won, err })
  end)

  it("starts one after the other with a delay, as long as none has ended", function()
    local started = rille.chan(9)
    local function slow(done) started:send(true) return require "rille".sleep(2.5, done) end
    local took = timed(rille.race, nil, { slow, slow, slow, slow, slow }, { delay = 1 })
    assert.equal(2.5, took)
    assert.equal(3, #started)
    assert.equal(3, (timed(rille.race, nil, { stops, after(2, value(1)), stops }, { delay = 1 })))
    local _, _, err = timed(rille.race, 1.5, { stops, stops, stops }, { delay = 1 })
    assert.equal("deadline exceeded", err)
  end)

  it("says what is wrong with its arguments", function()
    raises("#2 to 'race' %(list of functions expected, got function", rille.race, nil, print)
    raises("#2 to 'race' %(a list of at least one", rille.race, nil, {})
    raises("#2 to 'race' %(function or module name expected, got number at 2", rille.race, nil,
      { print, 2 })
    raises("#3 to 'race' %(option 'delay': number of seconds", rille.race, nil, { print },
      { delay = -1 })
  end)
end)

describe("rille.first_ok", function()
  it("is won by the first to succeed, and the others have ended too", function()
    local took, a, b = timed(rille.first_ok, nil, {
      after(3, value "slow"), throws, after(2, function() return "quick", 7 end), refuses, stops,
    })
    assert.same({ 2, "quick", 7 }, { took, a, b })
  end)

  it("has all failures in the order of the functions when none succeeds", function()
    local took, won, err = timed(rille.first_ok, nil, { after(2, throws), after(1, refuses) })
    assert.same({ 2, nil, "2 errors:\n  boom\n  no luck" }, { took, won, tostring(err) })
    assert.is_string(err[1].traceback)
  end)

  it("is won by what returns nothing at all, too", function()
    assert.equal(0, select("#", rille.first_ok(nil, { throws, function() end })))
  end)

  it("ends with its done", function()
    local done, cancel = rille.done()
    cancel "why"
    assert.same({ nil, "canceled", "why" }, { rille.first_ok(done, { value(1), stops }) })
    local took, won, err = timed(rille.first_ok, 5, { stops, throws, stops })
    assert.same({ 5, nil, "deadline exceeded" }, { took, won, err })
  end)

  it("starts the next after the delay, or at once when one has failed", function()
    local delay = { delay = 10 }
    assert.equal(11, (timed(rille.first_ok, nil, { stops, after(1, value(1)) }, delay)))
    assert.equal(2, (timed(rille.first_ok, nil, { after(1, throws), after(1, value(1)) }, delay)))
    local took, _, err = timed(rille.first_ok, nil, { throws, throws, throws }, delay)
    assert.same({ 0, 3 }, { took, #err })
    took, _, err = timed(rille.first_ok, 15, { stops, stops, stops }, delay)
    assert.same({ 15, "deadline exceeded" }, { took, err })
  end)
end)

describe("rille.all_settled", function()
  it("tells of each what has become of it", function()
    local took, results = timed(rille.all_settled, nil, {
      after(2, function() return 1, nil end), throws, refuses, function() end,
    })
    assert.equal(2, took)
    assert.equal(4, #results)
    assert.is_true(results[1] == result.ok(1, nil))
    assert.is_true(results[4] == result.ok())
    assert.same({ "boom", "no luck" }, { results[2].err.value, results[3].err.value })
  end)

  it("is empty for an empty list", function()
    assert.same({}, rille.all_settled(nil, {}))
  end)

  it("settles what its done stops, and what it keeps from starting", function()
    local _, results = timed(rille.all_settled, 1, { value(1), stops, stops, stops }, { limit = 2 })
    assert.is_true(results[1].ok)
    for i = 2, 4 do assert.equal("deadline exceeded", results[i].err.value) end
    local done, cancel = rille.done()
    cancel "why"
    local err = rille.all_settled(done, { stops })[1].err
    assert.same({ "canceled", "why" }, { err.value, err.cause })
  end)

  it("runs as many at the same time as its limit says", function()
    local fns = {}
    for i = 1, 6 do fns[i] = after(1, value(i)) end
    local took, results = timed(rille.all_settled, nil, fns, { limit = 2 })
    assert.equal(3, took)
    for i = 1, 6 do assert.equal(i, results[i].value) end
  end)
end)

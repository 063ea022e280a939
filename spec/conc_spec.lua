-- What github.com/sourcegraph/conc promises (v0.3), as properties of groups, map and each:
-- WaitGroup, pools with errors, contexts and results, ordered results, iteration. A panic is an
-- error here, and is returned, not raised.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local errors = rille.errors

local BOUND = 20

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("conc.WaitGroup", function()
  it("waits for all that were started", function()
    local group <close> = rille.group()
    local count = rille.chan(100)
    for _ = 1, 100 do group:go(function() count:send(true) end) end
    assert.is_true(group:wait(BOUND))
    assert.equal(100, #count)
  end)

  it("hands a panic to who waits, with the traceback of its task", function()
    local group <close> = rille.group()
    group:go(function()
      local function deep() error "super bad thing" end
      deep()
    end)
    local ok, err = group:wait(BOUND)
    assert.is_nil(ok)
    assert.matches("super bad thing", err.message)
    assert.matches("'deep'", err.traceback)
  end)

  it("lets the others end when one has panicked", function()
    local group <close> = rille.group { policy = "all" }
    local count = rille.chan(100)
    for i = 1, 100 do
      group:go(function()
        count:send(true)
        if i == 50 then error "super bad thing" end
      end)
    end
    assert.is_nil((group:wait(BOUND)))
    assert.equal(100, #count)
  end)

  it("hands on one that panics with nothing", function()
    local group <close> = rille.group()
    group:go(function() error(nil) end)
    local ok, err = group:wait(BOUND)
    assert.is_nil(ok)
    assert.is_not_nil(err)
  end)

  it("can be nested", function()
    local group <close> = rille.group()
    for i = 1, 3 do
      group:go(function(done)
        local below <close> = require "rille".group(done)
        for j = 1, 3 do below:go(function() return 10 * i + j end) end
        below:wait()
        return table.concat(below:results(), " ")
      end)
    end
    assert.is_true(group:wait(BOUND))
    assert.same({ n = 3, "11 12 13", "21 22 23", "31 32 33" }, group:results())
  end)

  it("hands a panic up through all that are nested", function()
    local group <close> = rille.group()
    group:go({ name = "outer" }, function(done)
      local below <close> = require "rille".group(done)
      below:go({ name = "inner" }, function() error "super bad thing" end)
      return below:wait()
    end)
    local _, err = group:wait(BOUND)
    assert.equal("inner", err.task)
    assert.matches("super bad thing", tostring(err))
  end)
end)

describe("conc.pool", function()
  it("keeps to its limit, and is busy up to it", function()
    for _, limit in ipairs { 1, 10, 100 } do
      local group <close> = rille.group { limit = limit }
      local active, most = rille.chan(1000), rille.chan(1000)
      for _ = 1, 3 * limit do
        group:go(function()
          active:send(true)
          most:send(#active)
          require "rille".yield()
          active:recv()
        end)
      end
      assert.is_true(group:wait(BOUND))
      for _ = 1, #most do assert.is_true(most:recv() <= limit) end
    end
  end)

  it("refuses a limit below one", function()
    helper.raises("at least 1", rille.group, { limit = 0 })
    helper.raises("at least 1", rille.group, { limit = -1 })
  end)

  it("with errors joins all of them", function()
    local group <close> = rille.group { policy = "all" }
    for _, err in ipairs { "err1", "err2" } do group:go(function() return nil, err end) end
    group:go(function() end)
    local _, _, list = group:wait(BOUND)
    local joined = errors.join(list)
    assert.is_true(errors.is(joined, "err1") and errors.is(joined, "err2"))
    assert.equal(2, #joined)
  end)

  it("with first error has the first alone", function()
    local group <close> = rille.group()
    local gate = rille.chan()
    group:go(function() gate:recv() return nil, "err2" end)
    group:go(function(done)
      done:after(function() gate:close() end)
      return nil, "err1"
    end)
    local _, first = group:wait(BOUND)
    assert.is_true(errors.is(first, "err1"))
    assert.is_false(errors.is(first, "err2"))
  end)

  it("with cancel on error stops the others, and does not count what they say of it", function()
    local group <close> = rille.group()
    for _ = 1, 5 do group:go(function(done) done:wait() return nil, done:err() end) end
    group:go(function() return nil, "err" end)
    local _, _, list = group:wait(BOUND)
    assert.equal(1, #list)
    assert.equal("err", list[1].value)
  end)

  it("with cancel on error stops the others on a panic as well", function()
    local group <close> = rille.group()
    group:go(function(done) done:wait() end)
    group:go(function() error "boom" end)
    assert.is_nil((group:wait(BOUND)))
  end)

  it("without cancel on error lets them run", function()
    local group <close> = rille.group { policy = "all" }
    local bad = group:go(function() return nil, "err" end)
    bad:join()
    group:go(function(done) return done:err() == nil end)
    group:wait(BOUND)
    assert.is_true(group:results()[2])
  end)

  it("with a context ends when that does", function()
    local done, cancel = rille.done()
    local group <close> = rille.group(done)
    for _ = 1, 5 do group:go(function(d) d:wait() return nil, d:err() end) end
    cancel()
    local _, first = group:wait(BOUND)
    assert.is_true(errors.is(first, "canceled"))
  end)

  it("does not keep a submitter waiting when it is cancelled (conc#88)", function()
    local done, cancel = rille.done()
    local group <close> = rille.group(done, { limit = 1 })
    local busy = group:go(function(d) d:wait() end)
    helper.until_waiting(busy)
    rille.go(function() cancel() end)
    local task, err = group:go(function() end)
    -- it may have had its turn when the first has ended, but not after the cancel
    assert.same({ nil, "canceled" }, { task, err })
    assert.is_true(group:wait(BOUND))
  end)

  it("with results has them in the order of submission, without those that failed", function()
    local group <close> = rille.group { policy = "all", limit = 3 }
    for i = 1, 100 do
      group:go(function()
        if i % 10 == 0 then return nil, "tenth" end
        for _ = 1, i % 7 do require "rille".yield() end
        return i
      end)
    end
    group:wait(BOUND)
    local results = group:results()
    for i = 1, 100 do assert.equal(i % 10 ~= 0 and i or nil, results[i]) end
  end)
end)

describe("conc.iter", function()
  it("ForEach sees each item once, with its number", function()
    local seen = rille.chan(1000)
    assert.is_true(rille.each(nil, range(1000), function(_, v, i) seen:send(v == i and i) end,
      { limit = 8 }))
    local set = {}
    for _ = 1, 1000 do set[seen:recv()] = true end
    assert.equal(1000, #set)
  end)

  it("Map has the results in the order of the input", function()
    local strings = rille.map(nil, range(500), function(_, n) return tostring(n) end, { limit = 8 })
    for i = 1, 500 do assert.equal(tostring(i), strings[i]) end
  end)

  it("MapErr has the results of those that went well beside the joined errors", function()
    local results, err, partial = rille.map(nil, range(5), function(_, n)
      if n == 2 or n == 4 then return nil, "err" .. n end
      return n
    end, { policy = "all" })
    assert.is_nil(results)
    assert.same({ n = 5, 1, nil, 3, nil, 5 }, partial)
    assert.is_true(errors.is(err, "err2") and errors.is(err, "err4"))
  end)

  it("of nothing calls nothing", function()
    assert.is_true(rille.each(nil, {}, error))
    assert.same({ n = 0 }, rille.map(nil, {}, error))
  end)
end)

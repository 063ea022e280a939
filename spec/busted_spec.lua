-- rille.busted: a test that leaves tasks behind fails, that test and no other; and
-- assert.eventually. Each run of busted is a process of its own.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local testing = require "rille.testing"
require "rille.eventually"

-- What the tests of the runs use: tasks that end soon, wait until a channel is closed, wait for
-- ever.
local PROLOG = [[
local plain = require "spec.support.plain"
local rille = require "rille"
local function short() return rille.go(load "require 'rille'.sleep(0.05)") end
local function open(ch) return rille.go({ name = "open" }, load "(...):recv()", ch) end
local function stuck()
  return rille.go({ name = "stuck" }, load("require 'rille'.chan(0, 'jobs'):recv()", "=chunk"))
end
]]

-- Runs a spec under busted. Returns its outcomes, "ok" or "not ok" by test, and all that it
-- printed. Whether it fails is up to busted alone, not to what the process has left at its end.
local function run(spec, opts)
  opts = opts or {}
  local command = { table.unpack(opts.through or {}) }
  for _, word in ipairs { helper.lua_cmd(), "spec/busted.lua", "-o", "TAP",
    "--helper=" .. (opts.helper or "rille.busted") } do table.insert(command, word) end
  for _, word in ipairs(opts.options or {}) do table.insert(command, word) end
  local result = helper.run(PROLOG .. spec, { command = command, env = { RILLE_LEAKS = "ignore" } })
  local outcomes = {}
  for outcome, name in result.out:gmatch "%f[^\n%z](%l[%l ]*) %d+ %- ([^\n]*)" do
    outcomes[name] = outcome
  end
  return outcomes, result.out, result
end

describe("a test under rille.busted #exec", function()
  it("passes if its tasks end by themselves", function()
    assert.same({ ends = "ok", none = "ok" }, run [[
      it("ends", function() short() end)
      it("none", function() end)
    ]])
  end)

  it("fails if nothing can wake a task, with who it is, where it was started and where it waits",
    function()
      local outcomes, out = run [[
        it("before", function() short() end)
        it("leaks", function() stuck() end)
        it("after", function() short() end)
      ]]
      assert.same({ before = "ok", leaks = "not ok", after = "ok" }, outcomes)
      assert.matches("%.lua:9: 1 task left behind:\n", out)
      assert.matches('# task %d+ "stuck", started at [^\n]*%.lua:6 [%d.]+ s ago, '
        .. "waits in recv jobs at chunk:1\n#     stack traceback:\n", out)
    end)

  it("tells where a task waits that has only just come there", function()
    local _, out = run [[
      local code = "for _ = 1, 20000 do end require 'rille'.chan(0, 'jobs'):recv()"
      for i = 1, 300 do it("late " .. i, function() rille.go(load(code, "=chunk")) end) end
    ]]
    assert.matches("waits in recv jobs at chunk:1\n", out)
    assert.not_matches("ago, runn", out)
  end)

  it("fails if a task does not end within its moment", function()
    local outcomes, out = run [[
      local ch = rille.chan(0, "held")
      it("leaves one that could go on", function() open(ch) end)
      it("leaves one that runs", function() rille.go(load "while true do end") end)
      it("leaves nothing more", function() short() end)
    ]]
    assert.same({ ["leaves one that could go on"] = "not ok", ["leaves one that runs"] = "not ok",
      ["leaves nothing more"] = "ok" }, outcomes)
    assert.matches('task %d+ "open", started at [^\n]*, waits in recv held at ', out)
    assert.matches("task %d+, started at [^\n]*, running\n", out)
  end)

  it("fails for several tasks with all of them", function()
    local _, out = run [[it("leaks", function() for _ = 1, 3 do stuck() end end)]]
    assert.matches("3 tasks left behind:\n", out)
    local _, count = out:gsub('task %d+ "stuck"', "")
    assert.equal(3, count)
  end)

  it("fails for an error that nobody took", function()
    local outcomes, out, result = run [[
      it("loses one", function() rille.go(load "error 'lost'"):traceback() end)
      it("takes one", function() rille.go(load "error 'taken'"):join() end)
    ]]
    assert.same({ ["loses one"] = "not ok", ["takes one"] = "ok" }, outcomes)
    assert.matches("1 error that nobody took, reported on stderr", out)
    assert.matches("failed: [^\n]*lost", result.err)
  end)

  it("fails for an error that a thread is still at reporting when its task has ended", function()
    local slow = [["$@" 2> >(sleep 0.3; cat >/dev/null)]] -- the text is more than the pipe takes
    assert.same({ ["loses one"] = "not ok", after = "ok" }, (run([[
      require "rille.busted"._moment = 20
      it("loses one", function() rille.go(load "error(('x'):rep(200000))"):traceback() end)
      it("after", function() end)
    ]], { through = { "bash", "-c", slow, "bash" } })))
  end)

  it("does not fail for daemons", function()
    assert.same({ daemon = "ok" }, run [[
      it("daemon", function() rille.go({ daemon = true }, load "require 'rille'.sleep(60)") end)
    ]])
  end)

  it("does not fail for a handle it has dropped", function()
    assert.same({ drops = "ok" }, run [[
      it("drops", function()
        local ch = rille.chan()
        setmetatable({ ch }, { __gc = function(t) t[1]:close() end })
        open(ch)
      end)
    ]])
  end)

  it("fails for its own reason, if it has one", function()
    local outcomes, out = run [[
      it("fails", function() stuck() error "own reason" end)
      it("after", function() end)
    ]]
    assert.same({ fails = "not ok", after = "ok" }, outcomes)
    assert.matches("own reason", out)
    assert.is_nil(out:find("left behind", 1, true))
  end)

  it("may stop its tasks in finally and in after_each, wherever that stands", function()
    assert.same({ ["block inner"] = "ok", outer = "ok", ["finally"] = "ok" }, run [[
      local ch
      describe("block", function()
        after_each(function() ch:close() end)
        it("inner", function() ch = rille.chan() open(ch) end)
      end)
      it("finally", function()
        ch = rille.chan()
        finally(function() ch:close() end)
        open(ch)
      end)
      it("outer", function() ch = rille.chan() open(ch) end)
      after_each(function() pcall(ch.close, ch) end)
    ]])
  end)

  it("answers for what its before_each has started, not for what setup has", function()
    assert.same({ ["server uses it"] = "ok", ["each fails"] = "not ok" }, run [[
      describe("server", function()
        local ch
        setup(function() ch = rille.chan() open(ch) end)
        teardown(function() ch:close() end)
        it("uses it", function() end)
      end)
      describe("each", function()
        before_each(function() stuck() end)
        it("fails", function() end)
      end)
    ]])
  end)

  it("stays pending or without a body as it was", function()
    local outcomes = run [[
      it("pends", function() pending "later" end)
      pending "is to be written"
      it("after", function() short() end)
    ]]
    assert.equal("ok", outcomes.after)
    assert.equal("ok", outcomes["# SKIP is to be written"])
  end)

  it("may be let off, alone or with its block", function()
    local outcomes, out = run [[
      local leaks = require "rille.busted"
      it("alone", function() leaks.allow_leaks() stuck() end)
      describe("block", function()
        it("first", function() stuck() end)
        leaks.allow_leaks()
        describe("inner", function() it("second", function() stuck() end) end)
        it("loses", function() rille.go(load "error 'lost'"):traceback() end)
      end)
      it("other", function() stuck() end)
    ]]
    assert.same({ alone = "ok", ["block first"] = "ok", ["block inner second"] = "ok",
      ["block loses"] = "ok", other = "not ok" }, outcomes)
    assert.matches("1 task left behind", out)
  end)

  it("has its leaked tasks collected, also where it may leave them", function()
    assert.same({ leaves = "ok", finds = "ok" }, run [[
      local leaks = require "rille.busted"
      it("leaves", function()
        leaks.allow_leaks()
        stuck()
      end)
      it("finds", function() assert.equal(0, #rille.tasks()) end)
    ]])
  end)
end)

describe("rille.busted #exec", function()
  local SPEC = [[
    it("good", function() short() end)
    it("bad", function() stuck() end)
  ]]
  local EXPECTED = { good = "ok", bad = "not ok" }

  it("works where a spec file requires it", function()
    -- Any module is a helper; without one busted would take this project's.
    local outcomes = run("require 'rille.busted'\n" .. SPEC, { helper = "luassert" })
    assert.same(EXPECTED, outcomes)
  end)

  it("works where both require it", function()
    assert.same(EXPECTED, run("require 'rille.busted'\n" .. SPEC))
  end)

  it("keeps to the file that requires it", function()
    local first = os.tmpname()
    local file = io.open(first .. ".lua", "w")
    file:write(PROLOG, "require 'rille.busted'\n", SPEC)
    file:close()
    local outcomes = run([[it("elsewhere", function() stuck() end)]],
      { helper = "luassert", options = { first .. ".lua" } })
    os.remove(first)
    os.remove(first .. ".lua")
    assert.same({ good = "ok", bad = "not ok", elsewhere = "ok" }, outcomes)
  end)

  it("works with repeated and shuffled runs, and without insulation", function()
    for _, options in ipairs { { "--repeat=3" }, { "--shuffle" }, { "--no-auto-insulate" } } do
      assert.same(EXPECTED, run(SPEC, { options = options }))
      local spec = "require 'rille.busted'\n" .. SPEC
      assert.same(EXPECTED, run(spec, { options = options, helper = "luassert" }))
    end
  end)

  it("counts failures for the exit code and --no-keep-going", function()
    local _, _, result = run(SPEC)
    assert.equal(1, result.code)
    local outcomes = run([[
      it("bad", function() stuck() end)
      it("never comes", function() end)
    ]], { options = { "--no-keep-going" } })
    assert.same({ bad = "not ok" }, outcomes)
  end)

  it("says that it needs busted", function()
    local result = helper.run [[print(select(2, pcall(require, "rille.busted")))]]
    assert.matches("rille%.busted works in a run of busted", result.out)
  end)
end)

describe("assert.eventually", function()
  it("passes once the function returns a true value, and returns it", function()
    testing.run(function()
      local task = rille.go(function() rille.sleep(0.9) end)
      local function ended() return task:status() == "finished" and "yes" end
      assert.equal("yes", assert.eventually(ended))
    end)
  end)

  it("passes once a function that returns nothing does not raise", function()
    local n = 0
    assert.eventually(function()
      n = n + 1
      assert.equal(4, n)
    end)
    assert.equal(4, n)
  end)

  it("calls a callable", function()
    assert.eventually(setmetatable({}, { __call = function() return true end }))
  end)

  it("calls the function at least once", function()
    assert.eventually(function() return true end, 0)
  end)

  it("does not call it again after its time", function()
    testing.run(function()
      local start, n = rille.now(), 0
      helper.raises("Expected to come true within 0%.5 s", function()
        assert.eventually(function()
          n = n + 1
          return false
        end, 0.5)
      end)
      assert.equal(0.5, rille.now() - start)
      assert.is_true(n > 1 and n < 60)
    end)
  end)

  it("fails with the last value", function()
    helper.raises("within 0%.01 s%.\nThe last value:\n%(nil%)", function()
      assert.eventually(function() return nil end, 0.01)
    end)
  end)

  it("fails with the last error", function()
    local n = 0
    testing.run(helper.raises, "The last error:\n[^\n]*: not yet, 2", function()
      assert.eventually(function() n = n + 1 error("not yet, " .. math.min(n, 2)) end, 0.05)
    end)
    helper.raises("The last error:\n[^\n]*Expected objects to be equal", function()
      assert.eventually(function() assert.equal(1, 2) end, 0)
    end)
  end)

  it("can be negated", function()
    assert.is_not.eventually(function() return false end, 0.01)
    helper.raises("Expected not to come true within 5 s%.\nThe last value:\nthere", function()
      assert.is_not.eventually(function() return "there" end, 5)
    end)
  end)

  it("names an argument that is wrong", function()
    helper.raises("bad argument #1 to 'eventually' %(function expected, got number%)", function()
      assert.eventually(5)
    end)
    for _, seconds in ipairs { -1, "1" } do
      helper.raises("bad argument #2 to 'eventually' %(number of seconds expected", function()
        assert.eventually(print, seconds)
      end)
    end
  end)
end)

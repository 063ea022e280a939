-- What is told of tasks that wait when the program ends, and of a main program that waits for
-- nothing.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"

local prelude = [[
local rille = require "rille"
local function parked(name, fn, ...)
  local opts = type(name) == "table" and name or { name = name }
  local task = rille.go(opts, fn, ...)
  while task:status() ~= "waiting" do rille.yield() end
  return task
end
]]

-- Without `leaks` the program runs as if RILLE_LEAKS were not set.
local function run(script, leaks)
  return helper.run(prelude .. script, { env = { RILLE_LEAKS = leaks or "" } })
end

local function ended(code, result)
  assert.equal(code, result.code, result.err)
  return result
end

local LEAK = [[
  local jobs = rille.chan(0, "jobs")
  parked("worker", function() jobs:recv() end)
]]

describe("at exit a leak #exec", function()
  it("is reported: who, where it was started, where it waits for what", function()
    local result = ended(0, run(LEAK))
    assert.matches("worker", result.err)
    assert.matches("recv", result.err)
    assert.matches("jobs", result.err)
    assert.matches("%.lua:9", result.err)
    assert.equal("", result.out)
  end)

  it("is reported by default, and with `report`", function()
    assert.matches("worker", ended(0, run(LEAK, "report")).err)
  end)

  it("is hidden by `ignore`", function()
    assert.equal("", ended(0, run(LEAK, "ignore")).err)
  end)

  it("makes the code 1 with `fail`, unless os.exit gave one", function()
    assert.matches("worker", ended(1, run(LEAK, "fail")).err)
    assert.matches("worker", ended(7, run(LEAK .. "os.exit(7)", "fail")).err)
    ended(0, run("rille.go(function() rille.sleep(0.01) end):join()", "fail"))
  end)

  it("is not reported of a daemon", function()
    local result = ended(0, run([[
      parked({ name = "service", daemon = true }, function() rille.never:recv() end)
    ]], "fail"))
    assert.equal("", result.err)
  end)

  it("is also what only the ending main program could have woken", function()
    local result = ended(0, run [[
      local ch = rille.chan()
      kept = { ch, parked("forgotten", function() ch:recv() end) }
    ]])
    assert.matches("forgotten", result.err)
  end)

  it("is none who waits for time or for a live task", function()
    local result = ended(0, run [[
      local sleeper = parked("sleeper", function() rille.sleep(60) end)
      parked("joiner", function() sleeper:join() end)
      local ch = rille.chan()
      parked("timed", function() ch:recv(60) end)
    ]])
    assert.equal("", result.err)
  end)

  it("is unwound: its <close> variables run", function()
    for _, leaks in ipairs { "ignore", "report", "collect", "fail" } do
      local result = run([[
        parked("w", function()
          local _ <close> = rille.defer(function() print "unwound" end)
          rille.never:recv()
        end)
      ]], leaks)
      assert.equal("unwound\n", result.out)
    end
  end)

  it("that was collected is not reported", function()
    local result = ended(0, run(LEAK .. [[
      jobs = nil
      print(rille.collect())
      while rille.stats().tasks.waiting > 0 do rille.sleep(0.001) end
    ]]))
    assert.equal("1\n", result.out)
    assert.is_nil(result.err:find("recv", 1, true), result.err)
  end)

  it("setting that is none is told of once, however often the program is idle", function()
    local result = ended(0, run("for _ = 1, 3 do rille.go(rille.sleep, 0.03):join() end", "loud"))
    assert.equal("rille: RILLE_LEAKS=loud is none of ignore, report, fail, collect\n", result.err)
  end)

  it("is who only a channel in its own buffer could wake", function()
    local script = [[
      do
        local ch, ring = rille.chan(), rille.chan(1)
        parked("ringed", function()
          local _ <close> = rille.defer(function() print "unwound" end)
          ch:recv()
        end)
        ring:send { ring, ch:sender() }
      end
      collectgarbage()
    ]]
    assert.matches("ringed", ended(1, run(script, "fail")).err)
    local result = ended(0, run(script, "collect"))
    assert.equal("unwound\n", result.out)
    assert.equal("", result.err)
  end)

  it("is reported of many, each with its place", function()
    local result = ended(0, run [[
      for i = 1, 5 do parked("leak" .. i, function() rille.never:recv() end) end
    ]])
    for i = 1, 5 do assert.matches("leak" .. i, result.err) end
  end)
end)

describe("a deadlock #exec", function()
  -- The main program's wait raises within the time limit of helper.run, and says who waits where.
  local function deadlock(title, script)
    it("of " .. title .. " raises", function()
      local result = run("local ok, err = pcall(function() " .. script .. " end)\n"
        .. "print(ok, err)\n", "ignore")
      ended(0, result)
      assert.matches("^false%s.*deadlock", result.out)
    end)
  end

  deadlock("a receive", "rille.chan():recv()")
  deadlock("a send", "rille.chan():send(1)")
  deadlock("a select", "rille.select(rille.chan(), rille.never)")
  deadlock("a select of nothing", "rille.select()")
  deadlock("a wait for a done nobody can fire", "(rille.done()):wait()")
  deadlock("a loop over a channel", "for _ in rille.chan() do end")
  deadlock("a wait for a task that is leaked",
    "parked('t', function() rille.never:recv() end):join()")
  deadlock("a wait in a comparator",
    "table.sort({ 1, 2 }, function() rille.never:recv() end)")
  deadlock("a wait in a coroutine", "coroutine.wrap(function() rille.never:recv() end)()")
  deadlock("main and tasks that wait for each other", [[
    local a, b = rille.chan(), rille.chan()
    parked("t", function() a:recv() b:send(1) end)
    b:recv()
  ]])
  deadlock("main after its last helper has ended", [[
    local ch = rille.chan()
    rille.go(function() rille.sleep(0.05) return ch:cap() end)
    ch:recv()
  ]])

  it("lists who waits where", function()
    local result = run([[
      local jobs, results = rille.chan(0, "jobs"), rille.chan(0, "results")
      parked("worker", function() for job in jobs do results:send(job) end end)
      print(pcall(results.recv, results))
    ]], "ignore")
    assert.matches("deadlock", result.out)
    assert.matches("worker", result.out)
    assert.matches("jobs", result.out)
    assert.matches("results", result.out)
  end)

  it("that is not caught ends the program with an error", function()
    local result = run("rille.chan():recv()")
    assert.equal(1, result.code)
    assert.matches("deadlock", result.err)
  end)

  it("runs <close> variables, and the program can go on", function()
    local result = run([[
      pcall(function()
        local _ <close> = rille.defer(function() print "unwound" end)
        rille.chan():recv()
      end)
      local ch = rille.chan()
      rille.go(function() ch:send "on" end)
      print(ch:recv())
    ]], "ignore")
    assert.equal("unwound\non\n", result.out)
  end)

  it("is none while time, a running task or a signal can change it", function()
    local result = run([[
      local ch = rille.chan()
      print(ch:recv(0.3))
      rille.go(function() rille.sleep(0.3) ch:send "slept" end)
      print(ch:recv())
      rille.go(function()
        local t = rille.now()
        while rille.now() < t + 0.3 do end
        ch:send "computed"
      end)
      print(ch:recv())
      rille.go(function() os.execute "sleep 0.3" ch:send "blocked" end)
      print(ch:recv())
      print(type(rille.after(0.3):recv()))
      local done = rille.notify "USR1"
      os.execute "(sleep 0.3; kill -USR1 $PPID) &"
      done:wait()
      print(done:cause())
    ]], "ignore")
    ended(0, result)
    assert.matches("^nil\tdeadline exceeded.*\nslept\ncomputed\nblocked\nnumber\n", result.out)
  end)
end)

-- Each of them makes rings, some of them live, and collects while the others do; the channels of
-- one are no business of another's, but for the number of all.
describe("leaks of several programs #exec", function()
  local PROGRAM = [[
    local rille = require "rille"
    local function ring(v)
      local ch = rille.chan(1)
      ch:send { ch, v }
      return ch
    end
    for round = 1, 40 do
      local live, dead = rille.chan(), rille.chan()
      local kept = ring(live:sender())
      local woken = rille.go({ name = "live" }, function() return live:recv() end)
      local lost = rille.go({ name = "dead" }, function() return dead:recv() end)
      while lost:status() ~= "waiting" or woken:status() ~= "waiting" do rille.yield() end
      for _ = 1, 10 do ring(dead:sender()) end
      live, dead = nil, nil
      collectgarbage()
      local found = rille.leaks()
      assert(#found <= 1 and (#found == 0 or found[1].name == "dead"), "a false verdict")
      while not lost:join(0) do
        rille.collect()
        if lost:status() == "failed" then break end
      end
      assert(kept:recv()[2]:send(round))
      assert(woken:await() == round)
    end
  ]]

  it("are each its own", function()
    local path = os.tmpname()
    assert(os.execute(([[cc -shared -fPIC -I"$(.ci/lua-incdir)" -o '%s' spec/support/programs.c]])
      :format(path)))
    local result = helper.run(([[
      local rille = require "rille"
      local programs = package.loadlib('%s', "luaopen_programs")()
      assert(programs(3, %q) == 0)
      rille.collect()
      print(rille.stats().channels)
    ]]):format(path, PROGRAM), { env = { RILLE_LEAKS = "" } })
    os.remove(path)
    assert.equal("", result.err)
    assert.equal("0\n", result.out)
  end)
end)

-- Signals as dones. Each program is a process of its own, as signals reach all of it.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"
local proc = require "spec.support.proc"

local BOUND = 20 -- a watchdog

-- os.execute ignores SIGINT for the whole process while it runs, io.popen does not.
local send = [[
local stat = io.open "/proc/self/stat"
local pid = stat:read "n"
stat:close()
local function send(signal) io.popen(("kill -%s %d"):format(signal, pid)):close() end
]]

local function run(script, opts) return proc.run(send .. script, opts) end

-- A test of this process would stop the test run when it fails.
local function says(expected, script, opts)
  local result = run(script, opts)
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.code)
end

describe("rille.notify #exec", function()
  it("fires on the first such signal, with its name as the cause", function()
    says("canceled INT\n", [[
      local done = rille.notify("INT", "TERM")
      assert(done:err() == nil and done:cause() == nil)
      send "INT"
      assert(done:wait(20))
      print(done:err() .. " " .. done:cause())
    ]])
  end)

  for _, signal in ipairs { "INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "WINCH" } do
    it("takes " .. signal, function()
      says(signal .. "\n", ([[
        local done = rille.notify("%s")
        send "%s"
        assert(done:wait(20))
        print(done:cause())
      ]]):format(signal, signal))
    end)
  end

  it("wakes whatever waits on it", function()
    says("recv canceled TERM\nselect 2 canceled TERM\nsleep canceled TERM\nmain canceled TERM\n", [[
      local stop = rille.notify "TERM"
      local ready = rille.chan()
      local function waiting(task)
        repeat rille.sleep(0.001) until task:status() == "waiting"
        return task
      end
      local recv = waiting(rille.go(function() return rille.never:recv(stop) end))
      local select = waiting(rille.go(function() return rille.select(rille.never, stop) end))
      local sleep = waiting(rille.go(function() return rille.sleep(60, stop) end))
      rille.go(function() send "TERM" end)
      local _, err, cause = ready:recv(stop)
      _, err2, cause2 = recv:await()
      print("recv " .. err2 .. " " .. cause2)
      local n, _, err3, cause3 = select:await()
      print("select " .. n .. " " .. err3 .. " " .. cause3)
      _, err2, cause2 = sleep:await()
      print("sleep " .. err2 .. " " .. cause2)
      print("main " .. err .. " " .. cause)
    ]])
  end)

  it("wakes a main program that waits, for a signal from outside", function()
    local result = run([[
      local stop = rille.notify("INT", "TERM")
      ready()
      print(rille.never:recv(stop))
    ]], { kill = "TERM" })
    assert.equal("", result.err)
    assert.matches("^nil%s+canceled%s+TERM", result.out)
    assert.equal(0, result.code)
    assert.is_true(result.delay < BOUND)
  end)

  it("is a parent", function()
    says("canceled USR1\n", [[
      local root = rille.notify "USR1"
      local child = rille.done(root, { timeout = 60 })
      send "USR1"
      assert(child:wait(20))
      print(child:err() .. " " .. child:cause())
    ]])
  end)

  it("may be made in a task", function()
    says("USR1\n", [[
      local task = rille.go(function() return rille.notify "USR1" end)
      local done = task:await()
      send "USR1"
      assert(done:wait(20))
      print(done:cause())
    ]])
  end)

  it("several watch one signal", function()
    says("USR1 USR1 TERM\n", [[
      local a, b, c = rille.notify "USR1", rille.notify("USR1", "HUP"), rille.notify "TERM"
      send "USR1"
      assert(a:wait(20) and b:wait(20))
      assert(c:err() == nil)
      send "TERM"
      assert(c:wait(20))
      print(a:cause() .. " " .. b:cause() .. " " .. c:cause())
    ]])
  end)

  it("does not break off what main reads", function()
    says("line USR1\n", [[
      local done = rille.notify "USR1"
      local child = io.popen("sleep 0.05; kill -USR1 $PPID; sleep 0.05; echo line")
      local line = assert(child:read "l")
      assert(done:wait(20))
      print(line .. " " .. done:cause())
    ]])
  end)

  it("is not fired by a signal that came before it was made", function()
    says("live USR1\n", [[
      local old = {}
      for i = 1, 1000 do old[i] = rille.notify "USR1" end
      local one = rille.any(table.unpack(old))
      send "USR1"
      while not one:err() do end
      local new = rille.notify "USR1" -- mostly while others of the old are still being fired
      for _, done in ipairs(old) do assert(done:wait(20)) end
      assert(new:err() == nil)
      io.write "live "
      send "USR1"
      assert(new:wait(20))
      print(new:cause())
    ]])
  end)

  it("a second TERM has its default effect", function()
    local result = run [[
      local done = rille.notify("INT", "TERM")
      send "TERM"
      assert(done:wait(20))
      print "first"
      io.stdout:flush()
      send "TERM"
      rille.sleep(5)
      print "still here"
    ]]
    assert.equal("first\n", result.out)
    assert.equal(128 + 15, result.code)
  end)

  it("a second INT has its default effect, also while main waits", function()
    local result = run([[
      local done = rille.notify "INT"
      send "INT"
      assert(done:wait(20))
      print "first"
      io.stdout:flush()
      ready()
      rille.never:recv(60)
      print "still here"
    ]], { kill = "INT" })
    assert.equal("first\n", result.out)
    -- The interpreter's default for INT is the error "interrupted!"; the system's is death by it.
    assert.is_true(result.code == 128 + 2 or result.code == 1)
    assert.is_true(result.delay < BOUND)
  end)

  it("a second USR1 has its default effect: it ends the program", function()
    local result = run [[
      local done = rille.notify "USR1"
      send "USR1"
      assert(done:wait(20))
      send "USR1"
      rille.sleep(5)
      print "still here"
    ]]
    assert.equal("", result.out)
    assert.equal(128 + 10, result.code)
  end)

  it("wakes main while a task sits in os.execute", function()
    local result = run([[
      local stop = rille.notify("INT", "TERM")
      rille.go(function() os.execute "exec sleep 60" end)
      ready()
      print(rille.never:recv(stop))
      os.exit(0)
    ]], { kill = "TERM" })
    assert.matches("TERM", result.out)
    assert.is_true(result.delay < BOUND)
  end)

  it("that is watched by nobody leaves a program that ends alone", function()
    says("", [[
      rille.notify("INT", "TERM")
      collectgarbage()
      collectgarbage()
    ]])
  end)

  it("raises on what is no signal, by name", function()
    says("ok\n", [[
      local function raises(pattern, ...)
        local ok, err = pcall(rille.notify, ...)
        assert(not ok and err:find(pattern), err)
      end
      raises("bad argument #1", "NOSUCH")
      raises("bad argument #2", "INT", "int!")
      raises("bad argument #1", 2)
      raises("bad argument #1")
      raises("bad argument #1", "KILL")
      print "ok"
    ]])
  end)
end)

describe("a signal that nobody watches #exec", function()
  it("keeps its default effect with rille loaded", function()
    local result = proc.run([[
      rille.go(function() rille.never:recv() end)
      ready()
      rille.sleep(30)
    ]], { kill = "TERM" })
    assert.equal(128 + 15, result.code)
    assert.is_true(result.delay < BOUND)
    assert.is_true(rille.now() > 0)
  end)
end)

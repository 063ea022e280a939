-- How a program ends: at once, with its exit code, without a crash, whatever its
-- tasks are doing. Each program is a process of its own.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local proc = require "spec.support.proc"

local BOUND = 20 -- a watchdog; what a program must not wait for takes longer

-- 128 and above is death by a signal: a crash, or the watchdog's kill.
local function ended(code, result)
  assert.is_true(result.code < 128, "died with code " .. result.code .. ": " .. result.err)
  assert.equal(code, result.code)
  assert.is_true((result.delay or result.seconds) < BOUND)
  return result
end

-- What tasks may be doing when the program ends. Each reports itself started.
local doings = {
  ["loops"] = [[rille.go(function() started:send(1); while true do end end)]],
  ["loops in many tasks"] = [[
    for _ = 1, 6 do rille.go(function() started:try_send(1); while true do end end) end]],
  ["waits to receive"] = [[rille.go(function() started:send(1); rille.never:recv() end)]],
  ["waits to send"] = [[
    local ch = rille.chan()
    rille.go(function() started:send(1); ch:send "v" end)]],
  ["waits in select"] = [[
    rille.go(function() started:send(1); rille.select(rille.never, rille.chan(), 60) end)]],
  ["waits in join"] = [[
    rille.go(function()
      local other = rille.go(function() rille.never:recv() end)
      started:send(1)
      other:join()
    end)]],
  ["waits for a done"] = [[
    local done = rille.done()
    rille.go(function() started:send(1); done:wait() end)]],
  ["waits where it cannot yield"] = [[
    rille.go(function()
      started:send(1)
      table.sort({ 3, 2, 1 }, function() rille.never:recv() end)
    end)]],
  ["waits in a coroutine of its own"] = [[
    rille.go(function()
      started:send(1)
      coroutine.wrap(function() rille.never:recv() end)()
    end)]],
  ["sleeps"] = [[rille.go(function() started:send(1); rille.sleep(60) end)]],
  ["yields all the time"] = [[
    rille.go(function() started:send(1); while true do rille.yield() end end)]],
  ["sends back and forth"] = [[
    local a, b = rille.chan(), rille.chan()
    rille.go(function() for v in a do b:send(v) end end)
    rille.go(function()
      started:send(1)
      while true do a:send(1); b:recv() end
    end)]],
  ["starts tasks all the time"] = [[
    rille.go(function()
      started:send(1)
      while true do rille.go(function() rille.sleep(60) end); rille.sleep(0.001) end
    end)]],
  ["sits in os.execute"] = [[
    rille.go(function() started:send(1); os.execute "exec sleep 60" end)]],
  ["reads a pipe nobody writes"] = [[
    rille.go(function()
      local pipe = io.popen("exec sleep 60", "r")
      started:send(1)
      pipe:read "a"
    end)]],
  ["computes in C"] = [[
    rille.go(function()
      started:send(1)
      string.find(("a"):rep(30000), ("a*"):rep(20) .. "b")
    end)]],
  ["allocates"] = [[
    rille.go(function()
      started:send(1)
      local t = {}
      while true do t[#t % 10000 + 1] = { ("x"):rep(100) } end
    end)]],
  ["waits in its <close> variable"] = [[
    rille.go(function()
      local _ <close> = rille.defer(function() rille.never:recv() end)
      started:send(1)
    end)]],
  ["waits a hundredfold"] = [[
    for _ = 1, 100 do rille.go(function() started:try_send(1); rille.never:recv() end) end]],
  ["is pinned and waits"] = [[
    rille.go({ pinned = true }, function() started:send(1); rille.never:recv() end)]],
}

local endings = {
  ["main ends"] = { code = 0, script = "" },
  ["main raises"] = { code = 1, script = [[error "main went wrong"]], err = "main went wrong" },
  ["os.exit(3)"] = { code = 3, script = "os.exit(3)" },
  ["os.exit(3, true)"] = { code = 3, script = "os.exit(3, true)" },
}

local other_endings = {
  ["main returns a value"] = { code = 0, script = "return 5" },
  ["main raises a table"] = { code = 1, script = "error { 1 }" },
  ["os.exit()"] = { code = 0, script = "os.exit()" },
  ["os.exit(true)"] = { code = 0, script = "os.exit(true)" },
  ["os.exit(false)"] = { code = 1, script = "os.exit(false)" },
  ["os.exit(false, true)"] = { code = 1, script = "os.exit(false, true)" },
  ["os.exit(true, true)"] = { code = 0, script = "os.exit(true, true)" },
}

local function ends(start, how)
  local script = "local started = rille.chan(8)\n" .. start .. "\nstarted:recv()\n" .. how.script
  local result = ended(how.code, proc.run(script, { env = "RILLE_LEAKS=ignore" }))
  if how.err then assert.matches(how.err, result.err, 1, true) end
end

for doing, start in pairs(doings) do
  describe("while a task " .. doing .. " #exec", function()
    for ending, how in pairs(endings) do
      it(ending .. ": the program ends with its code", function() ends(start, how) end)
    end
  end)
end

describe("while tasks loop and wait #exec", function()
  for ending, how in pairs(other_endings) do
    it(ending .. ": the program ends with its code", function()
      ends(doings["loops"] .. doings["waits to receive"], how)
    end)
  end
end)

describe("the end of the program #exec", function()
  it("comes at once when nothing was started", function()
    local result = ended(0, proc.run "")
    assert.equal("", result.err)
    assert.equal("", result.out)
  end)

  it("keeps what was written before", function()
    local result = ended(0, proc.run [[
      io.write "no newline"
      rille.go(function() while true do end end)
    ]])
    assert.equal("no newline", result.out)
  end)

  it("keeps what was written before os.exit", function()
    local result = ended(4, proc.run [[
      io.write "no newline"
      rille.go(function() while true do end end)
      os.exit(4)
    ]])
    assert.equal("no newline", result.out)
  end)

  for _, ending in ipairs { "", "os.exit(0)", "os.exit(0, true)" } do
    it("keeps what was written while a task reads a pipe nobody writes: " .. ending, function()
      local result = ended(0, proc.run([[
        local started = rille.chan()
        rille.go(function()
          local pipe = io.popen("exec sleep 60", "r")
          started:send(1)
          pipe:read "a"
        end)
        started:recv()
        io.write "written"
      ]] .. ending))
      assert.equal("written", result.out)
    end)
  end

  it("gives running tasks a moment", function()
    local result = ended(0, proc.run [[
      for i = 1, 3 do
        rille.go(function()
          local n = 0
          for k = 1, 10000 do n = n + k end
          io.write("x")
        end)
      end
    ]])
    assert.equal("xxx", result.out)
  end)

  it("fires the background's descendants and runs the <close> variables of parked tasks", function()
    local result = ended(0, proc.run([[
      local parked = rille.chan(3)
      rille.go(function()
        local _ <close> = rille.defer(function() io.stdout:write "never\n" end)
        parked:send(1)
        rille.never:recv()
      end)
      rille.go(function()
        local _ <close> = rille.defer(function() io.stdout:write "sleep\n" end)
        parked:send(1)
        rille.sleep(60)
      end)
      rille.go(function()
        local _ <close> = rille.defer(function() io.stdout:write "select\n" end)
        parked:send(1)
        rille.select(rille.never, rille.chan())
      end)
      for _ = 1, 3 do parked:recv() end
      repeat rille.sleep(0.001) until rille.stats().tasks.waiting == 3
    ]], { env = "RILLE_LEAKS=ignore" }))
    for _, word in ipairs { "never", "sleep", "select" } do assert.matches(word, result.out) end
  end)

  it("tells tasks that watch a done of main's", function()
    local result = ended(0, proc.run([[
      local done, cancel = rille.done()
      local parked = rille.chan()
      local task = rille.go(function()
        parked:send(1)
        done:wait()
        io.stdout:write("told ", tostring(done:err()), "\n")
      end)
      parked:recv()
      repeat rille.sleep(0.001) until task:status() == "waiting"
      keep = cancel
    ]], { env = "RILLE_LEAKS=ignore" }))
    assert.equal("told canceled\n", result.out)
  end)

  it("runs <close> variables nested, with errors in them, and ends", function()
    local result = ended(0, proc.run([[
      local parked = rille.chan()
      local task = rille.go(function()
        local _ <close> = rille.defer(function() io.stdout:write "outer\n" end)
        local _ <close> = rille.defer(function() error "in close" end)
        local _ <close> = rille.defer(function() io.stdout:write "inner\n" end)
        parked:send(1)
        pcall(rille.never.recv, rille.never)
        while true do rille.never:recv() end
      end)
      parked:recv()
      repeat rille.sleep(0.001) until task:status() == "waiting"
    ]], { env = "RILLE_LEAKS=ignore" }))
    assert.matches("inner\n", result.out)
    assert.matches("outer\n", result.out)
  end)

  it("is not held up by a task that swallows every error", function()
    ended(0, proc.run([[
      local started = rille.chan()
      rille.go(function()
        started:send(1)
        while true do pcall(rille.never.recv, rille.never) end
      end)
      started:recv()
    ]], { env = "RILLE_LEAKS=ignore" }))
  end)

  -- ThreadSanitizer takes seconds to start them.
  it("with ten thousand parked tasks is quick #nottsan", function()
    ended(0, proc.run([[
      local gate = rille.chan()
      for i = 1, 10000 do rille.go(function() gate:recv() end) end
    ]], { env = "RILLE_LEAKS=ignore" }))
  end)

  it("comes while tasks are being started", function()
    for _ = 1, 5 do
      ended(0, proc.run([[
        for i = 1, 50 do rille.go(function() rille.go(function() rille.sleep(60) end) end) end
      ]], { env = "RILLE_LEAKS=ignore" }))
    end
  end)

  it("comes with one worker as with many", function()
    for _, threads in ipairs { 1, 2, 16 } do
      ended(0, proc.run([[
        local started = rille.chan(9)
        for i = 1, 3 do rille.go(function() started:send(1) while true do end end) end
        for i = 1, 3 do rille.go(function() rille.never:recv() end) end
        started:recv()
      ]], { env = "RILLE_LEAKS=ignore RILLE_THREADS=" .. threads }))
    end
  end)

  it("of a program that only loads the module by its C name is clean", function()
    ended(0, proc.run [[require "rille.core"]])
  end)

  it("comes where the module was collected", function()
    ended(0, proc.run [[
      rille = nil
      package.loaded["rille"], package.loaded["rille.core"] = nil, nil
      collectgarbage()
      collectgarbage()
    ]])
  end)
end)

describe("os.exit in a task #exec", function()
  for call, code in pairs {
    ["os.exit(7)"] = 7, ["os.exit(7, true)"] = 7, ["os.exit()"] = 0,
    ["os.exit(true)"] = 0, ["os.exit(false)"] = 1,
  } do
    it(call .. " ends the process with that code", function()
      for _, main in ipairs {
        "rille.never:recv()", "task:join()", "rille.sleep(60)", "while true do end",
      } do
        ended(code, proc.run("local task = rille.go(function() " .. call .. " end)\n" .. main))
      end
    end)
  end

  it("ends it while other tasks loop, wait and sit in C", function()
    ended(9, proc.run([[
      local started = rille.chan()
      rille.go(function() started:send(1); while true do end end)
      rille.go(function() started:send(1); rille.never:recv() end)
      rille.go(function() started:send(1); os.execute "exec sleep 60" end)
      for _ = 1, 3 do started:recv() end
      rille.go(function() os.exit(9, true) end)
      rille.never:recv()
    ]], { env = "RILLE_LEAKS=ignore" }))
  end)

  it("keeps what main has written", function()
    local result = ended(2, proc.run [[
      io.write "kept"
      rille.go(function() os.exit(2) end)
      rille.never:recv()
    ]])
    assert.equal("kept", result.out)
  end)

  it("called by many at once ends it once", function()
    local result = proc.run [[
      local go = rille.chan()
      for i = 1, 8 do rille.go(function() go:recv() os.exit(5) end) end
      go:close()
      rille.never:recv()
    ]]
    ended(5, result)
  end)

  for main, code in pairs { [""] = 7, ["os.exit(3)"] = 3 } do
    it("during the end (" .. main .. ") cuts nothing short", function()
      local result = ended(code, proc.run([[
        local started = rille.chan()
        rille.go({ daemon = true }, function()
          local _ <close> = rille.defer(function() io.stderr:write "closed\n" end)
          started:send(1)
          rille.never:recv()
        end)
        rille.go(function()
          started:send(1)
          local late = rille.now() + 0.05
          while rille.now() < late do end
          os.exit(7)
        end)
        started:recv()
        started:recv()
      ]] .. main))
      assert.equal("closed\n", result.err)
    end)
  end

  it("called by many at once loses no error", function()
    local result = ended(5, proc.run([[
      local failed = rille.go(function() error("untaken", 0) end)
      rille.done(failed):wait()
      local go = rille.chan()
      rille.go(function() go:recv() while true do end end)
      for i = 1, 8 do rille.go(function() go:recv() os.exit(5) end) end
      go:close()
      rille.never:recv()
    ]], { env = "RILLE_LEAKS=report" }))
    assert.matches("failed: untaken", result.err, 1, true)
  end)

  it("wins over pcall and <close>", function()
    ended(6, proc.run [[
      rille.go(function()
        local _ <close> = rille.defer(function() rille.never:recv() end)
        pcall(os.exit, 6)
      end)
      rille.never:recv()
    ]])
  end)
end)

describe("Ctrl-C #exec", function()
  -- A channel on which a wait is no deadlock.
  local open = [[
    local open = rille.chan()
    rille.go({ daemon = true }, function() rille.sleep(60) open:close() end)
  ]]

  local waits = {
    recv = "open:recv()",
    ["recv with a timeout"] = "rille.chan():recv(60)",
    send = "open:send(1)",
    ["for loop"] = "for _ in open do end",
    join = "rille.go(function() rille.sleep(60) end):join()",
    await = "rille.go(function() rille.sleep(60) end):await()",
    sleep = "rille.sleep(60)",
    select = "rille.select(rille.never, rille.chan(), 60)",
    ["done:wait"] = "rille.done(60):wait()",
    ["recv in a coroutine"] = "coroutine.wrap(function() open:recv() end)()",
    ["recv in sort"] = "table.sort({ 3, 2, 1 }, function() open:recv() end)",
  }

  for wait, call in pairs(waits) do
    it("stops a main program that waits in a " .. wait .. ", at once", function()
      local script = open .. "ready()\n" .. call .. "\nprint 'went on'"
      local result = ended(1, proc.run(script, { kill = "INT" }))
      assert.matches("interrupted!", result.err)
      assert.equal("", result.out)
    end)
  end

  it("stops a main program that waits while a task sits in os.execute", function()
    local result = ended(1, proc.run([[
      local started = rille.chan()
      rille.go(function() started:send(1); os.execute "exec sleep 60" end)
      started:recv()
      ready()
      rille.never:recv()
    ]], { kill = "INT" }))
    assert.matches("interrupted!", result.err)
  end)

  it("stops it while tasks loop and wait", function()
    ended(1, proc.run([[
      rille.go(function() while true do end end)
      rille.go(function() rille.never:recv() end)
      ready()
      rille.never:recv()
    ]], { kill = "INT", env = "RILLE_LEAKS=ignore" }))
  end)

  it("stops a main program that waits after it waited before", function()
    ended(1, proc.run([[
      local ch = rille.chan()
      rille.go(function() for i = 1, 1000 do ch:send(i) end end)
      for i = 1, 1000 do ch:recv() end
      ready()
      ch:recv(60)
    ]], { kill = "INT" }))
  end)

  it("stops a main program that computes #nottsan", function()
    ended(1, proc.run([[
      rille.go(function() rille.never:recv() end)
      ready()
      while true do end
    ]], { kill = "INT", eager = true, env = "RILLE_LEAKS=ignore" }))
  end)

  it("stops a main program that hands values back and forth", function()
    ended(1, proc.run([[
      local a, b = rille.chan(), rille.chan()
      rille.go(function() for v in a do b:send(v) end end)
      ready()
      while true do a:send(1); b:recv() end
    ]], { kill = "INT", eager = true, env = "RILLE_LEAKS=ignore" }))
  end)

  it("stops a main program that is about to wait", function()
    for _ = 1, 20 do
      ended(1, proc.run([[
        local pid = io.open("/proc/self/stat"):read "n"
        local killer = io.popen("read line; kill -INT " .. pid, "w")
        local ch = rille.chan()
        killer:write "now\n"
        killer:flush()
        ch:recv(60)
      ]]))
    end
  end)

  it("is told from a hook of the program's own", function()
    local result = ended(0, proc.run(open .. [[
      debug.sethook(function() end, "", 1000)
      for _ = 1, 3 do open:recv(0.002) end
      ready()
      print(pcall(open.recv, open))
    ]], { kill = "INT" }))
    assert.equal("false\tinterrupted!\n", result.out)
  end)

  it("is an error that pcall catches and <close> sees", function()
    local result = ended(0, proc.run(open .. [[
      ready()
      local ok, err = pcall(function()
        local _ <close> = rille.defer(function() print "closed" end)
        open:recv()
      end)
      print(ok, err)
    ]], { kill = "INT" }))
    assert.matches("^closed\nfalse%s+.*interrupted!", result.out)
  end)

  it("loses no value: what was not received stays", function()
    local result = ended(0, proc.run([[
      local ch = rille.chan()
      ready()
      print(pcall(ch.recv, ch, 60))
      print((ch:try_send "x"))
    ]], { kill = "INT" }))
    assert.equal("false\tinterrupted!\nfalse\n", result.out)
  end)

  it("caught, lets main wait again", function()
    local result = ended(0, proc.run([[
      ready()
      pcall(rille.sleep, 60)
      print(rille.go(function() rille.sleep(0.01) return "fine" end):await())
    ]], { kill = "INT" }))
    assert.equal("fine\n", result.out)
  end)
end)

-- Builds spec/support/NAME.c as a C module and gives its path, to be removed.
local function c_module(name)
  local path = os.tmpname()
  assert(os.execute(([[cc -shared -fPIC -I"$(.ci/lua-incdir)" -o '%s' spec/support/%s.c]])
    :format(path, name)))
  return path
end

describe("a forked child #exec", function()
  local function forked(script)
    local path = c_module "forking"
    local result = proc.run(([[
      local fork = package.loadlib('%s', "luaopen_forking")()
      %s
    ]]):format(path, script))
    os.remove(path)
    return result
  end

  it("has a runtime of its own when there was none before", function()
    local result = ended(0, forked [[
      print(fork(function() print(rille.go(function() return "child" end):await()) end))
      print(rille.go(function() return "parent" end):await())
    ]])
    assert.equal("child\n0\nparent\n", result.out)
  end)

  -- A sanitizer's own work at exit hangs, or gives up, in such a child.
  it("has none when the threads were its parent's, and ends at once #notasan #nottsan", function()
    local result = ended(0, forked [[
      local ch = rille.chan()
      local task = rille.go(function() return ch:recv() end)
      print(fork(function()
        print(pcall(rille.sleep, 60))
        print(pcall(ch.send, ch, 1))
        print(pcall(rille.go, print))
      end))
      ch:send "parent"
      print(task:await())
    ]])
    local over = "false\tthe program's runtime has ended\n"
    assert.equal(over:rep(3) .. "0\nparent\n", result.out)
  end)

  -- Threads that the child does not have hold locks when it is made, now and then.
  it("waits for no lock when guards are closed and handles collected #notasan #nottsan", function()
    local result = ended(0, forked [[
      local slots, parent, stop, finish = rille.semaphore(2), rille.done(), rille.done()
      local one = rille.go(function()
        local try, release = slots.try_acquire, slots.release
        while not stop:err() do
          for _ = 1, 1000 do if try(slots) then release(slots) end end
        end
      end)
      local other = rille.go(function()
        while not stop:err() do select(2, rille.done(parent))() end
      end)
      for _ = 1, 100 do
        local guard <close> = slots:guard()
        local child = rille.done(parent)
        assert(fork(function()
          guard()
          child = nil
          collectgarbage()
        end) == 0)
      end
      finish()
      one:await()
      other:await()
      print "no child hangs"
    ]])
    assert.equal("no child hangs\n", result.out)
  end)
end)

describe("a signal handler in Lua #exec", function()
  it("may wait while the main program waits, which then goes on with its own wait", function()
    local path = c_module "handler"
    local waits = {
      ["local ch = rille.chan() later(ch) print(ch:recv())"] = "late\n",
      ["local ch = rille.chan() later(ch) print((rille.select(rille.never, 60, ch)))"] = "3\n",
      ["print(rille.chan():recv(1))"] = "nil\tdeadline exceeded\tdeadline exceeded\n",
      ["print(rille.sleep(1))"] = "true\n",
    }
    for wait, out in pairs(waits) do
      local result = ended(0, proc.run(([[
        local spare, begun, handled = rille.chan(1), rille.chan(1), false
        assert(package.loadlib('%s', "luaopen_handler"))()(function()
          begun:send(true)
          spare:send(rille.select(rille.never, spare, 0.01))
          rille.sleep(0.01)
          handled = true
        end)
        local function later(ch)
          rille.go(function()
            while #spare == 0 do rille.sleep(0.001) end
            rille.sleep(0.02)
            ch:send "late"
          end)
        end
        -- The clock goes on when the main program waits, and then when it is at the signal.
        require "rille.testing".run(function()
          rille.go(function()
            rille.sleep(0.001)
            os.execute "kill -USR1 $PPID"
            while #begun == 0 do rille.yield() end
          end)
          %s
        end)
        assert(handled)
      ]]):format(path, wait)))
      assert.equal(out, result.out)
    end
    os.remove(path)
  end)

  it("is called in one wait after the other", function()
    local path = c_module "handler"
    local result = ended(0, proc.run(([[
      local seen = rille.chan(1)
      assert(package.loadlib('%s', "luaopen_handler"))()(function() seen:send "handled" end)
      for _ = 1, 3 do
        local task = rille.go(function()
          rille.sleep(0.01)
          os.execute "kill -USR1 $PPID"
        end)
        print(seen:recv(20))
        task:await()
      end
    ]]):format(path)))
    assert.equal(("handled\n"):rep(3), result.out)
    os.remove(path)
  end)
end)

-- #nottsan: ThreadSanitizer flushes stdout itself, without a bound, and delivers no signal to a
-- loop without calls.
describe("a full pipe as stdout #exec #nottsan", function()
  local blocked = [[
    local started = rille.chan()
    rille.go(function()
      io.stdout:setvbuf "no"
      started:send(1)
      io.write(("x"):rep(100000))
    end)
    started:recv()
  ]]

  -- Whether the write has begun or not, the end must be the same: both are tried.
  for _, moment in ipairs { "", "rille.sleep(0.1)" } do
    for ending, how in pairs(endings) do
      it(("does not hold up the end (%s) %s"):format(ending, moment), function()
        ended(how.code, proc.run(blocked .. moment .. "\n" .. how.script, { stdout = "full" }))
      end)
    end

    it("does not hold up os.exit in a task " .. moment, function()
      local script = blocked .. moment .. "\nrille.go(function() os.exit(8) end) rille.never:recv()"
      ended(8, proc.run(script, { stdout = "full" }))
    end)
  end
end)

describe("an untaken error #exec", function()
  -- As if RILLE_LEAKS were not set: then it is no failure of the program.
  local function run(script)
    return proc.run(script, { env = "RILLE_LEAKS=" })
  end

  it("is reported when the last handle goes, with its traceback", function()
    local result = ended(0, run [[
      local gone = rille.chan()
      rille.go({ name = "worker" }, function()
        local function inner() error "nobody looks" end
        local _ <close> = rille.defer(function() gone:close() end)
        inner()
      end)
      gone:recv()
      collectgarbage()
      collectgarbage()
      while rille.stats().untaken == 0 do rille.yield() end
      io.stderr:write "before the end\n"
    ]])
    local report = result.err:find("nobody looks", 1, true)
    local the_end = result.err:find("before the end", 1, true)
    assert.is_truthy(report)
    assert.is_true(report < the_end)
    assert.matches("traceback", result.err)
    assert.matches("inner", result.err)
    assert.matches("worker", result.err)
    local _, times = result.err:gsub("nobody looks", "")
    assert.is_true(times >= 1)
  end)

  it("is reported at the end of the program when the handle is still held", function()
    local result = ended(0, run [[
      task = rille.go(function() error "held to the end" end)
      rille.done(task):wait()
      io.stderr:write "before the end\n"
    ]])
    local report = result.err:find("held to the end", 1, true)
    local the_end = result.err:find("before the end", 1, true)
    assert.is_truthy(report)
    assert.is_true(report > the_end)
  end)

  it("is reported once", function()
    local result = ended(0, run [[
      local task = rille.go(function() error("only-once", 0) end)
      rille.done(task):wait()
      task = nil
      collectgarbage()
      collectgarbage()
    ]])
    local _, times = result.err:gsub("only%-once", "")
    assert.equal(1, times)
  end)

  it("that is no string is reported too", function()
    local result = ended(0, run [[
      local Odd = { __name = "Odd", __tostring = function() return "odd one" end }
      rille.all(rille.go(function() error { code = 5 } end), rille.go(function() error(nil) end),
        rille.go(function() error(true) end),
        rille.go(function() error(setmetatable({}, Odd)) end)):wait()
    ]])
    assert.matches("table", result.err)
    assert.matches("nil", result.err)
    assert.matches("true", result.err)
    assert.matches("odd one", result.err)
  end)

  it("of os.exit is reported as well", function()
    local result = ended(3, run [[
      task = rille.go(function() error "seen at os.exit" end)
      rille.done(task):wait()
      os.exit(3)
    ]])
    assert.matches("seen at os.exit", result.err)
  end)

  it("of a task nobody waited for is reported", function()
    local result = ended(0, run [[
      rille.go(function() error "in its moment" end)
    ]])
    assert.matches("in its moment", result.err)
  end)

  it("is not hidden by RILLE_LEAKS=ignore", function()
    local result = ended(0, proc.run([[
      rille.select(rille.go(function() error "not hidden" end))
    ]], { env = "RILLE_LEAKS=ignore" }))
    assert.matches("not hidden", result.err)
  end)

  it("makes the exit code 1 with RILLE_LEAKS=fail, unless os.exit gave one", function()
    local failing = [[rille.select(rille.go(function() error "counts" end)) ]]
    ended(1, proc.run(failing, { env = "RILLE_LEAKS=fail" }))
    ended(6, proc.run(failing .. "os.exit(6)", { env = "RILLE_LEAKS=fail" }))
  end)

  local takers = {
    join = "print(task:join())",
    await = "print(pcall(task.await, task))",
    ["select, then join"] = "rille.select(task) print(task:join())",
    ["join by another task"] = "rille.go(function() print(task:join()) end):join()",
    ["join after a join that gave up"] = "task:join(0) print(task:join())",
  }
  for taker, code in pairs(takers) do
    it("is taken by " .. taker .. ", and not reported", function()
      local result = ended(0, proc.run(
        [[local task = rille.go(function() error("taken", 0) end) ]] .. code .. [[
          task = nil
          collectgarbage()
          collectgarbage()
        ]]))
      assert.equal("", result.err)
      assert.matches("false%s+taken", result.out)
    end)
  end

  it("is not taken by status, select or a done alone", function()
    local failing = [[local task = rille.go(function() error("untaken", 0) end) ]]
    for _, code in ipairs {
      "rille.select(task) task:status()", "rille.any(task, rille.never):wait()",
    } do
      local result = ended(0, run(failing .. code))
      assert.matches("untaken", result.err)
    end
  end)

  it("is only the error, not the results of those that ended well", function()
    local result = ended(0, proc.run [[
      for i = 1, 10 do rille.go(function() return i end) end
      rille.sleep(0.02)
    ]])
    assert.equal("", result.err)
  end)

  it("is not an end that the exit itself caused", function()
    local result = ended(0, proc.run([[
      local parked = rille.chan()
      local task = rille.go(function() parked:send(1) rille.never:recv() end)
      parked:recv()
      repeat rille.sleep(0.001) until task:status() == "waiting"
    ]], { env = "RILLE_LEAKS=ignore" }))
    assert.equal("", result.err)
  end)
end)

-- What a finalizer makes while the main state is closed, Lua finalizes no more: it ends with the
-- process.
local LATE_LEAKS = "ASAN_OPTIONS=detect_leaks=0"

describe("a finalizer #exec", function()
  it("may use rille while the program runs, but not wait", function()
    local result = ended(0, proc.run [[
      local ch, out = rille.chan(), rille.chan(4)
      do
        setmetatable({}, { __gc = function()
          out:send "sent"
          out:send(#out)
          local ok, err = pcall(ch.recv, ch)
          out:send(tostring(ok) .. " " .. err)
        end })
      end
      collectgarbage()
      collectgarbage()
      print(out:recv(5))
      print(out:recv(5))
      print(out:recv(5))
    ]])
    assert.matches("^sent\n1\nfalse [^\n]*cannot wait in a finalizer\n$", result.out)
  end)

  it("cannot wait in any way", function()
    local result = ended(0, proc.run [[
      local ch, task = rille.chan(), rille.go(function() rille.sleep(60) end)
      local done = rille.done()
      local waits = {
        function() ch:recv() end, function() ch:send(1) end, function() rille.sleep(1) end,
        function() rille.select(ch) end, function() task:join() end, function() task:await() end,
        function() done:wait() end, function() for _ in ch do end end,
      }
      local n = 0
      setmetatable({}, { __gc = function()
        for i, wait in ipairs(waits) do
          local ok, err = pcall(wait)
          if not ok and tostring(err):find("cannot wait in a finalizer", 1, true) then n = n + 1
          else print("wait " .. i, ok, err) end
        end
      end })
      collectgarbage()
      collectgarbage()
      print(n == #waits)
    ]])
    assert.equal("true\n", result.out)
  end)

  it("cannot wait in a task either", function()
    local result = ended(0, proc.run [[
      local ok, err = rille.go(function()
        local ok, err
        setmetatable({}, { __gc = function() ok, err = pcall(rille.never.recv, rille.never) end })
        collectgarbage()
        collectgarbage()
        return ok, err
      end):await()
      print(ok, err)
    ]])
    assert.matches("^false%s.*cannot wait in a finalizer", result.out)
  end)

  -- A task's state is closed with many others to come: what its finalizers make must go with it.
  it("that runs as its task's state is closed leaves nothing behind #memory", function()
    for _, use in ipairs {
      "ch:try_send { 1, 2, 3 }", "rille.try_select(ch:sending(('x'):rep(100)))",
      "ch:try_send(setmetatable({}, { __index = {} }))", "rille.done { values = { 1 } }",
      "rille.try_select(ch, ch, ch, ch)",
    } do
      -- Its two thousand tasks take their time where the machine is busy.
      local result = proc.run(([[
        local ch = rille.chan(1)
        local function task(ch)
          setmetatable({}, { __gc = function() %s ch:try_recv() end })
        end
        local function resident()
          for line in io.lines "/proc/self/status" do
            local kilobytes = line:match "^VmRSS:%%s+(%%d+)"
            if kilobytes then return tonumber(kilobytes) end
          end
        end
        local function run(n)
          for _ = 1, n do rille.go(task, ch):await() end
          return resident(), rille.stats().message_bytes
        end
        local before, bytes = run(500)
        local after, more = run(2000)
        print(more == bytes and after - before < 4096, after - before, more - bytes)
      ]]):format(use), { limit = 60 })
      assert.equal(0, result.code, result.err)
      assert.matches("^true", result.out, use)
    end
  end)

  it("may do what needs no wait", function()
    local result = ended(0, proc.run [[
      local full, closed = rille.chan(1), rille.chan()
      full:send "v"
      closed:close()
      local done, cancel = rille.done()
      setmetatable({}, { __gc = function()
        print(full:recv(), closed:recv())
        print(full:try_recv())
        cancel "collected"
        task = rille.go(function() print "task" end)
      end })
      collectgarbage()
      collectgarbage()
      print(done:cause())
      task:join()
    ]])
    assert.equal("", result.err)
    for _, word in ipairs { "v", "empty", "collected", "task" } do
      assert.matches(word, result.out)
    end
  end)

  -- The state closes: handles are finalized, the runtime is gone, user code still runs.
  local uses = {
    "ch:try_send(1)", "ch:try_recv()", "ch:send(1)", "ch:recv()", "ch:close()", "return #ch",
    "return ch:cap()", "return tostring(ch)", "for _ in ch do end", "return ch:receiver()",
    "rille.select(ch, 1)", "rille.try_select(ch)", "rille.go(print, 1)", "task:join()",
    "task:await()", "task:status()", "task:traceback()", "task:name()", "done:err()",
    "done:cause()", "done:wait()", "done:check()", "done:deadline()", "done:remaining()",
    "done:value 'x'", "done:detached()", "done:after(print)", "cancel()", "cancel 'why'",
    "rille.done(done)", "rille.any(ch, done)", "rille.all(ch, done)", "rille.sleep(0)",
    "rille.sleep(1)", "rille.yield()", "rille.after(1)", "rille.tick(1)", "timer:stop()",
    "timer:reset(1)", "timer:recv()", "rille.chan(1):send(2)", "rille.stats()", "rille.self()",
    "rille.now()", "rille.notify 'USR1'", "rille.background:wait(0)", "rille.defer(print)",
    "return ch == done", "view:recv()", "view:try_recv()", "stop()",
    "step()", "rille.try_select(case)",
  }
  local setup = [[
    local ch, timer = rille.chan(2), rille.timer(60)
    local view = ch:receiver()
    local task = rille.go(function() rille.never:recv() end)
    local done, cancel = rille.done { timeout = 60, values = { x = 1 } }
    local stop = done:after(print)
    local step, case = ch:iter(timer), ch:sending {}
    local uses = {
  ]]
  for _, use in ipairs(uses) do setup = setup .. "function() " .. use .. " end,\n" end
  setup = setup .. [[
    }
    local function use_all()
      for i, use in ipairs(uses) do
        local ok, err = pcall(use)
        if not ok and type(err) ~= "string" then
          io.stderr:write("use ", i, " raised a ", type(err), "\n")
        end
      end
      io.stderr:write "used all\n"
    end
  ]]

  it("at lua_close may use any handle without a crash", function()
    for _, ending in ipairs { "", "os.exit(0, true)" } do
      local result = ended(0, proc.run(setup .. [[
        last = setmetatable({}, { __gc = use_all })
      ]] .. ending, { env = "RILLE_LEAKS=ignore " .. LATE_LEAKS }))
      assert.equal("used all\n", result.err)
    end
  end)

  it("older than the module may use any handle without a crash", function()
    local result = ended(0, proc.run([[
      local use
      first = setmetatable({}, { __gc = function() use() end })
      local rille = require "rille"
    ]] .. setup .. "use = use_all", { env = "RILLE_LEAKS=ignore", bare = true }))
    assert.equal("used all\n", result.err)
  end)

  it("of a task's state may use any handle without a crash", function()
    local result = ended(0, proc.run([[
      rille.go(function()
        local rille = require "rille"
    ]] .. setup .. [[
        last = setmetatable({}, { __gc = use_all })
      end):await()
    ]], { env = "RILLE_LEAKS=ignore" }))
    assert.matches("used all\n", result.err)
  end)

  it("older than the handles may use them without a crash, in a task or not", function()
    local body = [[
      local use
      first = setmetatable({}, { __gc = function() use() end })
    ]] .. setup .. "use = use_all\n"
    for _, script in ipairs { body, "rille.go(function() " .. body .. " end):await()" } do
      local result = ended(0, proc.run(script, { env = "RILLE_LEAKS=ignore " .. LATE_LEAKS }))
      assert.matches("used all\n", result.err)
    end
  end)

  it("after the end of the runtime gets errors, as operations on handles raise", function()
    local result = ended(0, proc.run([[
      local ch
      first = setmetatable({}, { __gc = function()
        for _, name in ipairs { "try_recv", "close", "try_send" } do
          io.stderr:write(tostring(pcall(ch[name], ch, 1)), "\n")
        end
      end })
      ch = require "rille".chan(1)
    ]], { bare = true }))
    assert.equal("false\nfalse\nfalse\n", result.err)
  end)

  it("after the end of the runtime is told of it by each kind of handle, as text too", function()
    local result = ended(0, proc.run([[
      local handles
      first = setmetatable({}, { __gc = function()
        for _, handle in ipairs(handles) do
          io.stderr:write(select(2, pcall(tostring, handle)), "\n")
        end
      end })
      local rille = require "rille"
      local ch, done, cancel = rille.chan(), rille.done()
      handles = { ch, ch:receiver(), ch:sender(), rille.timer(60), done, cancel, rille.go(print) }
    ]], { bare = true }))
    assert.equal(("the program's runtime has ended\n"):rep(7), result.err)
  end)
end)

-- The `rille` command: it runs a script as `lua` does, with settings as options.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local command_line = require "rille.command_line"

-- Hides argparse from the command.
local PLAIN = "package.preload.argparse = function() error 'not here' end"

-- Runs a script by the command: options come before it, opts.args after it.
local function run(options, script, opts)
  opts = opts or {}
  opts.command = table.move(options, 1, #options, 2, { "lua/bin/rille" })
  opts.env = opts.env or {}
  opts.env.RILLE_LUA = helper.lua_cmd()
  return helper.run(script, opts)
end

local function prints(expected, options, script, opts)
  local result = run(options, script, opts)
  assert.equal("", result.err)
  assert.equal(expected, result.out)
  assert.equal(0, result.code)
end

describe("a script under the command #exec", function()
  it("gets its words as `lua` passes them", function()
    prints("2\ta\t--b\ttrue\trille --threads 2\n", { "--threads", "2" }, [[
      print(select("#", ...), arg[1], select(2, ...), arg[0]:find "%.lua$" ~= nil,
        arg[-3]:match "[^/]*$" .. " " .. arg[-2] .. " " .. arg[-1])
    ]], { args = { "a", "--b" } })
  end)

  it("finds the interpreter at the first of its negative words", function()
    prints("true\n", {}, [[
      local first = -1
      while arg[first - 1] do first = first - 1 end
      print(arg[first] == os.getenv "RILLE_LUA")
    ]])
  end)

  it("is the standard input where its name is `-`", function()
    prints("stdin\ta\n", { "-" }, "", {
      stdin = "print(debug.getinfo(1).short_src, (...):match '%.lua$' and arg[1 + 1])",
      args = { "a" },
    })
  end)

  it("is a file called `-` after `--`", function()
    local result = run({ "--", "-" }, "", { stdin = "print 'not this'" })
    assert.matches("^rille: cannot open %-", result.err)
    assert.equal(1, result.code)
  end)

  it("has no frame of the command in the traceback of its error", function()
    local result = run({}, "local function f() error 'boom' end\nf()")
    assert.equal(1, result.code)
    assert.matches("^rille: [^\n]*%.lua:1: boom\nstack traceback:\n\t%[C%]: in function 'error'\n",
      result.err)
    assert.matches("%.lua:2: in main chunk\n\t%[C%]: in %?\n$", result.err)
  end)

  it("fails with an error object's text", function()
    local result = run({}, "error(setmetatable({}, { __tostring = function() return 'mine' end }))")
    assert.equal("rille: mine\n", result.err)
    assert.equal(1, result.code)
  end)

  it("fails with the type of an error object without a text", function()
    assert.matches("^rille: %(error object is a table value%)\nstack", run({}, "error {}").err)
    assert.matches("^rille: %(error object is a nil value%)\nstack", run({}, "error()").err)
  end)

  it("fails where it does not compile, without a traceback", function()
    local result = run({}, "x =")
    assert.matches("^rille: [^\n]*%.lua:1: unexpected symbol near <eof>\n$", result.err)
    assert.equal(1, result.code)
  end)

  it("closes the Lua state when it fails", function()
    local result = run({}, [[
      closing = setmetatable({}, { __gc = function() print "closed" end })
      error "boom"
    ]])
    assert.equal("closed\n", result.out)
  end)

  it("leaves by os.exit with its code", function()
    assert.equal(7, run({}, "os.exit(7)").code)
    assert.equal(7, run({ "--stats" }, "os.exit(7, true)").code)
    assert.equal(7, run({}, "require 'rille'.go(function() os.exit(7) end):join()").code)
  end)

  it("has no globals of the command", function()
    prints("", {}, [[
      local known = {}
      for name in ("assert collectgarbage dofile error getmetatable ipairs load loadfile next "
        .. "pairs pcall print rawequal rawget rawlen rawset require select setmetatable tonumber "
        .. "tostring type warn xpcall _G _VERSION arg coroutine debug io math os package string "
        .. "table utf8 bit32"):gmatch "%S+" do known[name] = true end
      for name in pairs(_G) do if not known[name] then print(name) end end
    ]])
  end)
end)

describe("a program under the command #exec", function()
  it("has no tasks but its own", function()
    prints("0\t0\t0\n", {}, [[
      local rille = require "rille"
      print(#rille.tasks(), rille.stats().tasks.waiting, rille.stats().tasks.runnable)
    ]])
  end)

  it("gets 'deadlock' when nothing can wake it", function()
    local result = run({}, "require 'rille'.chan(0, 'jobs'):recv()")
    assert.matches("deadlock[^\n]*\n\tmain program: waits in recv jobs at [^\n]*\nstack",
      result.err)
    assert.equal(1, result.code)
  end)
end)

describe("an option #exec", function()
  local SETTINGS = [[
    local rille = require "rille"
    rille.go(function() end):join()
    print(os.getenv "RILLE_LEAKS", os.getenv "RILLE_THREADS", rille.stats().workers)
  ]]

  it("sets what the module reads, over what the environment says", function()
    for _, init in ipairs { "", PLAIN } do
      prints("fail\t3\t3\n", { "--leaks=fail", "--threads", "3" }, SETTINGS,
        { env = { RILLE_THREADS = "1", LUA_INIT = init } })
    end
  end)

  it("that is not given leaves the environment as it is", function()
    local env = { RILLE_LEAKS = "collect", RILLE_THREADS = "1" }
    prints("collect\t1\t1\n", {}, SETTINGS, { env = env })
    prints("nil\n", {}, "print(os.getenv 'RILLE_LOG')")
  end)

  it("--leaks=fail makes an untaken error the program's failure", function()
    local script = [[
      local rille = require "rille"
      rille.go(error, "lost")
      while #rille.tasks() > 0 do rille.yield() end
      collectgarbage()
    ]]
    assert.equal(1, run({ "--leaks=fail" }, script).code)
    assert.equal(0, run({ "--leaks=fail" }, script .. "os.exit(0)").code)
    assert.equal(0, run({ "--leaks=fail", "--stats" }, script .. "os.exit(0)").code)
    assert.equal(0, run({}, script, { env = { RILLE_LEAKS = "report" } }).code)
  end)

  it("--stats writes figures at the end, however that comes", function()
    for _, ending in ipairs { "", "os.exit(true)", "error 'boom'" } do
      local result = run({ "--stats" }, "print 'ran' " .. ending)
      assert.equal("ran\n", result.out)
      assert.matches("rille: figures\n.*  tasks%.finished %d+\n.*  threads %d+\n", result.err)
    end
  end)

  it("--stats leaves os.exit a function that crosses to tasks", function()
    local result = run({ "--stats" }, [[
      local rille = require "rille"
      local leave = os.exit
      rille.go(function() leave(5) end):join()
    ]])
    assert.equal(5, result.code)
  end)

  it("--version and --help say so on stdout", function()
    for _, init in ipairs { "", PLAIN } do
      local opts = { env = { LUA_INIT = init } }
      prints(rille._VERSION .. ", Lua 5.4\n", { "--version" }, "", opts)
      prints(command_line.HELP .. "\n", { "-h" }, "", opts)
    end
  end)

  it("that is wrong ends the command with code 2 and the usage", function()
    for _, init in ipairs { "", PLAIN } do
      local result = run({ "--threads=0" }, "print 'ran'", { env = { LUA_INIT = init } })
      assert.equal("", result.out)
      assert.equal("rille: '0' is not a positive whole number\n" .. command_line.USAGE .. "\n",
        result.err)
      assert.equal(2, result.code)
    end
  end)
end)

-- Both readers of the command line, each with the other out of the way.
local readers = {
  ["argparse"] = command_line.parse,
  ["the reader without argparse"] = function(words)
    local loaded, preload = package.loaded.argparse, package.preload.argparse
    package.loaded.argparse = nil
    package.preload.argparse = function() error "not here" end
    local result = table.pack(command_line.parse(words))
    package.loaded.argparse, package.preload.argparse = loaded, preload
    return table.unpack(result, 1, result.n)
  end,
}

for name, parse in pairs(readers) do
  describe("a command line by " .. name, function()
    local function refuses(pattern, ...)
      local result, why = parse { ... }
      assert.is_nil(result)
      assert.matches(pattern, why)
    end

    it("ends at the script", function()
      local words = { "--stats", "--leaks", "fail", "script", "--help", "--what" }
      assert.same({ at = 4, file = false, stats = true, settings = { RILLE_LEAKS = "fail" } },
        parse(words))
    end)

    it("takes each value after a space or =", function()
      local expected = { RILLE_LEAKS = "collect", RILLE_LOG = "tasks", RILLE_THREADS = "12" }
      local joined = parse { "--leaks=collect", "--log=tasks", "--threads=12", "s" }
      local apart = parse { "--leaks", "collect", "--log", "tasks", "--threads", "12", "s" }
      assert.same(expected, joined.settings)
      assert.same(expected, apart.settings)
    end)

    it("lets the last of several count", function()
      assert.same({ RILLE_THREADS = "3" }, parse { "--threads=2", "--threads", "3", "s" }.settings)
    end)

    it("ends at --", function()
      local parsed = parse { "--stats", "--", "--help" }
      assert.equal(3, parsed.at)
      assert.is_true(parsed.file)
      assert.is_nil(parsed.help)
    end)

    it("knows short words, also in one", function()
      assert.is_true(parse { "-v" }.version)
      assert.is_true(parse { "-h" }.help)
      local both = parse { "-vh" }
      assert.is_true(both.help and both.version)
    end)

    it("has `-` as a script", function()
      assert.equal(2, parse { "--stats", "-", "a" }.at)
    end)

    it("refuses what it does not know", function()
      refuses("^unknown option '%-%-what'", "--what", "s")
      refuses("^unknown option '%-%-what'", "--what=1", "s")
      refuses("^unknown option '%-x'", "-x", "s")
      refuses("^unknown option '%-x'", "--threads", "-x", "s")
    end)

    it("refuses a value that is missing, wrong, or one too many", function()
      refuses("^option '%-%-threads' requires an argument$", "--threads")
      refuses("^option '%-%-threads' requires an argument$", "--threads", "--stats", "s")
      refuses("^option '%-%-leaks' requires an argument$", "--leaks", "--", "s")
      refuses("^option '%-%-stats' does not take arguments$", "--stats=1", "s")
      refuses("^argument for option '%-%-leaks' must be one of 'ignore', 'report', 'fail', "
        .. "'collect'$", "--leaks=lots", "s")
      refuses("^argument for option '%-%-log' must be one of 'tasks'$", "--log", "all", "s")
      for _, word in ipairs { "0", "1.5", "many", "" } do
        refuses("^'" .. word .. "' is not a positive whole number$", "--threads=" .. word, "s")
      end
    end)

    it("refuses to do without a script", function()
      refuses("^missing argument 'script'$")
      refuses("^missing argument 'script'$", "--stats")
      refuses("^missing argument 'script'$", "--stats", "--")
    end)
  end)
end

describe("the command #exec", function()
  it("runs as the interpreter of a script's first line", function()
    local dir = os.tmpname()
    os.remove(dir)
    local lines = {
      ("mkdir %s; cp lua/bin/rille %s/rille"):format(dir, dir),
      ("printf '#!/usr/bin/env rille\\nprint(\"hash\", ...)\\n' >%s/script"):format(dir),
      ("chmod +x %s/script"):format(dir),
      ("PATH=%s:$PATH RILLE_LUA='%s' LUA_PATH='%s' LUA_CPATH='%s' %s/script word 2>&1")
        :format(dir, helper.lua_cmd(), package.path, package.cpath, dir),
    }
    local pipe = io.popen(table.concat(lines, "\n"))
    assert.equal("hash\tword\n", pipe:read "a")
    pipe:close()
    os.execute("rm -r " .. dir)
  end)

  it("finds the modules that were installed beside it", function()
    local dir = os.tmpname()
    os.remove(dir)
    local module = package.searchpath("rille.core", package.cpath)
    local lines = {
      ("mkdir -p %s/bin %s/lib/lua/5.4/rille %s/share/lua/5.4"):format(dir, dir, dir),
      ("cp lua/bin/rille %s/bin; cp -R lua/rille %s/share/lua/5.4"):format(dir, dir),
      ("cp '%s' %s/lib/lua/5.4/rille/core.so"):format(module, dir),
      ("unset LUA_PATH LUA_CPATH; cd /; RILLE_LUA='%s' %s/bin/rille --version 2>&1")
        :format(helper.lua_cmd(), dir),
    }
    local pipe = io.popen(table.concat(lines, "\n"))
    assert.equal(rille._VERSION .. ", Lua 5.4\n", pipe:read "a")
    pipe:close()
    os.execute("rm -r " .. dir)
  end)

  it("says when there is no Lua 5.4", function()
    local pipe = io.popen("PATH=/nowhere RILLE_LUA=false /bin/sh lua/bin/rille x 2>&1; echo $?")
    assert.equal("rille: cannot find Lua 5.4: RILLE_LUA may name it\n1\n", pipe:read "a")
    pipe:close()
  end)
end)

-- The script sends the signal, and reads what came of it where the command writes it. os.execute
-- would keep the signal from the process.
local QUIT = [[
local rille = require "rille"
local stat = io.open "/proc/self/stat"
local pid = stat:read "n"
stat:close()
local function errors()
  local file <close> = io.open "/proc/self/fd/2"
  return file:read "a"
end
local function quit()
  local before = #errors()
  io.popen("kill -QUIT " .. pid):close()
  repeat rille.sleep(0.005) until errors():find("rille: %d+ tasks?\n", before + 1)
end
]]

describe("Ctrl-\\ #exec", function()
  it("lists the tasks and their tracebacks, again and again", function()
    local result = run({}, QUIT .. [[
      local jobs = rille.chan(0, "jobs")
      local task = rille.go({ name = "worker" }, function()
        local function take() return (jobs:recv()) end
        local job = take()
        return job
      end)
      while task:status() ~= "waiting" do rille.yield() end
      for _ = 1, 5 do quit() end
      jobs:send "done"
      print(task:await())
    ]])
    assert.equal("done\n", result.out)
    assert.equal(0, result.code)
    local _, count = result.err:gsub("rille: 1 task\ntask %d+ \"worker\", started at "
      .. "[^\n]*%.lua:%d+ [%d.]+ s ago, waits in recv jobs at [^\n]*%.lua:%d+\n    [^\n]*\n", "")
    assert.equal(5, count)
    assert.matches("in local 'take'", result.err)
  end)

  it("never ends the program, however fast it comes", function()
    local result = run({}, QUIT .. [[
      for _ = 1, 50 do io.popen("kill -QUIT " .. pid):close() end
      quit()
      print "alive"
    ]])
    assert.equal("alive\n", result.out)
    assert.equal(0, result.code)
  end)

  it("lists them while the program computes", function()
    local result = run({}, QUIT .. [[
      local begun = rille.chan()
      rille.go({ name = "busy" }, function() begun:send(true) while true do end end)
      begun:recv()
      for _ = 1, 3 do quit() end
      os.exit(0)
    ]])
    assert.equal(0, result.code)
    assert.matches('task %d+ "busy", started at [^\n]*, running\n', result.err)
  end)
end)

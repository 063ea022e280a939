-- The main job as a program of its own: its output and its exit code, against its own server and
-- against one that runs in tasks of this process and logs what it was asked.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local before_each, after_each = before_each, after_each
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

package.path = "examples/?.lua;" .. package.path

local rille = require "rille"
local helper = require "spec.helper"
local http_server = require "support.server"

local BOUND = 20 -- a watchdog, and the timeout of runs that must end by something else

-- Sets up what the interpreter would have for `lua examples/fetch.lua ...`.
local script = [[
arg[0] = "examples/fetch.lua"
dofile(arg[0])
]]

-- Goes before the script: reports what is left when it exits.
local counting = [[
local rille = require "rille"
local function tasks()
  local of = rille.stats().tasks
  return of.runnable + of.running + of.waiting
end
-- popen's own end of the pipe may go while ls looks.
local function sockets()
  local pipe = io.popen "ls -l /proc/$PPID/fd 2>/dev/null | grep -c socket:"
  return pipe:read "n"
end
local exit, inherited = os.exit, sockets()
function os.exit(code)
  local limit = rille.now() + 5
  while tasks() > 0 and rille.now() < limit do rille.sleep(0.002) end
  print(("--- %d tasks, %d sockets"):format(tasks(), sockets() - inherited))
  exit(code)
end
]]

local function fetch(...)
  return helper.run(script, { args = { ... }, timeout = 3 * BOUND })
end

-- The program for a shell, where helper.run does not do.
local function command()
  local words = "LUA_PATH='%s' LUA_CPATH='%s' %s examples/fetch.lua"
  return words:format(package.path, package.cpath, helper.lua_cmd())
end

local line_pattern = "^(%S+)%s+(%S+).-[%d.]+ s  http://[^/]+(/%S*)%s*(.*)$"

-- Splits the output into result lines, also by path, and the summary.
local function parse(out)
  local results, summary = {}, nil
  for line in out:gmatch "[^\n]+" do
    local status, size, path, err = line:match(line_pattern)
    if status then
      results[path] = { status = status, size = size, path = path, err = err }
      table.insert(results, results[path])
    elseif not line:find "^%-" then
      summary = line
    end
  end
  return results, summary
end

-- The counts of a summary line, by name.
local function counts(summary)
  local count = {}
  for n, name in summary:gmatch "(%d+) (%a+)" do count[name] = tonumber(n) end
  count.total = tonumber(summary:match "of (%d+)")
  count.fetched = tonumber(summary:match "^(%d+)")
  count.of = nil
  count.cause = summary:match "stopped: (.*)$"
  return count
end

local function expect(code, count, run)
  assert.equal("", run.err)
  local results, summary = parse(run.out)
  local seen = counts(assert(summary, run.out))
  for name, n in pairs(count) do assert.equal(n, seen[name], name .. " in: " .. summary) end
  assert.equal(code, run.code)
  return results, seen
end

describe("fetch from its own server #exec", function()
  -- All but one answer long before the timeout.
  it("prints a result for each page, with what went wrong, and a summary", function()
    local results = expect(1, {
      fetched = 2, total = 5, failed = 2, canceled = 1, skipped = 0, cause = "timeout of 10 s",
    }, fetch("--timeout", 10))
    assert.same({ status = "200", size = "5", path = "/fast", err = "" }, results["/fast"])
    assert.equal("200", results["/slow"].status)
    assert.equal("500", results["/failing"].status)
    assert.equal("HTTP status 500", results["/failing"].err)
    assert.equal("connection refused", results["/refused"].err)
    assert.equal("deadline exceeded", results["/hanging"].err)
  end)

  it("stops after two seconds unless it is told otherwise", function()
    expect(1, { total = 5, cause = "timeout of 2 s" }, fetch())
  end)
end)

describe("fetch #exec", function()
  local server, log

  before_each(function()
    log = rille.chan(1000)
    server = http_server.start(log)
  end)

  after_each(function() server:close() end)

  local function urls(...)
    local list = { ... }
    for i, path in ipairs(list) do list[i] = server:url(path) end
    return list
  end

  local function requests()
    local list, peak = {}, 0
    for entry in function() return (log:try_recv()) end do
      table.insert(list, entry.path)
      peak = math.max(peak, entry.busy)
    end
    return list, peak
  end

  -- Starts it for these paths; returns the pipe from it, and a function that sends it a signal.
  local function begin(...)
    local line = "echo $$; exec env --default-signal=INT,TERM %s --timeout %d %s"
    local pipe = io.popen(line:format(command(), 3 * BOUND, table.concat(urls(...), " ")))
    local pid = pipe:read "n"
    return pipe, function(signal) os.execute(("kill -%s %d"):format(signal, pid)) end
  end

  it("prints results as they arrive", function()
    local pipe, kill = begin("/hanging", "/fast", "/failing")
    local early = {}
    for line in pipe:lines() do
      if line ~= "" then table.insert(early, line:match "http://[^/]+(/%l+)") end
      if #early == 2 then break end
    end
    table.sort(early)
    assert.same({ "/failing", "/fast" }, early)
    kill "INT"
    assert.matches("/hanging  canceled\n1 of 3 fetched, 1 failed, 1 canceled", pipe:read "a")
    pipe:close()
  end)

  it("stops at the timeout, which covers everything", function()
    local run = fetch("--timeout", "0.2", table.unpack(urls("/slow?60", "/fast", "/hanging")))
    local _, seen = expect(1, { total = 3, failed = 0, cause = "timeout of 0.2 s" }, run)
    assert.is_true(seen.canceled + seen.skipped >= 2)
  end)

  it("exits with 0 when every URL was fetched", function()
    local run = fetch(table.unpack(urls("/fast", "/big", "/redirect", "/slow?0")))
    local all = { fetched = 4, total = 4, failed = 0, canceled = 0, skipped = 0 }
    local results = expect(0, all, run)
    assert.equal("1048576", results["/big"].size)
    assert.equal("200", results["/redirect"].status)
    assert.equal("5", results["/redirect"].size)
    assert.is_nil(run.out:find "stopped")
  end)

  it("takes options before and after the URLs", function()
    local list = urls("/fast", "/missing")
    local run = fetch("--timeout=9", list[1], list[2], "--concurrency", "1")
    expect(1, { fetched = 1, failed = 1 }, run)
  end)

  it("reports addresses that cannot be fetched, and goes on", function()
    local list = urls("/loop", "/fast")
    local run = fetch(server.refused, "ftp://127.0.0.1/x", "nonsense", "", list[1], list[2])
    local results = expect(1, { fetched = 1, failed = 5, total = 6 }, run)
    assert.equal("connection refused", results["/refused"].err)
    assert.equal("too many redirects", results["/loop"].err)
    assert.matches("nonsense  not an http URL", run.out)
  end)

  it("never has more requests under way than --concurrency", function()
    local list = {}
    for i = 1, 9 do list[i] = server:url "/slow?0.2" end
    expect(0, { fetched = 9 }, fetch("--concurrency", "3", table.unpack(list)))
    local paths, peak = requests()
    assert.equal(9, #paths)
    assert.is_true(peak >= 2 and peak <= 3, "at once: " .. peak)
  end)

  it("fetches one after the other with --concurrency 1, in order", function()
    local run = fetch("--concurrency", "1", table.unpack(urls("/slow?0.01", "/failing", "/fast")))
    expect(1, { fetched = 2, failed = 1 }, run)
    local paths, peak = requests()
    assert.same({ "/slow", "/failing", "/fast" }, paths)
    assert.equal(1, peak)
  end)

  it("stops after --max-errors, cancelling what is under way and skipping the rest", function()
    local list = urls("/hanging", "/failing", "/missing", "/failing", "/fast", "/fast")
    local run = fetch("--max-errors", "3", "--concurrency", "2", "--timeout", 2 * BOUND,
      table.unpack(list))
    local results, seen = expect(1, { failed = 3, total = 6, cause = "error limit of 3" }, run)
    assert.equal("canceled", results["/hanging"].err)
    assert.is_true(seen.canceled >= 1)
    assert.equal(6, seen.fetched + seen.failed + seen.canceled + seen.skipped)
  end)

  it("does not count as errors what it cancelled", function()
    local list = urls("/hanging", "/hanging", "/hanging", "/failing")
    local run = fetch("--max-errors", "1", "--timeout", 2 * BOUND, table.unpack(list))
    expect(1, { failed = 1, canceled = 3, skipped = 0 }, run)
  end)

  it("goes past fewer errors than --max-errors", function()
    local run = fetch("--max-errors", "3", table.unpack(urls("/failing", "/failing", "/fast")))
    expect(1, { failed = 2, fetched = 1, cause = nil }, run)
    assert.is_nil(run.out:find "stopped")
  end)

  it("leaves no task and no socket behind when it stops early", function()
    local list = urls("/hanging", "/slow?9", "/hanging", "/failing", "/hanging", "/fast")
    local run = helper.run(counting .. script, {
      args = { "--max-errors", "1", "--timeout", 2 * BOUND, table.unpack(list) },
      timeout = 3 * BOUND,
    })
    expect(1, { failed = 1, total = 6, cause = "error limit of 1" }, run)
    assert.matches("\n%-%-%- 0 tasks, 0 sockets\n$", run.out)
  end)

  it("ends many hanging fetches at the timeout", function()
    local list = {}
    for i = 1, 20 do list[i] = server:url "/hanging" end
    local run = fetch("--concurrency", "20", "--timeout", "2", table.unpack(list))
    local _, seen = expect(1, { total = 20, failed = 0, cause = "timeout of 2 s" }, run)
    -- A busy machine may not have come to all of them.
    assert.equal(20, seen.canceled + seen.skipped)
    assert.is_true(seen.canceled > 0)
  end)

  for _, signal in ipairs { "INT", "TERM" } do
    it("stops with a summary on " .. signal, function()
      local pipe, kill = begin "/hanging"
      assert.same({ path = "/hanging", busy = 1 }, log:recv(3 * BOUND))
      kill(signal)
      local out = pipe:read "a"
      local _, _, code = pipe:close()
      assert.matches("/hanging  canceled\n", out)
      assert.matches("0 of 1 fetched, 0 failed, 1 canceled, 0 skipped", out)
      assert.matches("; stopped: " .. signal .. "\n$", out)
      assert.equal(1, code)
    end)
  end
end)

describe("fetch's command line #exec", function()
  local function refused(message, ...)
    local run = fetch(...)
    assert.equal("", run.out)
    assert.matches("^Usage: fetch ", run.err)
    assert.matches(message, run.err, nil, true)
    assert.equal(2, run.code)
  end

  it("refuses what it does not know, with its usage and exit code 2", function()
    refused("unknown option '--nope'", "--nope")
    refused("'0' is not a positive whole number", "--concurrency", "0")
    refused("'1.5' is not a positive whole number", "--max-errors", "1.5")
    refused("'soon' is not a positive number", "--timeout", "soon")
    refused("'-1' is not a positive number", "--timeout=-1")
    refused("requires an argument", "--timeout")
  end)

  it("explains itself", function()
    local run = fetch("--help")
    assert.equal(0, run.code)
    assert.matches("--max-errors N", run.out, nil, true)
  end)
end)

describe("fetch's progress line #exec", function()
  it("is for terminals only", function()
    local run = fetch()
    assert.equal("", run.err)
    assert.is_nil(run.out:find "[\r\27]")
  end)

  it("is shown on a terminal, and wiped at the end", function()
    local line = [[timeout %d script -qec "env %s" /dev/null </dev/null]]
    local pipe = io.popen(line:format(3 * BOUND, command()))
    local out = pipe:read "a"
    pipe:close()
    assert.matches("\r%d of 5, %d failed, %d+%.%d s\27%[K", out)
    assert.matches("\r\27%[K%d of 5 fetched", out)
  end)
end)

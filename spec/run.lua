-- Runs test files, each in a process of its own under a time limit, and adds them up:
--
--     lua5.4 spec/run.lua [busted option]... file...
--
-- A file *_spec.lua runs in busted; any other is a program whose last line is
-- "N passed, N failed". A process that crashes, hangs or stops half-way is one more failure.
--
-- Specs run with RILLE_LEAKS=fail, and so do the programs that they start: one that ends with a
-- leaked task, or with an error that nobody took, has the exit code 1.
--
-- RILLE_LUA           the interpreter for the specs (default: the one that runs this)
-- RILLE_SPEC_TIMEOUT  seconds for each file (default 300)

local lua = os.getenv "RILLE_LUA" or arg[-1]
local limit = tonumber(os.getenv "RILLE_SPEC_TIMEOUT") or 300

local function quote(word)
  return "'" .. word:gsub("'", [['\'']]) .. "'"
end

-- Says how a process ended, or nil when it ended well. `crashed` tells a signal or the time
-- limit from an exit code, which busted also uses to count failures.
local function ending(ok, how, code)
  if ok then return nil, false end
  if code == 124 or code == 137 then return ("still running after %g s"):format(limit), true end
  if code > 128 then return "killed by signal " .. code - 128, true end
  return how .. " code " .. code, false
end

-- Calls `each` with every line the command writes. The time limit aborts the command, so that a
-- sanitizer or a core file can tell where it hung.
local function run(command, each)
  local words = { "timeout", "-s", "ABRT", "-k", "10", tostring(limit), table.unpack(command) }
  for i, word in ipairs(words) do words[i] = quote(word) end
  local pipe = assert(io.popen(table.concat(words, " ") .. " 2>&1 </dev/null"))
  for line in pipe:lines() do each(line) end
  return ending(pipe:close())
end

-- A result: counts, and the output to show if anything failed.
local function new_result()
  return { passed = 0, failed = 0, skipped = 0, output = {} }
end

-- Names of all that failed, to end with.
local failures = {}

local function fail(result, ...)
  local line = table.concat({ ... }, ": ")
  result.failed = result.failed + 1
  table.insert(result.output, line)
  table.insert(failures, line)
end

local function run_program(path)
  local result = new_result()
  local why = run({ path }, function(line) table.insert(result.output, line) end)
  local last = result.output[#result.output] or ""
  local passed, failed = last:match "^(%d+) passed, (%d+) failed$"
  result.passed, result.failed = tonumber(passed) or 0, tonumber(failed) or 0
  if not passed then
    fail(result, path, why or "ended without its counts")
  elseif why and result.failed == 0 then
    fail(result, path, why)
  end
  return result
end

-- Reads busted's TAP: "# file @ line: name" starts a test, "ok" or "not ok" ends it, "1..N" ends
-- the file. All else was printed by a test or explains a failure.
local function tap_reader(path, result)
  local state = {}
  function state.read(line)
    local status, name = line:match "^(%l[%l ]*) %d+ %- (.*)$"
    local started = line:match "^# (.+ @ %d+: .*)$"
    local plan = line:match "^1%.%.(%d+)$"
    if started then
      state.current = started
    elseif plan then
      state.plan = tonumber(plan)
    elseif status == "ok" then
      local kind = name:find "^# SKIP" and "skipped" or "passed"
      result[kind] = result[kind] + 1
    elseif status == "not ok" then
      fail(result, "FAILED", path, name)
    else
      table.insert(result.output, line)
    end
    if status then state.current = nil end
  end
  return state
end

local function run_spec(path, options)
  local result = new_result()
  -- busted's TAP trips over a file that does not compile.
  local compiled, why = loadfile(path)
  if not compiled then
    fail(result, why)
    return result
  end
  local tap = tap_reader(path, result)
  local command = { "env", "RILLE_LEAKS=fail", lua, "spec/busted.lua", "-o", "TAP" }
  for _, word in ipairs { "--verbose", path } do table.insert(command, word) end
  table.move(options, 1, #options, #command + 1, command)
  local crashed
  why, crashed = run(command, tap.read)
  local complete = result.passed + result.failed + result.skipped == tap.plan
  if crashed or not complete or (why and result.failed == 0) then
    local where = tap.current and "in " .. tap.current or "outside a test"
    fail(result, path, why or "ended half-way", where)
  end
  return result
end

local function report(path, result)
  local skipped = result.skipped > 0 and (", %d skipped"):format(result.skipped) or ""
  print(("%-36s %4d passed, %d failed%s"):format(path, result.passed, result.failed, skipped))
  if result.failed > 0 then print("  " .. table.concat(result.output, "\n  ")) end
  io.stdout:flush()
end

local options, total = {}, new_result()
for _, word in ipairs(arg) do
  if word:find "^%-" then
    table.insert(options, word)
  else
    local result = word:find "%.lua$" and run_spec(word, options) or run_program(word)
    report(word, result)
    total.passed, total.failed = total.passed + result.passed, total.failed + result.failed
  end
end
if #failures > 0 then print("\n" .. table.concat(failures, "\n")) end
if total.passed + total.failed == 0 then
  print "no test ran"
  total.failed = 1
end
print(("%d passed, %d failed"):format(total.passed, total.failed))
os.exit(total.failed == 0)

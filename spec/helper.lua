-- What specs share. busted loads it before the first file (see .busted); specs say
-- `local helper = require "spec.helper"`.
--
-- With it comes rille.busted: a test that leaves tasks behind, or an error that nobody took, fails.
-- Its moment is long here, as it is a watchdog for tasks that have been told to end. There is no
-- other: spec/run.lua gives every file a process and a time limit.

local assert = require "luassert"
local rille = require "rille"
require "rille.busted"._moment = 20

local helper = {}

--- Calls fn(...), which has to raise an error whose text matches `pattern`.
function helper.raises(pattern, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(err))
end

--- Returns its tasks when each of them waits.
function helper.until_waiting(...)
  for _, task in ipairs { ... } do
    while task:status() ~= "waiting" do rille.yield() end
  end
  return ...
end

--- The Lua that runs the specs; a sanitizer run names its own.
function helper.lua_cmd()
  local first = -1
  while arg[first - 1] do first = first - 1 end
  return os.getenv "RILLE_LUA" or arg[first] or "lua5.4"
end

--- How many kilobytes of memory this process has.
function helper.resident()
  for line in io.lines "/proc/self/status" do
    local kilobytes = line:match "^VmRSS:%s+(%d+)"
    if kilobytes then return tonumber(kilobytes) end
  end
end

local function spill(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  os.remove(path)
  return text
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", [['\'']]) .. "'"
end

-- The command line of a script: its environment, its time limit, its files.
local function command_of(base, opts)
  local env = { LUA_PATH = package.path, LUA_CPATH = package.cpath }
  for name, value in pairs(opts.env or {}) do env[name] = value end
  local words = { "env" }
  for name, value in pairs(env) do table.insert(words, quote(name .. "=" .. value)) end
  table.insert(words, ("timeout -k 1 %g"):format(opts.timeout or 60))
  local command = opts.command or { helper.lua_cmd() }
  for _, word in ipairs(command) do table.insert(words, quote(word)) end
  table.insert(words, base .. ".lua")
  for _, word in ipairs(opts.args or {}) do table.insert(words, quote(word)) end
  return ("%s <%s.in >%s.out 2>%s.err"):format(table.concat(words, " "), base, base, base)
end

--- Runs Lua source as a program of its own. opts: timeout (60 s), env (a table), args, stdin,
-- command (what runs it, with its options: by default the Lua of the specs).
-- Returns { code, out, err, seconds }; code is 124 past the timeout, 128 + n after signal n.
function helper.run(script, opts)
  opts = opts or {}
  local base = os.tmpname()
  spill(base .. ".lua", script)
  spill(base .. ".in", opts.stdin or "")
  local start = rille.now()
  local _, how, code = os.execute(command_of(base, opts))
  local result = {
    code = how == "signal" and 128 + code or code,
    seconds = rille.now() - start,
    out = slurp(base .. ".out"),
    err = slurp(base .. ".err"),
  }
  for _, suffix in ipairs { "", ".lua", ".in" } do os.remove(base .. suffix) end
  return result
end

return helper

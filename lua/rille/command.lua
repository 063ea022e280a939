--- The `rille` command: runs a script as `lua` does, with Rille's settings as options.
--
-- The script's main program is this one's, in the same Lua state. Until Ctrl-\ comes there are no
-- tasks but the script's.
-- @module rille.command

local command_line = require "rille.command_line"

-- `--stats` puts another function in place of os.exit. This one is known to the transfer by its
-- place here, so that it can go to a task as before.
local command = { exit = os.exit }

local BAD_USAGE = 2

-- The C module takes its settings when it is opened, from a table in place of its name.
local function open_module(settings)
  if package.loaded["rille.core"] and next(settings) then
    error("rille: the module was loaded too early for options, by LUA_INIT?", 0)
  end
  for _, searcher in ipairs(package.searchers) do
    local loader, extra = searcher "rille.core"
    if type(loader) == "function" then
      package.loaded["rille.core"] = loader(settings, extra)
      break
    end
  end
  return require "rille"
end

local function complain(...)
  io.stderr:write("rille: ", ...)
  io.stderr:write "\n"
end

-- Lua counts the words from the script: what stands before it has negative positions.
local function set_arg(words, at)
  local shifted = {}
  for i, word in pairs(words) do
    if math.type(i) == "integer" then shifted[i - at] = word end
  end
  _G.arg = shifted
end

-- What `lua` makes of an error, without the frames of this file.
local function message_of(err)
  local text = err
  if type(err) ~= "string" then
    local meta = debug.getmetatable(err)
    if type(meta) == "table" and meta.__tostring then return tostring(err) end
    if type(err) ~= "number" then text = ("(error object is a %s value)"):format(type(err)) end
  end
  local trace = debug.traceback(tostring(text), 2)
  local own = trace:match "^(.*)\n\t%[C%]: in function 'xpcall'"
  return own and own .. "\n\t[C]: in ?" or trace
end

local function run(script, words)
  local chunk, err = loadfile(script)
  if not chunk then return false, err end
  return xpcall(chunk, message_of, table.unpack(words))
end

-- "tasks.running 1"
local function stats_lines(figures, prefix, lines)
  for name, value in pairs(figures) do
    if type(value) == "table" then
      stats_lines(value, prefix .. name .. ".", lines)
    else
      table.insert(lines, ("  %s%s %s\n"):format(prefix, name, value))
    end
  end
  return lines
end

local function print_stats()
  local lines = stats_lines(require("rille").stats(), "", {})
  table.sort(lines)
  io.stderr:write("rille: figures\n", table.concat(lines))
end

-- Also when the script leaves by os.exit.
local function print_stats_at_exit()
  command.exit = os.exit
  os.exit = function(...) -- luacheck: ignore 122
    print_stats()
    command.exit(...)
  end
end

local function dump()
  local rille, report = require "rille", require "rille.report"
  local own, others = rille.self():id(), {}
  for _, task in ipairs(rille.tasks()) do
    if task.id ~= own then table.insert(others, task) end
  end
  local title = ("rille: %d task%s\n"):format(#others, #others == 1 and "" or "s")
  io.stderr:write(title .. report.format(others, true))
end

-- Each signal starts a task, which first watches for the next: there is none in between.
local function watch_quit()
  require("rille").notify("QUIT"):after(function()
    watch_quit()
    dump()
  end)
end

local function script_of(options, words)
  local name = words[options.at]
  return (name ~= "-" or options.file) and name or nil
end

local function run_script(options, words)
  open_module(options.settings)
  watch_quit()
  if options.stats then print_stats_at_exit() end
  set_arg(words, options.at)
  local ok, err = run(script_of(options, words), arg)
  if options.stats then print_stats() end
  if ok then return end
  complain(err)
  command.exit(false, true)
end

--- Runs the command whose words are in the global `arg`. Returns when the script has; a script that
-- fails ends the process with code 1, a wrong command line with 2.
function command.main()
  local options, err = command_line.parse(arg)
  if not options then
    complain(err, "\n", command_line.USAGE)
    command.exit(BAD_USAGE)
  elseif options.help then
    print(command_line.HELP)
  elseif options.version then
    print(("%s, %s"):format(require("rille")._VERSION, _VERSION))
  else
    run_script(options, arg)
  end
end

return command

--- The command line of the `rille` command: `rille [options] script.lua args...`.
--
-- What stands before the script is for the command, all else for the script. argparse reads the
-- options where it is installed; elsewhere the reader here does, in the same way.
-- @module rille.command_line

local command_line = {}

local function whole(text)
  local number = math.tointeger(tonumber(text))
  if number and number > 0 then return number end
  return nil, ("'%s' is not a positive whole number"):format(text)
end

-- In the order of the help. Those that take a value set a variable of the environment; `key` is
-- argparse's name for the result.
local OPTIONS = {
  { name = "--leaks", key = "leaks", setting = "RILLE_LEAKS",
    choices = { "ignore", "report", "fail", "collect" } },
  { name = "--log", key = "log", setting = "RILLE_LOG", choices = { "tasks" } },
  { name = "--threads", key = "threads", setting = "RILLE_THREADS", convert = whole },
  { name = "--stats", key = "stats" },
  { name = "--version", short = "-v", key = "version" },
  { name = "--help", short = "-h", key = "help" },
}

command_line.USAGE = "Usage: rille [options] script.lua [args]"

command_line.HELP = command_line.USAGE .. [[


Runs a Lua script as `lua` does; `-` stands for the standard input.

Options:
   --leaks ignore|report|fail|collect
                   What becomes of tasks that nothing can ever wake and of errors that nobody
                   took, when the program ends (default: report). Sets RILLE_LEAKS.
   --log tasks     Write a line to stderr for each event in the life of a task. Sets RILLE_LOG.
   --threads N     How many tasks run at once (default: one for each core). Sets RILLE_THREADS.
   --stats         Write figures to stderr at the end.
   -v, --version   Print the version.
   -h, --help      Print this.

Ctrl-\ writes all tasks to stderr, where each was started, where it waits, and its traceback;
the program goes on.]]

local function find(name)
  for _, option in ipairs(OPTIONS) do
    if option.name == name or option.short == name then return option end
  end
end

local function takes_value(option)
  return option and option.setting ~= nil
end

local function is_option(word)
  return word:find "^%-." ~= nil
end

-- Where the script stands in `words`, and the last word of the command's options.
local function split(words)
  local pending = false -- the word before is an option that takes a value
  for i, word in ipairs(words) do
    if word == "--" then return words[i + 1] and i + 1, i - 1 end
    if is_option(word) then
      pending = takes_value(find(word))
    elseif pending then
      pending = false
    else
      return i, i - 1
    end
  end
  return nil, #words
end

-- The value of an option as its setting; raises what is wrong with it.
local function checked(option, text)
  if option.convert then
    local value, why = option.convert(text)
    return value or error(why, 0)
  end
  for _, choice in ipairs(option.choices) do
    if text == choice then return text end
  end
  local list = "'" .. table.concat(option.choices, "', '") .. "'"
  error(("argument for option '%s' must be one of %s"):format(option.name, list), 0)
end

local function known(name)
  return find(name) or error(("unknown option '%s'"):format(name), 0)
end

-- Reads one word, or a letter of a word of short ones. Returns the option whose value comes next.
local function read_flag(result, name)
  local option = known(name)
  if takes_value(option) then return option end
  result[option.key] = true
end

local function read_long(result, word)
  local name, value = word:match "^(%-%-[^=]*)=(.*)$"
  if not name then return read_flag(result, word) end
  local option = known(name)
  if not takes_value(option) then
    error(("option '%s' does not take arguments"):format(name), 0)
  end
  result[option.key] = checked(option, value)
end

local function read_option(result, word)
  if word:find "^%-%-" then return read_long(result, word) end
  for letter in word:sub(2):gmatch "." do read_flag(result, "-" .. letter) end
end

local function must_have_value(option)
  if option then error(("option '%s' requires an argument"):format(option.name), 0) end
end

-- The options in `words` by a reader of our own; raises what is wrong with them.
local function read_plainly(words)
  local result, pending = {}, nil
  for _, word in ipairs(words) do
    if is_option(word) then
      local before = pending
      pending = read_option(result, word)
      must_have_value(before)
    else
      result[pending.key] = checked(pending, word)
      pending = nil
    end
  end
  must_have_value(pending)
  return result
end

local function read_by_argparse(argparse, words)
  local parser = argparse("rille"):add_help(false)
  for _, option in ipairs(OPTIONS) do
    local names = (option.short and option.short .. " " or "") .. option.name
    if not takes_value(option) then
      parser:flag(names)
    else
      local made = parser:option(names)
      if option.choices then made:choices(option.choices) end
      if option.convert then made:convert(option.convert) end
    end
  end
  local ok, result = parser:pparse(words)
  return ok and result or error(result, 0)
end

local function read(words)
  local found, argparse = pcall(require, "argparse")
  if found then return read_by_argparse(argparse, words) end
  return read_plainly(words)
end

local function settings_of(result)
  local settings = {}
  for _, option in ipairs(OPTIONS) do
    if option.setting and result[option.key] then
      settings[option.setting] = tostring(result[option.key])
    end
  end
  return settings
end

--- Reads a command line.
-- @tparam {string,...} words
-- @treturn[1] table `at`: the position of the script, `nil` with `help` and `version`;
-- `file`: the script is a file even if its name is `-`, as `--` stood before it; `help`, `version`,
-- `stats`: whether that was asked for; `settings`: what to set in the environment
-- @treturn[2] nil
-- @treturn[2] string what is wrong with it
function command_line.parse(words)
  local at, last = split(words)
  local ok, result = pcall(read, table.move(words, 1, last, 1, {}))
  if not ok then return nil, result end
  if not (at or result.help or result.version) then return nil, "missing argument 'script'" end
  return {
    at = at, file = words[last + 1] == "--",
    help = result.help, version = result.version, stats = result.stats,
    settings = settings_of(result),
  }
end

return command_line

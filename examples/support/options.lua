-- The command line of fetch.lua.

local argparse = require "argparse"

local function positive(text)
  local number = tonumber(text)
  if number and number > 0 and number < math.huge then return number end
  return nil, ("'%s' is not a positive number"):format(text)
end

local function whole(text)
  local number = positive(text)
  if number and math.tointeger(number) then return math.tointeger(number) end
  return nil, ("'%s' is not a positive whole number"):format(text)
end

local function new_parser()
  local parser = argparse("fetch", "Fetches URLs concurrently.")
  parser:argument("urls", "What to fetch (default: from a server of its own)."):args "*"
  parser:option("--concurrency", "Requests at once (default: 4).", 4, whole):argname "N"
  parser:option("--timeout", "Seconds for all (default: 30; own server: 2).", nil, positive)
    :argname "S"
  parser:option("--max-errors", "Stop after so many errors.", nil, whole):argname "N"
  return parser
end

local options = {}

--- The options in `words`; ends the program on --help (0) and on wrong usage (2).
function options.parse(words)
  local parser = new_parser()
  local ok, parsed = parser:pparse(words)
  if ok then
    parsed.timeout = parsed.timeout or #parsed.urls > 0 and 30 or 2
    return parsed
  end
  io.stderr:write(parser:get_usage(), "\n\nError: ", parsed, "\n")
  os.exit(2)
end

return options

-- Writes the pages of docs/reference from the documentation comments of the sources. It is a filter
-- of ldoc's, which parses them (see `make docs`):
--
--     .ci/ldoc --filter docs.reference.write csrc/lua
--     .ci/ldoc --filter docs.reference.write lua/rille
--
-- REFERENCE names another folder to write to.

local reference = {}

-- Defined beside the tasks, because they start one.
local ELSEWHERE = { ["done:after"] = "done", ["waitgroup:go"] = "sync" }

-- Pages that several files of one module make, in this order; the first has the text. The file of
-- a submodule of ldoc's would have to come after that of the module by name.
local FILES = {
  sync = { "sync", "mutex", "rwmutex", "semaphore", "waitgroup", "cond", "barrier", "counter",
    "once" },
}

local function trim(text)
  return ((text or ""):gsub("^%s+", ""):gsub("%s+$", ""))
end

local function one_line(text)
  return (trim(text):gsub("%s*\n%s*", " "))
end

-- The module itself has no page: each part of it has one.
local NO_PAGE = { rille = true }

-- Lines of a Lua comment keep the space after the dashes.
local function in_lua(module)
  return module.file:find "%.lua$"
end

local function dedent(module, text)
  return in_lua(module) and text:gsub("\n ", "\n") or text
end

-- ldoc takes the name of a page, as `done`, away from those of its items.
local function name_of(item)
  local page = item.home.name
  local short = not item.name:find "[.:]" and item.name ~= "cancel"
  return short and page .. (page == "done" and ":" or ".") .. item.name or item.name
end

-- "ch:send(v [, done])"
local function signature(item)
  if item.type ~= "function" then return name_of(item) end
  local text = ""
  for i, name in ipairs(item.params) do
    local comma = i > 1 and ", " or ""
    local opt = (item.modifiers.param[i] or {}).opt
    if opt then comma = i > 1 and " [, " or "[" end
    text = text .. comma .. name .. (opt and "]" or "")
  end
  return ("%s(%s)"):format(name_of(item), (text:gsub("%[([^%]]+)%], ", "[%1,] ")))
end

local function type_of(modifier)
  local name = modifier and modifier.type
  return name and " (" .. name:gsub("|", " or "):gsub(",%.%.%.$", ", ...") .. ")" or ""
end

local function default_of(modifier)
  local opt = modifier and modifier.opt
  return type(opt) == "string" and ", by default " .. opt or ""
end

local function params(item)
  local lines = {}
  for i, name in ipairs(item.params) do
    local modifier = (item.modifiers.param or {})[i]
    lines[i] = ("- `%s`%s%s: %s"):format(name, type_of(modifier), default_of(modifier),
      one_line(item.params.map[name]))
  end
  return lines
end

local function returns(item)
  local lines = {}
  for i, text in ipairs(item.ret or {}) do
    local modifier = (item.modifiers["return"] or {})[i]
    lines[i] = ("- returns%s: %s"):format(type_of(modifier), one_line(text)):gsub(": $", "")
  end
  return lines
end

local function raises(item)
  local lines = {}
  for i, text in ipairs(item.raise and { item.raise } or {}) do
    lines[i] = "- raises: " .. one_line(type(text) == "table" and table.concat(text, "; ") or text)
  end
  return lines
end

local function append(out, lines)
  if #lines == 0 then return end
  for _, line in ipairs(lines) do out[#out + 1] = line end
end

local function entry(item)
  local out = { ("## `%s`"):format(signature(item)), "" }
  out[#out + 1] = trim(dedent(item.home, item.summary .. (item.description or "")))
  local facts = {}
  append(facts, params(item))
  append(facts, returns(item))
  append(facts, raises(item))
  if #facts > 0 then out[#out + 1] = "" end
  append(out, facts)
  for _, code in ipairs(item.usage or {}) do
    append(out, { "", "```lua", trim(code), "```" })
  end
  return table.concat(out, "\n")
end

-- Indented code in the module's text becomes a fenced block of Lua.
local function fenced(text)
  return (("\n" .. text .. "\n"):gsub("\n\n(    .-)\n(%f[^\n]\n?[^ \n])", function(code, rest)
    code = trim(code:gsub("^    ", ""):gsub("\n    ", "\n"))
    return "\n\n```lua\n" .. code .. "\n```\n\n" .. rest
  end))
end

local function write(name, text)
  local folder = os.getenv "REFERENCE" or "docs/reference"
  local file = assert(io.open(("%s/%s.md"):format(folder, name), "w"))
  file:write(text, "\n")
  file:close()
end

local function place_of(module)
  local file = module.file:match "([^/]+)%.%w+$"
  for i, name in ipairs(FILES[module.name] or {}) do
    if name == file then return i end
  end
  return math.huge
end

local function by_page(a, b)
  if a.name ~= b.name then return a.name < b.name end
  return place_of(a) < place_of(b)
end

local function collect(modules)
  local pages = {}
  table.sort(modules, by_page)
  for _, module in ipairs(modules) do
    pages[module.name] = pages[module.name] or { module = module }
  end
  for _, module in ipairs(modules) do
    for item in module.items:iter() do
      item.home = module
      table.insert(pages[ELSEWHERE[item.name] or module.name], item)
    end
  end
  return pages
end

-- What makes the objects comes before what is done with them, each in the order of the sources.
local function in_order(page)
  local first, rest = {}, {}
  for _, item in ipairs(page) do
    table.insert(item.name:find "^rille%." and first or rest, item)
  end
  for _, item in ipairs(rest) do first[#first + 1] = item end
  return first
end

local function text_of(page)
  local module = page.module
  local text = trim(fenced(dedent(module, module.description)))
  local parts = { "# " .. module.summary:gsub("%.$", ""), text }
  for _, item in ipairs(in_order(page)) do parts[#parts + 1] = entry(item) end
  parts[#parts + 1] = ("<!-- Written by `make docs` from the comments in %s. -->")
    :format(in_lua(module) and "lua/rille" or "csrc/lua")
  return table.concat(parts, "\n\n")
end

function reference.write(modules)
  for name, page in pairs(collect(modules)) do
    -- a Lua module's full name: it has a page written by hand, or is nobody's business
    local own = name:find("rille.", 1, true)
    if not NO_PAGE[name] and not own then write(name, text_of(page)) end
  end
end

return reference

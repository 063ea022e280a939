-- The build and the rockspec: nothing forgotten, nothing exported that should not be.

local function lines_of(command)
  local lines = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do table.insert(lines, line) end
  assert(pipe:close(), command)
  return lines
end

local function sorted_values(map)
  local list = {}
  for _, value in pairs(map) do table.insert(list, value) end
  table.sort(list)
  return list
end

local function load_rockspec()
  local spec = {}
  assert(loadfile("rockspec/rille-scm-1.rockspec", "t", spec))()
  return spec
end

-- What LuaRocks would install for a Lua file under lua/.
local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

describe("the rockspec", function()
  local modules = load_rockspec().build.modules

  it("lists every C file of the module", function()
    local listed = sorted_values(modules["rille.core"].sources)
    assert.same(lines_of "find csrc -name '*.c' | LC_ALL=C sort", listed)
  end)

  it("lists every Lua module", function()
    local listed = {}
    for name, source in pairs(modules) do
      if type(source) == "string" then
        assert.equal(name, module_name(source))
        table.insert(listed, source)
      end
    end
    assert.same(lines_of "find lua -name '*.lua' | LC_ALL=C sort", sorted_values(listed))
  end)
end)

describe("the built module", function()
  it("exports luaopen_rille_core and nothing else of its own", function()
    local module = assert(package.searchpath("rille.core", package.cpath))
    local exported = {}
    for _, line in ipairs(lines_of("nm -D --defined-only '" .. module .. "'")) do
      local symbol = line:match "(%S+)$"
      -- A sanitizer adds symbols with two underscores.
      if not symbol:find "^__" then table.insert(exported, symbol) end
    end
    assert.same({ "luaopen_rille_core" }, exported)
  end)
end)

-- Each example runs, prints what is stored beside it, leaks nothing, and is walked through in the
-- guide, whose excerpts are taken from it word for word.

local proc = require "spec.support.proc"

local GUIDE = "docs/from-go-to-rille.md"

-- The examples whose point is a leak that is never seen to, with what the end of the program tells
-- of it.
local LEAKING = {
  leaking_worker = '^rille: task %d+ "worker", [^\n]* leaked: waits in recv never at [^\n]*\n$',
  blocked_writer = '^rille: task %d+ "writer", [^\n]* leaked: waits in send channel: [^\n]*\n$',
}

local function slurp(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function names(folder)
  local list = {}
  local pipe = io.popen(("ls %s/*.lua"):format(folder or "examples"))
  for path in pipe:lines() do list[#list + 1] = path:match "([^/]+)%.lua$" end
  pipe:close()
  return list
end

-- One with modules of its own finds them where it lies.
local function program(name, source)
  if not source:find "support%." then return source end
  return ("arg[0] = 'examples/%s.lua' dofile(arg[0])"):format(name)
end

describe("the example", function()
  for _, name in ipairs(names()) do
    local source = slurp("examples/" .. name .. ".lua")

    it(name .. " opens with what it shows", function()
      assert.matches("^%-%- %u", source)
    end)

    if name ~= "fetch" then -- which has a spec of its own
      it(name .. " prints what it should #exec", function()
        local result = proc.run(program(name, source), { bare = true, env = "RILLE_LEAKS=fail" })
        assert.matches(LEAKING[name] or "^$", result.err)
        assert.equal(slurp("examples/expected/" .. name .. ".txt"), result.out)
        assert.equal(LEAKING[name] and 1 or 0, result.code)
      end)
    end
  end
end)

describe("the example with the library", function()
  local page = slurp "docs/with-the-library.md"

  for _, name in ipairs(names "examples/library") do
    local source = slurp("examples/library/" .. name .. ".lua")

    it(name .. " prints what that by hand does #exec", function()
      local result = proc.run(source, { bare = true, env = "RILLE_LEAKS=fail" })
      assert.equal("", result.err)
      assert.equal(slurp("examples/expected/" .. name .. ".txt"), result.out)
      assert.equal(0, result.code)
    end)

    it(name .. " stands beside it on the page", function()
      for _, code in ipairs { slurp("examples/" .. name .. ".lua"), source } do
        assert.is_truthy(page:find("\n```lua\n" .. code .. "```\n", 1, true))
      end
    end)
  end
end)

describe("the guide", function()
  local guide = slurp(GUIDE)

  it("walks through every example", function()
    for _, name in ipairs(names()) do
      assert.is_truthy(guide:find("(../examples/" .. name .. ".lua)", 1, true), name)
    end
  end)

  it("quotes them as they are", function()
    local quoted = 0
    for text, code in guide:gmatch "\n(.-)\n```lua\n(.-\n)```" do
      local name
      for link in text:gmatch "%.%./examples/([%w_]+)%.lua" do name = link end
      if name then
        quoted = quoted + 1
        local source = slurp("examples/" .. name .. ".lua")
        assert.is_truthy(source:find(code, 1, true), name .. ":\n" .. code)
      end
    end
    assert.is_true(quoted >= 10)
  end)

  it("links to pages that exist", function()
    for _, page in ipairs { GUIDE, "docs/index.md", "docs/internals.md",
      "docs/with-the-library.md", "README.md" } do
      local folder = page:match "^(.*/)" or ""
      for link in slurp(page):gmatch "%]%(([%w_./-]+)%)" do
        assert.is_true(os.rename(folder .. link, folder .. link) or false, page .. ": " .. link)
      end
    end
  end)
end)

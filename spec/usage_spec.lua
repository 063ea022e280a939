-- The examples of the reference of what is built on the core run as they stand.

local helper = require "spec.helper"

local PAGES = { "errors", "result", "group", "map", "each", "race", "first_ok", "all_settled" }

local function page(name)
  local file = assert(io.open("docs/reference/" .. name .. ".md"))
  local text = file:read "a"
  file:close()
  return text
end

describe("the examples of the page", function()
  for _, name in ipairs(PAGES) do
    it(name .. " run as they stand, and leave nothing behind #exec", function()
      local n = 0
      for code in page(name):gmatch "\n```lua\n(%C.-)\n```" do
        if code:find "assert" then
          local ran = helper.run(("local rille = require 'rille'\ndo\n%s\nend\n" ..
            "collectgarbage()\nassert(#rille.tasks() == 0)"):format(code))
          assert.equal("", ran.err, code)
          assert.equal(0, ran.code, code)
          n = n + 1
        end
      end
      assert.is_true(n > 0)
    end)
  end
end)

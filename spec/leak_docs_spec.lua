-- The examples on the page about leaks: what is said to leak does, and its cure does not.

local helper = require "spec.helper"

local file = assert(io.open "docs/leaks.md")
local page = file:read "a"
file:close()

-- Runs one in a scope of its own; prints how many leak when all that can has ended.
local function leaks_of(code)
  return helper.run(([[
local rille = require "rille"
do
%s
end
rille.sleep(0.05)
local before
repeat
  before = #rille.tasks()
  rille.sleep(0.02)
until #rille.tasks() == before and #rille.leaks() == before
io.stdout:write("leaks: ", #rille.leaks(), "\n")
]]):format(code), { env = { RILLE_LEAKS = "ignore" } })
end

describe("the page on leaks", function()
  local usual = page:match "\n## The usual leaks[^\n]*\n(.-)\n## "
  for title, text in usual:gsub("\n### ", "\0"):gmatch "\0([^\n]+)([^\0]+)" do
    local examples = {}
    for code in text:gmatch "```lua\n(.-)```" do examples[#examples + 1] = code end

    it("shows a leak and its cure: " .. title .. " #exec", function()
      assert.equal(2, #examples)
      assert.matches("leaks: [1-9]", leaks_of(examples[1]).out)
      local cured = leaks_of(examples[2])
      assert.matches("leaks: 0", cured.out, cured.err)
    end)
  end
end)

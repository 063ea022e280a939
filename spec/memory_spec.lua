-- Out of memory: whatever allocation of Lua's fails, the operation raises or has happened, nothing
-- is lost.

local complaints = require "spec.support.scarcity"

describe("out of memory #exec", function()
  it("in Lua, each operation raises or has happened, and leaves nothing behind #nottsan", function()
    assert.equal("", complaints())
  end)
end)

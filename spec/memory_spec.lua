-- Out of memory: whatever allocation fails, the operation raises or has happened, nothing is lost.

local helper = require "spec.helper"

describe("out of memory #exec", function()
  local library = os.tmpname()
  local compile = [[cc -O1 -shared -fPIC -I"$(.ci/lua-incdir)" -o '%s' spec/support/failing.c]]

  setup(function() assert(os.execute(compile:format(library))) end)
  teardown(function() os.remove(library) end)

  -- Of every operation, each at its first allocation, its second...: see spec/support/scarce.lua.
  local function complaints(env)
    local result = helper.run([[require "spec.support.scarce"]],
      { args = { 4, library }, env = env, timeout = 110 })
    return result.code == 0 and result.out or result.code .. ": " .. result.out .. result.err
  end

  it("in Lua, each operation raises or has happened, and leaves nothing behind #nottsan", function()
    assert.equal("", complaints())
  end)

  it("in C, each operation raises or has happened, and leaves nothing behind #notasan #nottsan",
    function() assert.equal("", complaints { LD_PRELOAD = library }) end)
end)

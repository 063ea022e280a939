-- Out of memory: whatever allocation of C's fails, the operation raises or has happened, nothing is
-- lost.

local complaints = require "spec.support.scarcity"

describe("out of memory #exec", function()
  it("in C, each operation raises or has happened, and leaves nothing behind #notasan #nottsan",
    function() assert.equal("", complaints(true)) end)
end)

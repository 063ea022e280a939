-- Runs spec/support/scarce.lua in a process of its own. A spec file has one test that does, since
-- that takes long.

local helper = require "spec.helper"

local LIMIT = 500 -- a watchdog; that of spec/run.lua may come first
local COMPILE = [[cc -O1 -shared -fPIC -I"$(.ci/lua-incdir)" -o '%s' spec/support/failing.c]]

-- What went wrong: of every operation, each at its first allocation, its second... Where `preload`
-- is true allocations fail in C as well.
return function(preload)
  local library = os.tmpname()
  assert(os.execute(COMPILE:format(library)))
  local result = helper.run([[require "spec.support.scarce"]], {
    args = { 4, library }, env = preload and { LD_PRELOAD = library }, timeout = LIMIT,
  })
  os.remove(library)
  return result.code == 0 and result.out or result.code .. ": " .. result.out .. result.err
end

-- busted gives every block an _ENV of its own. A closure made in such a block
-- would take that table, and with it all of busted, along to another task.
-- plain(it) is `it` for blocks that keep the real globals:
--
--     local plain = require "spec.support.plain"
--     local describe, it, assert = plain(describe), plain(it), assert
--     local _ENV = require "_G"

return function(block)
  return function(name, fn)
    return block(name, fn and function(...) return fn(...) end)
  end
end

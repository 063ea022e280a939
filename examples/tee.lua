-- Tee: every value of one channel goes to two. A select with two send cases hands it to whoever is
-- ready first; then that case is switched off, by nil, so that the other one gets it too.

local rille = require "rille"

local function tee(done, input)
  local a, b = rille.chan(), rille.chan()
  rille.go({ name = "tee" }, function()
    local ch_a <close> = a
    local ch_b <close> = b
    for v in input:iter(done) do
      local to_a, to_b = ch_a:sending(v), ch_b:sending(v)
      for _ = 1, 2 do
        local which = rille.select { a = to_a, b = to_b, stop = done }
        if which == "stop" then return end
        if which == "a" then to_a = nil else to_b = nil end
      end
    end
  end)
  return a:receiver(), b:receiver()
end

local source = rille.chan(3)
for n = 1, 3 do source:send(n) end
source:close()

local done, cancel <close> = rille.done() -- luacheck: ignore 211
local left, right = tee(done, source)
for v in left do print(v, right:recv()) end

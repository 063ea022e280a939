-- The cure for the blocked writer: a send takes a done too.

local rille = require "rille"

local function numbers(done)
  local ch = rille.chan()
  local writer = rille.go({ name = "writer" }, function()
    local _ <close> = rille.defer(function() print "writer: cleaned up" end)
    for n = 1, math.huge do
      if not ch:send(n, done) then return "stopped at " .. n end
    end
  end)
  return ch:receiver(), writer
end

local done, cancel = rille.done()
local stream, writer = numbers(done)
for _ = 1, 3 do print(stream:recv()) end

cancel()
print("the writer " .. writer:await())

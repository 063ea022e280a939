-- The other leak: a generator whose reader has gone. It waits to send its fourth number, for ever.

local rille = require "rille"

local function numbers()
  local ch = rille.chan()
  local writer = rille.go({ name = "writer" }, function()
    for n = 1, math.huge do ch:send(n) end
    print "writer: done"
  end)
  return ch:receiver(), writer
end

local stream, writer = numbers()
for _ = 1, 3 do print(stream:recv()) end

while writer:status() ~= "waiting" do rille.yield() end
print("the reader has what it wanted; the writer is " .. writer:status() .. " to send")

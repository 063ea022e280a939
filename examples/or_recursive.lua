-- The or-channel of the Go books, written by hand: a tree of tasks that closes its channel as soon
-- as any one of several is closed. See or_any.lua for what Rille has instead.

local rille = require "rille"

local function either(...)
  local channels = { ... }
  if #channels < 2 then return channels[1] end
  local or_done = rille.chan()
  rille.go({ name = "or" }, function()
    local ch <close> = or_done
    if #channels == 2 then
      rille.select(channels[1], channels[2])
    else
      -- the rest of the tree ends with this node, too
      rille.select(channels[1], channels[2], channels[3], either(ch, table.unpack(channels, 4)))
    end
  end)
  return or_done
end

local function signal(seconds)
  local ch = rille.chan()
  rille.go({ name = "signal" }, function()
    rille.sleep(seconds)
    ch:close()
  end)
  return ch
end

local start = rille.now()
local _, err = either(signal(3600), signal(300), signal(0.05), signal(60), signal(1800)):recv()
print("one of five: " .. err)
print("within a minute: " .. tostring(rille.now() - start < 60))

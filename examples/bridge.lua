-- Bridge: a channel of channels, read as one sequence. Channels are values: they cross like all
-- others.

local rille = require "rille"

local function bridge(done, channels)
  local out = rille.chan()
  rille.go({ name = "bridge" }, function()
    local ch <close> = out
    for inner in channels:iter(done) do
      for v in inner:iter(done) do
        if not ch:send(v, done) then return end
      end
    end
  end)
  return out:receiver()
end

-- Makes three channels, one after the other, each with one line of a verse.
local function verses(done)
  local out = rille.chan()
  rille.go({ name = "verses" }, function()
    local ch <close> = out
    for _, line in ipairs { "one small step", "one giant leap", "for lua" } do
      local words = rille.chan(3)
      for word in line:gmatch "%a+" do words:send(word) end
      words:close()
      if not ch:send(words, done) then return end
    end
  end)
  return out:receiver()
end

local done, cancel <close> = rille.done() -- luacheck: ignore 211
for word in bridge(done, verses(done)) do print(word) end

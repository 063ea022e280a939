-- Bridge: a channel of channels, read as one sequence.

local rille = require "rille"

local function words_of(line)
  local words = rille.chan(3)
  for word in line:gmatch "%a+" do words:send(word) end
  words:close()
  return words
end

local lines = { "one small step", "one giant leap", "for lua" }
local verses = rille.stream.from(nil, lines):map(words_of):chan()
for word in rille.stream.bridge(nil, verses) do print(word) end

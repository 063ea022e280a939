-- Tee: every value of one stream goes to two. The second one is read from a channel.

local rille = require "rille"

local left, right = rille.stream.range(nil, 1, 3):tee()
local rights = right:chan()
for v in left do print(v, rights:recv()) end

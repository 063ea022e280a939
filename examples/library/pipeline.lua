-- A pipeline: each stage is a function, and what connects, stops and closes them is the stream's.

local rille = require "rille"

local numbers = rille.stream.from(nil, { 1, 2, 3, 4 })
  :map(function(n) return n * 2 end)
  :map(function(n) return n + 1 end)
for v in numbers do print(v) end

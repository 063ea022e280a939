-- Or-done: read from a channel that somebody else owns, who may never close it, without losing the
-- way out. In Go this takes a task and a second channel; here it is a loop.

local rille = require "rille"

local theirs = rille.chan(3)
for _, v in ipairs { "a", "b", "c" } do theirs:send(v) end -- and never a close

local done, cancel = rille.done()
local seen = {}
for v in theirs:iter(done) do
  seen[#seen + 1] = v
  if #seen == 3 then cancel "seen enough" end
end
print(table.concat(seen, " "), done:err(), done:cause())

-- A number is a done as well: it limits the whole loop.
for v in theirs:iter(0.01) do print(v) end
print "nothing more within a hundredth of a second"

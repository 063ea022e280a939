-- A leak that is found. An early return leaves a worker that nothing can wake: rille.leaks says who
-- it is and where it waits, and rille.collect unwinds it: its wait raises an error, so that it can
-- clean up. In Go it would stay for the life of the process, and in silence.

local rille = require "rille"

-- The first to answer wins; nobody receives what the other has to say.
local function ask(question)
  local answers, quick = rille.chan(0, "answers"), nil
  for _, name in ipairs { "quick", "slow" } do
    quick = rille.go({ name = name }, function(other)
      local _ <close> = setmetatable({}, { __close = function(_, err)
        if err then print(name .. ": cleans up, as its send raised " .. err:match "leaked") end
      end })
      if other then other:join() end -- so slow
      answers:send(question .. " 42, says " .. name)
    end, quick)
  end
  return answers:recv()
end

print(ask "The answer?")

local leaks
repeat
  rille.sleep(0.01)
  leaks = rille.leaks()
until #leaks > 0

for _, task in ipairs(leaks) do
  local line = task.waiting.at:match ":(%d+)$"
  print(("leaked: %s waits in %s %s at line %s"):format(task.name, task.waiting.op,
    task.waiting.on, line))
end

print("unwound:", rille.collect())
print("left:", #rille.tasks())

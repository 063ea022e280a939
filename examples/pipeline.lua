-- A pipeline: each stage is a task that receives, does one thing, and sends. Stages are connected
-- by channels and stopped by one done; each closes its channel at its end, so the end travels down.

local rille = require "rille"

-- Starts a stage; `body(emit)` calls emit for each value, which says whether to go on.
local function stage(done, name, body)
  local out = rille.chan()
  rille.go({ name = name }, function()
    local ch <close> = out
    body(function(v) return ch:send(v, done) end)
  end)
  return out:receiver()
end

local function generate(done, list)
  return stage(done, "generate", function(emit)
    for _, v in ipairs(list) do
      if not emit(v) then return end
    end
  end)
end

local function map(done, input, fn)
  return stage(done, "map", function(emit)
    for v in input:iter(done) do
      if not emit(fn(v)) then return end
    end
  end)
end

local done, cancel <close> = rille.done() -- luacheck: ignore 211
local numbers = generate(done, { 1, 2, 3, 4 })
local doubled = map(done, numbers, function(n) return n * 2 end)
local plus_one = map(done, doubled, function(n) return n + 1 end)
for v in plus_one do print(v) end

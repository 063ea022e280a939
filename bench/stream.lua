-- Integers through four stages: a source, a map, a filter, and a fold at the end. By hand, with a
-- task for each stage and channels between them, without a done and guarded by one; as a stream; as
-- a stream that has a task for each stage; as a stream of lists of 100.
-- lua5.4 bench/stream.lua [integers] [capacity] [hand|guarded|stream|apart|batch]

local harness = require "bench.harness"
local rille = require "rille"

local count, capacity = harness.arg(1, 1000000), harness.arg(2, 128)

local function double(n) return 2 * n end

local function divisible(n) return n % 3 == 0 end

local function add(sum, n) return sum + n end

local function source(n, out, done)
  local ch <close> = out
  for i = 1, n do ch:send(i, done) end
end

local function map(input, out, done)
  local ch <close> = out
  for v in input:iter(done) do ch:send(double(v), done) end
end

local function filter(input, out, done)
  local ch <close> = out
  for v in input:iter(done) do
    if divisible(v) then ch:send(v, done) end
  end
end

local forms = {}

local function by_hand(n, done)
  local numbers, doubled, kept = rille.chan(capacity), rille.chan(capacity), rille.chan(capacity)
  rille.go(source, n, numbers, done)
  rille.go(map, numbers, doubled, done)
  rille.go(filter, doubled, kept, done)
  local sum = 0
  for v in kept:iter(done) do sum = add(sum, v) end
  return sum
end

function forms.hand(n)
  return by_hand(n, nil)
end

-- So that it could be stopped, as a stream can.
function forms.guarded(n)
  local done, cancel <close> = rille.done() -- luacheck: ignore 211
  return by_hand(n, done)
end

function forms.stream(n)
  return rille.stream.range(nil, 1, n):map(double):filter(divisible):reduce(add, 0)
end

-- With a task for each stage, as by hand.
function forms.apart(n)
  return rille.stream.range(nil, 1, n):buffer(capacity):map(double):buffer(capacity)
    :filter(divisible):buffer(capacity):reduce(add, 0)
end

local function double_all(list)
  for i = 1, #list do list[i] = 2 * list[i] end
  return list
end

local function keep_divisible(list)
  local n, size = 0, #list
  for i = 1, size do
    local v = list[i]
    if v % 3 == 0 then
      n = n + 1
      list[n] = v
    end
  end
  for i = n + 1, size do list[i] = nil end
  return list
end

local function add_all(sum, list)
  for i = 1, #list do sum = sum + list[i] end
  return sum
end

function forms.batch(n)
  return rille.stream.range(nil, 1, n):batch(100):map(double_all):map(keep_divisible)
    :reduce(add_all, 0)
end

for _, name in ipairs { "hand", "guarded", "stream", "apart", "batch" } do
  if not arg[3] or arg[3] == name then
    local figure = name == "stream" and name or "stream/" .. name
    harness.report(figure, harness.time_in_task(count, forms[name]) * 1e9, "ns")
  end
end

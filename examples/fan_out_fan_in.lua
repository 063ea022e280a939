-- Fan-out, fan-in: several workers receive from one channel, and what they send is merged into
-- one. The slow stage runs in parallel; the order of the results is anybody's.

local rille = require "rille"

local function is_prime(n)
  for d = 2, math.floor(math.sqrt(n)) do
    if n % d == 0 then return false end
  end
  return n > 1
end

local function generate(done, from, to)
  local out = rille.chan()
  rille.go(function()
    local ch <close> = out
    for n = from, to do
      if not ch:send(n, done) then return end
    end
  end)
  return out:receiver()
end

local function find_primes(done, numbers)
  local out = rille.chan()
  rille.go(function()
    local ch <close> = out
    for n in numbers:iter(done) do
      if is_prime(n) and not ch:send(n, done) then return end
    end
  end)
  return out:receiver()
end

local function merge(done, inputs)
  local out, tasks = rille.chan(), {}
  for i, input in ipairs(inputs) do
    tasks[i] = rille.go(function()
      for v in input:iter(done) do
        if not out:send(v, done) then return end
      end
    end)
  end
  rille.go(function()
    for _, task in ipairs(tasks) do task:join() end
    out:close()
  end)
  return out:receiver()
end

local done, cancel <close> = rille.done() -- luacheck: ignore 211
local numbers, finders = generate(done, 1000000, 1000100), {}
for i = 1, 4 do finders[i] = find_primes(done, numbers) end

local primes = {}
for p in merge(done, finders) do primes[#primes + 1] = p end
table.sort(primes)
print(table.concat(primes, " "))

-- Fan-out, fan-in: a stream is split among several, which are merged into one.

local rille = require "rille"

local function is_prime(n)
  for d = 2, math.floor(math.sqrt(n)) do
    if n % d == 0 then return false end
  end
  return n > 1
end

local finders = { rille.stream.range(nil, 1000000, 1000100):split(4) }
for i, numbers in ipairs(finders) do finders[i] = numbers:filter(is_prime) end

local primes = assert(rille.stream.merge(nil, table.unpack(finders)):collect())
table.sort(primes)
print(table.concat(primes, " "))

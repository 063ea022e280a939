-- Spawn and join a task that requires a module, by turns as it is and with the stock searcher,
-- which reads and compiles all files anew. Medians.
-- lua5.4 bench/require.lua [tasks] [module]

local harness = require "bench.harness"
local rille = require "rille"

local count, module = harness.arg(1, 300), arg[2] or "pl.pretty"

-- The stock searcher is an upvalue of ours.
local function body(name, stock)
  local _, searcher = debug.getupvalue(package.searchers[2], 2)
  if stock then package.searchers[2] = searcher end
  require(name)
end

local function timed(stock)
  local start = rille.now()
  assert(rille.go(body, module, stock):join())
  return (rille.now() - start) * 1e6
end

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

local function rounds(n)
  local kept, stock = {}, {}
  for i = 1, n do kept[i], stock[i] = timed(false), timed(true) end
  return median(kept), median(stock)
end

-- What the first task of the warm-up compiles is kept, unless the files have just changed.
rille.go(rounds, count // 10 + 1):await()
local kept, stock = rille.go(rounds, count):await()
harness.report("require/kept", kept, "us")
harness.report("require/stock", stock, "us")
harness.report("require/times", stock / kept, "times")

-- What is measured, how often, and what it should reach.

local list = {}

-- `count` is the program's first argument (`quick`: in a quick run), `args` the rest;
-- `threads` sets RILLE_THREADS and GOMAXPROCS; `c` marks a program in C, which stands in Rille's
-- column; `alone` marks one that has no counterpart in Go.
list.programs = {
  { name = "pingpong", program = "pingpong", count = 1000000, quick = 300000 },
  { name = "pingpong-main", program = "pingpong_main", count = 100000, quick = 30000 },
  { name = "1-to-1/128", program = "pipe", count = 3000000, quick = 1000000, args = "1 128" },
  { name = "1-to-1/0", program = "pipe", count = 2000000, quick = 500000, args = "1 0" },
  { name = "4-to-4/128", program = "pipe", count = 3000000, quick = 1000000, args = "4 128" },
  { name = "4-to-4/0", program = "pipe", count = 2000000, quick = 500000, args = "4 0" },
  { name = "select-2/128", program = "select", count = 1000000, quick = 300000, args = "2 128" },
  { name = "select-2/0", program = "select", count = 1000000, quick = 300000, args = "2 0" },
  { name = "select-16/128", program = "select", count = 300000, quick = 100000, args = "16 128" },
  { name = "select-16/0", program = "select", count = 300000, quick = 100000, args = "16 0" },
  { name = "spawn", program = "spawn", count = 50000, quick = 10000 },
  { name = "pool", program = "pool", count = 100000, quick = 20000 },
  { name = "newstate", program = "newstate", count = 5000, quick = 2000, c = true },
  { name = "parked-10000", program = "parked", count = 10000, quick = 10000 },
  { name = "parked-1000000", program = "parked", count = 1000000, quick = 1000000, args = "2",
    million = true },
  { name = "cancel-1000", program = "cancel", count = 20, quick = 10 },
  { name = "any-1000", program = "any", count = 50, quick = 20 },
  { name = "strings-1MiB", program = "strings", count = 500, quick = 200 },
  { name = "records-1000", program = "records", count = 500, quick = 200 },
  { name = "stream", program = "stream", count = 1000000, quick = 300000 },
  { name = "pairs/1", program = "pairs", count = 1000000, quick = 300000, threads = 1 },
  { name = "pairs/2", program = "pairs", count = 1000000, quick = 300000, threads = 2 },
  { name = "blocking", program = "blocking", count = 500000, quick = 200000 },
  { name = "mutex", program = "mutex", count = 1000000, quick = 300000 },
  { name = "idle", program = "idle", count = 10000, quick = 10000 },
  { name = "require", program = "require", count = 300, quick = 100, alone = true },
  { name = "leaks", program = "leaks", count = 100000, quick = 10000, alone = true },
}

-- The Lua libraries that stand beside, by the names they are required by, where they are installed
-- and have programs here: bench/peers/PEER/PROGRAM.lua.
list.peers = { "luaproc", "lanes", "effil" }

-- Quotients of two figures.
list.derived = {
  { name = "spawn/newstate", over = "spawn", under = "newstate" },
  { name = "stream/overhead", over = "stream", under = "stream/hand" },
  { name = "stream/apart-overhead", over = "stream/apart", under = "stream/guarded" },
  { name = "stream/batching", over = "stream/hand", under = "stream/batch" },
  { name = "pairs/scaling", over = "pairs/1", under = "pairs/2" },
}

-- `of` is what the numbers are about: the ratio to Go, or Rille's own figure; `more` where
-- it should be at least that.
list.targets = {
  ["pingpong"] = { of = "ratio", must = 1.1, aim = 0.9 },
  ["pingpong-main"] = { of = "ratio", must = 4, aim = 2 },
  ["1-to-1/128"] = { of = "ratio", must = 2.0, aim = 1.5 },
  ["1-to-1/0"] = { of = "ratio", must = 1.3, aim = 1.0 },
  ["4-to-4/128"] = { of = "ratio", must = 2.0, aim = 1.2 },
  ["4-to-4/0"] = { of = "ratio", must = 1.0, aim = 0.7 },
  ["select-2/128"] = { of = "ratio", must = 3.0, aim = 2.0 },
  ["select-16/128"] = { of = "ratio", must = 1.0, aim = 0.5 },
  ["spawn"] = { of = "ratio", must = 10, aim = 5 },
  ["spawn/newstate"] = { of = "rille", must = 0.5, aim = 0.15 },
  ["parked-10000/memory"] = { of = "rille", must = 9, aim = 7 },
  ["cancel-1000"] = { of = "ratio", must = 3, aim = 1.5 },
  ["any-1000"] = { of = "ratio", must = 0.1, aim = 0.03 },
  ["strings-1MiB"] = { of = "rille", must = 6, aim = 12, more = true },
  ["records-1000"] = { of = "ratio", must = 1.5, aim = 0.8 },
  ["stream/overhead"] = { of = "rille", must = 1.5, aim = 1.0 },
  ["stream/batching"] = { of = "rille", must = 10, aim = 20, more = true },
  ["pairs/scaling"] = { of = "rille", must = 1.8, aim = 1.95, more = true },
  ["leaks-100000/find"] = { of = "rille", must = 1000, aim = 500 },
  ["require/times"] = { of = "rille", must = 3, aim = 5, more = true },
  ["blocking/slowdown"] = { of = "rille", must = 1.5, aim = 1.1 },
}

return list

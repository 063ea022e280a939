-- Random streams, and what a plain loop over a list makes of the same stages.

local rille = require "rille"
local stream = require "rille.stream"

local pipelines = {}

-- Items are numbers, or lists of them (batches, windows), or lists of lists...
local function number_of(v)
  if type(v) ~= "table" then return v end
  local sum = #v
  for i, part in ipairs(v) do sum = sum + i * number_of(part) end
  return sum % 100003
end

local function hash(v) return (number_of(v) * 7 + 3) % 1009 end

local function wanted(v) return number_of(v) % 3 > 0 end

local function each(list, fn)
  local out = {}
  for _, v in ipairs(list) do fn(out, v) end
  return out
end

local function mapped(list)
  return each(list, function(out, v) out[#out + 1] = hash(v) end)
end

local function cut_up(list, size)
  return each(list, function(out, v)
    if #out == 0 or #out[#out] == size then out[#out + 1] = {} end
    table.insert(out[#out], v)
  end)
end

-- Stages: each gives the stream and the list that come of it; those that are `mixing` do not keep
-- the order, those that are `orderly` need it.
local stages = {
  function(s, list) return s:map(hash), mapped(list) end,
  function(s, list) return s:map(hash, { workers = math.random(4) }), mapped(list) end,
  function(s, list)
    return s:filter(wanted), each(list, function(out, v)
      if wanted(v) then out[#out + 1] = v end
    end)
  end,
  function(s, list) return s:buffer(math.random(0, 3)), list end,
  function(s, list) return s:throttle(1e9), list end,
}

local orderly = {
  function(s, list)
    local n = math.random(0, 200)
    return s:take(n), table.move(list, 1, math.min(n, #list), 1, {})
  end,
  function(s, list)
    local n = math.random(0, 50)
    return s:skip(n), table.move(list, n + 1, math.max(#list, n), 1, {})
  end,
  function(s, list)
    local n = math.random(20)
    return s:batch(n), cut_up(list, n)
  end,
  function(s, list)
    local n = math.random(20)
    return s:batch(n, 1e6), cut_up(list, n)
  end,
  function(s, list)
    local n, out = math.random(5), {}
    for i = n, #list do out[#out + 1] = table.move(list, i - n + 1, i, 1, {}) end
    return s:window(n), out
  end,
  function(s, list) return s:debounce(1e6), { list[#list] } end,
}

local mixing = {
  function(s, list)
    return s:map(hash, { workers = math.random(4), ordered = false }), mapped(list)
  end,
  function(s, list)
    local a, b = s:tee()
    return stream.merge(nil, a, b), each(list, function(out, v)
      out[#out + 1], out[#out + 2] = v, v
    end)
  end,
  function(s, list) return stream.merge(nil, s:split(math.random(3))), list end,
  function(s, list)
    local more = stream.range(nil, 1, 50)
    local all = table.move(list, 1, #list, 1, {})
    for i = 1, 50 do all[#all + 1] = i end
    return stream.merge(nil, s, more), all
  end,
}

local function counted(n)
  local i = 0
  return function()
    i = i + 1
    return i <= n and i or nil
  end
end

local function filled(n)
  local ch = rille.chan(n)
  for i = 1, n do ch:send(i) end
  ch:close()
  return ch
end

local sources = {
  function(done, n, list) return stream.from(done, list), n end,
  function(done, n) return stream.range(done, 1, n) end,
  function(done, n) return stream.generate(done, counted(n)) end,
  function(done, n) return stream.from(done, filled(n)) end,
  function(done, n)
    local channels = rille.chan(1)
    channels:send(filled(n))
    channels:close()
    return stream.bridge(done, channels)
  end,
}

local function pick(list) return list[math.random(#list)] end

local function pick_kinds(in_order)
  if math.random(6) == 1 then return mixing end
  return in_order and math.random(2) == 1 and orderly or stages
end

--- A random stream; the list of what it gives; whether in that order. `with(s)` may put a
-- stage of its own at a random place.
function pipelines.make(done, with)
  local n, list = math.random(0, 300), {}
  for i = 1, n do list[i] = i end
  local s, in_order, count = pick(sources)(done, n, list), true, math.random(0, 6)
  local place = with and math.random(0, count)
  for i = 0, count do
    if i > 0 then
      local kinds = pick_kinds(in_order)
      in_order = in_order and kinds ~= mixing
      s, list = pick(kinds)(s, list)
    end
    if i == place then s = with(s) end
  end
  return s, list, in_order
end

--- The numbers of a list's items, sorted where their order does not matter.
function pipelines.numbers(list, in_order)
  local out = {}
  for i, v in ipairs(list) do out[i] = number_of(v) end
  if not in_order then table.sort(out) end
  return out
end

-- Ends: each reads it all, unless `count` raises or says that it is enough.
local ends = {
  function(s, count) s:each(count) end,
  function(s, count) s:reduce(count, 0) end,
  function(s) s:collect() end,
  function(s, count)
    for _ in s:iter() do
      if not count() then break end
    end
  end,
  function(s, count)
    for _ in s do
      if not count() then break end
    end
  end,
}

--- Reads a random stream to some point by a random end, as the body of a task that is left in the
-- way of that plan (see spec.support.exits).
function pipelines.play(done, plan)
  local stop, n = math.random(0, 400), 0
  local function count()
    n = n + 1
    if n == stop and plan.way == "error" then error("mine", 0) end
    if n % 7 == 0 then rille.yield() end
    return n < stop or plan.way ~= "break" and plan.way ~= "drop"
  end
  local ok, err = pcall(pick(ends), pipelines.make(done), count)
  if not ok and err ~= done:err() then error(err, 0) end
end

return pipelines

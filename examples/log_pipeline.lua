-- A log goes through a pipeline: its lines are parsed, what matters is kept and written in batches.
-- Each stage has one item at a time, and none is faster than what comes behind it.

local rille = require "rille"
local stream = rille.stream

-- Something to read: a line for each minute, and some that are no log lines.
local function write_log(path)
  local file <close> = assert(io.open(path, "w"))
  local levels = { "info", "warn", "info", "error", "debug" }
  for i = 0, 599 do
    local level = levels[i % 5 + 1]
    file:write(("%02d:%02d %s request %d\n"):format(i // 60, i % 60, level, i))
    if i % 100 == 50 then file:write "--- rotated ---\n" end
  end
end

-- Called in the pipeline's task: the file is opened there.
local function lines_of(path)
  local file
  return function()
    file = file or assert(io.open(path))
    return file:read "l"
  end
end

local function parse(line)
  local time, level, text = line:match "^(%d%d:%d%d) (%a+) (.+)$"
  return { time = time, level = level, text = text or line }
end

local function matters(entry)
  return entry.level == "warn" or entry.level == "error" or not entry.level
end

-- What the pipeline ends in is called here, so it may count.
local function writer()
  local counts = { batches = 0, warn = 0, error = 0, bad = 0 }
  return function(batch)
    counts.batches = counts.batches + 1
    for _, entry in ipairs(batch) do
      local kind = entry.level or "bad"
      counts[kind] = counts[kind] + 1
    end
    local first, last = batch[1], batch[#batch]
    print(("batch %d: %d from %s to %s"):format(counts.batches, #batch, first.time, last.time))
  end, counts
end

local path = os.tmpname()
local _ <close> = rille.defer(function() os.remove(path) end)
write_log(path)

local write, counts = writer()
local done, cancel <close> = rille.done { timeout = 20 } -- luacheck: ignore 211
assert(stream.generate(done, lines_of(path))
  :map(parse)
  :filter(matters)
  :batch(64)
  :each(write))
print(("%d warnings, %d errors, %d lines that are none"):format(counts.warn, counts.error,
  counts.bad))

-- A failure in a stage stops the pipeline, and comes out at its end.
local _, err = stream.generate(done, lines_of(path))
  :map(function(line) return line:match "^%d" and line or nil, "no log line: " .. line end)
  :each(function() end)
print(err.stage, err.value)

-- Hashes files in parallel, a few at a time, and shows how far it is. All that read share one
-- limiter, so that they leave something of the disk to others.

local rille = require "rille"

local AT_ONCE, CHUNK = 3, 4096
local RATE = 64 * 1024 * 1024 -- bytes a second, all together

-- Makes some files to be hashed, and returns their paths and how many bytes they have.
local function make_files(dir)
  local paths, bytes = {}, 0
  for i = 1, 8 do
    paths[i] = ("%s/file %d"):format(dir, i)
    local file <close> = assert(io.open(paths[i], "wb"))
    local text = ("line %d of a file\n"):format(i):rep(i * 200)
    file:write(text)
    bytes = bytes + #text
  end
  return paths, bytes
end

-- FNV-1a, 32 bits.
local function fnv(hash, text)
  for i = 1, #text do hash = ((hash ~ text:byte(i)) * 0x01000193) & 0xffffffff end
  return hash
end

-- In a task for each file: returns its hash, and tells how many bytes it has read.
local function hasher(limiter, progress)
  return function(done, path)
    local file <close> = assert(io.open(path, "rb"))
    local hash = 0x811c9dc5
    for text in file:lines(CHUNK) do
      if not limiter:wait(done, #text) then return nil, done:err() end
      hash = fnv(hash, text)
      if not progress:send(#text, done) then return nil, done:err() end
    end
    return ("%08x"):format(hash)
  end
end

-- In a task of its own: says how far it is, but not more often than each quarter.
local function show(progress, bytes)
  local read, shown = 0, 0
  for n in progress do
    read = read + n
    local quarters = 4 * read // bytes
    if quarters > shown then print(("%3d %%"):format(25 * quarters)) end
    shown = quarters
  end
end

-- The hashes, in the order of the paths.
local function hash_files(done, paths, bytes)
  local progress <close> = rille.chan(16)
  local display = rille.go({ name = "display" }, show, progress:receiver(), bytes)
  local hash = hasher(rille.limiter(RATE, CHUNK), progress:sender())
  local hashes, err = rille.map(done, paths, hash, { limit = AT_ONCE })
  progress:close()
  display:await()
  return hashes, err
end

local dir = io.popen "mktemp -d":read "l"
local _ <close> = rille.defer(function() os.execute("rm -r " .. dir) end)

local paths, bytes = make_files(dir)
local hashes = assert(hash_files(rille.notify("INT", "TERM"), paths, bytes))
for i, hash in ipairs(hashes) do print(hash, paths[i]:match "[^/]+$") end

-- One that cannot be read stops the others.
table.insert(paths, 3, dir .. "/none")
local _, err = hash_files(nil, paths, math.huge)
print(tostring(err):match "none: .*")

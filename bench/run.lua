-- Runs the benchmarks for Rille, Go and the peers that are installed in turn and prints the
-- medians side by side.
-- lua5.4 bench/run.lua [--quick] [--runs N] [--only PREFIX] [--million] [--json]
-- From the top of the tree, with the module built; Go's programs are built here.

local list = require "bench.list"

local build = os.getenv "BUILD" or "build"

local lua = os.getenv "LUA" or "lua5.4"

-- The module of this tree comes first, whoever starts this; then what it is started with, as that
-- may be where the peers are.
local paths = 'LUA_PATH_5_4="lua/?.lua;lua/?/init.lua;${LUA_PATH_5_4:-${LUA_PATH:-;}}" '
  .. 'LUA_CPATH_5_4="' .. build .. '/?.so;${LUA_CPATH_5_4:-${LUA_CPATH:-;}}" '

local function parse(args)
  local opts, i = {}, 1
  while args[i] do
    local name = args[i]:match "^%-%-(%a+)$"
    if name == "runs" or name == "only" then
      i = i + 1
      opts[name] = args[i]
    elseif name == "quick" or name == "million" or name == "json" then
      opts[name] = true
    else
      error("unknown option " .. args[i], 0)
    end
    i = i + 1
  end
  opts.runs = math.tointeger(tonumber(opts.runs or (opts.quick and 3 or 10)))
  if not opts.runs or opts.runs < 1 then error("--runs needs a count", 0) end
  return opts
end

local function selected(opts)
  local programs = {}
  for _, p in ipairs(list.programs) do
    local named = p.name:find(opts.only or "", 1, true) == 1
    local allowed = not p.million or opts.million or opts.only == p.name
    if named and allowed then programs[#programs + 1] = p end
  end
  if #programs == 0 then error("no benchmark is called " .. opts.only, 0) end
  return programs
end

local function shell(command)
  return os.execute("{ " .. command .. "; } >&2")
end

-- A peer's program for a workload, if there is one.
local function peer_program(peer, p)
  local file = ("bench/peers/%s/%s.lua"):format(peer, p.program)
  local f = io.open(file)
  return f and f:close() and file
end

-- The peers that are installed and have a program for one of these workloads.
local function peers_for(programs)
  local peers = {}
  for _, peer in ipairs(list.peers) do
    local wanted = false
    for _, p in ipairs(programs) do wanted = wanted or peer_program(peer, p) end
    local try = ("%s%s -e 'require \"%s\"' 2>/dev/null"):format(paths, lua, peer)
    if wanted and shell(try) then peers[#peers + 1] = peer end
  end
  return peers
end

-- How each language's program is built, and started.

local function build_program(p, command)
  if not shell(command:format(build, p.program, p.program)) then
    error("cannot build bench/" .. p.program, 0)
  end
end

local function build_all(programs, has_go)
  shell("mkdir -p " .. build .. "/bench")
  local built = {}
  for _, p in ipairs(programs) do
    if built[p.program] then goto continue end
    built[p.program] = true
    if p.c then
      build_program(p, (os.getenv "CC" or "cc")
        .. " -O2 -I$(.ci/lua-incdir) -o %s/bench/%s bench/%s.c -llua5.4 -lm")
    elseif has_go and not p.alone then
      build_program(p, "GO111MODULE=off go build -o %s/bench/%s bench/harness.go bench/%s.go")
    end
    ::continue::
  end
end

-- Nothing where the side has no program for this workload.
local function command_of(side, p, opts)
  local args = ("%d %s"):format(opts.quick and p.quick or p.count, p.args or "")
  local binary = ("timeout 300 %s/bench/%s %s"):format(build, p.program, args)
  local threads = p.threads and "%s=" .. p.threads .. " " or ""
  if side == "go" then return not (p.c or p.alone) and threads:format "GOMAXPROCS" .. binary end
  if side == "rille" and p.c then return binary end
  local file = side == "rille" and "bench/" .. p.program .. ".lua" or peer_program(side, p)
  return file and paths .. threads:format "RILLE_THREADS"
    .. ("timeout 300 %s %s %s"):format(lua, file, args)
end

local function figure(name, unit)
  local r = { name = name, unit = unit, rille = {}, go = {} }
  for _, peer in ipairs(list.peers) do r[peer] = {} end
  return r
end

-- Figures of one side: results[name] = { unit =, rille = { ... }, go = { ... } }, and so for each
-- peer, one number per run.
local function measure(command, side, run, results)
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do
    local name, value, unit = line:match "^(%S+) (%S+) (%S+)$"
    if name then
      local r = results[name] or figure(name, unit)
      if not results[name] then results[#results + 1], results[name] = r, r end
      r[side][run] = tonumber(value)
    end
  end
  if pipe:close() then return true end
  io.stderr:write("failed: ", command, "\n")
  return false
end

-- Which side goes first alternates, so that neither always meets the warmer machine.
local function measure_all(programs, sides, opts)
  local results, ok = {}, true
  for run = 1, opts.runs do
    for _, p in ipairs(programs) do
      for i = 1, #sides do
        local side = sides[(run + i) % #sides + 1]
        local command = command_of(side, p, opts)
        if command then ok = measure(command, side, run, results) and ok end
      end
    end
    io.stderr:write(("run %d of %d\n"):format(run, opts.runs))
  end
  return results, ok
end

-- The median of f(run) over the runs that have one.
local function median(runs, f)
  local values = {}
  for run = 1, runs do values[#values + 1] = f(run) end
  if #values == 0 then return nil end
  table.sort(values)
  local mid = #values // 2
  return #values % 2 == 1 and values[mid + 1] or (values[mid] + values[mid + 1]) / 2
end

local function quotient(a, b)
  return a and b and b > 0 and a / b or nil
end

-- A figure that is the quotient of two others, run by run.
local function derive(results, sides)
  for _, d in ipairs(list.derived) do
    local over, under = results[d.over], results[d.under]
    if over and under then
      local r = figure(d.name, "times")
      for _, side in ipairs(sides) do
        for run, value in pairs(over[side]) do r[side][run] = quotient(value, under[side][run]) end
      end
      results[#results + 1] = r
    end
  end
end

local function verdict(target, value)
  if not value then return "" end
  local function reaches(limit)
    if target.more then return value >= limit end
    return value <= limit
  end
  return reaches(target.aim) and "aim" or reaches(target.must) and "must" or "missed"
end

local function summary(results, sides, opts)
  local rows = {}
  for i, r in ipairs(results) do
    local row = { name = r.name, unit = r.unit }
    for _, side in ipairs(sides) do
      row[side] = median(opts.runs, function(run) return r[side][run] end)
    end
    row.ratio = median(opts.runs, function(run) return quotient(r.rille[run], r.go[run]) end)
    local target = list.targets[r.name]
    if target then
      row.of, row.must, row.aim = target.of, target.must, target.aim
      row.reached = verdict(target, row[target.of])
    end
    rows[i] = row
  end
  return rows
end

local function columns_with(peers)
  local columns = { "name", "rille", "go", "unit", "ratio", "target", "must", "aim", "reached" }
  for i, peer in ipairs(peers) do table.insert(columns, 3 + i, peer) end
  return columns
end

local function number(v)
  if math.type(v) == "integer" then return tostring(v) end
  local places = v < 0.1 and 3 or v < 10 and 2 or v < 100 and 1 or 0
  return ("%." .. places .. "f"):format(v)
end

local function cells(row, columns)
  local texts = {}
  for i, column in ipairs(columns) do
    local v = row[column == "target" and "of" or column]
    texts[i] = type(v) == "number" and number(v) or v or ""
  end
  return texts
end

local function print_table(rows, columns)
  local lines, widths = { columns }, {}
  for _, row in ipairs(rows) do lines[#lines + 1] = cells(row, columns) end
  for _, line in ipairs(lines) do
    for i, text in ipairs(line) do widths[i] = math.max(widths[i] or 0, #text) end
  end
  for _, line in ipairs(lines) do
    local padded = {}
    for i, text in ipairs(line) do
      local left = columns[i] == "name" or columns[i] == "unit" or columns[i] == "target"
      padded[i] = ("%" .. (left and "-" or "") .. widths[i] .. "s"):format(text)
    end
    print((table.concat(padded, "  "):gsub("%s+$", "")))
  end
end

local function print_json(rows)
  local objects = {}
  for _, row in ipairs(rows) do
    local fields = {}
    for key, v in pairs(row) do
      local text = type(v) == "number" and ("%.6g"):format(v) or '"' .. v .. '"'
      fields[#fields + 1] = ('"%s": %s'):format(key, text)
    end
    table.sort(fields)
    objects[#objects + 1] = "  {" .. table.concat(fields, ", ") .. "}"
  end
  print("[\n" .. table.concat(objects, ",\n") .. "\n]")
end

local function main(args)
  local opts = parse(args)
  local programs = selected(opts)
  local has_go = shell "command -v go >/dev/null"
  if not has_go then io.stderr:write "go is not installed: Rille alone\n" end
  build_all(programs, has_go)
  local peers = peers_for(programs)
  local sides = has_go and { "rille", "go" } or { "rille" }
  table.move(peers, 1, #peers, #sides + 1, sides)
  local results, ok = measure_all(programs, sides, opts)
  derive(results, sides)
  local rows = summary(results, sides, opts)
  if opts.json then print_json(rows) else print_table(rows, columns_with(peers)) end
  return ok
end

local ran, result = pcall(main, arg)
if not ran then io.stderr:write(tostring(result), "\n") end
os.exit(ran and result)

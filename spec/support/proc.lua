-- Runs a Lua program as a process of its own: what it wrote, how it ended, how
-- long it took. A program that hangs is killed after `limit` seconds (code 137).

local helper = require "spec.helper"
local rille = require "rille"

local proc = {}

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local function spill(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function scratch()
  local pipe = assert(io.popen("mktemp -d"))
  local dir = pipe:read("l")
  pipe:close()
  return dir
end

-- `full` gives the program a pipe nobody reads, filled to the brim.
local launch = [[
cd "$1/." 2>/dev/null || exit 99
dir=$PWD; cd "$OLDPWD"
out=$dir/out
if [ "$2" = full ]; then
  mkfifo $dir/pipe; exec 3<>$dir/pipe
  timeout 0.2 head -c 1048576 /dev/zero >&3
  out=/dev/fd/3
fi
export READY=$dir/ready
timeout -k 1 -s KILL $3 env --default-signal=INT,TERM,HUP \
  $6 $dir/main.lua <$dir/in >$out 2>$dir/err &
job=$!
if [ -n "$4" ]; then
  for i in $(seq 2000); do [ -s $dir/ready ] && break; sleep 0.005; done
  pid=$(cat $dir/ready)
  # The signal goes out when the main thread sleeps; with $5 set, at once.
  [ -n "$5" ] || for i in $(seq 400); do
    read -r _ _ state _ </proc/$pid/task/$pid/stat || break
    [ "$state" = S ] && break
    sleep 0.005
  done
  date +%s.%N >$dir/sent
  kill -$4 $pid
fi
wait $job
echo $? >$dir/code
date +%s.%N >$dir/ended
]]

-- The program calls this when it may be signalled.
local prelude = [[
local rille = require "rille"
local function ready()
  local stat = io.open("/proc/self/stat")
  local pid = stat:read("n")
  stat:close()
  local file = io.open(os.getenv("READY"), "w")
  file:write(pid, "\n")
  file:close()
end
]]

--- Runs `script`. opts: env (a shell prefix, "A=1 B=2"), limit (s), stdin (text),
-- stdout ("full"), kill (a signal sent once it called `ready()`), eager (send it at once),
-- bare (without `rille` and `ready`).
-- Returns code, out, err, seconds; with `kill` also `delay`, from signal to end.
function proc.run(script, opts)
  opts = opts or {}
  local dir = scratch()
  spill(dir .. "/main.lua", opts.bare and script or prelude .. script)
  spill(dir .. "/launch", launch)
  spill(dir .. "/in", opts.stdin or "")
  local start = rille.now()
  local paths = ("LUA_PATH='%s' LUA_CPATH='%s'"):format(package.path, package.cpath)
  os.execute(("%s %s bash %s/launch %s '%s' %g '%s' '%s' '%s' 2>/dev/null"):format(
    paths, opts.env or "", dir, dir, opts.stdout or "", opts.limit or 30,
    opts.kill or "", opts.eager and "eager" or "", helper.lua_cmd()))
  local result = {
    seconds = rille.now() - start,
    code = tonumber(slurp(dir .. "/code")),
    out = opts.stdout and "" or slurp(dir .. "/out"),
    err = slurp(dir .. "/err"),
  }
  if opts.kill then
    result.delay = tonumber(slurp(dir .. "/ended")) - tonumber(slurp(dir .. "/sent"))
  end
  os.execute("rm -rf " .. dir)
  return result
end

return proc

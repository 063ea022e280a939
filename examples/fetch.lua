-- Fetches URLs concurrently, and stops early without leaving anything behind.
--
--     lua5.4 examples/fetch.lua [urls...] [--concurrency N] [--timeout S] [--max-errors N]
--
-- A pool of tasks takes URLs from one channel and puts results on another. One done, fired by
-- the timeout, by too many errors or by Ctrl-C, ends them all, also inside a request. Without
-- URLs it fetches from a server of its own. Exit code: 0 all fetched, 1 not all, 2 wrong usage.

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

for module, package in pairs { argparse = "lua-argparse", socket = "lua-socket" } do
  if not pcall(require, module) then
    local message = "fetch: Lua module '%s' is missing; on Debian: apt-get install %s\n"
    io.stderr:write(message:format(module, package))
    os.exit(2)
  end
end

local rille = require "rille"
local client = require "support.client"
local parse_options = require "support.options".parse
local start_server = require "support.server".start

-- The response and the error in one result: who receives it sees both.
local function fetch(url, done)
  local start = rille.now()
  local response, err = client.get(url, done)
  local kind = "fetched"
  if not response then
    kind = done:err() and "canceled" or "failed"
  elseif response.status >= 400 then
    kind, err = "failed", "HTTP status " .. response.status
  end
  return { url = url, kind = kind, response = response, err = err, seconds = rille.now() - start }
end

local function worker(urls, results, done)
  for url in urls:iter(done) do results:send(fetch(url, done)) end
end

-- Starts the pool. The results are closed when every worker has ended.
local function start_workers(list, n, done)
  -- Room for all of them: no worker ever waits to deliver.
  local urls, results = rille.chan(#list), rille.chan(#list)
  for _, url in ipairs(list) do urls:send(url) end
  urls:close()
  local workers = {}
  for i = 1, math.min(n, #list) do
    workers[i] = rille.go({ name = "worker " .. i }, worker, urls, results, done)
  end
  rille.all(table.unpack(workers)):after(function() results:close() end)
  return results, workers
end

local function show(result)
  local response = result.response
  local status, size = "-", "-"
  if response then status, size = response.status, response.size .. " B" end
  local err = result.err and "  " .. result.err or ""
  print(("%-4s %9s  %6.3f s  %s%s"):format(status, size, result.seconds, result.url, err))
end

-- On a terminal, a line on stderr that is written over.
local is_terminal = os.execute "test -t 2"

local function progress(text)
  if is_terminal then io.stderr:write("\r", text, "\27[K") end
end

local function show_progress(count, started)
  local ended = count.fetched + count.failed + count.canceled
  local line = "%d of %d, %d failed, %.1f s"
  progress(line:format(ended, count.total, count.failed, rille.now() - started))
end

-- Counts and prints the results until there are no more; cancels the rest at the last error
-- allowed.
local function collect(results, count, max_errors, cancel)
  local started = rille.now()
  local tick = is_terminal and rille.tick(0.1)
  while true do
    show_progress(count, started)
    local which, result = rille.select { result = results, tick = tick }
    if which == "result" then
      progress ""
      if not result then return end
      show(result)
      count[result.kind] = count[result.kind] + 1
      if count.failed == max_errors then cancel("error limit of " .. max_errors) end
    end
  end
end

local function summarize(count, seconds, cause)
  local skipped = count.total - count.fetched - count.failed - count.canceled
  local line = "%d of %d fetched, %d failed, %d canceled, %d skipped in %.2f s%s"
  print(line:format(count.fetched, count.total, count.failed, count.canceled, skipped, seconds,
    cause and "; stopped: " .. cause or ""))
end

local function fetch_all(list, options)
  local started = rille.now()
  local count = { total = #list, fetched = 0, failed = 0, canceled = 0 }
  local done, cancel <close> = rille.done(rille.notify("INT", "TERM"), {
    timeout = options.timeout,
    cause = ("timeout of %g s"):format(options.timeout),
  })
  local results, workers = start_workers(list, options.concurrency, done)
  collect(results, count, options.max_errors, cancel)
  for _, task in ipairs(workers) do task:await() end
  summarize(count, rille.now() - started, done:cause())
  return count.fetched == count.total
end

local function main()
  local options = parse_options(arg)
  if #options.urls > 0 then return fetch_all(options.urls, options) end
  local server <close> = start_server()
  return fetch_all(server:pages(), options)
end

io.stdout:setvbuf "line"
os.exit(main() and 0 or 1)

-- Crawls a site: each page once, no deeper than so many links, so many at a time, and no faster
-- than its hosts like.
--
--     lua5.4 examples/crawl.lua
--
-- A pool of workers visits the pages. The crawler goes on level by level, so each page is met by
-- the shortest way there is; which page is visited when is left to the workers. The site comes from
-- a server of the example's own. What is broken is a result as well.

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

if not pcall(require, "socket") then
  io.stderr:write "crawl: Lua module 'socket' is missing; on Debian: apt-get install lua-socket\n"
  os.exit(2)
end

local rille = require "rille"
local client = require "support.client"
local server = require "support.server"
local url = require "socket.url"

local DEPTH = 3 -- links from the first page
local AT_ONCE = 3 -- requests
local RATE = 50 -- requests a second, to each host

-- What a worker does: the links of a page, or nil and what is wrong with it. The done is that of
-- the pool.
local function visit(done, address, limiter)
  local allowed, why = limiter:wait(done)
  if not allowed then return nil, why end
  local body = {}
  local response, err = client.get(address, done, body)
  if not response then return nil, err end
  if response.status >= 400 then return nil, "HTTP status " .. response.status end
  local links = {}
  for link in table.concat(body):gmatch 'href="([^"]*)"' do
    table.insert(links, url.absolute(address, link))
  end
  return links
end

-- Calls visited(address, depth, links, err) for each page, and returns how many links lead on.
local function crawl(pool, first, limiter_of, visited)
  local seen, level = { [first] = true }, { first }
  for depth = 0, DEPTH do
    local futures, below = {}, {}
    for i, address in ipairs(level) do
      futures[i] = assert(pool:submit(address, limiter_of(address)))
    end
    for i, address in ipairs(level) do
      local ok, links = futures[i]:join()
      visited(address, depth, ok and links, links)
      for _, link in ipairs(ok and links or {}) do
        if not seen[link] then table.insert(below, link) end
        seen[link] = true
      end
    end
    level = below
  end
  return #level
end

-- The limiter of the host of an address: made when it is met first, shared by the workers.
local function by_host()
  local limiters = {}
  return function(address)
    local host = url.parse(address).authority
    limiters[host] = limiters[host] or rille.limiter(RATE)
    return limiters[host]
  end
end

local function links(...)
  local body = {}
  for i, link in ipairs { ... } do body[i] = ('<a href="%s">there</a>'):format(link) end
  return table.concat(body, "\n")
end

-- It has a circle, a page that is missing, a host that does not answer, and a page too deep down.
local SITE = {
  ["/"] = links("/craters", "/seas", "/missing"),
  ["/craters"] = links("/", "/seas", "/craters/tycho"),
  ["/seas"] = links("/craters", "http://127.0.0.1:1/"),
  ["/craters/tycho"] = links("/craters/tycho/rim", "/seas"),
  ["/craters/tycho/rim"] = links("/craters/tycho/rim/stones", "/"),
}

-- The most requests that the server was answering at a time.
local function busiest(log)
  local most = 0
  for request in log do most = math.max(most, request.busy) end
  return most
end

local function main()
  local log = rille.chan(1000)
  local site <close> = server.start(log, SITE)
  local done, cancel <close> = rille.done(rille.notify("INT", "TERM"), { timeout = 60 })
  local pool <close> = rille.pool(done, AT_ONCE, visit, { init = function(below) return below end })
  local lines, started = {}, rille.now()
  local deeper = crawl(pool, site:url "/", by_host(), function(address, depth, found, err)
    local path = address:gsub("^" .. site.root, "")
    local what = found and #found .. " links" or err
    table.insert(lines, ("%d  %-20s  %s"):format(depth, path, what))
  end)
  local fastest = (#log - 1) / RATE
  log:close()
  table.sort(lines)
  print(table.concat(lines, "\n"))
  print(#lines .. " pages, and " .. deeper .. " too deep down")
  print(("at most %d at a time: %s"):format(AT_ONCE, busiest(log) <= AT_ONCE))
  print(("at most %d a second: %s"):format(RATE, rille.now() - started >= fastest))
  cancel()
end

main()

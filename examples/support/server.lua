-- A small HTTP server on 127.0.0.1, for examples that fetch: a task for each connection.
--
--     local server <close> = require "support.server".start()
--     server:url "/fast"   /slow?0.5   /failing   /hanging   /big   /redirect   /loop
--     server.refused       an address that refuses connections
--
-- or one with pages of one's own: server.start(log, { ["/"] = "the body" }).

local rille = require "rille"
local socket = require "socket"
local conn = require "support.conn"

local SLICE = 0.05
local BACKLOG = 128

local server = {}
server.__index = server

-- Each route: answers with a status line, a body and headers, or with nothing.
local routes = {}

routes["/fast"] = function() return "200 OK", "fast\n" end

routes["/slow"] = function(client, query)
  local ok = rille.sleep(tonumber(query) or 0.5, client.done)
  if ok then return "200 OK", "slow\n" end
end

routes["/failing"] = function() return "500 Internal Server Error", "failing\n" end

-- Never answers: the next line comes when the client hangs up.
routes["/hanging"] = function(client) client:receive() end

routes["/big"] = function() return "200 OK", ("0123456789abcdef"):rep(65536) end

routes["/redirect"] = function() return "302 Found", "", "Location: /fast\r\n" end

routes["/loop"] = function() return "302 Found", "", "Location: /loop\r\n" end

local function missing() return "404 Not Found", "missing\n" end

-- Reads a request's head; returns its path and query.
local function read_request(client)
  local line = client:receive()
  local target = line and line:match "^GET (%S+) HTTP/1%.%d$"
  while line and line ~= "" do line = client:receive() end
  if line and target then return target:match "^([^?]*)%??(.*)$" end
end

local function respond(client, status, body, headers)
  local head = "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n"
  return client:send(head:format(status, #body, headers or "") .. body)
end

local function page(body)
  return function() return "200 OK", body end
end

-- `busy` holds one token for each request being answered; `site.log` hears of each request.
local function answer(client, busy, site)
  local path, query = read_request(client)
  if not path then return end
  busy:send(true)
  if site.log then site.log:try_send { path = path, busy = #busy } end
  local own = site.pages[path]
  local route = own and page(own) or routes[path] or missing
  local status, body, headers = route(client, query)
  -- Before the client can see the answer, and ask again.
  busy:recv()
  if status then respond(client, status, body, headers) end
end

-- Sockets do not cross to another task, but a task can open a view of the owner's descriptor.
local function accept(fd, done)
  local listener = socket.tcp()
  listener:setfd(fd)
  -- The descriptor is its owner's to close.
  local _ <close> = rille.defer(function() listener:setfd(-1) end)
  listener:listen(BACKLOG)
  listener:settimeout(SLICE)
  while not done:err() do
    local client = listener:accept()
    if client then return client end
  end
end

-- One connection. `accepted` lets the next task wait for the next one.
local function serve(fd, accepted, busy, site, done)
  local sock = accept(fd, done)
  if not sock then return end
  local _ <close> = rille.defer(function() sock:close() end)
  if accepted:send(true, done) then answer(conn.new(done, sock), busy, site) end
end

local function listen(fd, site, done)
  local accepted, busy = rille.chan(), rille.chan(1000)
  local tasks = {}
  repeat
    table.insert(tasks, rille.go(serve, fd, accepted, busy, site, done))
  until not accepted:recv(done)
  for _, task in ipairs(tasks) do task:await() end
end

local function address(sock)
  local host, port = sock:getsockname()
  return ("http://%s:%d"):format(host, port)
end

--- Starts a server that runs until it is closed. `log`, a channel, gets { path=, busy= } for each
-- request it has room for; `pages` has the bodies of further pages by their paths.
function server.start(log, pages)
  local listener = assert(socket.bind("127.0.0.1", 0, BACKLOG))
  -- Bound, so that nobody else takes the port, and not listening.
  local refusing = socket.tcp4()
  assert(refusing:bind("127.0.0.1", 0))
  local done, cancel = rille.done()
  return setmetatable({
    root = address(listener),
    refused = address(refusing) .. "/refused",
    listener = listener,
    refusing = refusing,
    cancel = cancel,
    task = rille.go(listen, listener:getfd(), { log = log, pages = pages or {} }, done),
  }, server)
end

function server:url(path) return self.root .. path end

--- One of each kind.
function server:pages()
  local list = {}
  for i, path in ipairs { "/fast", "/slow", "/failing", "/hanging" } do list[i] = self:url(path) end
  table.insert(list, self.refused)
  return list
end

--- Ends all connections, then the server.
function server:close()
  self.cancel()
  self.task:await()
  self.listener:close()
  self.refusing:close()
end

server.__close = server.close

return server

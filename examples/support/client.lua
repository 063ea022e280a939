-- GET over HTTP or HTTPS, cut short by a done: LuaSocket's http.request on a connection of ours.

local http = require "socket.http"
local url = require "socket.url"
local conn = require "support.conn"

local MAX_REDIRECTS = 5
local redirects = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local client = {}

-- For http.request, which connects what this makes.
local function connection(scheme, done)
  local c = conn.new(done)
  if scheme == "https" then
    function c.connect(self, host, port)
      local ok, err = conn.connect(self, host, port)
      if not ok then return nil, err end
      return self:secure(host)
    end
  end
  return c
end

-- One request. http.request would follow a redirect to https past our connection.
local function request(address, scheme, done, body)
  local size = 0
  local function count(chunk)
    size = size + #(chunk or "")
    if body then table.insert(body, chunk) end
    return 1
  end
  local ok, status, headers = http.request {
    url = address,
    redirect = false,
    sink = count,
    create = function() return connection(scheme, done) end,
  }
  if not ok then return nil, status end
  return { status = status, size = size, location = headers and headers.location }
end

--- Fetches `address`: { status=, size= }, or nil and an error, which is the done's once it fired.
-- The list `body`, if there is one, gets the pieces of the body.
function client.get(address, done, body)
  for _ = 0, MAX_REDIRECTS do
    local scheme = (url.parse(address) or {}).scheme
    if scheme ~= "http" and scheme ~= "https" then return nil, "not an http URL" end
    local response, err = request(address, scheme, done, body)
    local location = response and redirects[response.status] and response.location
    if not location then return response, err end
    address = url.absolute(address, location)
  end
  return nil, "too many redirects"
end

return client

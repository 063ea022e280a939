-- A LuaSocket connection that a done can cut short. A LuaSocket call blocks its thread, so
-- every call here is made of slices: a cancelled one ends within SLICE seconds. Only the
-- lookup of a host's name cannot be cut; it ends when the resolver gives up.

local socket = require "socket"

local SLICE = 0.05

-- As ssl.https has it: the line is encrypted, the certificate is not checked.
local TLS = {
  mode = "client",
  protocol = "any",
  options = { "all", "no_sslv3", "no_tlsv1" },
  verify = "none",
}

-- The errors of a slice that ended early: try again.
local again = { timeout = true, wantread = true, wantwrite = true }

local conn = {}
conn.__index = conn

--- Makes the connection `sock` obey `done`; without a `sock`, one to connect.
function conn.new(done, sock)
  if sock then sock:settimeout(SLICE, "t") end
  return setmetatable({ done = done, sock = sock }, conn)
end

-- http.request sets its own; the done decides here.
function conn.settimeout() return 1 end

function conn:receive(pattern, prefix)
  while not self.done:err() do
    local data, err, partial = self.sock:receive(pattern, prefix)
    if not again[err] then return data, err, partial end
    prefix = partial
  end
  return nil, self.done:err(), prefix
end

function conn:send(data)
  local sent = 0
  while not self.done:err() do
    local last, err, partial = self.sock:send(data, sent + 1)
    if not again[err] then return last, err, partial end
    sent = partial
  end
  return nil, self.done:err(), sent
end

-- Connects to one numeric address.
local function dial(self, address, port)
  local sock = socket.tcp()
  sock:settimeout(SLICE, "t")
  self.sock = sock
  local ok, err = sock:connect(address, port)
  while err == "timeout" and not self.done:err() do
    local _, writable = socket.select(nil, { sock }, SLICE)
    if writable[1] then ok, err = sock:connect(address, port) end
  end
  if ok or err == "already connected" then return 1 end
  sock:close()
  return nil, self.done:err() or err
end

-- Tries the addresses of `host` in turn.
function conn:connect(host, port)
  local addresses, err = socket.dns.getaddrinfo(host)
  if not addresses then return nil, err end
  local ok
  for _, entry in ipairs(addresses) do
    ok, err = dial(self, entry.addr, port)
    if ok or self.done:err() then break end
  end
  return ok, err
end

--- Goes on in TLS, with LuaSec.
function conn:secure(host)
  local found, ssl = pcall(require, "ssl")
  if not found then return nil, "https needs LuaSec" end
  local tls, err = ssl.wrap(self.sock, TLS)
  if not tls then return nil, err end
  self.sock = tls
  tls:sni(host)
  tls:settimeout(SLICE, "t")
  while not self.done:err() do
    local ok, why = tls:dohandshake()
    if not again[why] then return ok and 1, why end
  end
  return nil, self.done:err()
end

function conn:close()
  return self.sock and self.sock:close()
end

return conn

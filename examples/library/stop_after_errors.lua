-- After three errors the rest is not worth trying: a limit on errors says so.

local rille = require "rille"

local tried = rille.counter()

local function check(_, url)
  tried:add(1)
  local err = url:find "bad" and "no such host"
  print(url .. ": " .. (err or "ok"))
  if err then return nil, err end
end

local urls = { "a", "bad 1", "b", "bad 2", "bad 3", "c", "bad 4" }
local ok = rille.each(nil, urls, check, { limit = 1, max_errors = 3 })
if not ok then print "too many errors, stopping" end
print(("%d of 7 were tried"):format(tried:get()))

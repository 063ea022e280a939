-- A task that prints its errors. Nobody else can do anything about them: the one who has the
-- context never learns of them, and the loop below sees only that something is missing.

local rille = require "rille"

local function fetch(url)
  if url:find "bad" then return nil, "no such host: " .. url end
  return "contents of " .. url
end

local function check(done, urls)
  local responses = rille.chan()
  rille.go({ name = "check" }, function()
    local ch <close> = responses
    for _, url in ipairs(urls) do
      local response, err = fetch(url)
      if err then
        print("check: " .. err)
      elseif not ch:send(response, done) then
        return
      end
    end
  end)
  return responses
end

local done, cancel <close> = rille.done() -- luacheck: ignore 211
local responses = {}
for response in check(done, { "a", "bad", "b" }) do responses[#responses + 1] = response end
print("got " .. table.concat(responses, ", "))

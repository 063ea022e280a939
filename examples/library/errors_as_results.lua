-- Results that couple response and error, in the order of what was asked for.

local rille = require "rille"

local function fetch(url)
  if url:find "bad" then return nil, { code = 404, text = "no such host: " .. url } end
  return "contents of " .. url
end

local urls, checks = { "a", "bad", "b" }, {}
for i, url in ipairs(urls) do
  checks[i] = function() return fetch(url) end
end

for i, result in ipairs(rille.all_settled(nil, checks)) do
  if result.ok then
    print(urls[i] .. ": " .. result.value)
  else
    local err = rille.errors.unwrap(result.err)
    print(("%s failed with %d: %s"):format(urls[i], err.code, err.text))
  end
end

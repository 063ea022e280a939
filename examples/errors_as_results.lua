-- Results that couple response and error: the task hands both to the one who has the context, and
-- who decides. Errors are values like any other; they cross between tasks as they are.

local rille = require "rille"

local function fetch(url)
  if url:find "bad" then return nil, { code = 404, text = "no such host: " .. url } end
  return "contents of " .. url
end

local function check(done, urls)
  local results = rille.chan()
  rille.go({ name = "check" }, function()
    local ch <close> = results
    for _, url in ipairs(urls) do
      local response, err = fetch(url)
      if not ch:send({ url = url, response = response, err = err }, done) then return end
    end
  end)
  return results
end

local done, cancel <close> = rille.done() -- luacheck: ignore 211
for result in check(done, { "a", "bad", "b" }) do
  if result.err then
    print(("%s failed with %d: %s"):format(result.url, result.err.code, result.err.text))
  else
    print(result.url .. ": " .. result.response)
  end
end

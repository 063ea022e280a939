-- The one who has the context decides: after three errors the rest is not worth trying. Leaving the
-- scope fires `cancel`, and the task that produces the results ends.

local rille = require "rille"

local function check(done, urls)
  local results = rille.chan()
  local task = rille.go({ name = "check" }, function()
    local ch <close> = results
    for i, url in ipairs(urls) do
      local err = url:find "bad" and "no such host"
      if not ch:send({ url = url, err = err }, done) then return i - 1 end
    end
    return #urls
  end)
  return results, task
end

local results, task
local errors = 0
do
  local done, cancel <close> = rille.done() -- luacheck: ignore 211
  results, task = check(done, { "a", "bad 1", "b", "bad 2", "bad 3", "c", "bad 4" })
  for result in results do
    print(result.url .. ": " .. (result.err or "ok"))
    errors = errors + (result.err and 1 or 0)
    if errors == 3 then
      print "too many errors, stopping"
      break
    end
  end
end
print(("%d of 7 were tried"):format(task:await()))

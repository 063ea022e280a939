-- Cancellation that cascades. The greeting gives its locale a deadline it cannot meet; that fires
-- the locale's done alone, the greeting fails for it, and its failure cancels the farewell.

local rille = require "rille"

local function locale(done)
  local ok, err = rille.sleep(60, done) -- a slow service
  if not ok then return nil, err end
  return "EN/US"
end

local function greeting(done)
  local below, cancel <close> = rille.done(done, { timeout = 0.02 }) -- luacheck: ignore 211
  local name, err = locale(below)
  if not name then return nil, "cannot tell the locale: " .. err end
  return "hello"
end

local function farewell(done)
  local name, err = locale(done)
  if not name then return nil, "cannot tell the locale: " .. err end
  return "goodbye"
end

local done, cancel <close> = rille.done()
local tasks = {
  greeting = rille.go(greeting, done),
  farewell = rille.go(farewell, done),
}

local _, failed = tasks.greeting:await()
print("greeting: " .. failed)
cancel("because the greeting failed")

local _, canceled = tasks.farewell:await()
print("farewell: " .. canceled .. ", " .. done:cause())

-- Random pipelines. Read to their end, they give what a plain loop gives. Left at a random moment,
-- in whatever way, they leave no task behind. See spec/support/exits.lua for the settings.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local errors = require "rille.errors"
local exits = require "spec.support.exits"
local pipelines = require "spec.support.pipelines"
local rille = require "rille"

local ROUNDS = 250

describe("a random stream", function()
  it("gives what a plain loop gives", function()
    exits.rounds(ROUNDS, function()
      local s, list, in_order = pipelines.make()
      local result, err = s:collect()
      assert(result, err)
      assert.same(pipelines.numbers(list, in_order), pipelines.numbers(result, in_order))
      assert.equal(0, #rille.tasks())
    end)
  end)

  it("that fails somewhere gives that failure, or had ended before", function()
    exits.rounds(ROUNDS, function()
      local n = math.random(300)
      local s = pipelines.make(nil, function(s)
        return s:filter((function()
          local calls = 0
          return function()
            calls = calls + 1
            if calls == n then return nil, "bad luck" end
            return true
          end
        end)())
      end)
      local result, err = s:collect()
      assert(result or errors.unwrap(err) == "bad luck", err)
      assert.equal(0, #rille.tasks())
    end)
  end)

  it("leaves nothing behind, however and whenever it is left", function()
    exits.run(1, pipelines.play)
  end)

  it("whose handle is dropped leaves nothing behind", function()
    local function drop(s)
      if math.random(2) == 1 then
        local ch = s:chan(math.random(0, 2))
        for _ = 1, math.random(0, 20) do ch:recv() end
      else
        local n = math.random(20)
        for _ in s do
          n = n - 1
          if n == 0 then break end
        end
      end
    end
    exits.rounds(ROUNDS, function()
      drop((pipelines.make()))
      while #rille.tasks() > 0 do rille.collect() end
    end)
  end)
end)

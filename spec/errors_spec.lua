-- Errors as values: failures, joins, and looking into them.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local helper = require "spec.helper"
local rille = require "rille"
local errors = rille.errors

local COLOUR = setmetatable({}, { __tostring = function() return "is red" end })
local BROKEN = setmetatable({}, { __tostring = function() error "no text" end })

describe("a failure", function()
  it("has the value as it was, a message, and the fields given", function()
    local value = { code = 7 }
    local err = errors.failure(value, { task = "t", traceback = "tb", more = 1 })
    assert.equal(value, err.value)
    assert.same({ "t", "tb", 1 }, { err.task, err.traceback, err.more })
    assert.is_string(err.message)
  end)

  it("prints as its value does, or tells something useful", function()
    for _, case in ipairs {
      { "boom", "boom" }, { COLOUR, "is red" }, { 7, "7" }, { false, "false" },
      { { message = "in a field" }, "in a field" },
      { {}, "(error object is a table value)" }, { BROKEN, "(error object is a table value)" },
    } do
      assert.equal(case[2], tostring(errors.failure(case[1])))
    end
    assert.equal("nil", tostring(errors.failure(nil)))
  end)

  it("has fields of a table only", function()
    helper.raises("errors_spec.lua:%d+: bad argument #2 to 'failure' %(table expected, got string",
      function() errors.failure("boom", "task") end)
  end)

  it("is not wrapped a second time", function()
    local err = errors.failure("boom", { task = "a" })
    assert.equal(err, errors.failure(err, { task = "b" }))
    assert.equal("a", err.task)
  end)
end)

describe("a join", function()
  it("has its errors in their order, without nils", function()
    local err, seen = errors.join("a", nil, false, "c", nil), {}
    for i, e in err:iter() do seen[i] = e end
    assert.same({ "a", false, "c" }, seen)
    assert.equal(3, #err)
    assert.equal("c", err[3])
  end)

  it("of none is nil, and takes a list as well", function()
    assert.is_nil(errors.join())
    assert.is_nil(errors.join(nil, nil))
    assert.is_nil(errors.join {})
    assert.equal(2, #errors.join { n = 5, "a", [5] = "c" })
    assert.equal(1, #errors.join(errors.failure "a"))
  end)

  it("prints one error as that, several with their number, nested ones indented", function()
    assert.equal("a", tostring(errors.join "a"))
    local err = errors.join("a", errors.join("b", errors.failure "c"), "d\ne")
    assert.equal("3 errors:\n  a\n  2 errors:\n    b\n    c\n  d\n  e", tostring(err))
  end)
end)

describe("an error as a value", function()
  it("can be concatenated and formatted as a string", function()
    local failure = errors.failure "boom"
    assert.equal("failed: boom", "failed: " .. failure)
    assert.equal("boom!", failure .. "!")
    assert.equal("failed: a", "failed: " .. errors.join "a")
    assert.equal("a, boom", errors.join "a" .. ", " .. failure)
    assert.equal("boom: a", ("%s: %s"):format(failure, errors.join "a"))
  end)
end)

describe("errors.is", function()
  it("looks into failures, their causes, and joins, however deep", function()
    local deep = errors.join("a", errors.join(errors.failure("b", { cause = "why" })))
    for _, target in ipairs { "a", "b", "why" } do assert.is_true(errors.is(deep, target)) end
    assert.is_true(errors.is(deep, deep))
    assert.is_false(errors.is(deep, "c"))
    assert.is_false(errors.is("a", "b"))
    assert.is_false(errors.is(nil, "b"))
    assert.is_false(errors.is({ value = "b" }, "b"))
  end)
end)

describe("errors.unwrap", function()
  it("gives the value of a failure, and others as they are", function()
    assert.equal("a", errors.unwrap(errors.failure "a"))
    local both = errors.join("a", "b")
    for _, err in ipairs { "a", 7, both } do assert.equal(err, errors.unwrap(err)) end
  end)
end)

describe("an error that crosses to another task", function()
  it("keeps its class and its parts, both ways", function()
    local both = errors.join(errors.failure("a", { task = "t" }), "b")
    local back, known = rille.go(function(err)
      return err, require "rille.errors".is(err, "a") and tostring(err)
    end, both):await()
    assert.equal("2 errors:\n  a\n  b", known)
    assert.equal(getmetatable(both), getmetatable(back))
    assert.equal(getmetatable(both[1]), getmetatable(back[1]))
    assert.equal("t", back[1].task)
    assert.is_true(back:is "a" and back[1]:is "a" and not back:is "c")
    assert.is_true(errors.is(back, "a"))
  end)

  it("is found when it is raised there", function()
    local ok, err = rille.go(function() error(require "rille.errors".failure "a") end):join()
    assert.is_false(ok)
    assert.is_true(errors.is(err, "a"))
    assert.equal("a", tostring(err))
  end)
end)

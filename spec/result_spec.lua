-- Results: what a call came to, as one value.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

require "spec.helper"
local rille = require "rille"
local result, errors = rille.result, rille.errors
local ok, err, from = result.ok, result.err, result.from

describe("a result", function()
  it("that is ok has its values, nils included", function()
    local r = ok(nil, 2, nil)
    assert.same({ true, nil }, { r.ok, r.err })
    assert.is_nil(r.value)
    assert.same({ n = 3, nil, 2, nil }, table.pack(r:unwrap()))
    assert.equal(7, ok(7).value)
    assert.equal(0, select("#", ok():unwrap()))
  end)

  it("that is an error raises it unchanged when it is unwrapped", function()
    local value = {}
    local good, raised = pcall(err(value).unwrap, err(value))
    assert.is_false(good)
    assert.equal(value, raised)
    good, raised = pcall(err("boom").unwrap, err "boom")
    assert.same({ false, "boom" }, { good, raised })
  end)

  it("gives something else for an error: a default, or what a function says", function()
    assert.equal(1, ok(1):or_else(2))
    assert.equal(2, err("x"):or_else(2))
    assert.is_nil(err("x"):or_else())
    assert.same({ "x", "y" }, { err("x"):or_else(function(e) return e, "y" end) })
  end)

  it("is made of what a call returns, by each convention", function()
    assert.equal(ok(1, 2), from(true, 1, 2))
    assert.equal(ok(), from(true))
    assert.equal(err "e", from(false, "e"))
    assert.equal(err "e", from(nil, "e", "cause"))
    assert.equal(err(nil), from(pcall(error)))
    assert.equal(ok(), from())
    assert.equal(ok(nil), from(nil))
    assert.equal(ok("v", 2), from("v", 2))
    assert.equal(ok(true), from(pcall(function() return true end)))
  end)

  it("equals one of the same kind with the same values", function()
    assert.is_true(ok(1, nil) == ok(1, nil))
    assert.is_false(ok(1) == ok(1, nil))
    assert.is_false(ok(1) == ok(2))
    assert.is_false(ok(nil) == err(nil))
    assert.is_true(err "x" == err "x")
    assert.is_false(err "x" == err "y")
    assert.is_false(ok(1) == setmetatable({}, { __eq = function() return false end }))
  end)

  it("prints what it is", function()
    assert.equal('ok(3, "a\\n\\"", nil)', tostring(ok(3, 'a\n"', nil)))
    assert.equal("ok()", tostring(ok()))
    assert.equal('err("boom")', tostring(err "boom"))
    assert.equal("err(7)", tostring(err(7)))
  end)

  it("keeps its class when it crosses to another task", function()
    local function there(r) return r, r.ok, r:or_else("none") end
    local r, was, value = rille.go(there, ok("a", "b")):await()
    assert.same({ ok("a", "b"), true, "a" }, { r, was, value })
    assert.is_true(r == ok("a", "b"))
    r, was, value = rille.go(there, err "x"):await()
    assert.is_true(r == err "x")
    assert.same({ false, "none" }, { was, value })
  end)

  it("is looked into by errors.is and errors.unwrap", function()
    local r = err(errors.failure "boom")
    assert.is_true(errors.is(r, "boom"))
    assert.is_true(errors.is(errors.join("a", r), "boom"))
    assert.equal("boom", errors.unwrap(r))
    assert.is_false(errors.is(ok "boom", "boom"))
  end)
end)

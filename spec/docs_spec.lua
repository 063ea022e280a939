-- The reference is complete and true: each exported name and each method of a handle has
-- its entry, and no page names what does not exist.

local plain = require "spec.support.plain"
local describe, it, assert = plain(describe), plain(it), assert
local _ENV = require "_G" -- luacheck: ignore 211 (it does not see the globals as its uses)

local rille = require "rille"

local FOLDER = "docs/reference/"

local function names_in(command)
  local names = {}
  local pipe = assert(io.popen(command))
  for path in pipe:lines() do names[#names + 1] = path:match "([^/]+)%.%w+$" end
  pipe:close()
  return names
end

local PAGES = names_in("ls " .. FOLDER .. "*.md")

-- The modules that are also fields of the core's: those that are called by that name in their
-- comments. Others, which are for modules of Rille or for busted, are required.
local function parts()
  local names = {}
  for _, name in ipairs(names_in "ls lua/rille/*.lua") do
    local file = assert(io.open("lua/rille/" .. name .. ".lua"))
    if file:read "a":match "@module ([%w_.]+)" == name then names[#names + 1] = name end
    file:close()
  end
  return names
end

local function page(name)
  local file = assert.is_truthy(io.open(FOLDER .. name .. ".md"))
  local text = file:read "a"
  file:close()
  return text
end

local function all_pages()
  local texts = {}
  for _, name in ipairs(PAGES) do texts[name] = page(name) end
  return texts
end

-- The names in the headings: "rille.go", "ch:send", "cancel"; "errors.is" is of rille.errors too.
local function entries()
  local set = {}
  for _, text in pairs(all_pages()) do
    for name in text:gmatch "\n## `([%w_.:]+)" do
      set[name] = true
      set["rille." .. (name:match "^(%w+)%." or name)] = true
    end
  end
  return set
end

-- Which of `names` have no entry behind any of the prefixes.
local function missing(names, ...)
  local set, list = entries(), {}
  for _, name in ipairs(names) do
    local found = false
    for _, prefix in ipairs { ... } do found = found or set[prefix .. name] end
    if not found then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- The methods a handle answers to, whether `__index` is a table or a function.
local function methods(handle)
  local names = {}
  local index = debug.getmetatable(handle).__index
  for name in pairs(type(index) == "table" and index or {}) do
    if type(name) == "string" and not name:find "^__" then names[#names + 1] = name end
  end
  return names
end

-- What begins with an underscore and a small letter is for modules of Rille.
local function exports()
  local names = {}
  for name in pairs(rille) do
    if not name:find "^_%l" then names[#names + 1] = name end
  end
  for _, name in ipairs(parts()) do
    if rawget(rille, name) == nil then names[#names + 1] = name end
  end
  return names
end

-- What the interface promises of each handle, so that a method cannot get lost either, and where
-- its methods are described. Timers are received from like channels.
local function handles()
  local ch = rille.chan()
  return {
    task = { rille.go(function() end), { "join", "await", "traceback", "name", "id", "status" },
      "task:" },
    channel = { ch, { "send", "recv", "try_send", "try_recv", "close", "iter", "cap", "name",
      "receiver", "sender", "sending" }, "ch:" },
    receiver = { ch:receiver(), { "recv", "try_recv", "iter", "cap", "name" }, "ch:" },
    sender = { ch:sender(), { "send", "try_send", "close", "cap", "name", "sending" }, "ch:" },
    done = { (rille.done()), { "err", "cause", "check", "deadline", "remaining", "value", "wait",
      "after", "detached" }, "done:" },
    after = { rille.after(60), { "recv" }, "timer:", "ch:" },
    timer = { rille.timer(60), { "stop", "reset", "recv" }, "timer:", "ch:" },
    tick = { rille.tick(60), { "stop", "recv" }, "timer:", "ch:" },
    mutex = { rille.mutex(), { "lock", "try_lock", "unlock", "guard" }, "mutex:" },
    rwmutex = { rille.rwmutex(), { "lock", "try_lock", "unlock", "guard", "rlock", "try_rlock",
      "runlock", "rguard" }, "rwmutex:" },
    semaphore = { rille.semaphore(1), { "acquire", "try_acquire", "release", "guard" },
      "semaphore:" },
    waitgroup = { rille.waitgroup(), { "add", "done", "wait", "go" }, "waitgroup:" },
    cond = { rille.cond(), { "wait", "signal", "broadcast" }, "cond:" },
    barrier = { rille.barrier(1), { "wait" }, "barrier:" },
    counter = { rille.counter(), { "add", "get", "set" }, "counter:" },
    once = { rille.once(), { "run" }, "once:" },
  }
end

describe("the module", function()
  it("exports what the interface promises", function()
    for _, name in ipairs {
      "go", "self", "yield", "sleep", "defer", "chan", "never", "select", "try_select",
      "select_first", "done", "background", "any", "all", "notify", "after", "tick", "timer",
      "now", "stats", "on_event", "_VERSION",
    } do
      assert.is_not_nil(rille[name], name)
    end
  end)

  it("has its parts as fields, the same as what is required", function()
    for _, name in ipairs(parts()) do
      assert.is_not_nil(rille[name], name)
      assert.equal(require("rille." .. name), rille[name])
      assert.equal(rille[name], rawget(rille, name))
    end
    assert.is_nil(rille.no_such_part)
    assert.is_nil(rille[1])
  end)

  it("has them in tasks too", function()
    for _, name in ipairs(parts()) do
      local same = rille.go(function()
        return rille[name] ~= nil and rille[name] == require("rille." .. name)
      end)
      assert.is_true(same:await(), name)
    end
  end)

  it("has handles with the methods the interface promises", function()
    for kind, handle in pairs(handles()) do
      for _, name in ipairs(handle[2]) do
        assert.is_function(handle[1][name], kind .. ":" .. name)
      end
    end
  end)
end)

describe("the reference", function()
  for _, name in ipairs(PAGES) do
    it("has a page " .. name .. ", which opens with its title", function()
      assert.matches("^# %w", page(name))
    end)
  end

  it("is what the comments in the sources say", function()
    local pipe = io.popen "mktemp -d"
    local dir = pipe:read "l"
    pipe:close()
    local command = "REFERENCE=%s .ci/ldoc --filter docs.reference.write %s 2>&1"
    for _, sources in ipairs { "csrc/lua", "lua/rille" } do
      pipe = io.popen(command:format(dir, sources))
      local said = pipe:read "a"
      assert.is_true(pipe:close(), said)
    end
    assert.same(PAGES, names_in("ls " .. dir .. "/*.md"))
    for _, name in ipairs(PAGES) do
      local file = assert(io.open(("%s/%s.md"):format(dir, name)))
      assert.equal(page(name), file:read "a")
      file:close()
    end
    os.execute("rm -r " .. dir)
  end)

  it("has an entry for each exported name", function()
    assert.same({}, missing(exports(), "rille."))
  end)

  it("has an entry for each method of each handle", function()
    for kind, handle in pairs(handles()) do
      local names = methods(handle[1])
      table.move(handle[2], 1, #handle[2], #names + 1, names)
      assert.same({}, missing(names, table.unpack(handle, 3)), kind)
    end
    assert.same({}, missing({ "cancel" }, ""))
  end)

  it("names nothing of rille that does not exist", function()
    for name, text in pairs(all_pages()) do
      for word in text:gmatch "%f[%w]rille%.([%a_][%w_]*)%f[^%w_.]" do
        local known = rille[word] ~= nil or package.searchpath("rille." .. word, package.path) or
          package.searchpath("rille." .. word, package.cpath)
        assert.is_truthy(known, name .. ".md names rille." .. word)
      end
    end
  end)

  it("names the fixed error words", function()
    local texts = table.concat({ page "tasks", page "channels", page "select", page "done" }, "\n")
    for _, word in ipairs { "closed", "empty", "full", "canceled", "deadline exceeded" } do
      assert.is_truthy(texts:find('"' .. word .. '"', 1, true), word)
    end
  end)

  it("names the settings of the environment", function()
    local text = page "runtime"
    for _, name in ipairs { "RILLE_THREADS", "RILLE_LEAKS", "RILLE_LOG" } do
      assert.is_truthy(text:find(name, 1, true), name)
    end
  end)

  it("has examples that compile", function()
    for name, text in pairs(all_pages()) do
      for code in text:gmatch "\n```lua\n(.-)\n```" do
        local chunk, err = load(code, "=" .. name .. ".md")
        assert.is_truthy(chunk, tostring(err) .. "\n" .. code)
      end
    end
  end)
end)

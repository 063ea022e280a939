--- Text about tasks, from the lists that `rille.tasks` and `rille.leaks` return.
-- @module rille.report

local report = {}

local function place_of(task)
  local age = task.age and (" %.1f s ago"):format(task.age) or ""
  return ("started at %s%s"):format(task.started, age)
end

local function state_of(task)
  local waiting = task.waiting
  if not waiting then return task.status end
  local on = waiting.on and " " .. waiting.on or ""
  return ("waits in %s%s at %s"):format(waiting.op, on, waiting.at or "?")
end

-- A task without a name of its own is named after its place, which the line says anyway.
local function title_of(task)
  local named = task.name and task.name ~= task.started
  return named and ('task %d "%s"'):format(task.id, task.name) or ("task %d"):format(task.id)
end

local function indented(text)
  return "    " .. text:gsub("\n+$", ""):gsub("\n", "\n    ")
end

--- One line for each task: `task 7 "name", started at file:line 0.3 s ago, waits in recv jobs at
-- file:line`.
-- @tparam {table,...} list as of `rille.tasks()` or `rille.leaks()`
-- @tparam[opt=false] boolean tracebacks whether each task's traceback stands below it, indented
-- @treturn string lines, each with its newline; empty for an empty list
function report.format(list, tracebacks)
  local lines = {}
  for _, task in ipairs(list) do
    table.insert(lines, table.concat({ title_of(task), place_of(task), state_of(task) }, ", "))
    if tracebacks and task.traceback and task.traceback ~= "" then
      table.insert(lines, indented(task.traceback))
    end
  end
  return #lines > 0 and table.concat(lines, "\n") .. "\n" or ""
end

return report

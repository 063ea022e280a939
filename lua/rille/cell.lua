--- What the modules of Rille share between tasks: a cell has one value, which is read where it lies
-- and changed in single steps, so whoever is interrupted leaves it whole. It crosses by reference.
-- @module rille.cell

local rille = require "rille"

local cell = {}

--- A cell that holds `value`, which is not nil.
function cell.new(value)
  local ch = rille.chan(1)
  ch:send(value)
  return ch
end

--- Makes `change(held, ...)` the value of the cell, unless that is nil; called again when another
-- was faster. Returns what it held, and whether it was changed.
function cell.update(ch, change, ...)
  while true do
    local held, version = rille._peek(ch)
    local changed = change(held, ...)
    if changed == nil then return held, false end
    if rille._replace(ch, version, changed) then return held, true end
  end
end

--- What the cell holds.
function cell.get(ch)
  return (rille._peek(ch))
end

return cell

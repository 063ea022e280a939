-- A module that yields a function, for a pool.

return function(_, ...) return select("#", ...), ... end

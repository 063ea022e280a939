-- A module that yields a function, for a pool.

return function(...) return select("#", ...), ... end

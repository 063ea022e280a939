-- `rille.mutex`, for those who require it by its own name: see the reference page `sync`.
return require("rille").mutex

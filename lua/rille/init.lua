--- Rille: tasks, channels, select and cancellation on native threads.
-- Everything is in the C module; this file is where `require "rille"` finds it.
-- @module rille
return require "rille.core"

/*
** settings: what the `rille` command asks for. Lua cannot set the environment, so the command opens the module
** with a table where `require` gives a name. That is before anything reads a setting or starts a thread,
** and it is as if the shell had set them: os.getenv and the processes that the program starts see them, too.
*/
#include "lua/settings.h"

#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>

#include "core/notify.h"

/* The command answers Ctrl-\ however often it comes: it must not end the program while an answer is
   written. */
void rl_settings_take(lua_State *L) {
  if (!lua_istable(L, 1)) return;
  rl_notify_keep(SIGQUIT);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && lua_isstring(L, -1) &&
        setenv(lua_tostring(L, -2), lua_tostring(L, -1), 1) != 0)
      luaL_error(L, "not enough memory");
}

/*
** parts: the modules of Lua that are built on the core, as fields of the module: `rille.group` is what
** `require "rille.group"` gives. They are loaded when they are first named, so a program pays for those
** it uses.
*/
#include <string.h>

#include "lua/library.h"
#include "lua/state.h"

static const char parts[] =
    " all_settled breaker each errors first_ok group heartbeat limiter map pool race result"
    " retry singleflight stream testing ";

bool rl_is_part(lua_State *L, int idx) {
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING) return false;
  const char *name = lua_tolstring(L, idx, &len);
  return strlen(name) == len && rl_listed(parts, name);
}

/* The program's own `require` may be another than the global of that name. */
static void push_require(lua_State *L) {
  rl_library_open_all(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_GNAME);
  lua_getfield(L, -1, "require");
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* Pushes the part named at 2 if it is a function of the core's: no library has to be opened for that. */
static bool push_function(lua_State *L) {
  lua_CFunction f = lua_type(L, 2) == LUA_TSTRING ? rl_sync_part(lua_tostring(L, 2)) : NULL;
  if (!f) return false;
  lua_pushlightuserdata(L, rl_state_of(L));
  lua_pushcclosure(L, f, 1);
  return true;
}

static void push_module(lua_State *L) {
  push_require(L);
  lua_pushfstring(L, "rille.%s", lua_tostring(L, 2));
  lua_call(L, 1, 1);
}

int rl_part(lua_State *L) {
  if (!push_function(L)) {
    if (!rl_is_part(L, 2)) return 0;
    push_module(L);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

/* A task's state has a metatable for what comes on demand already. */
void rl_open_parts(lua_State *L, rl_state *S) {
  (void)S;
  rl_library_push_demand(L);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, rl_part);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
}

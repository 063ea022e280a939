/*
** integers: for the modules of Lua, lists of consecutive integers, made at once and of the right size.
*/
#include "lua/state.h"

enum { ROOM = 1 << 20 }; /* room beyond this is made as it is needed */

/* _integers(first, n) -> list */
static int integers(lua_State *L) {
  lua_Integer first = luaL_checkinteger(L, 1), n = luaL_checkinteger(L, 2);
  lua_createtable(L, (int)(n < ROOM ? n : ROOM), 0);
  for (lua_Integer i = 0; i < n; i++) {
    lua_pushinteger(L, first + i);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

void rl_open_integers(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"_integers", integers}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

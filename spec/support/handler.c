/*
** handler: a signal handler written in Lua, made as other libraries make them: the C handler sets a hook, which
** calls the Lua function as soon as the interpreter goes on. `require "handler"(fn)` is for SIGUSR1.
*/
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>

static lua_State *main_state;
static int fn;

static void call(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, fn);
  lua_call(L, 0, 0);
}

static void on_signal(int sig) {
  (void)sig;
  lua_sethook(main_state, call, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static int handle(lua_State *L) {
  main_state = L;
  lua_settop(L, 1);
  fn = luaL_ref(L, LUA_REGISTRYINDEX);
  signal(SIGUSR1, on_signal);
  return 0;
}

int luaopen_handler(lua_State *L) {
  lua_pushcfunction(L, handle);
  return 1;
}

/*
** programs: `programs(n, script)` runs the script in n threads at once, each in a Lua state of its own, as a host with
** several main states does. Returns how many have failed.
*/
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *run(void *script) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  int failed = luaL_dostring(L, script);
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed ? script : NULL;
}

static int programs(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1), failed = 0;
  const char *script = luaL_checkstring(L, 2);
  pthread_t *threads = lua_newuserdatauv(L, (size_t)n * sizeof *threads, 0);
  for (lua_Integer i = 0; i < n; i++)
    if (pthread_create(&threads[i], NULL, run, (void *)script) != 0) abort();
  for (lua_Integer i = 0; i < n; i++) {
    void *result;
    pthread_join(threads[i], &result);
    failed += result != NULL;
  }
  lua_pushinteger(L, failed);
  return 1;
}

int luaopen_programs(lua_State *L) {
  lua_pushcfunction(L, programs);
  return 1;
}

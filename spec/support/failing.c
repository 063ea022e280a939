/*
** failing: calls a function while memory runs out for the calling thread. Lua's allocations fail
** through the state's allocator; those of C fail too in a process that has this library in
** LD_PRELOAD.
*/
#include <stdbool.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>

enum { NEVER = -1 };

static _Thread_local long left = NEVER; /* how many still succeed */
static _Thread_local bool once;         /* only one fails, not all from then on */
static _Thread_local unsigned failed;

static bool fails(void) {
  if (left == NEVER) return false;
  if (left > 0) {
    left--;
    return false;
  }
  if (once) left = NEVER;
  failed++;
  return true;
}

static lua_Alloc original;

/* Within the original C's functions succeed: each allocation counts once. */

static void *allocate(void *ud, void *ptr, size_t old, size_t size) {
  if (size > 0 && (!ptr || size > old) && fails()) return NULL;
  long before = left;
  left = NEVER;
  void *p = original(ud, ptr, old, size);
  left = before;
  return p;
}

#ifdef __GLIBC__
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size) {
  return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
  return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size) {
  return size > 0 && fails() ? NULL : __libc_realloc(ptr, size);
}
#endif

/* failing.call(n, once, f) -> how many failed, as pcall(f), where allocation n + 1 fails, and all after
   it unless `once`. */
static int failing_call(lua_State *L) {
  long n = (long)luaL_checkinteger(L, 1);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  once = lua_toboolean(L, 2);
  lua_settop(L, 3);
  void *ud;
  original = lua_getallocf(L, &ud);
  lua_setallocf(L, allocate, ud);
  failed = 0;
  left = n;
  int status = lua_pcall(L, 0, LUA_MULTRET, 0);
  left = NEVER;
  lua_setallocf(L, original, ud);
  lua_pushboolean(L, status == LUA_OK);
  lua_replace(L, 2);
  lua_pushinteger(L, failed);
  lua_replace(L, 1);
  return lua_gettop(L);
}

int luaopen_failing(lua_State *L) {
  lua_pushcfunction(L, failing_call);
  return 1;
}

/*
** coroutine: the functions of the coroutine library that a task needs otherwise than stock. `resume`
** and `wrap` tell a coroutine's own yield from one that parks the whole task and pass the latter
** outwards; a task's body, although it runs as a coroutine, looks like a main program.
*/
#include "lua/interrupt.h"

static lua_State *check_thread(lua_State *L, int idx) {
  lua_State *co = lua_tothread(L, idx);
  if (!co) luaL_typeerror(L, idx, "thread");
  return co;
}

/* Why `co` cannot be resumed, or NULL. */
static const char *not_resumable(lua_State *co, int narg) {
  lua_Debug ar;
  if (!lua_checkstack(co, narg)) return "too many arguments to resume";
  switch (lua_status(co)) {
  case LUA_YIELD: return NULL;
  case LUA_OK:
    if (lua_getstack(co, 0, &ar)) return "cannot resume non-suspended coroutine";
    if (lua_gettop(co) == 0) return "cannot resume dead coroutine";
    return NULL;
  default: return "cannot resume dead coroutine";
  }
}

enum { PARKED = -2, FAILED = -1 };

/* Runs `co` until it yields for itself, ends or fails: returns the number of values on top of L,
   FAILED with the error there, or PARKED: then the caller passes the yield outwards. */
static int advance(lua_State *L, rl_state *S, lua_State *co, int narg) {
  int n;
  lua_State *below = S->running;
  bool parkable = S->parkable;
  S->parkable = parkable && L == below && lua_isyieldable(L);
  S->running = co;
  if (S->armed) rl_interrupt_follow(S);
  int status = lua_resume(co, L, narg, &n);
  S->running = below;
  if (S->armed) rl_interrupt_follow(S);
  S->parkable = parkable;
  if (status == LUA_YIELD && (S->parking || S->requeue)) return PARKED;
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return FAILED;
  }
  if (!lua_checkstack(L, n + 1)) {
    lua_pop(co, n);
    lua_pushliteral(L, "too many results to resume");
    return FAILED;
  }
  lua_xmove(co, L, n);
  return n;
}

static int start(lua_State *L, rl_state *S, lua_State *co, int narg) {
  const char *why = not_resumable(co, narg);
  if (why) {
    lua_pushstring(L, why);
    return FAILED;
  }
  lua_xmove(L, co, narg);
  return advance(L, S, co, narg);
}

static int resume_results(lua_State *L, int n) {
  lua_pushboolean(L, n != FAILED);
  lua_insert(L, n == FAILED ? -2 : -(n + 1));
  return n == FAILED ? 2 : n + 1;
}

/* The task goes on after having parked in `co`. */
static int resume_again(lua_State *L, int status, lua_KContext ctx) {
  lua_State *co = (lua_State *)ctx;
  (void)status;
  int n = advance(L, rl_self(L), co, 0);
  if (n == PARKED) return lua_yieldk(L, 0, ctx, resume_again);
  return resume_results(L, n);
}

static int co_resume(lua_State *L) {
  lua_State *co = check_thread(L, 1);
  int n = start(L, rl_self(L), co, lua_gettop(L) - 1);
  if (n == PARKED) return lua_yieldk(L, 0, (lua_KContext)co, resume_again);
  return resume_results(L, n);
}

/* The error is on top of L; as in the stock library the coroutine is closed and the place added. */
static int wrap_error(lua_State *L, lua_State *co) {
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(L, co, 1); /* closing needs the error where it was */
    status = lua_resetthread(co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int wrap_again(lua_State *L, int status, lua_KContext ctx) {
  lua_State *co = (lua_State *)ctx;
  (void)status;
  int n = advance(L, rl_self(L), co, 0);
  if (n == PARKED) return lua_yieldk(L, 0, ctx, wrap_again);
  return n == FAILED ? wrap_error(L, co) : n;
}

static int wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  int n = start(L, rl_self(L), co, lua_gettop(L));
  if (n == PARKED) return lua_yieldk(L, 0, (lua_KContext)co, wrap_again);
  return n == FAILED ? wrap_error(L, co) : n;
}

/* Pushes a coroutine that is to run the function at 1. */
static int co_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  rl_interrupt_made(rl_self(L), co);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

static int co_wrap(lua_State *L) {
  co_create(L);
  lua_pushlightuserdata(L, rl_self(L));
  lua_insert(L, -2);
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

static int co_yield (lua_State *L) {
  if (L != rl_self(L)->L) return lua_yield(L, lua_gettop(L));
  lua_pushliteral(L, "attempt to yield from outside a coroutine");
  return lua_error(L); /* without a place, like Lua's own */
}

static int co_isyieldable(lua_State *L) {
  lua_State *co = lua_isnone(L, 1) ? L : check_thread(L, 1);
  lua_pushboolean(L, co != rl_self(L)->L && lua_isyieldable(co));
  return 1;
}

void rl_open_coroutine(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {
      {"create", co_create}, {"resume", co_resume},           {"wrap", co_wrap},
      {"yield", co_yield },  {"isyieldable", co_isyieldable}, {NULL, NULL}};
  lua_getglobal(L, "coroutine");
  rl_setfuncs(L, S, functions);
  lua_pop(L, 1);
}

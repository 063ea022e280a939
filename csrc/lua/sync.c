/*
** sync: see sync.h. A state that uses none of these handles pays nothing for them: the functions that make them come
** into the module when they are first named.
*/
/***
Locks and counters.
Channels hand values over; what follows is for the rest: who may go on, and when. Each of these is one object for all who
have a handle to it: it crosses to other tasks by reference and is the same userdata wherever it turns up in a state. Tasks share
no Lua values, so what a mutex protects lies outside of them: a file, a device, a service, an order of messages.

Who waits is served in the order of coming. Each wait takes an optional `done`, as all in Rille do, which cuts it short:
the result is then `nil`, `"canceled"` or `"deadline exceeded"`, and the cause. A `done` that has fired comes first. One that
leaves has taken nothing, and those behind it move up.

    local guard <close> = mutex:guard()   -- unlocked at the end of the scope, however that is left

What is locked belongs to the task, or to the main program, whichever of its coroutines has locked it. A task that ends without unlocking a mutex, because it has failed or was interrupted, does not leave the others waiting: it is
unlocked, and the next one that locks it is told `"abandoned"`. Two tasks that each wait for what the other has locked are
found by `rille.leaks`, as nothing can ever wake them.

In `rille.tasks` such waits have as `op` `"lock"`, `"rlock"`, `"acquire"` or `"wait"`, and as `on` the name given to the object.
@module sync
*/

#include "lua/sync.h"

#include <string.h>

int64_t rl_sync_check_integer(lua_State *L, int idx) {
  luaL_checktype(L, idx, LUA_TNUMBER);
  return luaL_checkinteger(L, idx);
}

int64_t rl_sync_check_number(lua_State *L, int idx, const char *what) {
  int64_t n = rl_sync_check_integer(L, idx);
  if (n < 1) luaL_argerror(L, idx, lua_pushfstring(L, "%s of at least 1 expected", what));
  return n;
}

static const char *check_name(lua_State *L, int idx) {
  if (!lua_isnoneornil(L, idx)) luaL_checktype(L, idx, LUA_TSTRING);
  return lua_tostring(L, idx);
}

/* Where not just its holder can wake who waits, any handle can. */
int rl_sync_make(lua_State *L, rl_gate_type type, int64_t value, int64_t size, int name) {
  rl_state *S = rl_self(L);
  bool locks = type == RL_MUTEX || type == RL_RWMUTEX || type == RL_ONCE;
  const char *text = name ? check_name(L, name) : NULL;
  rl_handle_alive(L, S);
  rl_handle *h = rl_handle_new(L, (rl_handle_type)(RL_H_MUTEX + type));
  rl_gate *g = rl_gate_make(type, value, size, text);
  if (!g) return luaL_error(L, "not enough memory");
  rl_handle_fill(L, S, h, &g->src.obj, locks ? 0 : RL_MAY_RELEASE);
  return 1;
}

int rl_sync_tostring(lua_State *L, rl_handle_type type) {
  rl_gate *g = rl_sync_check(L, NULL, type);
  if (g->name)
    lua_pushfstring(L, "%s \"%s\"", rl_handle_name(type), g->name);
  else
    lua_pushfstring(L, "%s: %p", rl_handle_name(type), (void *)g);
  return 1;
}

int rl_sync_pass(lua_State *L, rl_state *S, rl_gate *g, const rl_passage *p, rl_finish finish) {
  rl_wait *W = rl_wait_begin(S->wait, p->op);
  if (p->done) rl_wait_guard(L, S, p->done);
  bool ever = p->need <= g->size; /* who wants more keeps nobody back */
  rl_case *c = rl_wait_add(W, ever ? RL_CASE_PASS : RL_CASE_NEVER, &g->src);
  c->msg.u.i = p->need;
  c->msg.len = p->held;
  if (!W->guarded && rl_gate_try(g, &c->msg)) return finish(L, S, RL_OK); /* mostly */
  return rl_wait_for(L, S, finish);
}

int rl_sync_passed(lua_State *L, rl_state *S, rl_status st) {
  return rl_wait_cut_short(S->wait, st) ? rl_push_cut_short(L, S, st) : rl_sync_push_true(L);
}

void rl_sync_push_news(lua_State *L) {
  lua_pushliteral(L, "abandoned");
}

int rl_sync_with_news(lua_State *L, int64_t abandoned) {
  if (!abandoned) return 1;
  lua_insert(L, -2);
  return 2;
}

void rl_sync_prepare(lua_State *L, rl_state *S) {
  rl_wait *W = S->wait;
  if (!W->grant) W->grant = rl_grant_make(rl_state_owner(S));
  if (!W->grant) luaL_error(L, "not enough memory");
}

rl_grant *rl_sync_share(rl_state *S, rl_gate *g, int64_t n) {
  rl_grant *h = S->wait->grant;
  S->wait->grant = NULL;
  rl_grant_shared(rl_state_owner(S), h, g, n);
  return h;
}

lua_CFunction rl_sync_part(const char *name) {
  static const luaL_Reg makers[] = {{"mutex", rl_mutex_make},
                                    {"rwmutex", rl_rwmutex_make},
                                    {"semaphore", rl_semaphore_make},
                                    {"waitgroup", rl_waitgroup_make},
                                    {"cond", rl_cond_make},
                                    {"barrier", rl_barrier_make},
                                    {"counter", rl_counter_make},
                                    {"once", rl_once_make},
                                    {NULL, NULL}};
  for (const luaL_Reg *l = makers; l->name; l++)
    if (strcmp(l->name, name) == 0) return l->func;
  return NULL;
}

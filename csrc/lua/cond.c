/*
** cond: waiting for a signal that what a mutex protects has changed. A wait has three parts: to wait for the signal,
** protected; to lock again, protected, until that has succeeded; and to give or raise what came of the first. On the
** stack are the arguments and the mutex's turn, which is the same again afterwards, as for guards it was held all the
** time; then come the results.
*/
/***
Conditions.
@module sync
*/

#include "lua/sync.h"

#include <string.h>

/* (cond, mutex, done) */
static int await_signal(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_wait *W = rl_wait_begin(S->wait, "wait");
  rl_wait_guard(L, S, 3);
  rl_case *c = rl_wait_add(W, RL_CASE_SIGNAL, (rl_source *)rl_handle_check(L, NULL, 1, RL_H_COND));
  c->msg.u.p = rl_handle_check(L, NULL, 2, RL_H_MUTEX);
  return rl_wait_for(L, S, rl_sync_passed);
}

/* (mutex, turn): was it abandoned? */
static int relock_finish(lua_State *L, rl_state *S, rl_status st) {
  (void)st;
  rl_gate *g = rl_sync_gate(S);
  rl_grant_alone(rl_state_owner(S), g);
  g->turn = lua_tointeger(L, 2);
  lua_pushboolean(L, rl_sync_told(S) != 0);
  return 1;
}

static int relock(lua_State *L) {
  static const rl_passage p = {1, true, 0, "lock"};
  rl_state *S = rl_self(L);
  rl_gate *g = (rl_gate *)rl_handle_check(L, NULL, 1, RL_H_MUTEX);
  return rl_sync_pass(L, S, g, &p, relock_finish);
}

static void push_function(lua_State *L, rl_state *S, lua_CFunction f) {
  lua_pushlightuserdata(L, S);
  lua_pushcclosure(L, f, 1);
}

/* Whether an error has ended the wait takes the done's place. */
enum { MUTEX = 2, FAILED, TURN, RELOCK, RESULTS };

/* Whether the mutex was abandoned meanwhile is on top. */
static int conclude_wait(lua_State *L) {
  bool abandoned = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (lua_toboolean(L, FAILED)) return lua_error(L);
  if (abandoned) lua_pushliteral(L, "abandoned");
  return lua_gettop(L) - RELOCK;
}

static int relocked(lua_State *L, int status, lua_KContext ctx);

static int call_relock(lua_State *L, rl_state *S) {
  lua_pushvalue(L, RELOCK);
  lua_pushvalue(L, MUTEX);
  lua_pushvalue(L, TURN);
  return lua_pcallk(L, 2, 1, 0, (lua_KContext)S, relocked);
}

/* Is the error on top what unwinds the task? What did so before, and was caught, does not count. */
static bool unwinds(lua_State *L, rl_state *S) {
  const char *text = S->unwound && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  return text && strstr(text, S->unwound);
}

/* An interruption meanwhile is the error of the wait; but what unwinds the task does so at once. */
static int relocked(lua_State *L, int status, lua_KContext ctx) {
  rl_state *S = (rl_state *)ctx;
  for (;;) {
    if (status == LUA_OK || status == LUA_YIELD) return conclude_wait(L);
    if (!S->task || unwinds(L, S) || status != LUA_ERRRUN) return lua_error(L);
    lua_replace(L, RESULTS);
    lua_settop(L, RESULTS);
    lua_pushboolean(L, 1);
    lua_replace(L, FAILED);
    status = call_relock(L, S);
  }
}

static int signaled(lua_State *L, int status, lua_KContext ctx) {
  rl_state *S = (rl_state *)ctx;
  rl_gate *g = (rl_gate *)rl_handle_check(L, NULL, MUTEX, RL_H_MUTEX);
  lua_pushboolean(L, status != LUA_OK && status != LUA_YIELD);
  lua_replace(L, FAILED);
  if (rl_gate_held_by(g, rl_state_owner(S))) { /* it never came to wait */
    lua_pushboolean(L, 0);
    return conclude_wait(L);
  }
  return relocked(L, call_relock(L, S), ctx);
}

/***
Makes a condition: tasks wait for a signal that what a mutex protects has changed.
@function rille.cond
@tparam[opt] string name for reports
@treturn cond
@raise on a name that is no string
@usage
local mutex, changed, count = rille.mutex(), rille.cond(), rille.counter()
local waiter = rille.go(function()
  local guard <close> = mutex:guard()
  while count:get() == 0 do changed:wait(mutex) end
  return count:get()
end)
do
  local guard <close> = mutex:guard()
  count:add(1)
  changed:broadcast()
end
print(waiter:await())  --> 1
*/
int rl_cond_make(lua_State *L) {
  return rl_sync_make(L, RL_COND, 0, 0, 1);
}

/***
Unlocks the mutex and waits for a signal, in one step, then locks the mutex again.
It is locked again also when `done` fires or an error is raised here, such as that of `task:interrupt`; a guard of the
mutex goes on to hold it. As others may have run since the signal, what is waited for is looked at in a loop.
@function cond:wait
@tparam mutex mutex which the task has locked
@tparam[opt] done done what cuts the wait for the signal short, but not that for the mutex
@treturn boolean,string `true`; and `"abandoned"` as `mutex:lock`
@treturn nil,string,any,string when `done` fired first: `nil`, its error and its cause; and `"abandoned"`
@raise when the task has not locked the mutex
*/
static int cond_wait(lua_State *L) {
  rl_state *S;
  rl_sync_check(L, &S, RL_H_COND);
  rl_gate *g = (rl_gate *)rl_handle_check(L, NULL, 2, RL_H_MUTEX);
  rl_wait_begin(S->wait, "wait");
  rl_wait_guard(L, S, 3); /* raises now if it has to */
  lua_settop(L, TURN);
  push_function(L, S, relock); /* now: afterwards nothing may fail for lack of memory */
  push_function(L, S, await_signal);
  for (int i = 1; i <= 3; i++) lua_pushvalue(L, i);
  luaL_checkstack(L, LUA_MINSTACK + 1, NULL);
  /* from here on no garbage is collected: a guard among it would unlock */
  luaL_argcheck(L, rl_gate_held_by(g, rl_state_owner(S)), 2, "the task has not locked this mutex");
  lua_pushinteger(L, g->turn);
  lua_replace(L, TURN);
  lua_KContext ctx = (lua_KContext)S;
  return signaled(L, lua_pcallk(L, 3, LUA_MULTRET, 0, ctx, signaled), ctx);
}

static int wake(lua_State *L, unsigned most) {
  rl_gate_signal(rl_sync_check(L, NULL, RL_H_COND), most);
  return 0;
}

/***
Wakes the one who has waited longest, if any.
@function cond:signal
*/
static int cond_signal(lua_State *L) {
  return wake(L, 1);
}

/***
Wakes all who wait.
@function cond:broadcast
*/
static int cond_broadcast(lua_State *L) {
  return wake(L, ~0u);
}

static int cond_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_COND);
}

const luaL_Reg rl_cond_methods[] = {{"wait", cond_wait},
                                    {"signal", cond_signal},
                                    {"broadcast", cond_broadcast},
                                    {"__tostring", cond_tostring},
                                    {NULL, NULL}};

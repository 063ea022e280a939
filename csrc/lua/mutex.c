/*
** mutex: what one task or main program holds alone, until it unlocks it or a guard of it ends. When it comes to its
** end before that, the mutex is left abandoned.
*/
/***
Mutexes.
@module sync
*/

#include "lua/mutex.h"

#include "lua/guard.h"

static int alone_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  rl_grant_alone(rl_state_owner(S), rl_sync_gate(S));
  rl_sync_push_true(L);
  return rl_sync_with_news(L, rl_sync_told(S));
}

static int guard_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  rl_grant_alone(rl_state_owner(S), rl_sync_gate(S));
  rl_guard_fill(lua_touserdata(L, -1), NULL);
  return rl_sync_with_news(L, rl_sync_told(S));
}

/* A lock that the caller has already would never come. */
static void may_lock(lua_State *L, rl_state *S, rl_gate *g) {
  if (rl_gate_held_by(g, rl_state_owner(S)))
    luaL_error(L, "lock of a mutex that the task has locked already");
}

int rl_mutex_lock(lua_State *L, rl_state *S, rl_gate *g) {
  may_lock(L, S, g);
  lua_settop(L, 2);
  rl_sync_push_news(L);
  rl_passage p = {g->size, true, 2, "lock"};
  return rl_sync_pass(L, S, g, &p, alone_finish);
}

int rl_mutex_guard(lua_State *L, rl_state *S, rl_gate *g) {
  may_lock(L, S, g);
  lua_settop(L, 2);
  rl_sync_push_news(L);
  rl_guard_push(L, S, g);
  rl_passage p = {g->size, true, 2, "lock"};
  return rl_sync_pass(L, S, g, &p, guard_finish);
}

int rl_mutex_try_lock(lua_State *L, rl_state *S, rl_gate *g) {
  rl_msg m = {.u.i = g->size, .len = true};
  rl_sync_push_news(L);
  bool ok = rl_gate_try(g, &m);
  if (ok) rl_grant_alone(rl_state_owner(S), g);
  lua_pushboolean(L, ok);
  return ok ? rl_sync_with_news(L, m.u.i) : 1;
}

int rl_mutex_unlock(lua_State *L, rl_state *S, rl_gate *g) {
  rl_owner *o = rl_state_owner(S);
  const char *what = rl_handle_name(rl_gate_handle(g));
  if (!rl_gate_held_by(g, o))
    return luaL_error(L,
                      rl_gate_value(g) == g->size ? "unlock of unlocked %s"
                                                  : "unlock of a %s that another task has locked",
                      what);
  rl_grant_end(o, &g->alone, false);
  return 0;
}

/***
Makes a mutex.
@function rille.mutex
@tparam[opt] string name for reports
@treturn mutex
@raise on a name that is no string
@usage
local mutex = rille.mutex()
local function report(text)
  local guard <close> = mutex:guard()
  io.write(text, "\n")
end
local a, b = rille.go(report, "one line"), rille.go(report, "and another, not in between")
a:await() b:await()
*/
int rl_mutex_make(lua_State *L) {
  return rl_sync_make(L, RL_MUTEX, 1, 1, 1);
}

/***
Locks the mutex, and waits until it can.
Go's `Lock`, with a `done`. What a task has locked when it ends is unlocked.
@function mutex:lock
@tparam[opt] done done what cuts the wait short
@treturn boolean,string `true`; and `"abandoned"` when the one who had locked it last ended without unlocking it
@treturn nil,string,any when `done` fired first: `nil`, `"canceled"` or `"deadline exceeded"`, and the cause
@raise when the task has locked it already: the wait would never end
*/
static int mutex_lock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_MUTEX);
  return rl_mutex_lock(L, S, g);
}

/***
Locks the mutex if that is possible at once.
@function mutex:try_lock
@treturn boolean,string `true`, and `"abandoned"` as `mutex:lock`; or `false`
*/
static int mutex_try_lock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_MUTEX);
  return rl_mutex_try_lock(L, S, g);
}

/***
Unlocks the mutex: the one who has waited longest has locked it then.
@function mutex:unlock
@raise `unlock of unlocked mutex`; when another task has locked it
*/
static int mutex_unlock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_MUTEX);
  return rl_mutex_unlock(L, S, g);
}

/***
Locks the mutex for a scope.
The guard unlocks it when the scope ends, or sooner when it is called: `guard()`. It ends its own lock and no other: where the mutex was
unlocked before, and even locked again, it does nothing. An interruption never comes between
the lock and the `<close>` variable. A guard that is collected unlocks too, and leaves the mutex abandoned.
@function mutex:guard
@tparam[opt] done done what cuts the wait short
@treturn guard,string for a `<close>` variable; and `"abandoned"` as `mutex:lock`
@treturn nil,string,any when `done` fired first, as `mutex:lock`. A `<close>` variable may be `nil`
@raise as `mutex:lock`
@usage
local mutex = rille.mutex()
do
  local guard <close>, err = mutex:guard(0.5)
  if not guard then error(err) end
end
assert(mutex:try_lock())
*/
static int mutex_guard(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_MUTEX);
  return rl_mutex_guard(L, S, g);
}

static int mutex_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_MUTEX);
}

const luaL_Reg rl_mutex_methods[] = {{"lock", mutex_lock},           {"try_lock", mutex_try_lock},
                                     {"unlock", mutex_unlock},       {"guard", mutex_guard},
                                     {"__tostring", mutex_tostring}, {NULL, NULL}};

/*
** rwmutex: a lock for many readers, or one writer, who holds it as a mutex. A reader has a grant of one part of the
** gate, and the writer takes all parts.
*/
/***
Locks for readers and writers.
@module sync
*/

#include "lua/guard.h"
#include "lua/mutex.h"

/* A task that reads reads on, also where a writer waits: it would wait for itself. */
static int read_again(lua_State *L, rl_state *S, rl_grant *h, rl_guard *u) {
  rl_wait *W = rl_wait_begin(S->wait, "rlock");
  rl_wait_guard(L, S, 2);
  rl_status st = W->guarded ? rl_wait_try(S) : RL_NOT_READY;
  if (st != RL_NOT_READY) return rl_push_cut_short(L, S, st);
  h->depth++;
  if (!u) return rl_sync_push_true(L);
  rl_guard_fill(u, h);
  return 1;
}

static int reader_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  rl_sync_share(S, rl_sync_gate(S), 1);
  rl_sync_push_true(L);
  return rl_sync_with_news(L, rl_sync_told(S));
}

static int reader_guard_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  rl_guard_fill(lua_touserdata(L, -1), rl_sync_share(S, rl_sync_gate(S), 1));
  return rl_sync_with_news(L, rl_sync_told(S));
}

static rl_gate *check_reader(lua_State *L, rl_state **S) {
  rl_gate *g = rl_sync_check(L, S, RL_H_RWMUTEX);
  if (rl_gate_held_by(g, rl_state_owner(*S)))
    luaL_error(L, "rlock of a rwmutex that the task has locked already");
  return g;
}

static rl_gate *check_writer(lua_State *L, rl_state **S) {
  rl_gate *g = rl_sync_check(L, S, RL_H_RWMUTEX);
  if (rl_grant_find(rl_state_owner(*S), g))
    luaL_error(L, "lock of a rwmutex that the task has locked for reading");
  return g;
}

static const rl_passage READING = {1, true, 2, "rlock"};

/***
Makes a lock for many readers or one writer.
A writer that waits keeps back readers that come later, as in Go.
@function rille.rwmutex
@tparam[opt] string name for reports
@treturn rwmutex
@raise on a name that is no string
@usage
local rw = rille.rwmutex()
local reader = rille.go(function()
  local guard <close> = rw:rguard()
  return "read"
end)
do
  local guard <close> = rw:guard()
end
assert(reader:await() == "read")
*/
int rl_rwmutex_make(lua_State *L) {
  return rl_sync_make(L, RL_RWMUTEX, RL_READERS, RL_READERS, 1);
}

/***
Locks for writing: as `mutex:lock`.
@function rwmutex:lock
@tparam[opt] done done what cuts the wait short
@treturn boolean,string as `mutex:lock`
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
@raise when the task has locked it already, for writing or for reading
*/
static int rwmutex_lock(lua_State *L) {
  rl_state *S;
  rl_gate *g = check_writer(L, &S);
  return rl_mutex_lock(L, S, g);
}

/***
Locks for writing if that is possible at once.
@function rwmutex:try_lock
@treturn boolean,string as `mutex:try_lock`
*/
static int rwmutex_try_lock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_RWMUTEX);
  return rl_mutex_try_lock(L, S, g);
}

/***
Ends writing: those who have waited longest go on.
@function rwmutex:unlock
@raise `unlock of unlocked rwmutex`; when another task has locked it
*/
static int rwmutex_unlock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_RWMUTEX);
  return rl_mutex_unlock(L, S, g);
}

/***
Locks for writing for a scope: as `mutex:guard`.
@function rwmutex:guard
@tparam[opt] done done what cuts the wait short
@treturn guard,string as `mutex:guard`
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
@raise as `rwmutex:lock`
*/
static int rwmutex_guard(lua_State *L) {
  rl_state *S;
  rl_gate *g = check_writer(L, &S);
  return rl_mutex_guard(L, S, g);
}

/***
Locks for reading.
A task may do so several times, and unlocks as often; it gets each lock after the first at once.
@function rwmutex:rlock
@tparam[opt] done done what cuts the wait short
@treturn boolean,string `true`; and `"abandoned"` to the first who locks it after a writer has ended without unlocking it
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
@raise when the task has locked it for writing
*/
static int rwmutex_rlock(lua_State *L) {
  rl_state *S;
  rl_gate *g = check_reader(L, &S);
  lua_settop(L, 2);
  rl_sync_push_news(L);
  rl_grant *h = rl_grant_find(rl_state_owner(S), g);
  if (h) return read_again(L, S, h, NULL);
  rl_sync_prepare(L, S);
  return rl_sync_pass(L, S, g, &READING, reader_finish);
}

/***
Locks for reading if that is possible at once.
@function rwmutex:try_rlock
@treturn boolean `true`, or `false`: somebody writes, or waits to write
*/
static int rwmutex_try_rlock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_RWMUTEX);
  rl_msg m = {.u.i = 1, .len = true};
  rl_sync_push_news(L);
  rl_grant *h = rl_grant_find(rl_state_owner(S), g);
  if (h) {
    h->depth++;
    return rl_sync_push_true(L);
  }
  rl_sync_prepare(L, S);
  bool ok = rl_gate_try(g, &m);
  if (ok) rl_sync_share(S, g, 1);
  lua_pushboolean(L, ok);
  return ok ? rl_sync_with_news(L, m.u.i) : 1;
}

/***
Ends reading.
@function rwmutex:runlock
@raise when the task has not locked it for reading
*/
static int rwmutex_runlock(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_RWMUTEX);
  if (!rl_guard_unlock_shared(rl_state_owner(S), g))
    return luaL_error(L, "runlock of a rwmutex that the task has not locked for reading");
  return 0;
}

/***
Locks for reading for a scope.
@function rwmutex:rguard
@tparam[opt] done done what cuts the wait short
@treturn guard,string as `mutex:guard`; it ends one lock for reading, if the task has one
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
@raise as `rwmutex:rlock`
*/
static int rwmutex_rguard(lua_State *L) {
  rl_state *S;
  rl_gate *g = check_reader(L, &S);
  lua_settop(L, 2);
  rl_sync_push_news(L);
  rl_guard *u = rl_guard_push(L, S, g);
  rl_grant *h = rl_grant_find(rl_state_owner(S), g);
  if (h) return read_again(L, S, h, u);
  rl_sync_prepare(L, S);
  return rl_sync_pass(L, S, g, &READING, reader_guard_finish);
}

static int rwmutex_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_RWMUTEX);
}

const luaL_Reg rl_rwmutex_methods[] = {
    {"lock", rwmutex_lock},           {"try_lock", rwmutex_try_lock},
    {"unlock", rwmutex_unlock},       {"guard", rwmutex_guard},
    {"rlock", rwmutex_rlock},         {"try_rlock", rwmutex_try_rlock},
    {"runlock", rwmutex_runlock},     {"rguard", rwmutex_rguard},
    {"__tostring", rwmutex_tostring}, {NULL, NULL}};

/*
** sync: locks, semaphores and their kin in Lua: handles of gates. A state that uses none pays nothing for
** them: the functions that make them come into the module when they are first named.
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

#include "lua/guard.h"
#include "lua/mutex.h"

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

/* Held alone */

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

/* Readers */

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

/*
** semaphore: permits. Those that are acquired belong to nobody; those of a guard are a grant of the task, which
** gives them back when it ends.
*/
/***
Semaphores.
@module sync
*/

#include "lua/guard.h"
#include "lua/sync.h"

/***
Makes a semaphore: so many permits.
From golang.org/x/sync/semaphore. Who asks for many waits in line as well: it is not overtaken by those that come later and
ask for few. A permit belongs to nobody: another task may release it.
@function rille.semaphore
@tparam integer n how many permits there are, at least 1
@tparam[opt] string name for reports
@treturn semaphore
@raise on what is no integer of at least 1
@usage
local slots, most, now = rille.semaphore(3), rille.counter(), rille.counter()
local group = rille.waitgroup()
for _ = 1, 10 do
  group:go(function()
    local slot <close> = slots:guard()
    if now:add(1) > 3 then most:set(now:get()) end
    now:add(-1)
  end)
end
group:wait()
print(most:get())  --> 0
*/
int rl_semaphore_make(lua_State *L) {
  int64_t n = rl_sync_check_number(L, 1, "a number of permits");
  return rl_sync_make(L, RL_SEMAPHORE, n, n, 2);
}

/* The number of permits at 2, by default 1. */
static int64_t check_permits(lua_State *L) {
  return lua_isnoneornil(L, 2) ? 1 : rl_sync_check_number(L, 2, "a number of permits");
}

/* That and the done may each be left out: a number is one of permits. Afterwards they stand at 2 and 3. */
static int64_t check_request(lua_State *L) {
  lua_settop(L, 3);
  if (lua_isnil(L, 3) && rl_wait_source(L, 2)) {
    lua_pushinteger(L, 1);
    lua_insert(L, 2);
    lua_settop(L, 3);
  }
  return check_permits(L);
}

/***
Takes permits, and waits until there are so many.
Who asks for more than the semaphore has waits for the done alone, and keeps nobody back.
@function semaphore:acquire
@tparam[opt=1] integer n how many
@tparam[opt] done done what cuts the wait short; without `n` it may stand in its place, unless it is a number
@treturn boolean `true`
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause; nothing was taken
@raise on what is no integer of at least 1
*/
static int semaphore_acquire(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_SEMAPHORE);
  rl_passage p = {check_request(L), false, 3, "acquire"};
  return rl_sync_pass(L, S, g, &p, rl_sync_passed);
}

/***
Takes permits if they are there.
@function semaphore:try_acquire
@tparam[opt=1] integer n how many
@treturn boolean `false` when there are fewer, or others wait
@raise as `semaphore:acquire`
*/
static int semaphore_try_acquire(lua_State *L) {
  rl_gate *g = rl_sync_check(L, NULL, RL_H_SEMAPHORE);
  rl_msg m = {.u.i = check_permits(L)};
  lua_pushboolean(L, rl_gate_try(g, &m));
  return 1;
}

/***
Gives permits back.
@function semaphore:release
@tparam[opt=1] integer n how many
@raise `semaphore: released more than held`; permits that a guard holds are the guard's to give back
*/
static int semaphore_release(lua_State *L) {
  rl_gate *g = rl_sync_check(L, NULL, RL_H_SEMAPHORE);
  if (!rl_gate_add(g, check_permits(L))) return luaL_error(L, "semaphore: released more than held");
  return 0;
}

static int permits_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  int64_t n = lua_tointeger(L, -2);
  rl_guard_fill(lua_touserdata(L, -1), rl_sync_share(S, rl_sync_gate(S), n));
  return 1;
}

/***
Takes permits for a scope.
They are given back when the scope ends, when the guard is called or collected, and when the task ends.
@function semaphore:guard
@tparam[opt=1] integer n how many
@tparam[opt] done done as for `semaphore:acquire`
@treturn guard for a `<close>` variable
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
@raise as `semaphore:acquire`
*/
static int semaphore_guard(lua_State *L) {
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_SEMAPHORE);
  rl_passage p = {check_request(L), true, 3, "acquire"};
  lua_pushinteger(L, p.need);
  rl_guard_push(L, S, g);
  rl_sync_prepare(L, S);
  return rl_sync_pass(L, S, g, &p, permits_finish);
}

static int semaphore_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_SEMAPHORE);
}

const luaL_Reg rl_semaphore_methods[] = {
    {"acquire", semaphore_acquire},     {"try_acquire", semaphore_try_acquire},
    {"release", semaphore_release},     {"guard", semaphore_guard},
    {"__tostring", semaphore_tostring}, {NULL, NULL}};

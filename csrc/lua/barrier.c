/*
** barrier: tasks that wait for one another. Who comes is one more at the gate; the last one lets all pass, and each
** is told its place.
*/
/***
Barriers.
@module sync
*/

#include "lua/sync.h"

static int barrier_finish(lua_State *L, rl_state *S, rl_status st) {
  bool received =
      S->wait->guarded && st == RL_OK && S->wait->won == 0; /* a value, not to be lost */
  if (rl_sync_told(S) == 0 || received) return rl_push_cut_short(L, S, st);
  lua_pushinteger(L, rl_sync_told(S));
  return 1;
}

/***
Makes a barrier: tasks wait for one another until so many have come. It can be used again and again.
@function rille.barrier
@tparam integer n how many it takes, at least 1
@tparam[opt] string name for reports
@treturn barrier
@raise on what is no integer of at least 1
@usage
local barrier = rille.barrier(3)
for i = 1, 2 do
  rille.go(function() barrier:wait() end)
end
barrier:wait()
*/
int rl_barrier_make(lua_State *L) {
  int64_t n = rl_sync_check_number(L, 1, "a number of tasks");
  return rl_sync_make(L, RL_BARRIER, 0, n, 2);
}

/***
Waits until all have come.
One whose `done` fires first, or that is interrupted, has not come: another one has to.
@function barrier:wait
@tparam[opt] done done what cuts the wait short
@treturn integer how many were still to come, with the caller: n for the first, 1 for the last
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
*/
static int barrier_wait(lua_State *L) {
  static const rl_passage p = {0, false, 2, "wait"};
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_BARRIER);
  return rl_sync_pass(L, S, g, &p, barrier_finish);
}

static int barrier_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_BARRIER);
}

const luaL_Reg rl_barrier_methods[] = {
    {"wait", barrier_wait}, {"__tostring", barrier_tostring}, {NULL, NULL}};

/*
** waitgroup: what is waited for until nothing of it is left to do. A task that is one of these things holds a
** grant until it ends: see rl_waitgroup_go, among the tasks.
*/
/***
Wait groups.
@module sync
*/

#include "lua/sync.h"

/***
Makes a wait group, which is waited for until all that was added is done.
@function rille.waitgroup
@tparam[opt] string name for reports
@treturn waitgroup
@raise on a name that is no string
@usage
local group, sum = rille.waitgroup(), rille.counter()
for i = 1, 10 do
  group:go(function() sum:add(i) end)
end
group:wait()
print(sum:get())  --> 55
*/
int rl_waitgroup_make(lua_State *L) {
  return rl_sync_make(L, RL_WAITGROUP, 0, INT64_MAX, 1);
}

static int add_to(lua_State *L, rl_gate *g, int64_t n) {
  if (rl_gate_add(g, n)) return 0;
  return luaL_error(L, n < 0 ? "negative waitgroup counter" : "waitgroup counter too large");
}

/***
Adds to what is left to do.
@function waitgroup:add
@tparam[opt=1] integer n may be negative
@raise `negative waitgroup counter`: more would be done than was added. What tasks of `waitgroup:go` are to do
is theirs
*/
static int waitgroup_add(lua_State *L) {
  rl_gate *g = rl_sync_check(L, NULL, RL_H_WAITGROUP);
  return add_to(L, g, lua_isnoneornil(L, 2) ? 1 : rl_sync_check_integer(L, 2));
}

/***
One thing is done.
@function waitgroup:done
@raise `negative waitgroup counter`, as `waitgroup:add`
*/
static int waitgroup_done(lua_State *L) {
  return add_to(L, rl_sync_check(L, NULL, RL_H_WAITGROUP), -1);
}

/***
Waits until nothing is left to do.
@function waitgroup:wait
@tparam[opt] done done what cuts the wait short
@treturn boolean `true`
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
*/
static int waitgroup_wait(lua_State *L) {
  static const rl_passage p = {0, false, 2, "wait"};
  rl_state *S;
  rl_gate *g = rl_sync_check(L, &S, RL_H_WAITGROUP);
  return rl_sync_pass(L, S, g, &p, rl_sync_passed);
}

static int waitgroup_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_WAITGROUP);
}

const luaL_Reg rl_waitgroup_methods[] = {
    {"add", waitgroup_add},  {"done", waitgroup_done},           {"wait", waitgroup_wait},
    {"go", rl_waitgroup_go}, {"__tostring", waitgroup_tostring}, {NULL, NULL}};

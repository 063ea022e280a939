/*
** counter: an integer that tasks share: the number of a gate at which nobody waits.
*/
/***
Counters.
@module sync
*/

#include "lua/sync.h"

/***
Makes a counter: an integer that tasks share.
Each operation is atomic; what is added wraps around, as Lua's integers do.
@function rille.counter
@tparam[opt=0] integer n what it begins with
@treturn counter
@raise on what is no integer
@usage
local ids = rille.counter()
print(ids:add(1), ids:add(1))  --> 1  2
*/
int rl_counter_make(lua_State *L) {
  return rl_sync_make(L, RL_COUNTER, lua_isnoneornil(L, 1) ? 0 : rl_sync_check_integer(L, 1), 0, 0);
}

static int push_integer(lua_State *L, int64_t n) {
  lua_pushinteger(L, n);
  return 1;
}

/***
Adds to it.
@function counter:add
@tparam integer d may be negative
@treturn integer the value after that
@raise on what is no integer
*/
static int counter_add(lua_State *L) {
  rl_gate *g = rl_sync_check(L, NULL, RL_H_COUNTER);
  return push_integer(L, rl_gate_count(g, rl_sync_check_integer(L, 2)));
}

/***
The value.
@function counter:get
@treturn integer
*/
static int counter_get(lua_State *L) {
  return push_integer(L, rl_gate_value(rl_sync_check(L, NULL, RL_H_COUNTER)));
}

/***
Sets it.
@function counter:set
@tparam integer v
@treturn integer the value before that
@raise on what is no integer
*/
static int counter_set(lua_State *L) {
  rl_gate *g = rl_sync_check(L, NULL, RL_H_COUNTER);
  return push_integer(L, rl_gate_set(g, rl_sync_check_integer(L, 2)));
}

static int counter_tostring(lua_State *L) {
  rl_gate *g = rl_sync_check(L, NULL, RL_H_COUNTER);
  lua_pushfstring(L, "counter (%I): %p", (LUAI_UACINT)rl_gate_value(g), (void *)g);
  return 1;
}

const luaL_Reg rl_counter_methods[] = {{"add", counter_add},
                                       {"get", counter_get},
                                       {"set", counter_set},
                                       {"__tostring", counter_tostring},
                                       {NULL, NULL}};

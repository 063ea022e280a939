/*
** time: after, tick and timer, channels that a timer feeds; sleep and now.
*/
#include <math.h>

#include "core/ticker.h"
#include "lua/state.h"
#include "lua/transfer.h"

/* Seconds at `idx`; raises on anything but a number. */
static double seconds(lua_State *L, int idx) {
  luaL_checktype(L, idx, LUA_TNUMBER);
  double s = lua_tonumber(L, idx);
  luaL_argcheck(L, !isnan(s), idx, "number of seconds expected, got nan");
  return s < 0 ? 0 : s;
}

static rl_ticker *check(lua_State *L) {
  return rl_ticker_of((rl_chan *)rl_handle_check(L, rl_self(L), 1, RL_H_TIMER));
}

static int make(lua_State *L, double wait, double period) {
  rl_state *S = rl_self(L);
  rl_handle_alive(L, S);
  rl_msg form = {.tag = RL_MSG_NONE};
  rl_handle *h = rl_handle_new(L, RL_H_TIMER);
  lua_pushnumber(L, 0.5);
  rl_encode(L, S, -1, "value", &form);
  lua_pop(L, 1);
  rl_ticker *t = rl_ticker_make(wait, period, &form);
  if (!t) return luaL_error(L, "cannot arm a timer: no memory or no thread");
  rl_handle_fill(L, S, h, &rl_ticker_chan(t)->src.obj, RL_MAY_RECV | RL_MAY_RESET);
  return 1;
}

static int rille_after(lua_State *L) {
  return make(L, seconds(L, 1), 0);
}

static int rille_tick(lua_State *L) {
  double s = seconds(L, 1);
  luaL_argcheck(L, s > 0, 1, "a period above 0 expected");
  return make(L, s, s);
}

static int timer_stop(lua_State *L) {
  lua_pushboolean(L, rl_ticker_stop(check(L)));
  return 1;
}

static int timer_reset(lua_State *L) {
  bool ok;
  rl_ticker *t = check(L);
  bool was = rl_ticker_reset(t, seconds(L, 2), &ok);
  if (!ok) return luaL_error(L, "cannot arm a timer: no memory or no thread");
  lua_pushboolean(L, was);
  return 1;
}

static int timer_tostring(lua_State *L) {
  lua_pushfstring(L, "timer: %p", (void *)check(L));
  return 1;
}

static int sleep_finish(lua_State *L, rl_state *S, rl_status st) {
  if (st != RL_TIMEOUT) return rl_push_cut_short(L, S, st);
  lua_pushboolean(L, 1);
  return 1;
}

/* A done that stands as a number cuts the sleep short like any other deadline: the earlier wins. */
static int limit_finish(lua_State *L, rl_state *S, rl_status st) {
  return rl_push_cut_short(L, S, st);
}

static int rille_sleep(lua_State *L) {
  rl_state *S = rl_self(L);
  double until = rl_now() + seconds(L, 1);
  rl_handle_alive(L, S);
  rl_wait *W = rl_wait_begin(&S->wait, "sleep");
  rl_wait_guard(L, S, 2);
  if (W->deadline < until) return rl_wait_for(L, S, limit_finish);
  W->deadline = until;
  return rl_wait_for(L, S, sleep_finish);
}

static int rille_now(lua_State *L) {
  lua_pushnumber(L, rl_now());
  return 1;
}

void rl_open_time(lua_State *L, rl_state *S) {
  static const luaL_Reg methods[] = {
      {"stop", timer_stop}, {"reset", timer_reset}, {"__tostring", timer_tostring}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"after", rille_after}, {"tick", rille_tick},
                                       {"timer", rille_after}, {"sleep", rille_sleep},
                                       {"now", rille_now},     {NULL, NULL}};
  rl_handle_class(L, S, RL_H_TIMER, rl_chan_receiving);
  lua_getfield(L, -1, "types");
  lua_getfield(L, -1, "timer");
  rl_setfuncs(L, S, methods);
  lua_pop(L, 2);
  rl_setfuncs(L, S, functions);
}

/*
** time: after, tick and timer, channels that a timer feeds; sleep and now.
*/
/***
Time.
Times are seconds, as numbers. Points in time are on the monotonic clock `rille.now()`, which no change
of the wall clock touches. Timers are received from like channels: `recv`, `try_recv`, `iter`, `for now in timer do`, and
as cases of a `select`; what is received is `rille.now()` at the moment they were due. A timer nobody
refers to any more is collected and stopped.
@module time
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
  return rl_ticker_of((rl_chan *)rl_handle_check(L, NULL, 1, RL_H_TIMER));
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

/***
A timer that delivers `rille.now()` once, after so many seconds: Go's `time.After`.
@function rille.after
@tparam number s seconds
@treturn timer
@raise on what is no number, or nan
*/
/***
The same as `rille.after`, for a timer that is stopped or reset: Go's `time.NewTimer`.
@function rille.timer
@tparam number s seconds
@treturn timer
@raise on what is no number, or nan
*/
static int rille_after(lua_State *L) {
  return make(L, seconds(L, 1), 0);
}

/***
A timer that delivers `rille.now()` every so many seconds, and drops ticks for a slow reader.
@function rille.tick
@tparam number s the period in seconds, above 0
@treturn timer
@raise on what is no number above 0
*/
static int rille_tick(lua_State *L) {
  double s = seconds(L, 1);
  luaL_argcheck(L, s > 0, 1, "a period above 0 expected");
  return make(L, s, s);
}

/***
Stops the timer: nothing stale is delivered afterwards.
@function timer:stop
@treturn boolean did this prevent a delivery?
*/
static int timer_stop(lua_State *L) {
  lua_pushboolean(L, rl_ticker_stop(check(L)));
  return 1;
}

/***
Starts the timer anew: nothing stale is delivered.
@function timer:reset
@tparam number s seconds from now; for a ticker, also its period
@treturn boolean was it running?
@raise on what is no number, or nan; for a ticker, on what is not above 0
*/
static int timer_reset(lua_State *L) {
  bool ok;
  rl_ticker *t = check(L);
  double s = seconds(L, 2);
  luaL_argcheck(L, s > 0 || !rl_ticker_repeats(t), 2, "a period above 0 expected");
  bool was = rl_ticker_reset(t, s, &ok);
  if (!ok) return luaL_error(L, "cannot arm a timer: no memory or no thread");
  lua_pushboolean(L, was);
  return 1;
}

static int timer_tostring(lua_State *L) {
  lua_pushfstring(L, "timer: %p", (void *)check(L));
  return 1;
}

static int slept(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  lua_pushboolean(L, 1);
  return 1;
}

static int sleep_finish(lua_State *L, rl_state *S, rl_status st) {
  if (st != RL_TIMEOUT) return rl_push_cut_short(L, S, st);
  if (S->wait->deadline == 0) return rl_give_turn(L, S, slept);
  return slept(L, LUA_OK, 0);
}

/* A done that stands as a number cuts the sleep short when it is the earlier one. */
static int limit_finish(lua_State *L, rl_state *S, rl_status st) {
  return rl_push_cut_short(L, S, st);
}

/***
Waits for so long.
@function rille.sleep
@tparam number s seconds; not above 0: only lets others run
@tparam[opt] done done what cuts it short
@treturn boolean `true`
@treturn nil,string,any when `done` fired first: `nil`, `"canceled"` or `"deadline exceeded"`, and the cause
@raise on what is no number, or nan
*/
static int rille_sleep(lua_State *L) {
  rl_state *S = rl_self(L);
  luaL_checktype(L, 1, LUA_TNUMBER);
  double until = rl_deadline_at(L, 1);
  rl_handle_alive(L, S);
  rl_wait *W = rl_wait_begin(S->wait, "sleep");
  rl_wait_guard(L, S, 2);
  if (W->deadline < until) return rl_wait_for(L, S, limit_finish);
  W->deadline = until;
  return rl_wait_for(L, S, sleep_finish);
}

/***
The time on the monotonic clock.
@function rille.now
@treturn number seconds
*/
static int rille_now(lua_State *L) {
  lua_pushnumber(L, rl_time());
  return 1;
}

const luaL_Reg rl_timer_methods[] = {
    {"stop", timer_stop}, {"reset", timer_reset}, {"__tostring", timer_tostring}, {NULL, NULL}};

void rl_open_time(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"after", rille_after}, {"tick", rille_tick},
                                       {"timer", rille_after}, {"sleep", rille_sleep},
                                       {"now", rille_now},     {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

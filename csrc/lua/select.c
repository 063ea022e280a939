/*
** select: the cases of a Lua call as the cases of one wait. They come by position or by name;
** a number is no case of the core's but the wait's deadline, the earliest of them.
*/
/***
Select.
Waits on several things, of which exactly one happens: Go's `select`, with sends. A case is

- a channel: receive from it,
- `ch:sending(v)`: send to it,
- a [done](done.md): ready when it has fired,
- a task: ready when it has ended,
- a timer or a number of seconds: ready after so long,
- an object of Lua's that holds one of these, but for a number, in a field: its metatable names that, as `__case = "ended"`,
- `nil` or `false`: never ready, as Go's nil channel. Assigning `nil` to a variable switches its case off.

Among the ready cases the choice is uniformly random, as Go's. Only the chosen one has an effect. With no case that
can ever be ready it waits for ever. A send case on a closed channel counts as ready, and raises if chosen.

    local which, line = rille.select { line = strings, stop = done }
    if which == "stop" then return end

The results are the position or name of the chosen case, and a value: for a channel what was received, or `nil`
and `"closed"`; for a send `true`; for a done `nil` and its error, and the cause; for a task `nil`; for a timer or
number `rille.now()`.

With `__case` an object of one's own may be a case, and stand wherever a done may. Metatable and field are read raw, and
the case is what the field held when the wait began. One such object alone, as it has a metatable, is a case and no table of cases.

    local Job = { __case = "ended" }
    local function start(fn) return setmetatable({ ended = rille.go(fn) }, Job) end
    assert(rille.select(start(print), 60) == 1)

@module select
*/

#include "core/select.h"

#include <math.h>

#include "lua/sending.h"
#include "lua/state.h"
#include "lua/transfer.h"

static void no_case(lua_State *L, int idx, const char *where) {
  static const char *const what = "channel, send case, done, task, timer or number";
  rl_handle *h = rl_handle_test(L, idx);
  const char *got = h ? rl_handle_name(rl_handle_type_of(h)) : luaL_typename(L, idx);
  if (h && rl_handle_type_of(h) == RL_H_SENDER) got = "sender (use its `sending`)";
  luaL_error(L, "bad case %s to 'select' (%s expected, got %s)", where, what, got);
}

/* The cases lie on the stack: by position from 1 on; by name as pairs of key and value above the table, so that
   they stay what they were, whatever becomes of the table during the wait. */
static int value_at(const rl_wait *W, unsigned i) {
  return W->named ? (int)(2 * i) + 3 : (int)i + 1;
}

static void push_key(lua_State *L, const rl_wait *W, unsigned i) {
  if (W->named)
    lua_pushvalue(L, value_at(W, i) - 1);
  else
    lua_pushinteger(L, (lua_Integer)i + 1);
}

static const char *where_is(lua_State *L, const rl_wait *W, unsigned i) {
  push_key(L, W, i);
  if (lua_type(L, -1) == LUA_TSTRING) return lua_pushfstring(L, "'%s'", lua_tostring(L, -1));
  return luaL_tolstring(L, -1, NULL);
}

static void add_timeout(lua_State *L, rl_wait *W, unsigned i) {
  double s = lua_tonumber(L, value_at(W, i));
  if (isnan(s))
    luaL_error(L, "bad case %s to 'select' (number of seconds expected, got nan)",
               where_is(L, W, i));
  double at = s <= 0 ? 0 : rl_time() + s;
  if (at < W->deadline) {
    W->deadline = at;
    W->timeout = i;
  }
  rl_wait_add(W, RL_CASE_NEVER, NULL);
}

/* Adds a case of another kind than those in add_case; true: a send. */
static bool add_other_case(lua_State *L, rl_wait *W, unsigned i) {
  int idx = value_at(W, i);
  rl_sending *s;
  if (!lua_toboolean(L, idx)) {
    rl_wait_add(W, RL_CASE_NEVER, NULL);
  } else if (lua_type(L, idx) == LUA_TNUMBER) {
    add_timeout(L, W, i);
  } else if ((s = rl_sending_test(L, idx)) != NULL) {
    rl_case *c = rl_wait_add(W, RL_CASE_SEND, (rl_source *)s->offer.edge.ref.to);
    c->op = RL_CASE_NEVER; /* until all cases are known to be good: then the message is shared */
    return true;
  } else {
    no_case(L, idx, where_is(L, W, i));
  }
  return false;
}

/* The same for any case. */
static inline bool add_case(lua_State *L, rl_wait *W, unsigned i) {
  rl_source *on = rl_wait_source(L, value_at(W, i));
  if (!on) return add_other_case(L, W, i);
  rl_wait_watch(W, on);
  return false;
}

/* The send cases get their messages last, when nothing can raise any more. */
static void arm_sends(lua_State *L, rl_wait *W) {
  for (unsigned i = 0; i < W->n; i++) {
    rl_sending *s = rl_sending_test(L, value_at(W, i));
    if (!s) continue;
    W->cases[i].op = RL_CASE_SEND;
    rl_msg_share(&W->cases[i].msg, &s->offer.msg);
  }
}

static bool is_named(lua_State *L) {
  bool one = lua_gettop(L) == 1 && lua_type(L, 1) == LUA_TTABLE;
  if (one && lua_getmetatable(L, 1)) {
    lua_pop(L, 1);
    return false;
  }
  return one;
}

/* Lays the cases of the table above it; returns how many they are. */
static unsigned unpack(lua_State *L) {
  for (lua_pushnil(L); lua_next(L, 1); lua_pushvalue(L, -2))
    luaL_checkstack(L, 4, "too many cases");
  return (unsigned)(lua_gettop(L) - 1) / 2;
}

static int push_watched(lua_State *L, rl_state *S, rl_case *c) {
  lua_pushnil(L);
  if (c->node.on->obj.kind == RL_TASK) return 2;
  rl_push_fired(L, S, rl_case_event(c));
  return 4;
}

static int push_outcome(lua_State *L, rl_state *S, rl_case *c, rl_status st) {
  if (c->op == RL_CASE_WATCH) return push_watched(L, S, c);
  if (c->op == RL_CASE_SEND) {
    if (st == RL_CLOSED) return luaL_error(L, "send on closed channel");
    if (st == RL_NO_MEMORY) return luaL_error(L, "not enough memory");
    lua_pushboolean(L, 1);
    return 2;
  }
  if (st == RL_OK) return 1 + rl_receive(L, S, &c->msg);
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return 3;
}

static int select_finish(lua_State *L, rl_state *S, rl_status st) {
  rl_wait *W = S->wait;
  if (st == RL_TIMEOUT) {
    push_key(L, W, W->timeout);
    lua_pushnumber(L, rl_time());
    return 2;
  }
  rl_case *c = &W->cases[W->won];
  push_key(L, W, W->won);
  return push_outcome(L, S, c, st);
}

static void take_cases(lua_State *L, rl_state *S, rl_choice choice) {
  rl_wait *W = S->wait;
  bool named = is_named(L);
  if (named && choice == RL_ORDERED) luaL_argerror(L, 1, "cases by position expected, got table");
  rl_handle_alive(L, S);
  unsigned n = named ? unpack(L) : (unsigned)lua_gettop(L);
  luaL_checkstack(L, 8, "too many cases");
  rl_wait_begin(W, "select");
  rl_wait_room(L, W, n);
  W->choice = (uint8_t)choice;
  W->named = named;
  bool sends = false;
  for (unsigned i = 0; i < n; i++) sends |= add_case(L, W, i);
  if (sends) arm_sends(L, W);
}

/***
Waits until one of the cases happens.
@function rille.select
@param ... cases by position, or one table without a metatable: cases by name
@return the position (integer) or the name (key of the table) of the case
@return the value, or `nil`
@treturn string|nil `"closed"`, or the error of a done: `"canceled"`, `"deadline exceeded"`
@return the cause of a done
@raise `bad case ... to 'select'` on anything else; `send on closed channel` when such a case was chosen
@usage
local jobs, done = rille.chan(1), (rille.done { timeout = 1 })
local i, v, err = rille.select(jobs, done, jobs:sending "hello", 0.5)
assert(i == 3 and v == true)
*/
static int rille_select(lua_State *L) {
  rl_state *S = rl_self(L);
  take_cases(L, S, RL_RANDOM);
  return rl_wait_for(L, S, select_finish);
}

/***
The same, taking the first ready case in order: for priorities.
Go has no such select. All cases are looked at in one step.
@function rille.select_first
@param ... cases by position
@return as `rille.select`
@raise as `rille.select`; on cases by name, which have no order
*/
static int rille_select_first(lua_State *L) {
  rl_state *S = rl_self(L);
  take_cases(L, S, RL_ORDERED);
  return rl_wait_for(L, S, select_finish);
}

/***
The same without waiting: Go's `select` with a `default`.
@function rille.try_select
@param ... cases, as for `rille.select`
@return as `rille.select`; `nil` when no case is ready
@raise as `rille.select`
*/
static int rille_try_select(lua_State *L) {
  rl_state *S = rl_self(L);
  take_cases(L, S, RL_RANDOM);
  rl_status st = rl_wait_try(S);
  rl_wait_drop_unsent(S->wait);
  if (st == RL_NOT_READY && S->wait->deadline <= rl_time()) st = RL_TIMEOUT;
  if (st != RL_NOT_READY) return select_finish(L, S, st);
  lua_pushnil(L);
  return 1;
}

void rl_open_select(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"select", rille_select},
                                       {"select_first", rille_select_first},
                                       {"try_select", rille_try_select},
                                       {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

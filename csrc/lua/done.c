/*
** done: cancellation in Lua. A done and its cancel are the same core object under different rights: who
** holds the done can watch, only who holds the cancel can fire.
*/
/***
Cancellation.
A `done` says that it is time to stop: it fires once and never comes back. Who holds it can watch; only who
holds its `cancel` can fire it, as in Go's `context`. A done is made below a parent: when the parent fires, so do
all its descendants, promptly and in one pass; a descendant never fires its parents. Its deadline, if it has one,
fires it with the error `"deadline exceeded"`, all else with `"canceled"`.

    local done, cancel <close> = rille.done { timeout = 2.5 }

`cancel` runs at the end of the scope, so nothing that was started with this `done` outlives it unasked.

Wherever a `done` is taken, also as a parent, there may stand

- a channel, which fires as Go's `case <-done` does: by being closed, or by a value, which is then received and is the
cause; error `"canceled"`,
- a task, which fires when it ends; `"canceled"`,
- a timer or a number of seconds, `"deadline exceeded"`. A number lets what is ready come first and counts from
the call,
- an object that holds one of these in a field, and whose class says in which: see [select](select.md).

Causes and values must be able to cross, see [transfer](transfer.md). A done crosses by reference, and so does a cancel.
A done that nobody watches any more costs its parent nothing.
@module done
*/

#include "core/done.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/any.h"
#include "lua/state.h"
#include "lua/transfer.h"

static rl_done *check(lua_State *L, rl_state **S) {
  return (rl_done *)rl_handle_check(L, S, 1, RL_H_DONE);
}

static int no_memory(lua_State *L) {
  return luaL_error(L, "not enough memory");
}

/* Making one */

typedef struct options {
  double own;        /* its own deadline */
  const char *name;  /* anchored on the stack, as are the next two */
  int cause, values; /* their stack indices; 0: none */
} options;

static double number_option(lua_State *L, int idx, const char *key) {
  double s = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || isnan(s))
    luaL_argerror(L, idx, lua_pushfstring(L, "%s must be a number of seconds", key));
  return s;
}

static void check_key(lua_State *L, int idx) {
  static const char *const known[] = {"timeout", "deadline", "cause", "values", "name", NULL};
  const char *k = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
  for (int i = 0; known[i]; i++)
    if (strcmp(k, known[i]) == 0) return;
  luaL_argerror(L, idx, lua_pushfstring(L, "unknown option '%s'", k));
}

static void earliest(options *o, double at) {
  if (at < o->own) o->own = at;
}

/* Checks all that can be wrong; nothing is held yet. Each option is read once: a metatable may answer anew. */
static void scan_options(lua_State *L, int idx, options *o) {
  luaL_checktype(L, idx, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    check_key(L, idx);
    lua_pop(L, 1);
  }
  if (lua_getfield(L, idx, "timeout") != LUA_TNIL)
    earliest(o, rl_time() + number_option(L, idx, "timeout"));
  if (lua_getfield(L, idx, "deadline") != LUA_TNIL) earliest(o, number_option(L, idx, "deadline"));
  int type = lua_getfield(L, idx, "values");
  luaL_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, idx, "values must be a table");
  if (type != LUA_TNIL) o->values = lua_gettop(L);
  type = lua_getfield(L, idx, "name");
  luaL_argcheck(L, type == LUA_TNIL || type == LUA_TSTRING, idx, "name must be a string");
  o->name = lua_tostring(L, -1);
  if (lua_getfield(L, idx, "cause") != LUA_TNIL) o->cause = lua_gettop(L);
}

/* Each message goes straight into `d`. */
static void encode_options(lua_State *L, rl_state *S, const options *o, rl_done *d) {
  if (o->cause) rl_encode(L, S, o->cause, "cause", &d->timeout_cause);
  if (o->values) rl_encode(L, S, o->values, "values", &d->values);
}

static void open_cancel(lua_State *L, rl_state *S, rl_done *d) {
  rl_handle_push(L, S, &d->event.src.obj, RL_MAY_FIRE);
}

/* A new done below `parent`: a channel is the one input of an or-channel. */
static rl_done *make_below(rl_source *parent) {
  if (parent->obj.kind != RL_CHAN) return rl_done_make((rl_event *)parent);
  rl_done *d = rl_any_make(1);
  if (d) rl_any_input(d, 0, parent);
  return d;
}

static void hint_cancel(lua_State *L, int idx) {
  if (rl_handle_as(L, idx, RL_H_CANCEL))
    luaL_argerror(L, idx,
                  "done or options expected, got cancel: a call that makes a done has two "
                  "results, put it in parentheses");
}

/***
Makes a cancellation signal and the right to fire it.
The two results are a trap in nested calls: `f(rille.done())` passes both. A `cancel` where options are expected raises and says so.
Go's `context.WithCancel`, `WithTimeout`, `WithDeadline`, `WithCancelCause` and `WithValue` in one.
@function rille.done
@tparam[opt=rille.background] done parent a done, channel, task, timer or number of seconds
@tparam[opt] table opts `timeout` (seconds), `deadline` (on the clock of `rille.now`), `cause` (any value: reported when the deadline
fires), `values` (table), `name` (string)
@treturn done
@treturn cancel
@raise on an unknown option or one of the wrong type, named; on causes and values that cannot cross
@usage
local done, cancel = rille.done { timeout = 5, values = { user = "ada" } }
local below = (rille.done(done))
cancel "enough"
assert(below:err() == "canceled" and below:cause() == "enough" and below:value "user" == "ada")
*/
/* done([parent,] [opts]): the first argument is options when it is a plain table. */
static int rille_done(lua_State *L) {
  rl_state *S = rl_self(L);
  options o = {.own = INFINITY};
  rl_handle_alive(L, S);
  lua_settop(L, 2);
  hint_cancel(L, 1);
  hint_cancel(L, 2);
  rl_source *parent =
      rl_wait_source(L, 1); /* first: an object that can be waited on is no options */
  int opts = lua_istable(L, 1) ? 1 : lua_isnil(L, 2) ? 0 : 2;
  if (opts == 1)
    luaL_argcheck(L, lua_isnil(L, 2), 2, "options stand in the first argument already");
  if (opts) scan_options(L, opts, &o);
  if (opts != 1 && lua_type(L, 1) == LUA_TNUMBER)
    earliest(&o, rl_deadline_at(L, 1));
  else if (opts != 1 && !lua_isnil(L, 1) && !parent)
    return rl_type_error(L, 1, "parent (done, channel, task, timer or number) or options");
  rl_handle *h = rl_handle_new(L, RL_H_DONE);
  rl_done *d = make_below(parent ? parent : &S->program->background->event.src);
  if (!d) return no_memory(L);
  rl_handle_fill(L, S, h, &d->event.src.obj, RL_MAY_WATCH);
  if (o.name && !(d->name = strdup(o.name))) return no_memory(L);
  encode_options(L, S, &o, d);
  open_cancel(L, S, d);
  if (!rl_done_start(d, o.own)) return luaL_error(L, "cannot arm a timer: no memory or no thread");
  return 2;
}

/* cancel */

static rl_done *check_cancel(lua_State *L, rl_state **S) {
  return (rl_done *)rl_handle_check(L, S, 1, RL_H_CANCEL);
}

/***
Fires the done.
Idempotent: the first cause wins. Also runs at the end of the scope that declares it `<close>`.
@function cancel
@param[opt] cause any value that can cross
@raise when the cause cannot cross
*/
static int cancel_call(lua_State *L) {
  rl_state *S;
  rl_done *d = check_cancel(L, &S);
  rl_msg cause = {.tag = RL_MSG_NONE};
  if (!lua_isnoneornil(L, 2)) rl_encode(L, S, 2, "cause", &cause);
  rl_done_poll(d);
  rl_done_fire(d, RL_CANCELED, &cause);
  rl_msg_drop(&cause); /* when it came too late */
  return 0;
}

static int cancel_scope_end(lua_State *L) {
  rl_done *d = check_cancel(L, NULL);
  rl_done_poll(d);
  rl_done_fire(d, RL_CANCELED, NULL);
  return 0;
}

static int push_text(lua_State *L, rl_done *d, const char *type) {
  const char *state = rl_done_fired(d) ? rl_why_text(d->why) : "open";
  if (d->name)
    lua_pushfstring(L, "%s \"%s\" (%s)", type, d->name, state);
  else
    lua_pushfstring(L, "%s (%s): %p", type, state, (void *)d);
  return 1;
}

static int cancel_tostring(lua_State *L) {
  return push_text(L, check_cancel(L, NULL), "cancel");
}

/* done */

static int done_tostring(lua_State *L) {
  return push_text(L, check(L, NULL), "done");
}

/***
Has it fired, and why?
@function done:err
@treturn string|nil `"canceled"`, `"deadline exceeded"`, or `nil` while it has not fired
*/
static int done_err(lua_State *L) {
  rl_done *d = check(L, NULL);
  if (rl_done_poll(d))
    lua_pushstring(L, rl_why_text(d->why));
  else
    lua_pushnil(L);
  return 1;
}

/***
The cause given, or else the error.
@function done:cause
@return any value; `nil` while it has not fired
*/
static int done_cause(lua_State *L) {
  rl_state *S;
  rl_done *d = check(L, &S);
  if (rl_done_poll(d))
    rl_push_fired(L, S, &d->event);
  else
    lua_pushnil(L);
  return 1;
}

/***
Raises the cause if it has fired: for loops that compute.
@function done:check
@raise the cause
*/
static int done_check(lua_State *L) {
  rl_state *S;
  rl_done *d = check(L, &S);
  if (!rl_done_poll(d)) return 0;
  rl_push_fired(L, S, &d->event);
  return lua_error(L);
}

/***
The earliest deadline on the path to the root; that of `rille.all` is the latest of its inputs', where all have one.
@function done:deadline
@treturn number|nil on the clock of `rille.now`; `nil` without one
*/
static int done_deadline(lua_State *L) {
  rl_done *d = check(L, NULL);
  if (d->deadline == INFINITY) return lua_pushnil(L), 1;
  lua_pushnumber(L, d->deadline);
  return 1;
}

/***
How long until that deadline.
@function done:remaining
@treturn number|nil seconds, not below 0; `nil` without a deadline
*/
static int done_remaining(lua_State *L) {
  rl_done *d = check(L, NULL);
  if (d->deadline == INFINITY) return lua_pushnil(L), 1;
  double left = d->deadline - rl_time();
  lua_pushnumber(L, left > 0 ? left : 0);
  return 1;
}

/***
The name given in the options.
@function done:name
@treturn string|nil
*/
static int done_name(lua_State *L) {
  lua_pushstring(L, check(L, NULL)->name);
  return 1;
}

/* Pushes the values of the done whose handle is on top, decoded once per state and kept with the handle. */
static void push_values(lua_State *L, rl_state *S, rl_done *d) {
  if (lua_getiuservalue(L, -1, 1) != LUA_TNIL) return;
  lua_pop(L, 1);
  rl_receive_copy(L, S, &d->values, &d->event.src.obj);
  if (!lua_istable(L, -1)) /* by a __transfer, or a module that has changed */
    luaL_error(L, "values must be a table, and came as %s", luaL_typename(L, -1));
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, 1);
}

/* Replaces the handle on top, of `d`, by that of `above`, and makes it keep that one and so its decoded values. */
static void climb(lua_State *L, rl_state *S, rl_done *d, rl_done *above) {
  rl_handle_push(L, S, &above->event.src.obj, RL_MAY_WATCH);
  for (; d != above; d = d->values_from) rl_object_copied(&d->event.src.obj);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, 2);
  lua_remove(L, -2);
}

/***
A value, looked up here and then in the parents.
@function done:value
@param key of the table `values`
@return the value, or `nil`. Tables are copies of what was given, one for each state
*/
static int done_value(lua_State *L) {
  rl_state *S;
  rl_done *of = check(L, &S);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  for (rl_done *d = of; d; d = d->values_from) {
    if (d->values.tag == RL_MSG_NONE) continue;
    if (d != of) climb(L, S, of, d);
    of = d;
    push_values(L, S, d);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
    lua_pop(L, 2);
  }
  lua_pushnil(L);
  return 1;
}

static int wait_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Waits until it fires.
@function done:wait
@tparam[opt] done other what cuts the wait short
@treturn boolean `true`
@treturn nil,string,any when `other` fired first: `nil`, its error and cause
*/
static int done_wait(lua_State *L) {
  rl_state *S;
  rl_done *d = check(L, &S);
  rl_wait *W = rl_wait_begin(S->wait, "wait");
  rl_wait_guard(L, S, 2);
  rl_wait_add(W, RL_CASE_WATCH, &d->event.src);
  return rl_wait_for(L, S, wait_finish);
}

/***
A done with the same values that nothing cancels: Go's `context.WithoutCancel`.
@function done:detached
@treturn done
*/
static int done_detached(lua_State *L) {
  rl_state *S;
  rl_done *from = check(L, &S);
  rl_handle *h = rl_handle_new(L, RL_H_DONE);
  rl_done *d = rl_done_make(NULL);
  if (!d) return no_memory(L);
  rl_retain(&from->event.src.obj);
  d->values_from = from;
  rl_handle_fill(L, S, h, &d->event.src.obj, RL_MAY_WATCH);
  return 1;
}

/* any and all */

static void check_inputs(lua_State *L, int n) {
  for (int i = 1; i <= n; i++)
    if (lua_toboolean(L, i) && lua_type(L, i) != LUA_TNUMBER && !rl_wait_source(L, i))
      rl_type_error(L, i, "done, channel, task, timer or number");
    else if (lua_type(L, i) == LUA_TNUMBER)
      rl_deadline_at(L, i);
}

/* A number among the inputs becomes a done with that timeout; it replaces it on the stack. */
static void number_to_done(lua_State *L, rl_state *S, int idx) {
  double at = rl_deadline_at(L, idx);
  rl_handle *h = rl_handle_new(L, RL_H_DONE);
  rl_done *d = rl_done_make(NULL);
  if (!d) no_memory(L);
  rl_handle_fill(L, S, h, &d->event.src.obj, RL_MAY_WATCH);
  if (!rl_done_start(d, at)) luaL_error(L, "cannot arm a timer: no memory or no thread");
  lua_replace(L, idx);
}

typedef struct maker {
  rl_done *(*make)(unsigned n);
  void (*input)(rl_done *d, unsigned i, rl_source *on);
} maker;

/* Values are looked up through the first input that is a done. */
static rl_done *first_done(lua_State *L, int n) {
  for (int i = 1; i <= n; i++)
    if (rl_handle_as(L, i, RL_H_DONE)) return (rl_done *)rl_wait_source(L, i);
  return NULL;
}

static int combine(lua_State *L, const maker *m) {
  rl_state *S = rl_self(L);
  int n = lua_gettop(L);
  rl_done *from = first_done(L, n); /* before numbers become dones, too */
  luaL_checkstack(L, 8, "too many inputs");
  for (int i = 1; i <= n; i++)
    if (lua_type(L, i) == LUA_TNUMBER) number_to_done(L, S, i);
  rl_handle *h = rl_handle_new(L, RL_H_DONE);
  rl_done *d = m->make((unsigned)n);
  if (!d) return no_memory(L);
  rl_handle_fill(L, S, h, &d->event.src.obj, RL_MAY_WATCH);
  for (int i = 1; i <= n; i++) m->input(d, (unsigned)i - 1, rl_wait_source(L, i));
  if (from) rl_retain(&from->event.src.obj);
  d->values_from = from;
  rl_done_start(d, INFINITY);
  return 1;
}

/***
The or-channel: fires when any of its inputs does.
A channel by being closed or by a value, a done, a task by ending, a timer, a number of seconds. A value that is
delivered is received and becomes the cause, so it is not lost. Error and cause are those of the input that fired.
No task and no tree: one registration for each input, all withdrawn when it fires or is collected. The
recursive `or` of the Go books, at a constant cost for each input.
@function rille.any
@param ... inputs; `nil` and `false` never fire
@treturn done of no input `rille.background`, of one done that done itself
@raise on anything else, with the argument named
@usage
local stop, quit = rille.chan(), rille.done()
stop:close()
assert(rille.any(stop, quit, 60):err() == "canceled")
*/
static int rille_any(lua_State *L) {
  static const maker any = {rl_any_make, rl_any_input};
  rl_state *S = rl_self(L);
  int n = lua_gettop(L);
  rl_handle_alive(L, S);
  check_inputs(L, n);
  if (n == 0) return rl_handle_push(L, S, &S->program->background->event.src.obj, RL_MAY_WATCH), 1;
  if (n == 1 && rl_handle_as(L, 1, RL_H_DONE)) return 1;
  return combine(L, &any);
}

/***
Fires when all of its inputs have; with none, at once.
Error and cause are those of the last one.
@function rille.all
@param ... inputs, as for `rille.any`; `nil` and `false` never fire
@treturn done
@raise on anything else, with the argument named
*/
static int rille_all(lua_State *L) {
  static const maker all = {rl_all_make, rl_all_input};
  rl_handle_alive(L, rl_self(L));
  check_inputs(L, lua_gettop(L));
  return combine(L, &all);
}

/* For the modules of Lua, which check their arguments before anything has happened. */
static int stands_for_done(lua_State *L) {
  lua_pushboolean(L, lua_type(L, 1) == LUA_TNUMBER || rl_wait_source(L, 1) != NULL);
  return 1;
}

const luaL_Reg rl_done_methods[] = {
    {"err", done_err},           {"cause", done_cause},         {"check", done_check},
    {"deadline", done_deadline}, {"remaining", done_remaining}, {"value", done_value},
    {"wait", done_wait},         {"detached", done_detached},   {"name", done_name},
    {"after", rl_done_after},    {"__tostring", done_tostring}, {NULL, NULL}};

const luaL_Reg rl_cancel_methods[] = {{"__call", cancel_call},
                                      {"__close", cancel_scope_end},
                                      {"__tostring", cancel_tostring},
                                      {NULL, NULL}};

/***
The root: never fires, has no values.
At the end of the program, after the main program has ended, it fires, and all its descendants with it.
@field rille.background
*/
void rl_open_done(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"done", rille_done},
                                       {"any", rille_any},
                                       {"all", rille_all},
                                       {"_stands_for_done", stands_for_done},
                                       {NULL, NULL}};
  rl_setfuncs(L, S, functions);
  rl_handle_push(L, S, &S->program->background->event.src.obj, RL_MAY_WATCH);
  lua_setfield(L, -2, "background");
}

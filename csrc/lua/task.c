/*
** task: starting, running and joining tasks. A worker calls `run`: it resumes the task's Lua state
** until that has parked, given up its turn, or ended.
*/
/***
Tasks.
A task runs a function in a Lua state of its own, on a native thread for as long as it runs. While it
waits it gives the thread back and costs memory only. Tasks are Go's goroutines with a handle: it can be
waited for, and it has results.

    local rille = require "rille"
    local task = rille.go(function(a, b) return a + b end, 1, 2)
    print(task:await())  --> 3

The function, its upvalues and its arguments cross to the new state as one message, the results and
the error come back likewise: see [transfer](transfer.md). Globals stay behind. To Lua a task's body is
what a main program is: `coroutine.yield` in it raises, `coroutine.isyieldable()` is false. Its own
coroutines work as ever, and a wait in one of them parks the whole task. Where Lua cannot yield
(in the comparator of `table.sort`, a callback of `string.gsub`, a metamethod called from C, `require`) a
wait blocks the thread instead, and other threads take over what else is runnable.

A task that computes gives way after about 10 ms, sooner where a crowd waits, if others wait to run: as many as like share the threads, one for each core, and
none starves. Whatever a task blocks in outside of Rille, a C library or `os.execute`, it keeps a thread for;
a monitor adds threads so that others go on. So it does where a task computes and Lua cannot yield, or
has set a hook for lines or instructions by `debug.sethook`.

An error that nobody takes, by `join` or `await`, is written to stderr with its traceback when
the task's last handle goes or the program ends: it is never lost.
@module tasks
*/

#include "core/task.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/after.h"
#include "core/interrupt.h"
#include "lua/inspect.h"
#include "lua/interrupt.h"
#include "lua/log.h"
#include "lua/member.h"
#include "lua/transfer.h"

/* Running */

/* The names of globals that the starter has, separated by zeros. */
static bool starter_has(rl_state *S, const char *name, size_t len) {
  rl_blob *g = S->globals;
  for (size_t i = 0; g && i < g->size; i += strlen((const char *)g->data + i) + 1) {
    const char *known = (const char *)g->data + i;
    if (strlen(known) == len && memcmp(known, name, len) == 0) return true;
  }
  return false;
}

/* Lua's messages on nil globals end in "(global 'name')". Adds a note when the starter has it. */
static void note_global(lua_State *L, rl_state *S) {
  static const char mark[] = "(global '";
  const char *msg = lua_tostring(L, 1), *name = strstr(msg, mark), *end;
  if (!name || !(end = strchr(name += sizeof mark - 1, '\''))) return;
  if (!starter_has(S, name, (size_t)(end - name))) return;
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "\nnote: the task's starter has a global '");
  lua_pushlstring(L, name, (size_t)(end - name));
  lua_pushliteral(L, "', but globals stay behind: pass it as an argument or capture it as a local");
  lua_concat(L, 4);
  lua_replace(L, 1);
}

static int on_error(lua_State *L) {
  rl_state *S = rl_state_of_task(L);
  lua_settop(L, 1);
  if (lua_type(L, 1) == LUA_TSTRING) note_global(L, S);
  luaL_traceback(L, L, NULL, 1);
  free(S->task->traceback);
  S->task->traceback = strdup(lua_tostring(L, -1));
  lua_settop(L, 1);
  return 1;
}

/* What no instruction has come to, after a call of a C function, is raised last. */
static int body_done(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  rl_state *S = rl_state_of_task(L);
  if (rl_interrupt_pending(S->task) & RL_PENDING_REASON) rl_interrupt_raise(L, S);
  return lua_gettop(L);
}

/* Decodes the call and makes it. */
static int body(lua_State *L) {
  rl_state *S = rl_state_of_task(L);
  int n = rl_receive(L, S, &S->task->call);
  rl_interrupt_begin(L, S);
  if (lua_type(L, 1) == LUA_TSTRING) {
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TFUNCTION)
      return luaL_error(L, "module '%s' yields no function", lua_tostring(L, 1));
    lua_replace(L, 1);
  }
  lua_callk(L, n - 1, LUA_MULTRET, 0, body_done);
  return body_done(L, LUA_OK, 0);
}

/* The handler stays below the results or the error: there may be no room to push anything. */
static int main_done(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  rl_state_of_task(L)->succeeded = status == LUA_OK || status == LUA_YIELD;
  return lua_gettop(L);
}

int rl_task_main(lua_State *L) {
  lua_pushcfunction(L, on_error);
  lua_pushcfunction(L, body);
  return main_done(L, lua_pcallk(L, 0, LUA_MULTRET, 1, 0, main_done), 0);
}

/* Ending */

/* These are called outside any protection of Lua's, so they go through call_with: it allocates
   nothing itself. Their first argument is the state record. */

static int encode_results(lua_State *L) {
  rl_state *S = lua_touserdata(L, 1);
  rl_encode_results(L, S, 2, lua_gettop(L) - 1, &S->task->outcome);
  return 0;
}

static int encode_error(lua_State *L) {
  rl_state *S = lua_touserdata(L, 1);
  rl_encode(L, S, 2, "error", &S->task->outcome);
  return 0;
}

/* What the report says if nobody takes the error; nothing when it has failed only as it was unwound. */
static int complain(lua_State *L) {
  rl_state *S = lua_touserdata(L, 1);
  const char *text = luaL_tolstring(L, 2, NULL);
  if (!S->unwound || !strstr(text, S->unwound)) S->task->complaint = strdup(text);
  return 0;
}

/* Calls f(S, the values from `from` on), protected. On failure the error takes their place. */
static bool call_with(lua_State *L, rl_state *S, lua_CFunction f, int from) {
  int n = lua_gettop(L) - from + 1;
  lua_pushcfunction(L, f);
  lua_pushlightuserdata(L, S);
  lua_rotate(L, from, 2);
  return lua_pcall(L, n + 1, 0, 0) == LUA_OK;
}

static bool call_with_error(lua_State *L, rl_state *S, lua_CFunction f, int err) {
  lua_settop(L, err);
  lua_pushvalue(L, err);
  return call_with(L, S, f, err + 1);
}

/* The error is on top. For one that cannot cross goes the error that says so. */
static void fail_with(lua_State *L, rl_state *S) {
  int err = lua_gettop(L);
  if (!call_with_error(L, S, complain, err))
    S->task->complaint = strdup("(an error that cannot be printed)");
  if (!call_with_error(L, S, encode_error, err)) call_with(L, S, encode_error, err + 1);
}

/* Sets outcome and complaint from what the resume left; true: failed. */
static bool settle(lua_State *L, rl_state *S, int status) {
  rl_msg_drop(&S->task->call);              /* if it failed before it took that */
  if (status != LUA_OK) lua_resetthread(L); /* leaves the error on top */
  if (!lua_checkstack(L, LUA_MINSTACK)) {
    S->task->complaint = strdup("not enough memory");
    return true;
  }
  bool refused = status == LUA_OK && S->succeeded && rl_member_refused(L, S);
  if (refused) lua_settop(L, 3);
  if (status == LUA_OK && S->succeeded && !refused &&
      (rl_encode_small_results(L, 2, lua_gettop(L) - 1, &S->task->outcome) ||
       call_with(L, S, encode_results, 2)))
    return false;
  fail_with(L, S);
  return true;
}

static void finish(rl_task *t, rl_state *S, int status) {
  bool failed = settle(S->L, S, status);
  rl_member *m = rl_member_end(S, failed);
  rl_state_close(S); /* finalizers run before anybody sees the task ended */
  rl_task_end(t, failed);
  rl_member_ended(m);
}

/* Tells that a task which has parked runs again; it may also be new, or have given up its turn. */
static void log_resumed(rl_task *t, rl_state *S) {
  if (rl_logging() && atomic_load_explicit(&t->state, memory_order_relaxed) == RL_WAITING)
    rl_log_woken(S);
}

/* Runs the state until it yields or ends. */
static void run(rl_fiber *f) {
  rl_task *t = rl_task_of(f);
  rl_state *S = t->binding;
  rl_assert(S, "a task that has ended was made runnable");
  log_resumed(t, S);
  atomic_store_explicit(&t->state, RL_RUNNING, memory_order_release);
  if (!S->L && !rl_state_begin(S)) {
    t->complaint = strdup("not enough memory");
    rl_msg_drop(&t->call);
    rl_member *m = rl_member_end(S, true);
    rl_state_close(S);
    rl_task_end(t, true);
    rl_member_ended(m);
    return;
  }
  for (;;) {
    int n;
    S->parking = S->requeue = false;
    if (rl_interrupt_pending(t)) rl_interrupt_arm(S);
    rl_interrupt_here = S;
    int status = lua_resume(S->L, NULL, 0, &n);
    rl_interrupt_here = NULL;
    if (S->armed) rl_interrupt_disarm(S);
    if (status != LUA_YIELD) {
      finish(t, S, status);
      return;
    }
    if (!S->parking) {
      atomic_store_explicit(&t->state, RL_RUNNABLE, memory_order_release);
      rl_sched_requeue(f);
      return;
    }
    rl_sched_parked();
    rl_log_wait(S, RL_LOG_WAITING);
    atomic_store_explicit(&t->state, RL_WAITING, memory_order_release);
    if (rl_waiter_park(&t->waiter)) return;
    log_resumed(t, S);
    atomic_store_explicit(&t->state, RL_RUNNING, memory_order_release);
  }
}

/* Starting */

typedef struct options {
  int at; /* the argument that they are for the caller */
  const char *name;
  size_t memory;
  bool pinned, daemon;
} options;

static bool flag(lua_State *L, const options *o, const char *key) {
  if (lua_type(L, -1) != LUA_TBOOLEAN)
    luaL_argerror(L, o->at, lua_pushfstring(L, "option '%s' must be a boolean", key));
  return lua_toboolean(L, -1);
}

static size_t memory_option(lua_State *L, const options *o) {
  int whole;
  lua_Integer n = lua_tointegerx(L, -1, &whole);
  if (lua_type(L, -1) != LUA_TNUMBER || !whole || n <= 0)
    luaL_argerror(L, o->at, "option 'memory' must be a number of bytes");
  return (size_t)n;
}

static void set_option(lua_State *L, options *o, const char *key) {
  if (strcmp(key, "name") == 0) {
    if (lua_type(L, -1) != LUA_TSTRING) luaL_argerror(L, o->at, "option 'name' must be a string");
    o->name = lua_tostring(L, -1); /* stays alive in the table */
  } else if (strcmp(key, "memory") == 0) {
    o->memory = memory_option(L, o);
  } else if (strcmp(key, "pinned") == 0) {
    o->pinned = flag(L, o, key);
  } else if (strcmp(key, "daemon") == 0) {
    o->daemon = flag(L, o, key);
  } else {
    luaL_argerror(L, o->at, lua_pushfstring(L, "unknown option '%s'", key));
  }
}

static void take_options(lua_State *L, int idx, options *o) {
  for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) luaL_argerror(L, o->at, "option names must be strings");
    set_option(L, o, lua_tostring(L, -2));
  }
}

static void check_function(lua_State *L, int idx) {
  int type = lua_type(L, idx);
  if (type != LUA_TFUNCTION && type != LUA_TSTRING)
    luaL_typeerror(L, idx, "function or module name");
}

/* A task that is not started, its call encoded: the function at `first` and all above it; `level` is that of
   who starts it. Pushes its handle; the caller has a count. */
static rl_task *make_task(lua_State *L, rl_state *S, int level, int first, const options *o) {
  char started[LUA_IDSIZE + 16];
  rl_msg call = {.tag = RL_MSG_NONE};
  int n = lua_gettop(L) - first + 1;
  rl_place(L, level, started, sizeof started);
  rl_blob *paths = rl_state_paths(L, S), *globals = rl_state_globals(L, S); /* S owns them */
  rl_handle *h = rl_handle_new(L, RL_H_TASK);
  rl_encode_call(L, S, first, n, &call);
  rl_task *t = rl_task_make(S->program, o->name, started, &call);
  if (!t) {
    rl_msg_drop(&call);
    luaL_error(L, "not enough memory");
  }
  t->pinned = o->pinned;
  t->daemon = o->daemon;
  t->binding = rl_state_make(t, paths, globals, o->memory);
  t->discard = rl_state_discard;
  bool made = t->binding != NULL;
  rl_handle_fill(L, S, h, &t->end.src.obj, RL_MAY_JOIN);
  if (!made) luaL_error(L, "not enough memory"); /* the handle's end will be the task's */
  rl_retain(&t->end.src.obj);
  return t;
}

/* NULL, or why not. */
static const char *join_group(rl_task *t, rl_gate *group) {
  rl_grant *h = rl_grant_make(&t->owner);
  if (!h) return "not enough memory";
  if (rl_gate_promise(group, 1)) return rl_grant_shared(&t->owner, h, group, 1), NULL;
  free(h);
  return "waitgroup counter too large";
}

static void may_start(lua_State *L, rl_state *S) {
  rl_handle_alive(L, S);
  if (atomic_load_explicit(&S->program->over, memory_order_acquire))
    luaL_error(L, "cannot start a task: the program has ended");
}

/* The options, if there are any, the function and its arguments stand from `first` on; `level` is that of who starts it.
   A wait group gets what the task holds of it from its start to its end. */
static int start(lua_State *L, rl_state *S, int level, int first, rl_gate *group) {
  options o = {.at = first};
  may_start(L, S);
  if (lua_istable(L, first)) take_options(L, first++, &o);
  check_function(L, first);
  rl_task *t = make_task(L, S, level, first, &o);
  const char *why = group ? join_group(t, group) : NULL;
  if (!why && !rl_task_start(t, run)) {
    rl_owner_end(&t->owner);
    why = "cannot start a thread";
  }
  rl_release(&t->end.src.obj);
  return why ? luaL_error(L, "%s", why) : 1;
}

/***
Starts a task.
Dropping the handle does not stop the task. The default for its name is the place that started it.
From Go's `go` statement; the handle, the results and the options are ours.
@function rille.go
@tparam[opt] table opts `name` (string); `memory` (integer, the bytes the task's state may allocate: past
them this task alone fails with `not enough memory`); `pinned` (boolean: it keeps one OS thread for its
whole life, for libraries with thread affinity); `daemon` (boolean: it may be left waiting at
exit without a report)
@tparam function|string fn a Lua function, or the name of a module whose `require` yields one
@param ... its arguments
@treturn task its handle
@raise on a bad option or `fn`, with the argument named; `cannot send ...` with the path when something cannot
cross, and then nothing was started; when no thread can be made; when the program has ended
@usage
local task = rille.go({ name = "greeter" }, function(who)
  return "hello " .. who
end, "moon")
print(task:name(), task:await())  --> greeter  hello moon
*/
static int rille_go(lua_State *L) {
  return start(L, rl_self(L), 1, 1, NULL);
}

/***
Starts a task that is one more thing to do, and is done when it ends, however it does.
Go's `WaitGroup.Go`. An error of the task is its own, as that of one started with `rille.go`: it is reported unless somebody takes it.
@function waitgroup:go
@tparam[opt] table opts as for `rille.go`
@tparam function|string fn as for `rille.go`
@param ... its arguments
@treturn task its handle
@raise as `rille.go`, and then nothing was added
*/
int rl_waitgroup_go(lua_State *L) {
  rl_state *S;
  rl_gate *g = (rl_gate *)rl_handle_check(L, &S, 1, RL_H_WAITGROUP);
  return start(L, S, 1, 2, g);
}

/* rille._go([opts,] fn, ...): as rille.go, started by who has called into the modules of the caller's folder. */
static int rille_go_inside(lua_State *L) {
  return start(L, rl_self(L), rl_member_starter(L), 1, NULL);
}

/* rille._member(crew, tasks, place, [opts,] fn, ...): starts a member of a group. Before it can run, its handle
   is at `tasks[place]`, so whatever happens to the caller the group has it; when it raises there is `false`. */
static int rille_member(lua_State *L) {
  rl_state *S = rl_self(L);
  options o = {.at = 1};
  lua_Integer place = luaL_checkinteger(L, 3);
  int first = lua_istable(L, 4) ? 5 : 4;
  may_start(L, S);
  if (first == 5) take_options(L, 4, &o);
  check_function(L, first);
  lua_pushboolean(L, 0);
  lua_rawseti(L, 2, place); /* later this takes no memory */
  rl_task *t = make_task(L, S, rl_member_starter(L), first, &o);
  bool joined = rl_member_join(L, 1, t, place);
  if (joined) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, place);
  }
  bool ok = joined && rl_task_start(t, run);
  rl_release(&t->end.src.obj);
  if (ok) return 1;
  lua_pushboolean(L, 0);
  lua_rawseti(L, 2, place);
  return luaL_error(L, joined ? "cannot start a thread" : "not enough memory");
}

void rl_task_serve(lua_State *L, rl_state *S, int first, const char *name) {
  options o = {.name = name, .daemon = true};
  may_start(L, S);
  rl_task *t = make_task(L, S, 1, first, &o);
  t->unlogged = true;
  bool ok = rl_task_start(t, run);
  rl_release(&t->end.src.obj);
  if (!ok) luaL_error(L, "cannot start a thread");
}

/***
Starts a task when the done fires; at once, if it has fired: Go's `context.AfterFunc`.
The task is encoded now.
@function done:after
@tparam function|string fn as for `rille.go`
@param ... its arguments
@treturn stop a callable: `stop()` says whether it prevented the task; a second time, and once the task has been started, `false`
@raise as `rille.go`
@usage
local done, cancel = rille.done()
local stop = done:after(print, "stopped")
assert(stop() == true)
cancel()
*/
int rl_done_after(lua_State *L) {
  rl_state *S;
  rl_done *on = (rl_done *)rl_handle_check(L, &S, 1, RL_H_DONE);
  options o = {.at = 0};
  check_function(L, 2);
  rl_handle *h = rl_handle_new(L, RL_H_STOP);
  lua_insert(L, 1);
  rl_task *t = make_task(L, S, 1, 3, &o);
  rl_after *a = rl_after_make(on, t, run);
  if (!a) {
    rl_release(&t->end.src.obj);
    return luaL_error(L, "not enough memory");
  }
  lua_settop(L, 1);
  rl_handle_fill(L, S, h, rl_after_object(a), RL_MAY_FIRE);
  rl_done_poll(on);
  rl_after_watch(a); /* last: when memory ran out before, nothing was started */
  return 1;
}

static int stop_call(lua_State *L) {
  rl_object *o = rl_handle_check(L, NULL, 1, RL_H_STOP);
  bool listens = o->kind == RL_CHAN; /* to events: see log */
  lua_pushboolean(L, listens ? rl_log_stop((rl_chan *)o) : rl_after_stop(rl_after_of(o)));
  return 1;
}

/* Handles */

static rl_task *check(lua_State *L, rl_state **S) {
  return (rl_task *)rl_handle_check(L, S, 1, RL_H_TASK);
}

static void take(rl_task *t) {
  atomic_store_explicit(&t->taken, true, memory_order_relaxed);
}

static bool failed(rl_task *t) {
  return atomic_load_explicit(&t->state, memory_order_acquire) == RL_FAILED;
}

/* The task a wait's last case was for. */
static rl_task *joined(rl_state *S) {
  return (rl_task *)S->wait->cases[S->wait->n - 1].node.on;
}

static int receive_outcome(lua_State *L, rl_state *S, rl_task *t) {
  return rl_receive_copy(L, S, &t->outcome, &t->end.src.obj);
}

static void push_outcome_error(lua_State *L, rl_state *S, rl_task *t) {
  if (t->outcome.tag == RL_MSG_NONE || receive_outcome(L, S, t) == 0)
    lua_pushstring(L, t->complaint ? t->complaint : "not enough memory");
}

/* rille._failure(task) -> rank, late, err: the how manieth of its group's failures its own was, whether
   the group's done had fired before, and its error, which is not taken by this; nil: it has not failed as a member. */
static int rille_failure(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_task *t = (rl_task *)rl_handle_check(L, NULL, 1, RL_H_TASK);
  if (rl_task_status(t) != RL_FAILED || t->rank == 0) return 0;
  lua_pushinteger(L, t->rank);
  lua_pushboolean(L, t->late);
  push_outcome_error(L, S, t);
  return 3;
}

static int join_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  rl_task *t = joined(S);
  take(t);
  lua_pushboolean(L, !failed(t));
  if (!failed(t)) return 1 + receive_outcome(L, S, t);
  push_outcome_error(L, S, t);
  return 2;
}

static int await_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) {
    rl_push_cut_short(L, S, st);
    lua_pop(L, 1); /* the cause */
    return lua_error(L);
  }
  rl_task *t = joined(S);
  take(t);
  if (!failed(t)) return receive_outcome(L, S, t);
  push_outcome_error(L, S, t);
  return lua_error(L);
}

static int wait_end(lua_State *L, rl_finish then) {
  rl_state *S;
  rl_task *t = check(L, &S);
  if (t == S->task) return luaL_argerror(L, 1, "a task cannot wait for itself");
  rl_wait *W = rl_wait_begin(S->wait, "join");
  rl_wait_guard(L, S, 2);
  rl_wait_add(W, RL_CASE_WATCH, &t->end.src);
  return rl_wait_for(L, S, then);
}

/***
Waits until the task has ended.
Repeatable, by as many as like: results are kept. After Python's and Rust's `join`, with the errors of `pcall`.
@function task:join
@tparam[opt] done done what cuts the wait short: a [done](done.md) or what may stand for one
@treturn boolean,... `true` and the results, or `false` and the error as it was raised
@treturn nil,string,any when `done` fired first: `nil`, `"canceled"` or `"deadline exceeded"`, and the cause
@raise when a task waits for itself
@usage
local ok, err = rille.go(error, "lost"):join()
assert(ok == false and err == "lost")
assert(rille.go(rille.sleep, 60):join(0.01) == nil)
*/
static int task_join(lua_State *L) {
  return wait_end(L, join_finish);
}

/***
Waits until the task has ended, for its results alone.
@function task:await
@tparam[opt] done done what cuts the wait short
@return the results
@raise what the task raised, as it was raised, its traceback kept (see `task:traceback`); the done's error,
`"canceled"` or `"deadline exceeded"`, when `done` fired first
*/
static int task_await(lua_State *L) {
  return wait_end(L, await_finish);
}

/***
Where the task failed.
@function task:traceback
@treturn string|nil the traceback of its error; `nil` while it runs, or when it ended well
*/
static int task_traceback(lua_State *L) {
  rl_task *t = check(L, NULL);
  lua_pushstring(L, rl_task_status(t) == RL_FAILED ? t->traceback : NULL);
  return 1;
}

/***
The name given, or else the place that started the task.
@function task:name
@treturn string "file:line" by default
*/
static int task_name(lua_State *L) {
  lua_pushstring(L, check(L, NULL)->name);
  return 1;
}

/***
A number that no other task of the process has.
@function task:id
@treturn integer
*/
static int task_id(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check(L, NULL)->id);
  return 1;
}

/***
Raises an error in the task.
It is raised once for each call, at the task's next wait or instruction: a wait ends at once with nothing sent or
received; a loop without any wait is interrupted too, within some milliseconds; so is what runs in the task's
coroutines. A task that has not begun fails as it begins. A call of a C function is not interrupted, but raises as it
returns. The error is one like others: `pcall` catches it, and `<close>` variables run, and may wait.
Reasons of several calls are raised in their order, one after the other as the task comes to run.
A task may interrupt itself. From Python's `task.cancel` and Erlang's `exit`; the reason is ours.
@function task:interrupt
@param[opt="interrupted"] reason what is raised, as it is: any value but `nil` that can cross; by default the string `"interrupted"` behind the
place where the task is, as in other errors
@treturn boolean `true`, or `false` when the task had ended
@raise `cannot send ...` with the path, from "reason" on, when the reason cannot cross, and then nothing has happened; out of memory
@usage
local task = rille.go(function()
  while true do end
end)
assert(task:interrupt("enough"))
local ok, err = task:join()
assert(ok == false and err == "enough")
assert(task:interrupt() == false)
*/
static int task_interrupt(lua_State *L) {
  rl_state *S;
  rl_msg reason = {.tag = RL_MSG_NONE};
  rl_task *t = check(L, &S);
  if (!lua_isnoneornil(L, 2)) rl_encode(L, S, 2, "reason", &reason);
  rl_status st = rl_interrupt_send(t, &reason);
  rl_msg_drop(&reason);
  if (st == RL_NO_MEMORY) return luaL_error(L, "not enough memory");
  if (st == RL_OK && t == S->task) rl_interrupt_arm(S);
  lua_pushboolean(L, st == RL_OK);
  return 1;
}

static const char *const state_names[RL_TASK_STATES] = {"runnable", "running", "waiting",
                                                        "finished", "failed"};

const char *rl_task_status_name(rl_task *t) {
  return state_names[rl_task_status(t)];
}

/***
What the task is doing.
@function task:status
@treturn string `"runnable"`, `"running"`, `"waiting"`, `"finished"` or `"failed"`
@treturn string|nil for a waiting task, on what: the operation and the name of its object, as "recv jobs"
*/
static int task_status(lua_State *L) {
  rl_task *t = check(L, NULL);
  rl_sight see;
  rl_task_state s;
  while ((s = rl_task_status(t)) == RL_WAITING && !rl_inspect_task(t, false, &see)) sched_yield();
  lua_pushstring(L, state_names[s]);
  if (s != RL_WAITING) return 1;
  if (see.on[0])
    lua_pushfstring(L, "%s %s", see.op, see.on);
  else
    lua_pushstring(L, see.op);
  return 2;
}

static int task_tostring(lua_State *L) {
  rl_task *t = check(L, NULL);
  lua_pushfstring(L, "task %I \"%s\" (%s)", (LUAI_UACINT)t->id, t->name,
                  state_names[rl_task_status(t)]);
  return 1;
}

/* The running task */

/***
The running task.
@function rille.self
@treturn task|nil its handle; `nil` on the main program
*/
static int rille_self(lua_State *L) {
  rl_state *S = rl_self(L);
  if (S->task)
    rl_handle_push(L, S, &S->task->end.src.obj, RL_MAY_JOIN);
  else
    lua_pushnil(L);
  return 1;
}

static int nothing_k(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 0;
}

/***
Lets other runnable tasks run.
Go's `runtime.Gosched`. Nobody needs to call it: waits give way by themselves, and a task that computes
keeps no other from its thread for long.
@function rille.yield
*/
static int rille_yield(lua_State *L) {
  return rl_give_turn(L, rl_self(L), nothing_k);
}

const luaL_Reg rl_task_methods[] = {{"join", task_join},
                                    {"await", task_await},
                                    {"traceback", task_traceback},
                                    {"name", task_name},
                                    {"id", task_id},
                                    {"status", task_status},
                                    {"interrupt", task_interrupt},
                                    {"__tostring", task_tostring},
                                    {NULL, NULL}};

const luaL_Reg rl_stop_methods[] = {{"__call", stop_call}, {NULL, NULL}};

void rl_open_task(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"go", rille_go},
                                       {"self", rille_self},
                                       {"yield", rille_yield},
                                       {"_member", rille_member},
                                       {"_go", rille_go_inside},
                                       {"_failure", rille_failure},
                                       {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

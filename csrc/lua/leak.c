/*
** leak: the tasks as Lua sees them, those that leaked, unwinding these, and the report at a program's end.
*/
/***
Leaks.
A task leaks when it waits and nothing that lives can ever wake it: no running task, main program, timer or signal
holds, by whatever path, what it waits for. In Go it would stay for ever, unseen. Here it is found, named,
and can be unwound. See [Leaks](../leaks.md) for the rule, what it can and cannot see, and the usual mistakes.

A task is described by a plain table:

- `id` (integer), `name` (string), `status` (as `task:status`), `daemon` (boolean),
- `started` ("file:line" of the `rille.go`), `age` (seconds since then),
- `waiting`: `nil`, or a table of `op` (`"recv"`, `"send"`, `"select"`, `"join"`, `"wait"`, `"sleep"`,
`"lock"`, `"rlock"`, `"acquire"`), `on` (the name of
what it waits on, or what and where it is; of a select, all; `nil` for a sleep), `at` ("file:line" of the wait),
- `traceback` (string), of a task that waits.

At the end of the main program, the tasks that are still waiting, and that nothing outside of it could wake, are reported
on stderr, unless they were started as `daemon`. The environment variable `RILLE_LEAKS` says what else becomes of them:
`report` (the default) does nothing else; `ignore` hides them; `fail` makes the exit code 1, unless `os.exit`
gave one; `collect` unwinds them as `rille.collect` does, without a report.
@module leaks
*/
#include "core/leak.h"

#include <string.h>

#include "lua/inspect.h"
#include "lua/log.h"

/* What is held while tables are made, so that nothing is lost when memory runs out. */
typedef struct box {
  rl_verdict v;
  rl_sight sight;
} box;

static int box_gc(lua_State *L) {
  box *b = lua_touserdata(L, 1);
  rl_verdict_drop(&b->v);
  rl_sight_drop(&b->sight);
  return 0;
}

static box *push_box(lua_State *L, rl_state *S) {
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  if (luaL_newmetatable(L, "rille.verdict")) {
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
  }
  S->has_finalizers = true;
  lua_setmetatable(L, -2);
  return b;
}

static void set_string(lua_State *L, const char *key, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, key);
}

static void push_waiting(lua_State *L, const rl_sight *s) {
  lua_createtable(L, 0, 3);
  set_string(L, "op", s->op);
  if (s->on[0]) set_string(L, "on", s->on);
  set_string(L, "at", s->at);
}

/* Pushes the table that describes a task. */
static void push_task(lua_State *L, box *b, rl_task *t) {
  const char *status = rl_task_status_name(t);
  bool waits = rl_inspect_task(t, true, &b->sight);
  if (waits)
    status = "waiting";
  else if (strcmp(status, "waiting") == 0) /* its wait has just been decided */
    status = "runnable";
  lua_createtable(L, 0, 8);
  lua_pushinteger(L, (lua_Integer)t->id);
  lua_setfield(L, -2, "id");
  set_string(L, "name", t->name);
  set_string(L, "status", status);
  set_string(L, "started", t->started);
  lua_pushboolean(L, t->daemon);
  lua_setfield(L, -2, "daemon");
  lua_pushnumber(L, rl_now() - t->since);
  lua_setfield(L, -2, "age");
  if (!waits) return;
  push_waiting(L, &b->sight);
  lua_setfield(L, -2, "waiting");
  set_string(L, "traceback", b->sight.traceback);
  rl_sight_drop(&b->sight);
}

/* (box) -> the list of all in it, the oldest first, as they were listed the newest first. */
static int make_list(lua_State *L) {
  box *b = lua_touserdata(L, 1);
  lua_createtable(L, b->v.n < 1000 ? (int)b->v.n : 0, 0);
  lua_Integer n = 0;
  for (unsigned i = b->v.n; i-- > 0;) {
    if (rl_task_ended(b->v.leaked[i].task)) continue;
    push_task(L, b, b->v.leaked[i].task);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* Pushes that list. Nothing of it is garbage: the collector would look through it again and again in vain. */
static int push_list(lua_State *L, box *b) {
  bool collects = lua_gc(L, LUA_GCISRUNNING) == 1;
  lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, make_list);
  lua_pushlightuserdata(L, b);
  int failed = lua_pcall(L, 1, 1, 0);
  if (collects) lua_gc(L, LUA_GCRESTART);
  if (failed) return lua_error(L);
  rl_verdict_drop(&b->v);
  return 1;
}

/***
The tasks of this program that have not ended, the oldest first.
@function rille.tasks
@treturn table a list of tables, as described above
@usage
rille.go({ name = "reader" }, function() rille.chan(0, "jobs"):recv() end)
rille.sleep(0.01)
for _, t in ipairs(rille.tasks()) do
  print(t.name, t.status, t.waiting and t.waiting.op, t.waiting and t.waiting.on)  --> reader  waiting  recv  jobs
end
*/
static int rille_tasks(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_handle_alive(L, S);
  box *b = push_box(L, S);
  if (!rl_verdict_all(S->program, &b->v)) return luaL_error(L, "not enough memory");
  return push_list(L, b);
}

/* The caller's garbage first; what a finalizer has held goes with the second round. */
static void find(lua_State *L, rl_state *S, box *b) {
  rl_handle_alive(L, S);
  rl_may_wait(L, S);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);
  rl_leak_question q = {S->program, RL_MAIN_RUNS, &S->holder, rl_state_owner(S), true};
  if (!rl_leak_find(&q, &rl_state_inspector, &b->v)) luaL_error(L, "not enough memory");
  rl_log_leaks(&b->v, true);
}

/***
Those that nothing live can ever wake.
Garbage in the caller's and in waiting states is collected first, so that a handle nobody can reach hides no
leak. The verdict is never wrong; what it cannot see, as a task that runs just now, it takes for alive. From Go 1.26's goroutine
leak profile, in which they stay.
@function rille.leaks
@treturn table a list of tables, as described above, the oldest first
@raise in a finalizer; out of memory
@usage
rille.go({ name = "forgotten" }, function() rille.chan(0, "answers"):recv() end)
rille.sleep(0.01)
local leak = rille.leaks()[1]
print(leak.name, leak.waiting.op, leak.waiting.on)  --> forgotten  recv  answers
*/
static int rille_leaks(lua_State *L) {
  rl_state *S = rl_self(L);
  box *b = push_box(L, S);
  find(L, S, b);
  return push_list(L, b);
}

/* Unwinding */

static bool never(const void *of) {
  (void)of;
  return false;
}

/***
Unwinds the tasks that leaked.
The wait of each raises `leaked`, once; its `<close>` variables and what it has deferred run, and may wait; its state is closed and
its memory returns. Who catches the error and waits again for what nobody can give leaks again, and is unwound the next time.
Waits until they have ended, or are at rest again, as long as that makes progress.
Also gives back what hangs on nothing but itself, such as a channel in its own buffer that nobody has any more.
@function rille.collect
@treturn integer how many were unwound
@raise in a finalizer; out of memory
@usage
rille.go(function() rille.chan():recv() end)
rille.sleep(0.01)
assert(rille.collect() == 1 and #rille.tasks() == 0)
*/
static int rille_collect(lua_State *L) {
  rl_state *S = rl_self(L);
  box *b = push_box(L, S);
  find(L, S, b);
  unsigned n = rl_leak_unwind(&b->v);
  rl_blocked me = {.asleep = never};
  if (S->task) rl_sched_block(&me);
  rl_leak_await_rest(&b->v);
  if (S->task) rl_sched_unblock(&me);
  rl_verdict_drop(&b->v);
  lua_pushinteger(L, n);
  return 1;
}

/* Tells each leak once: a task that catches `leaked` and waits again may leak again. */
static const char watch[] = "local fn, every, stop = ...\n"
                            "local rille = require 'rille'\n"
                            "local told = {}\n"
                            "while true do\n"
                            "  local _, why = stop:recv(every)\n"
                            "  if why ~= 'deadline exceeded' then return end\n"
                            "  local news, seen = {}, {}\n"
                            "  for _, leak in ipairs(rille.leaks()) do\n"
                            "    local key = leak.id .. ' ' .. leak.waiting.at\n"
                            "    if not told[key] then table.insert(news, leak) end\n"
                            "    seen[key] = true\n"
                            "  end\n"
                            "  told = seen\n"
                            "  if #news > 0 then fn(news) end\n"
                            "end";

/***
Looks for leaks from time to time, and calls a function with those that are new.
It crosses to a task of its own, as with `rille.go`: its upvalues are copies. An error in the function ends it, and is
reported like any that nobody takes.
@function rille.on_leak
@tparam function fn called with a list of tables, as `rille.leaks` gives; it may call `rille.collect`
@tparam[opt=1] number every seconds between two looks, above 0
@treturn stop a callable: `stop()` ends it, and says whether it had not been ended yet
@raise on what is no function, or no number above 0; `cannot send ...` with the path of an upvalue that cannot cross
@usage
local stop = rille.on_leak(function(leaks)
  for _, leak in ipairs(leaks) do io.stderr:write(leak.name, " leaked at ", leak.waiting.at, "\n") end
end, 0.1)
stop()
*/
static int rille_on_leak(lua_State *L) {
  rl_state *S = rl_self(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TNUMBER);
  lua_Number every = luaL_optnumber(L, 2, 1);
  luaL_argcheck(L, every > 0, 2, "a number of seconds above 0 expected");
  rl_handle_alive(L, S);
  rl_handle *h = rl_handle_new(L, RL_H_CHAN);
  rl_chan *c = rl_chan_make(0, "on_leak");
  if (!c) return luaL_error(L, "not enough memory");
  rl_handle_fill(L, S, h, &c->src.obj, RL_MAY_RECV | RL_MAY_SEND);
  int stop = lua_gettop(L);
  if (luaL_loadbuffer(L, watch, sizeof watch - 1, "=rille.on_leak") != LUA_OK) lua_error(L);
  lua_pushvalue(L, 1);
  lua_pushnumber(L, every);
  rl_handle_push(L, S, &c->src.obj, RL_MAY_RECV);
  rl_task_serve(L, S, stop + 1, "rille.on_leak");
  rl_handle_push(L, S, &c->src.obj, RL_MAY_FIRE);
  return 1;
}

static void count_unended(rl_task *t, void *n) {
  if (!rl_task_ended(t)) ++*(unsigned *)n;
}

/* Internal: is a thread still at letting go of a task that has ended? Then its error may yet be reported. */
static int rille_ending(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_handle_alive(L, S);
  unsigned live = atomic_load(&S->program->live), n = 0;
  rl_program_each(S->program, count_unended, &n);
  lua_pushboolean(L, live > n);
  return 1;
}

void rl_open_leak(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"tasks", rille_tasks},     {"leaks", rille_leaks},
                                       {"collect", rille_collect}, {"on_leak", rille_on_leak},
                                       {"_ending", rille_ending},  {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

/*
** log: on_event, whose handlers are tasks that receive events from a channel; and the events that the
** binding tells, as it knows where a task waits.
*/
/***
The log.
What happens to the tasks of a program can be followed as it happens. With `RILLE_LOG=tasks` in the environment each event is
written to stderr, as a line that goes out in one piece:

`rille: 12.345678 task 7 "name" waiting: recv jobs at file:line`

`rille.on_event` calls a function with each event, as a table:

- `event`: `"started"`; `"waiting"`, when it begins a wait that does not end at once, and `"woken"`, when it goes
on after one; `"finished"` or `"failed"`; `"interrupted"`, when an error is raised in it from outside; `"leaked"`, when it
is found that nothing can wake it any more, and `"collected"`, when it is unwound for that,
- `id`, `name`: of the task,
- `at`: "file:line", of its start for `started`, `finished` and `failed`, else of the wait,
- `time`: on the clock `rille.now()`; events come in the order of their times,
- `duration`: in seconds, how long it lived for `finished` and `failed`, how long it has waited for the others (about, if the
wait began before anybody listened); `nil` for `started` and `waiting`,
- `op`, `on`: of a wait, as in [`rille.tasks()`](leaks.md),
- `dropped`: how many events were lost right before this one; `nil` if none was.

The main program is no task: nothing is told of it. Nothing is made of an event that nobody asked for.
@module log
*/
#include "lua/log.h"

#include "lua/inspect.h"
#include "lua/transfer.h"

/* Telling */

static bool ended_from_outside(rl_status st) {
  return st >= RL_INTERRUPTED && st <= RL_DEADLOCK;
}

/* `s`: of a wait, or of no more than a place. */
static void tell(rl_log_kind kind, rl_task *t, const rl_sight *s, rl_log_event *e) {
  *e = (rl_log_event){.kind = kind, .task = t, .at = s->at, .op = s->op, .since = s->since};
  if (s->on[0]) e->on = s->on;
  rl_log(e);
}

void rl_log_wait_slow(rl_state *S, rl_log_kind kind) {
  rl_sight s;
  rl_log_event e;
  if (!S->task) return;
  rl_see_wait(S, false, &s);
  if (kind == RL_LOG_WAITING) s.since = 0;
  tell(kind, S->task, &s, &e);
  if (kind == RL_LOG_WAITING) S->wait->since = e.time;
}

void rl_log_woken_slow(rl_state *S) {
  if (!ended_from_outside(S->wait->waiter->status)) rl_log_wait_slow(S, RL_LOG_WOKEN);
}

void rl_log_here_slow(lua_State *L, rl_state *S, rl_log_kind kind) {
  rl_sight s = {.op = NULL};
  rl_log_event e;
  if (!S->task) return;
  rl_place(L, 0, s.at, sizeof s.at);
  tell(kind, S->task, &s, &e);
}

/* True: it still is in the wait that is a leak, which was not told yet. */
static bool see_leak(const rl_leaked *l, rl_sight *s) {
  rl_task *t = l->task;
  if (!rl_waiter_inspect(&t->waiter)) return false;
  bool news = rl_waiter_turn(&t->waiter) == l->turn && t->leak_told != l->turn;
  if (news) {
    t->leak_told = l->turn;
    rl_see_wait(t->binding, false, s);
  }
  rl_waiter_release(&t->waiter);
  return news;
}

void rl_log_leaks_slow(const rl_verdict *v, bool daemons) {
  rl_sight s;
  rl_log_event e;
  for (unsigned i = v->n; i-- > 0;) {
    const rl_leaked *l = &v->leaked[i];
    if ((daemons || !l->task->daemon) && see_leak(l, &s)) tell(RL_LOG_LEAKED, l->task, &s, &e);
  }
}

/* Listening */

enum { BUFFER = 4096 };

/* The task of a handler. Closing the channel, when `fn` raises, ends the telling. */
static const char listen[] = "local fn, ch = ...\n"
                             "local events <close> = ch\n"
                             "for event in events do fn(event) end";

static rl_field string_field(const char *key, const char *s) {
  return (rl_field){.key = key, .type = RL_FIELD_STRING, .u.s = s};
}

static rl_field integer_field(const char *key, uint64_t i) {
  return (rl_field){.key = key, .type = RL_FIELD_INTEGER, .u.i = i};
}

static rl_field number_field(const char *key, double n) {
  return (rl_field){.key = key, .type = RL_FIELD_NUMBER, .u.n = n};
}

static bool encode(const rl_log_event *e, rl_msg *out) {
  rl_field f[9];
  unsigned n = 0;
  f[n++] = string_field("event", rl_log_names[e->kind]);
  f[n++] = integer_field("id", e->task->id);
  f[n++] = string_field("name", e->task->name);
  f[n++] = string_field("at", e->at);
  f[n++] = number_field("time", e->time);
  if (e->duration >= 0) f[n++] = number_field("duration", e->duration);
  if (e->op) f[n++] = string_field("op", e->op);
  if (e->on) f[n++] = string_field("on", e->on);
  if (e->dropped) f[n++] = integer_field("dropped", e->dropped);
  return rl_encode_record(f, n, out);
}

/* Pushes a new channel. */
static rl_chan *make_chan(lua_State *L, rl_state *S) {
  rl_handle *h = rl_handle_new(L, RL_H_CHAN);
  rl_chan *c = rl_chan_make(BUFFER, "rille.on_event");
  if (!c) luaL_error(L, "not enough memory");
  rl_handle_fill(L, S, h, &c->src.obj, RL_MAY_RECV | RL_MAY_SEND);
  return c;
}

bool rl_log_stop(rl_chan *c) {
  bool stopped = rl_chan_close(c) == RL_OK;
  if (stopped) rl_log_forget(NULL);
  return stopped;
}

/***
Calls a function for each event, from now on.
It crosses to a task of its own, as with `rille.go`: its upvalues are copies, and to tell what it has seen it
sends to a channel. It gets the events in order, from a buffer of 4,096. When that is full, events are dropped, so
nothing that runs ever waits for it. There may be several such functions; their own tasks are not reported, but
those they start are.

An error in the function ends it, and is reported like any that nobody takes. At the end of the program
it gets what lies in the buffer, within the moment that running tasks have.
@function rille.on_event
@tparam function fn called with each event; it may wait
@treturn stop a callable: `stop()` ends it once it has got what happened before, and says whether it had not been ended
yet; it crosses to other tasks
@raise on what is no function; `cannot send ...` with the path of an upvalue that cannot cross; when no thread can
be made; when the program has ended
@usage
local waits = rille.chan(100)
local stop = rille.on_event(function(event)
  if event.event == "waiting" then waits:send(event.op .. " at " .. event.at) end
end)
rille.go(rille.sleep, 0.01):join()
print(waits:recv())
stop()
*/
static int rille_on_event(lua_State *L) {
  rl_state *S = rl_self(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  rl_handle_alive(L, S);
  lua_settop(L, 1);
  rl_chan *c = make_chan(L, S);
  rl_handle_push(L, S, &c->src.obj, RL_MAY_FIRE);
  lua_rotate(L, 1, 1); /* stop, fn, channel */
  if (luaL_loadbuffer(L, listen, sizeof listen - 1, "=rille.on_event") != LUA_OK) lua_error(L);
  lua_insert(L, 2);
  rl_task_serve(L, S, 2, "rille.on_event");
  if (!rl_log_to(S->program, c, encode)) {
    rl_chan_close(c); /* which ends the task */
    return luaL_error(L, "not enough memory");
  }
  lua_settop(L, 1);
  return 1;
}

void rl_open_log(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"on_event", rille_on_event}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

/*
** testing: what rille.testing needs of the core: the virtual clock, whose holder is a userdata that puts the
** real one back however it is left, the wait for tasks started meanwhile, and the list of who waits.
*/
#include <stdio.h>
#include <stdlib.h>

#include "core/timer.h"
#include "lua/inspect.h"
#include "lua/report.h"

#define CLOCK "rille.testing.clock"

typedef struct virtual_clock {
  bool taken;
  double since; /* tasks started after this, in real time, are awaited */
  rl_task
      *runner; /* counted: its waiter is looked at while the clock is taken; NULL: a main program */
  rl_task *awaited; /* counted */
} virtual_clock;

/* Who waits where */

/* Of those that run, as what raises does, there is nothing to say. */
static void write_wait(FILE *f, const char *who, const rl_sight *s) {
  if (!s->op) return;
  fprintf(f, "\n\t%s: waits in ", who);
  rl_sight_write(s, f);
}

static void write_all(FILE *f, rl_state *S) {
  rl_sight s;
  rl_see_wait(S, false, &s);
  write_wait(f, S->task ? "this task" : "main program", &s);
  if (S->task && rl_inspect_main(S->program, false, &s)) write_wait(f, "main program", &s);
  rl_report_waiting(f, S->program);
}

int rl_testing_stalled(lua_State *L, rl_state *S) {
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (f) {
    fputs("deadlock: all wait, and no timer is armed", f);
    write_all(f, S);
    fclose(f);
  }
  lua_pushstring(L, text ? text : "deadlock");
  free(text);
  return lua_error(L);
}

/* The clock */

static virtual_clock *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLOCK);
}

static void drop(rl_task **t) {
  if (*t) rl_release(&(*t)->end.src.obj);
  *t = NULL;
}

/* Also its __close and __gc: whichever comes first. */
static int clock_release(lua_State *L) {
  virtual_clock *c = check(L);
  if (c->taken) rl_time_release();
  c->taken = false;
  drop(&c->runner);
  drop(&c->awaited);
  return 0;
}

static void find_left(rl_task *t, void *ud) {
  virtual_clock *c = ud;
  if (c->awaited || t == c->runner || t->daemon || t->since <= c->since || rl_task_ended(t)) return;
  if (rl_try_retain(&t->end.src.obj)) c->awaited = t;
}

static int awaited(lua_State *L, rl_state *S, rl_status st) {
  (void)S;
  (void)st;
  lua_pushboolean(L, 1);
  return 1;
}

/* clock:await() waits for one of the tasks started since, and returns true; false when none is left. Nothing of it
   is taken: an error that nobody has seen is still reported. */
static int clock_await(lua_State *L) {
  virtual_clock *c = check(L);
  rl_state *S = rl_self(L);
  drop(&c->awaited);
  rl_program_each(S->program, find_left, c);
  if (!c->awaited) {
    lua_pushboolean(L, 0);
    return 1;
  }
  rl_wait *W = rl_wait_begin(S->wait, "join");
  rl_wait_add(W, RL_CASE_WATCH, &c->awaited->end.src);
  return rl_wait_for(L, S, awaited);
}

/* NULL, or why not. */
static const char *take(rl_state *S, virtual_clock *c) {
  switch (rl_time_take(S->wait->waiter, &S->program->waiter)) {
  case RL_TIME_TAKEN: return "the clock is virtual already: runs cannot be nested";
  case RL_TIME_NO_THREAD: return "cannot start a thread";
  case RL_TIME_OK: break;
  }
  c->taken = true;
  c->runner = S->task;
  if (c->runner) rl_retain(&c->runner->end.src.obj);
  return NULL;
}

/* Makes the clock virtual; returns what is to be closed, or nil and why it cannot. */
static int testing_clock(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"await", clock_await}, {"__close", clock_release}, {"__gc", clock_release}, {NULL, NULL}};
  rl_state *S = rl_self(L);
  rl_handle_alive(L, S);
  virtual_clock *c = lua_newuserdatauv(L, sizeof *c, 0);
  *c = (virtual_clock){.taken = false, .since = rl_now()};
  if (luaL_newmetatable(L, CLOCK)) {
    rl_setfuncs(L, S, methods);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  S->has_finalizers = true;
  const char *why = take(S, c);
  if (!why) return 1;
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

void rl_open_testing(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"_clock", testing_clock}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

/*
** deadlock: found by the analysis of leaks, with the main program as one that waits like a task. It is asked for only
** when everything waits, and costs at most a thousandth of the time: the next look is a thousand times as far away as the
** last one took.
*/
#include "lua/deadlock.h"

#include <stdlib.h>

#include "lua/inspect.h"
#include "lua/log.h"
#include "lua/report.h"

static const double SHARE = 1000;

/* Only the one who was waited for then is ended. */
static void end_wait(rl_program *p, unsigned turn) {
  rl_waiter *w = &p->waiter;
  rl_wakes ws = {NULL, NULL};
  if (!rl_waiter_inspect(w)) return;
  if (rl_waiter_turn(w) == turn && rl_waiter_interrupt(w, RL_DEADLOCK)) rl_wakes_add(&ws, w);
  rl_waiter_release(w);
  rl_wake_all(&ws);
}

static void look(rl_program *p, rl_main_role role) {
  rl_leak_question q = {p, role, NULL, NULL, true};
  rl_verdict v;
  double start = rl_now();
  if (!rl_leak_find(&q, &rl_state_inspector, &v)) return;
  if (v.deadlock) end_wait(p, v.main_turn);
  if (role == RL_MAIN_RUNS) {
    rl_log_leaks(&v, true);
    rl_leak_unwind(&v);
  }
  rl_verdict_drop(&v);
  double now = rl_now();
  atomic_store_explicit(&p->look_at, now + (now - start) * SHARE, memory_order_relaxed);
}

/* Does it wait, without a deadline, and is all else quiet, too? */
static bool stuck(rl_program *p) {
  rl_blocked main = {.asleep = rl_waiter_asleep, .of = &p->waiter};
  return atomic_load(&p->patient) && rl_waiter_asleep(&p->waiter) && rl_sched_quiet(&main);
}

/* On a virtual clock all that happens next is up to the timers' thread. */
static bool clock_is_real(void) {
  return !atomic_load_explicit(&rl_time_stands, memory_order_acquire);
}

static double look_at_program(rl_program *p) {
  bool collects = rl_leaks_setting() == RL_LEAKS_COLLECT && atomic_load(&p->live) > 0;
  bool waits = stuck(p);
  if (!(waits || collects) || atomic_load(&p->over) || !clock_is_real()) return INFINITY;
  double early = atomic_load_explicit(&p->look_at, memory_order_relaxed) - rl_now();
  if (early > 0) return early;
  look(p, waits ? RL_MAIN_WAITS : RL_MAIN_RUNS);
  return INFINITY;
}

double rl_deadlock_look(void) {
  double again = INFINITY;
  for (rl_program *p = rl_programs(); p; p = p->next) {
    double in = look_at_program(p);
    if (in < again) again = in;
  }
  return again;
}

/* Without workers there are no tasks, and nobody else who could look. */
void rl_deadlock_look_first(rl_state *S) {
  rl_program *p = S->program;
  if (!stuck(p) || !clock_is_real()) return;
  if (rl_sched_count().workers == 0 || atomic_load(&p->look_at) <= rl_now())
    look(p, RL_MAIN_WAITS);
  else
    rl_sched_nudge(NULL);
}

void rl_deadlock_push(lua_State *L, rl_state *S) {
  char *text = NULL;
  size_t size = 0;
  rl_sight s;
  rl_see_wait(S, false, &s);
  FILE *f = open_memstream(&text, &size);
  if (f) {
    fputs("deadlock: nothing can wake the main program\n\tmain program: waits in ", f);
    rl_sight_write(&s, f);
    rl_report_waiting(f, S->program);
    fclose(f);
  }
  lua_pushstring(L, text ? text : "deadlock");
  free(text);
}

/*
** task: start, end, the list of a program. A task is in its program's list from its start until it is
** destroyed, that is until it has ended and nobody holds it any more.
*/
#include "core/task.h"

#include "core/interrupt.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/carrier.h"
#include "core/log.h"

static _Atomic(rl_program *) programs;
static atomic_uint_fast64_t last_id;

rl_program *rl_programs(void) {
  return atomic_load_explicit(&programs, memory_order_acquire);
}

rl_program *rl_program_make(void) {
  rl_program *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  rl_waiter_open(&p->waiter);
  p->background = rl_done_make(NULL);
  if (!p->background) return free(p), NULL;
  p->background->name = strdup("background"); /* without memory it has none */
  p->next = atomic_load_explicit(&programs, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&programs, &p->next, p, memory_order_release,
                                                memory_order_relaxed))
    continue;
  return p;
}

static void enlist(rl_task *t) {
  rl_program *p = t->program;
  rl_lock_take(&p->lock);
  t->prev = NULL;
  t->next = p->first;
  if (p->first) p->first->prev = t;
  p->first = t;
  rl_lock_leave(&p->lock);
}

static void delist(rl_task *t) {
  rl_program *p = t->program;
  if (!t->fiber.run) return; /* it was never started */
  rl_lock_take(&p->lock);
  if (t->prev)
    t->prev->next = t->next;
  else
    p->first = t->next;
  if (t->next) t->next->prev = t->prev;
  rl_lock_leave(&p->lock);
}

static void report(rl_task *t) {
  bool failed = atomic_load_explicit(&t->state, memory_order_relaxed) == RL_FAILED;
  if (!failed || atomic_load_explicit(&t->taken, memory_order_relaxed) || !t->complaint) return;
  fprintf(stderr, "rille: task %llu \"%s\", started at %s, failed: %s\n%s%s",
          (unsigned long long)t->id, t->name, t->started, t->complaint,
          t->traceback ? t->traceback : "", t->traceback ? "\n" : "");
  atomic_fetch_add_explicit(&t->program->untaken, 1, memory_order_relaxed);
}

static void destroy(rl_object *o) {
  rl_task *t = (rl_task *)o;
  delist(t);
  report(t);
  if (t->binding) t->discard(t->binding);
  rl_msg_drop(&t->outcome);
  rl_owner_end(&t->owner); /* of one that was not started */
  rl_waiter_close(&t->waiter);
  free(t->traceback);
  free(t->complaint);
  rl_event_clear(&t->end);
  free(t);
}

rl_task *rl_task_make(rl_program *p, const char *name, const char *started, rl_msg *call) {
  size_t place = strlen(started) + 1, own = name ? strlen(name) + 1 : 0;
  rl_task *t = calloc(1, sizeof *t + place + own);
  if (!t) return NULL;
  memcpy(t->started, started, place);
  if (name) memcpy(t->started + place, name, own);
  t->name = name ? t->started + place : t->started;
  rl_event_init(&t->end, RL_TASK, destroy);
  rl_waiter_open(&t->waiter);
  t->program = p;
  t->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
  rl_msg_move(&t->call, call);
  return t;
}

bool rl_task_start(rl_task *t, void (*run)(rl_fiber *)) {
  if (!rl_sched_start() || (t->pinned && !rl_sched_pin(&t->fiber))) return false;
  t->fiber.run = run;
  t->since = rl_now();
  enlist(t);
  rl_retain(&t->end.src.obj);
  atomic_fetch_add_explicit(&t->program->live, 1, memory_order_relaxed);
  if (rl_logging()) rl_log_task(RL_LOG_STARTED, t);
  rl_sched_ready(&t->fiber);
  return true;
}

/* Its counts go before the wakes: whoever has waited for the end, and then drops its handle, is the last to
   hold the task, and so its untaken error is reported there and then. */
void rl_task_end(rl_task *t, bool failed) {
  rl_program *p = t->program;
  rl_wakes ws = {NULL, NULL};
  if (t->fiber.pin) rl_sched_unpin(&t->fiber);
  rl_owner_end(&t->owner);
  rl_carry(&t->end.src.obj, &t->outcome);
  if (rl_logging()) rl_log_task(failed ? RL_LOG_FAILED : RL_LOG_FINISHED, t);
  atomic_store_explicit(&t->state, failed ? RL_FAILED : RL_FINISHED, memory_order_release);
  if (rl_interrupt_pending(t)) rl_interrupt_drop(t);
  rl_event_fire(&t->end, &ws);
  rl_release(&t->end.src.obj);
  rl_wake_all(&ws);
  atomic_fetch_sub_explicit(&p->live, 1, memory_order_release);
  if (!atomic_load_explicit(&p->over, memory_order_relaxed)) return;
  atomic_fetch_add_explicit(&p->bell, 1, memory_order_release);
  rl_futex_wake(&p->bell, 1);
}

bool rl_task_ended(rl_task *t) {
  return rl_event_fired(&t->end);
}

rl_task_state rl_task_status(rl_task *t) {
  rl_task_state s = (rl_task_state)atomic_load_explicit(&t->state, memory_order_acquire);
  unsigned word = atomic_load_explicit(&t->waiter.word, memory_order_acquire);
  if (s != RL_WAITING) return s;
  if (word & RL_W_WOKEN) return RL_RUNNABLE;
  return word & (RL_W_PARKED | RL_W_BLOCKED) ? RL_WAITING : RL_RUNNING; /* not yet: about to */
}

void rl_program_each(rl_program *p, void (*visit)(rl_task *t, void *ud), void *ud) {
  rl_lock_take(&p->lock);
  for (rl_task *t = p->first; t; t = t->next) visit(t, ud);
  rl_lock_leave(&p->lock);
}

static unsigned interrupt_all(rl_program *p, rl_wakes *ws) {
  unsigned n = 0;
  rl_lock_take(&p->lock);
  for (rl_task *t = p->first; t; t = t->next)
    if (rl_waiter_interrupt(&t->waiter, RL_ENDED)) {
      rl_wakes_add(ws, &t->waiter);
      n++;
    }
  rl_lock_leave(&p->lock);
  return n;
}

unsigned rl_program_interrupt(rl_program *p) {
  rl_wakes ws = {NULL, NULL};
  unsigned n = interrupt_all(p, &ws);
  rl_wake_all(&ws);
  return n;
}

/* How long tasks may run on after the main program's end, and how long unwinding may take. */
static const double MOMENT = 0.2;
static const double LOOK = 2e-3; /* between looks at what tasks do */

enum { GOING_ON, ENDING, ENDED };

static void count_busy(rl_task *t, void *ud) {
  rl_task_state s = rl_task_status(t);
  if (s == RL_RUNNING || s == RL_RUNNABLE) ++*(unsigned *)ud;
}

static bool busy(rl_program *p) {
  unsigned n = 0;
  rl_program_each(p, count_busy, &n);
  return n > atomic_load_explicit(&p->leaving, memory_order_relaxed);
}

static unsigned left(rl_program *p) {
  unsigned live = atomic_load_explicit(&p->live, memory_order_acquire);
  unsigned leaving = atomic_load_explicit(&p->leaving, memory_order_relaxed);
  return live > leaving ? live - leaving : 0;
}

/* Until a task ends, or for one look's time: that tasks have come to wait is no event. */
static void await_change(rl_program *p, unsigned bell) {
  rl_futex_wait(&p->bell, bell, rl_now() + LOOK);
}

static void give_moment(rl_program *p) {
  double until = rl_now() + MOMENT;
  while (busy(p) && rl_now() < until)
    await_change(p, atomic_load_explicit(&p->bell, memory_order_acquire));
}

/* The monitor's: those that run are to see what is pending. */
static bool poke_all(rl_chore *c) {
  rl_program *p = (rl_program *)(void *)((char *)c - offsetof(rl_program, poking));
  if (atomic_load(&p->ended) == ENDED || left(p) == 0) return true;
  rl_sched_poke_all();
  return false;
}

static void mark(rl_task *t) {
  atomic_fetch_or_explicit(&t->pending, RL_PENDING_END, memory_order_relaxed);
}

static void mark_any(rl_task *t, void *ud) {
  (void)ud;
  mark(t);
}

static void mark_busy(rl_task *t, void *ud) {
  rl_task_state s = rl_task_status(t);
  (void)ud;
  if (s == RL_RUNNING || s == RL_RUNNABLE) mark(t);
}

/* Those that run on although they had their moment. */
static void interrupt_busy(rl_program *p) {
  if (left(p) == 0) return;
  rl_program_each(p, mark_busy, NULL);
  p->poking.attend = poke_all;
  rl_sched_attend(&p->poking);
}

/* Those that are woken by the end have a part of that time for what they do then, before they are interrupted too. */
static void unwind(rl_program *p) {
  double now = rl_now(), until = now + MOMENT, patient = now + MOMENT / 4;
  do {
    unsigned bell = atomic_load_explicit(&p->bell, memory_order_acquire);
    rl_program_interrupt(p);
    if (rl_now() > patient) rl_program_each(p, mark_any, NULL);
    if (left(p) > 0) await_change(p, bell);
  } while (left(p) > 0 && rl_now() < until);
}

enum { MOST = 100 }; /* lines on abandoned tasks */

/* Those that are just not through with their end, of a great many, are not the cause. */
static void report_abandoned(rl_task *t, unsigned *n) {
  if (t->daemon || atomic_load_explicit(&t->leaving, memory_order_relaxed)) return;
  if (rl_task_status(t) != RL_RUNNING || ++*n > MOST) return;
  fprintf(stderr, "rille: task %llu \"%s\", started at %s, was abandoned: it did not end\n",
          (unsigned long long)t->id, t->name, t->started);
}

static void report_last(rl_task *t, void *ud) {
  if (!rl_task_ended(t)) {
    report_abandoned(t, ud);
    return;
  }
  report(t);
  atomic_store_explicit(&t->taken, true, memory_order_relaxed);
}

/* Whoever leaves the process before would cut the end short. A bound is kept even so: a signal handler may
   have come here, on top of the one that is at it. */
static void await_end(rl_program *p) {
  double until = rl_now() + 4 * MOMENT;
  while (atomic_load(&p->ended) != ENDED && rl_futex_wait(&p->ended, ENDING, until)) continue;
}

unsigned rl_program_end(rl_program *p, bool own) {
  unsigned was = GOING_ON;
  if (!atomic_compare_exchange_strong(&p->ended, &was, ENDING)) {
    await_end(p);
    return left(p);
  }
  give_moment(p);
  if (p->ending) p->ending(p, own);
  atomic_store(&p->over, true);
  interrupt_busy(p);
  rl_done_fire(p->background, RL_CANCELED, NULL);
  unwind(p);
  unsigned abandoned = 0;
  rl_program_each(p, report_last, &abandoned);
  if (abandoned > MOST) fprintf(stderr, "rille: and %u more\n", abandoned - MOST);
  atomic_store(&p->ended, ENDED);
  rl_futex_wake(&p->ended, INT_MAX);
  return left(p);
}

void rl_program_forget(rl_program *p) {
  atomic_store(&p->over, true);
  atomic_store(&p->ended, ENDED);
}

/*
** after: one watched case whose hook starts the task.
*/
#include "core/after.h"

#include <stdlib.h>

#include "core/carrier.h"

struct rl_after {
  rl_object obj;
  rl_waiter waiter; /* claimed: the task was started, or stopped */
  rl_case on;
  rl_task *task; /* counted, until started or stopped; the claimer's */
  void (*run)(rl_fiber *);
};

rl_after *rl_after_of(rl_object *o) {
  return (rl_after *)o; /* the object comes first */
}

/* By the claimer. At the end of the program nothing is started any more. */
static void start(rl_after *a) {
  rl_task *t = a->task;
  a->task = NULL;
  if (!atomic_load_explicit(&t->program->over, memory_order_acquire)) rl_task_start(t, a->run);
  rl_release(&t->end.src.obj);
}

static void fire(rl_waiter *w, rl_wakes *ws) {
  (void)ws;
  rl_after *a = rl_after_of(w->u.hook.owner);
  start(a);
  rl_release(&a->obj); /* it held itself */
}

static void destroy(rl_object *o) {
  rl_after *a = rl_after_of(o);
  rl_select_withdraw(&a->on, 1, NULL);
  if (a->task) rl_release(&a->task->end.src.obj);
  rl_release(&a->on.node.on->obj);
  free(a);
}

rl_after *rl_after_make(rl_done *on, rl_task *task, void (*run)(rl_fiber *)) {
  rl_after *a = malloc(sizeof *a);
  if (!a) return NULL;
  rl_object_init(&a->obj, RL_AFTER, destroy);
  a->task = task;
  a->run = run;
  rl_retain(&on->event.src.obj);
  rl_case_set(&a->on, RL_CASE_WATCH, &on->event.src);
  rl_waiter_open(&a->waiter);
  rl_waiter_hook(&a->waiter, &a->obj, fire);
  return a;
}

void rl_after_watch(rl_after *a) {
  unsigned won;
  rl_retain(&a->obj);      /* itself */
  rl_carrier_add(&a->obj); /* it holds its done too: that may hang on nothing else */
  if (rl_select(&a->waiter, &a->on, 1, RL_ORDERED, &won) == RL_PARK) return;
  rl_waiter_claim(&a->waiter, RL_FIRED, NULL); /* nobody contends: nothing was queued */
  rl_release(&a->obj);
  start(a);
  rl_release(&a->obj);
}

bool rl_after_stop(rl_after *a) {
  if (!rl_waiter_claim(&a->waiter, RL_INTERRUPTED, NULL)) return false;
  rl_select_withdraw(&a->on, 1, NULL);
  rl_release(&a->task->end.src.obj);
  a->task = NULL;
  rl_release(&a->obj); /* it held itself */
  rl_release(&a->obj); /* the claim's count */
  return true;
}

rl_done *rl_after_on(rl_after *a) {
  return (rl_done *)(void *)a->on.node.on;
}

rl_task *rl_after_task(rl_after *a) {
  return a->on.node.queue ? a->task : NULL;
}

bool rl_after_decided(rl_after *a) {
  return rl_waiter_claimed(&a->waiter);
}

rl_object *rl_after_object(rl_after *a) {
  return &a->obj;
}

/*
** after: one watched case whose hook starts the task.
*/
#include "core/after.h"

#include <stdlib.h>

struct rl_after {
  rl_object obj;
  rl_waiter waiter; /* claimed: the task was started, or stopped */
  rl_case on;
  rl_task *task; /* counted, until started or stopped; the claimer's */
  void (*run)(rl_fiber *);
  rl_after *prev, *next; /* in the list of those that wait; its lock */
};

/* Those that wait: nothing but its done need know of one, and that may hang on nothing else. */
static struct {
  rl_lock lock; /* all below; nothing is taken under it */
  rl_after *first;
  atomic_uint n;
} waiting;

rl_after *rl_after_of(rl_object *o) {
  return (rl_after *)o; /* the object comes first */
}

static void enlist(rl_after *a) {
  rl_lock_take(&waiting.lock);
  a->prev = NULL;
  a->next = waiting.first;
  if (a->next) a->next->prev = a;
  waiting.first = a;
  atomic_fetch_add_explicit(&waiting.n, 1, memory_order_relaxed);
  rl_lock_leave(&waiting.lock);
}

static void delist(rl_after *a) {
  rl_lock_take(&waiting.lock);
  if (a->next) a->next->prev = a->prev;
  if (a->prev)
    a->prev->next = a->next;
  else
    waiting.first = a->next;
  atomic_fetch_sub_explicit(&waiting.n, 1, memory_order_relaxed);
  rl_lock_leave(&waiting.lock);
}

unsigned rl_after_count(void) {
  return atomic_load_explicit(&waiting.n, memory_order_relaxed);
}

unsigned rl_after_list(rl_after **list, unsigned room) {
  unsigned n = 0;
  rl_lock_take(&waiting.lock);
  for (rl_after *a = waiting.first; a && n < room; a = a->next)
    if (rl_try_retain(&a->obj)) list[n++] = a;
  rl_lock_leave(&waiting.lock);
  return n;
}

/* By the claimer. At the end of the program nothing is started any more. */
static void start(rl_after *a) {
  rl_task *t = a->task;
  delist(a);
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
  rl_retain(&a->obj); /* itself */
  enlist(a);
  if (rl_select(&a->waiter, &a->on, 1, RL_ORDERED, &won) == RL_PARK) return;
  rl_waiter_claim(&a->waiter, RL_FIRED, NULL); /* nobody contends: nothing was queued */
  rl_release(&a->obj);
  start(a);
  rl_release(&a->obj);
}

bool rl_after_stop(rl_after *a) {
  if (!rl_waiter_claim(&a->waiter, RL_INTERRUPTED, NULL)) return false;
  rl_select_withdraw(&a->on, 1, NULL);
  delist(a);
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

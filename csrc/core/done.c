/*
** done: firing, watching, deadlines. Firing a tree is one flat loop over a list of wakes: a child
** is a hook in its parent's queue, and what it wakes joins the end of the list. Lock: src.lock
** protects the watchers; it is never held while another source's is taken.
*/
#include "core/done.h"

#include <math.h>
#include <stdlib.h>

static void nothing(rl_done *d) {
  (void)d;
}

static rl_done *no_input(rl_done *d) {
  (void)d;
  return NULL;
}

static void take_over(rl_done *d, rl_done *from) {
  rl_msg cause;
  rl_msg_share(&cause, &from->cause);
  if (!rl_done_fire(d, (rl_why)from->why, &cause)) rl_msg_drop(&cause);
}

/* Queues `n` for `w`; false: `on` has fired already. */
static bool watch(rl_done *on, rl_node *n, rl_waiter *w) {
  n->waiter = w;
  n->on = &on->src;
  n->msg = NULL;
  rl_lock_take(&on->src.lock);
  bool fired = rl_done_fired(on);
  if (!fired) rl_queue_add(&on->watchers, n);
  rl_lock_leave(&on->src.lock);
  return !fired;
}

/* Another thread has claimed `d` or what fires it, and is on its way: it waits for nobody, so this is
   short. */
static void await_fired(rl_done *d) {
  rl_waiter w;
  rl_node n;
  rl_waiter_open(&w);
  rl_waiter_thread(&w);
  if (watch(d, &n, &w)) rl_waiter_block(&w, NULL, NULL);
}

/* If the parent has fired already, the child fires now. */
static void parent_watch(rl_done *d) {
  rl_done_poll(d->parent);
  if (!watch(d->parent, &d->up, &d->self)) take_over(d, d->parent);
}

static void parent_withdraw(rl_done *d) {
  rl_lock_take(&d->parent->src.lock);
  rl_queue_remove(&d->up);
  rl_lock_leave(&d->parent->src.lock);
}

static rl_done *parent_earliest(rl_done *d) {
  return d->parent->deadline <= d->deadline ? d->parent : NULL;
}

static const rl_done_inputs no_inputs = {nothing, nothing, no_input};
static const rl_done_inputs parent_input = {parent_watch, parent_withdraw, parent_earliest};

/* Runs when the parent has fired: the child takes over error and cause. */
static void fire_from_parent(rl_waiter *w, rl_wakes *ws) {
  rl_done *d = (rl_done *)w->u.hook.owner;
  rl_msg cause;
  rl_msg_share(&cause, &d->parent->cause);
  rl_done_finish(d, (rl_why)d->parent->why, &cause, ws);
}

static rl_done *of_timer(rl_timer *t) {
  return (rl_done *)(void *)((char *)t - offsetof(rl_done, timer));
}

static bool claim_deadline(rl_timer *t) {
  return rl_waiter_claim(&of_timer(t)->self, RL_TIMEOUT, NULL);
}

static void fire_deadline(rl_timer *t, rl_wakes *ws) {
  rl_done *d = of_timer(t);
  rl_done_finish(d, RL_DEADLINE, &d->timeout_cause, ws);
  rl_wake_all(ws);
  rl_release(&d->src.obj); /* the claim's count */
}

void rl_done_init(rl_done *d, rl_kind kind, void (*destroy)(rl_object *)) {
  rl_object_init(&d->src.obj, kind, destroy);
  rl_lock_init(&d->src.lock);
  d->watchers.first = d->watchers.last = NULL;
  atomic_init(&d->fired, false);
  d->why = RL_CANCELED;
  d->timed = false;
  d->cause.tag = d->timeout_cause.tag = d->values.tag = RL_MSG_NONE;
  d->parent = d->values_from = NULL;
  d->up.queue = NULL;
  d->inputs = &no_inputs;
  d->deadline = INFINITY;
  d->name = NULL;
  rl_timer_init(&d->timer, claim_deadline, fire_deadline);
  rl_waiter_open(&d->self);
  rl_waiter_hook(&d->self, &d->src.obj, fire_from_parent);
}

void rl_done_clear(rl_done *d) {
  d->inputs->withdraw(d);
  if (d->timed) rl_timer_unset(&d->timer);
  rl_assert(d->watchers.first == NULL, "a destroyed done is still watched");
  rl_msg_drop(&d->cause);
  rl_msg_drop(&d->timeout_cause);
  rl_msg_drop(&d->values);
  free(d->name);
  if (d->parent) rl_release(&d->parent->src.obj);
  if (d->values_from) rl_release(&d->values_from->src.obj);
}

static void destroy(rl_object *o) {
  rl_done_clear((rl_done *)o);
  free(o);
}

void rl_done_below(rl_done *d, rl_done *parent) {
  rl_retain(&parent->src.obj);
  rl_retain(&parent->src.obj);
  d->parent = d->values_from = parent;
  d->inputs = &parent_input;
  d->deadline = parent->deadline;
}

rl_done *rl_done_make(rl_done *parent) {
  rl_done *d = malloc(sizeof *d);
  if (!d) return NULL;
  rl_done_init(d, RL_DONE, destroy);
  if (parent) rl_done_below(d, parent);
  return d;
}

bool rl_done_start(rl_done *d, double own) {
  d->timed = own < d->deadline;
  if (d->timed) d->deadline = own;
  d->inputs->start(d);
  if (!d->timed || rl_done_fired(d)) return true;
  if (own <= rl_now()) return rl_done_poll(d), true;
  bool ok = rl_timer_set(&d->timer, own);
  if (rl_done_fired(d)) rl_timer_unset(&d->timer); /* meanwhile, by an input */
  return ok;
}

void rl_done_finish(rl_done *d, rl_why why, rl_msg *cause, rl_wakes *ws) {
  d->why = (uint8_t)why;
  if (cause) rl_msg_move(&d->cause, cause);
  rl_lock_take(&d->src.lock);
  atomic_store_explicit(&d->fired, true, memory_order_release);
  rl_node *n;
  while ((n = d->watchers.first) != NULL) {
    rl_waiter *w = n->waiter;
    rl_queue_remove(n);
    if (rl_waiter_claim(w, RL_FIRED, n)) rl_wakes_add(ws, w);
  }
  rl_lock_leave(&d->src.lock);
  if (d->timed) rl_timer_unset(&d->timer);
  d->inputs->withdraw(d);
}

bool rl_done_fire(rl_done *d, rl_why why, rl_msg *cause) {
  if (!rl_waiter_claim(&d->self, RL_OK, NULL)) return await_fired(d), false;
  rl_wakes ws = {NULL, NULL};
  rl_done_finish(d, why, cause, &ws);
  rl_wake_all(&ws);
  rl_release(&d->src.obj); /* the claim's count */
  return true;
}

/* Makes `d`, whose deadline has passed, fire: by the one whose deadline it is, which fires all on the path,
   or by one that has fired already and has not yet come to what is below. */
static void fire_late(rl_done *d) {
  rl_done *from = d->inputs->earliest(d);
  for (; from && !rl_done_fired(from); from = d->inputs->earliest(d)) d = from;
  if (from)
    take_over(d, from);
  else
    rl_done_fire(d, RL_DEADLINE, &d->timeout_cause);
}

bool rl_done_poll(rl_done *d) {
  if (rl_done_fired(d)) return true;
  if (d->deadline == INFINITY) return false;
  if (rl_now() < d->deadline) return false;
  fire_late(d);
  await_fired(d); /* where another thread has fired on the path, it comes to `d` in a moment */
  return true;
}

const char *rl_why_text(uint8_t why) {
  return why == RL_DEADLINE ? "deadline exceeded" : "canceled";
}

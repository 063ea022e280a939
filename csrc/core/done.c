/*
** done: firing, watching, deadlines. Firing a tree is one flat loop over a list of wakes: a child
** is a hook in its parent's queue, and what it wakes joins the end of the list.
*/
#include "core/done.h"

#include <math.h>
#include <stdlib.h>

#include "core/carrier.h"

static void nothing(rl_done *d) {
  (void)d;
}

static rl_done *no_input(rl_done *d) {
  (void)d;
  return NULL;
}

rl_why rl_event_outcome(rl_event *e, rl_msg *cause) {
  rl_done *d = rl_done_of(e);
  cause->tag = RL_MSG_NONE;
  if (d) rl_msg_copy(cause, &d->cause, &e->src.obj);
  return d ? (rl_why)d->why : RL_CANCELED;
}

double rl_event_deadline(rl_event *e) {
  return rl_done_of(e) ? rl_done_of(e)->deadline : (double)INFINITY;
}

static void take_over(rl_done *d, rl_event *from) {
  rl_msg cause;
  rl_why why = rl_event_outcome(from, &cause);
  if (!rl_done_fire(d, why, &cause)) rl_msg_drop(&cause);
}

/* Another thread has claimed `d` or what fires it, and is on its way: it waits for nobody, so this is
   short. */
static void await_fired(rl_done *d) {
  rl_waiter w;
  rl_node n;
  rl_waiter_open(&w);
  rl_waiter_thread(&w);
  if (rl_event_watch(&d->event, &n, &w)) rl_waiter_block(&w, NULL, NULL);
}

/* If the parent has fired already, the child fires now. */
static void parent_watch(rl_done *d) {
  rl_event_poll(d->parent);
  if (!rl_event_watch(d->parent, &d->up, &d->self)) take_over(d, d->parent);
}

static void parent_withdraw(rl_done *d) {
  rl_event_unwatch(d->parent, &d->up);
}

static rl_done *parent_earliest(rl_done *d) {
  return rl_event_deadline(d->parent) <= d->deadline ? rl_done_of(d->parent) : NULL;
}

static unsigned none(rl_done *d, rl_input_visitor *visit, void *ud) {
  (void)d;
  (void)visit;
  (void)ud;
  return 1;
}

static unsigned parent_each(rl_done *d, rl_input_visitor *visit, void *ud) {
  visit(&d->parent->src, true, ud);
  return 1;
}

static const rl_done_inputs no_inputs = {nothing, nothing, no_input, none};
static const rl_done_inputs parent_input = {parent_watch, parent_withdraw, parent_earliest,
                                            parent_each};

/* Runs when the parent has fired: the child takes over error and cause. */
static void fire_from_parent(rl_waiter *w, rl_wakes *ws) {
  rl_done *d = (rl_done *)w->u.hook.owner;
  rl_msg cause;
  rl_why why = rl_event_outcome(d->parent, &cause);
  rl_done_finish(d, why, &cause, ws);
}

static rl_done *of_timer(rl_timer *t) {
  return (rl_done *)(void *)((char *)t - offsetof(rl_done, timer));
}

static bool claim_deadline(rl_timer *t) {
  return rl_waiter_claim(&of_timer(t)->self, RL_TIMEOUT, NULL);
}

static void fire_deadline(rl_timer *t, rl_wakes *ws) {
  rl_done *d = of_timer(t);
  rl_msg cause;
  rl_msg_share(&cause, &d->timeout_cause);
  rl_done_finish(d, RL_DEADLINE, &cause, ws);
  rl_wake_all(ws);
  rl_release(&d->event.src.obj); /* the claim's count */
}

void rl_done_init(rl_done *d, void (*destroy)(rl_object *)) {
  rl_event_init(&d->event, RL_DONE, destroy);
  d->why = RL_CANCELED;
  d->timed = d->foreign = false;
  d->cause.tag = d->timeout_cause.tag = d->values.tag = RL_MSG_NONE;
  d->parent = NULL;
  d->values_from = NULL;
  d->up.queue = NULL;
  d->inputs = &no_inputs;
  d->deadline = INFINITY;
  d->name = NULL;
  rl_timer_init(&d->timer, claim_deadline, fire_deadline);
  rl_waiter_open(&d->self);
  rl_waiter_hook(&d->self, &d->event.src.obj, fire_from_parent);
}

void rl_done_clear(rl_done *d) {
  d->inputs->withdraw(d);
  if (d->timed) rl_timer_unset(&d->timer);
  rl_event_clear(&d->event);
  rl_msg_drop(&d->cause);
  rl_msg_drop(&d->timeout_cause);
  rl_msg_drop(&d->values);
  free(d->name);
  if (d->parent) rl_release(&d->parent->src.obj);
  if (d->values_from) rl_release(&d->values_from->event.src.obj);
}

static void destroy(rl_object *o) {
  rl_done_clear((rl_done *)o);
  free(o);
}

void rl_done_below(rl_done *d, rl_event *parent) {
  rl_retain(&parent->src.obj);
  d->parent = parent;
  d->inputs = &parent_input;
  d->deadline = rl_event_deadline(parent);
  d->values_from = rl_done_of(parent);
  if (d->values_from) rl_retain(&parent->src.obj);
}

rl_done *rl_done_make(rl_event *parent) {
  rl_done *d = malloc(sizeof *d);
  if (!d) return NULL;
  rl_done_init(d, destroy);
  if (parent) rl_done_below(d, parent);
  return d;
}

bool rl_done_start(rl_done *d, double own) {
  d->timed = own < d->deadline;
  if (d->timed) d->deadline = own;
  d->inputs->start(d);
  if (!d->timed || rl_done_fired(d)) return true;
  if (own <= rl_time()) return rl_done_poll(d), true;
  bool ok = rl_timer_set(&d->timer, own);
  if (rl_done_fired(d)) rl_timer_unset(&d->timer); /* meanwhile, by an input */
  return ok;
}

void rl_done_finish(rl_done *d, rl_why why, rl_msg *cause, rl_wakes *ws) {
  d->why = (uint8_t)why;
  if (cause) {
    rl_carry(&d->event.src.obj, cause);
    rl_msg_move(&d->cause, cause);
  }
  rl_event_fire(&d->event, ws);
  if (d->timed) rl_timer_unset(&d->timer);
  d->inputs->withdraw(d);
}

/* False: it has been claimed already. */
static bool fire_unclaimed(rl_done *d, rl_why why, rl_msg *cause) {
  if (!rl_waiter_claim(&d->self, RL_OK, NULL)) return false;
  rl_wakes ws = {NULL, NULL};
  rl_done_finish(d, why, cause, &ws);
  rl_wake_all(&ws);
  rl_release(&d->event.src.obj); /* the claim's count */
  return true;
}

bool rl_done_fire(rl_done *d, rl_why why, rl_msg *cause) {
  if (fire_unclaimed(d, why, cause)) return true;
  await_fired(d);
  return false;
}

static void abandoned(rl_object *o) {
  fire_unclaimed((rl_done *)o, RL_CANCELED, NULL);
}

void rl_done_promise(rl_done *d) {
  d->event.src.obj.u.abandoned = abandoned;
}

/* Fires the one whose deadline it is that has passed for `d`, and so all on the path; unless one on it has fired
   already: then that is on its way to what is below. */
static void fire_late(rl_done *d) {
  rl_done *from;
  while ((from = d->inputs->earliest(d)) != NULL) {
    if (rl_done_fired(from)) return;
    d = from;
  }
  rl_msg cause;
  rl_msg_share(&cause, &d->timeout_cause);
  if (!rl_done_fire(d, RL_DEADLINE, &cause)) rl_msg_drop(&cause);
}

bool rl_done_poll(rl_done *d) {
  if (rl_done_fired(d)) return true;
  if (d->deadline == INFINITY) return false;
  if (rl_time() < d->deadline) return false;
  fire_late(d);
  await_fired(d); /* where another thread fires on the path, it comes to `d` in a moment */
  return true;
}

const char *rl_why_text(uint8_t why) {
  return why == RL_DEADLINE ? "deadline exceeded" : "canceled";
}

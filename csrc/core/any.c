/*
** any: the or-channel, and its counterpart. `any` is a select whose waiter is the done's own hook,
** so its inputs contend for the one claim word that also cancel and deadline use. `all` has
** a waiter for each input and counts down.
*/
#include "core/any.h"

#include <math.h>
#include <stdlib.h>

typedef struct any {
  rl_done done;
  unsigned n;
  rl_case cases[];
} any;

typedef struct all_input {
  rl_waiter waiter;
  rl_case input;
} all_input;

typedef struct all {
  rl_done done;
  unsigned n;
  atomic_uint left; /* inputs that have not fired */
  all_input in[];
} all;

static void set_input(rl_case *c, rl_source *on) {
  bool chan = on && on->obj.kind == RL_CHAN;
  rl_case_set(c, !on ? RL_CASE_NEVER : chan ? RL_CASE_RECV : RL_CASE_WATCH, on);
  if (on) rl_retain(&on->obj);
}

static void drop_input(rl_case *c) {
  rl_msg_drop(&c->msg);
  if (c->node.on) rl_release(&c->node.on->obj);
}

/* Why and with what cause input `c` fires a done; the cause is the caller's. */
static rl_why outcome(rl_case *c, rl_msg *cause) {
  cause->tag = RL_MSG_NONE;
  if (c->op == RL_CASE_WATCH) return rl_event_outcome(rl_case_event(c), cause);
  if (((rl_chan *)c->node.on)->timed) {
    rl_msg_drop(&c->msg);
    return RL_DEADLINE;
  }
  rl_msg_move(cause, &c->msg);
  return RL_CANCELED;
}

static double input_deadline(rl_case *c) {
  return c->op == RL_CASE_WATCH ? rl_event_deadline(rl_case_event(c)) : (double)INFINITY;
}

/* any */

static any *any_of(rl_done *d) {
  return (any *)d;
}

static void any_withdraw(rl_done *d) {
  rl_select_withdraw(any_of(d)->cases, any_of(d)->n, NULL);
}

static rl_done *any_earliest(rl_done *d) {
  for (unsigned i = 0; i < any_of(d)->n; i++) {
    rl_case *c = &any_of(d)->cases[i];
    if (input_deadline(c) <= d->deadline) return rl_done_of(rl_case_event(c));
  }
  return NULL;
}

static void any_start(rl_done *d) {
  any *a = any_of(d);
  unsigned won;
  rl_msg cause;
  if (a->n == 0 || rl_select(&d->self, a->cases, a->n, RL_RANDOM, &won) == RL_PARK) return;
  rl_why why = outcome(&a->cases[won], &cause);
  rl_done_fire(d, why, &cause); /* nobody contends: nothing was queued */
}

static unsigned any_each(rl_done *d, rl_input_visitor *visit, void *ud) {
  for (unsigned i = 0; i < any_of(d)->n; i++)
    if (any_of(d)->cases[i].node.on) visit(any_of(d)->cases[i].node.on, true, ud);
  return 1;
}

static const rl_done_inputs any_inputs = {any_start, any_withdraw, any_earliest, any_each};

static void any_fire(rl_waiter *w, rl_wakes *ws) {
  rl_done *d = (rl_done *)w->u.hook.owner;
  rl_msg cause;
  rl_why why = outcome((rl_case *)(void *)w->won, &cause);
  rl_done_finish(d, why, &cause, ws);
}

static void any_destroy(rl_object *o) {
  any *a = (any *)o;
  rl_done_clear(&a->done);
  for (unsigned i = 0; i < a->n; i++) drop_input(&a->cases[i]);
  free(a);
}

rl_done *rl_any_make(unsigned n) {
  any *a = malloc(sizeof *a + n * sizeof a->cases[0]);
  if (!a) return NULL;
  rl_done_init(&a->done, any_destroy);
  rl_waiter_hook(&a->done.self, &a->done.event.src.obj, any_fire);
  a->done.inputs = &any_inputs;
  a->n = n;
  for (unsigned i = 0; i < n; i++) set_input(&a->cases[i], NULL);
  return &a->done;
}

void rl_any_input(rl_done *d, unsigned i, rl_source *on) {
  set_input(&any_of(d)->cases[i], on);
  double deadline = input_deadline(&any_of(d)->cases[i]);
  if (deadline < d->deadline) d->deadline = deadline;
}

/* all */

static all *all_of(rl_done *d) {
  return (all *)d;
}

static void all_withdraw(rl_done *d) {
  for (unsigned i = 0; i < all_of(d)->n; i++) rl_select_withdraw(&all_of(d)->in[i].input, 1, NULL);
}

/* Its deadline is the last of its inputs': when that has passed, all have. Of those that have not fired it gives
   the one that was to be first, so that the last stays the last; or one that has fired, if all have. */
static rl_done *all_earliest(rl_done *d) {
  rl_done *first = NULL;
  for (unsigned i = 0; i < all_of(d)->n; i++) {
    rl_done *in = rl_done_of(rl_case_event(&all_of(d)->in[i].input));
    if (!first || (!rl_done_fired(in) && (rl_done_fired(first) || in->deadline < first->deadline)))
      first = in;
  }
  return first;
}

/* Input `c` has fired; the last one's outcome is that of the whole. */
static void count_down(all *a, rl_case *c, rl_wakes *ws) {
  if (atomic_fetch_sub_explicit(&a->left, 1, memory_order_acq_rel) != 1) return;
  if (!rl_waiter_claim(&a->done.self, RL_OK, NULL)) return;
  rl_msg cause;
  rl_why why = outcome(c, &cause);
  rl_done_finish(&a->done, why, &cause, ws);
  rl_release(&a->done.event.src.obj); /* the claim's count; the input's hook holds another */
}

static void all_start(rl_done *d) {
  all *a = all_of(d);
  unsigned won;
  rl_wakes ws = {NULL, NULL};
  for (unsigned i = 0; i < a->n; i++) {
    all_input *in = &a->in[i];
    if (rl_select(&in->waiter, &in->input, 1, RL_RANDOM, &won) == RL_PARK) continue;
    rl_waiter_claim(&in->waiter, RL_OK, NULL); /* it waits no more; nobody contends */
    count_down(a, &in->input, &ws);
    rl_release(&d->event.src.obj); /* the claim's count; the caller has another */
  }
  rl_wake_all(&ws);
  if (a->n == 0) rl_done_fire(d, RL_CANCELED, NULL);
}

static unsigned all_each(rl_done *d, rl_input_visitor *visit, void *ud) {
  unsigned open = 0;
  for (unsigned i = 0; i < all_of(d)->n; i++) {
    all_input *in = &all_of(d)->in[i];
    bool waits = !rl_waiter_claimed(&in->waiter);
    if (in->input.node.on) visit(in->input.node.on, waits, ud);
    open += waits;
  }
  return open;
}

static const rl_done_inputs all_inputs = {all_start, all_withdraw, all_earliest, all_each};

static void all_fire(rl_waiter *w, rl_wakes *ws) {
  all_input *in = (all_input *)(void *)w; /* the waiter comes first */
  count_down((all *)(void *)w->u.hook.owner, &in->input, ws);
}

static void all_destroy(rl_object *o) {
  all *a = (all *)o;
  rl_done_clear(&a->done);
  for (unsigned i = 0; i < a->n; i++) drop_input(&a->in[i].input);
  free(a);
}

rl_done *rl_all_make(unsigned n) {
  all *a = malloc(sizeof *a + n * sizeof a->in[0]);
  if (!a) return NULL;
  rl_done_init(&a->done, all_destroy);
  a->done.inputs = &all_inputs;
  a->n = n;
  atomic_init(&a->left, n);
  for (unsigned i = 0; i < n; i++) {
    set_input(&a->in[i].input, NULL);
    rl_waiter_open(&a->in[i].waiter);
    rl_waiter_hook(&a->in[i].waiter, &a->done.event.src.obj, all_fire);
  }
  return &a->done;
}

void rl_all_input(rl_done *d, unsigned i, rl_source *on) {
  set_input(&all_of(d)->in[i].input, on);
  double deadline = input_deadline(&all_of(d)->in[i].input);
  if (i == 0 || deadline > d->deadline) d->deadline = deadline;
}

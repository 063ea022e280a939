/*
** wait: waiting in tests, by OS threads and by fibers that are state machines.
*/
#ifndef WAIT_H
#define WAIT_H

#include "core/select.h"
#include "test.h"

static inline rl_msg number(int64_t i) {
  return (rl_msg){.u = {.i = i}, .tag = RL_MSG_INLINE};
}

static inline rl_case recv_case(rl_chan *c) {
  rl_case k = {.op = RL_CASE_NEVER};
  rl_case_set(&k, c ? RL_CASE_RECV : RL_CASE_NEVER, c ? &c->src : NULL);
  return k;
}

/* node.msg points into the case: it is set anew where the case has come to rest. */
static inline void settle(rl_case *cases, unsigned n) {
  for (unsigned i = 0; i < n; i++) cases[i].node.msg = &cases[i].msg;
}

static inline rl_case send_case(rl_chan *c, int64_t i) {
  rl_case k = {.op = RL_CASE_NEVER};
  rl_case_set(&k, RL_CASE_SEND, &c->src);
  k.msg = number(i);
  return k;
}

static inline rl_case watch_case(rl_event *e) {
  rl_case k = {.op = RL_CASE_NEVER};
  rl_case_set(&k, RL_CASE_WATCH, &e->src);
  return k;
}

/* Arms `w` for the calling thread and publishes it. */
static inline rl_status publish(rl_waiter *w, rl_case *cases, unsigned n, rl_choice choice,
                                unsigned *won) {
  settle(cases, n);
  rl_waiter_thread(w);
  return rl_select(w, cases, n, choice, won);
}

static inline rl_status conclude(rl_waiter *w, rl_case *cases, unsigned n, unsigned *won) {
  rl_waiter_block(w, NULL, NULL);
  return rl_select_end(w, cases, n, won);
}

static inline rl_status wait_on(rl_waiter *w, rl_case *cases, unsigned n, rl_choice choice,
                                unsigned *won) {
  rl_status st = publish(w, cases, n, choice, won);
  return st == RL_PARK ? conclude(w, cases, n, won) : st;
}

static inline rl_status send_number(rl_waiter *w, rl_chan *c, int64_t i) {
  unsigned won;
  rl_case k = send_case(c, i);
  return wait_on(w, &k, 1, RL_RANDOM, &won);
}

static inline rl_status recv_number(rl_waiter *w, rl_chan *c, int64_t *i) {
  unsigned won;
  rl_case k = recv_case(c);
  rl_status st = wait_on(w, &k, 1, RL_RANDOM, &won);
  *i = st == RL_OK ? k.msg.u.i : -1;
  return st;
}

static inline rl_status put_number(rl_chan *c, int64_t i) {
  unsigned won;
  rl_case k = send_case(c, i);
  settle(&k, 1);
  return rl_select(NULL, &k, 1, RL_RANDOM, &won);
}

static inline rl_status take_number(rl_chan *c, int64_t *i) {
  unsigned won;
  rl_case k = recv_case(c);
  settle(&k, 1);
  rl_status st = rl_select(NULL, &k, 1, RL_RANDOM, &won);
  *i = st == RL_OK ? k.msg.u.i : -1;
  return st;
}

static inline void drop_chan(rl_chan *c) {
  rl_release(&c->src.obj);
}

static inline void drop_done(rl_done *d) {
  rl_release(&d->event.src.obj);
}

/* A fiber. `step` looks at how the last wait ended, prepares the next, and says how to go on; when it
   says END it has touched the fiber for the last time. */
enum { MAX_CASES = 8 };
typedef enum { STEP_WAIT, STEP_YIELD, STEP_END } step_result;

typedef struct fib fib;
struct fib {
  rl_fiber fiber;
  rl_waiter waiter;
  step_result (*step)(fib *b);
  bool waiting;
  atomic_bool running; /* two workers at once would be a defect */
  rl_case cases[MAX_CASES];
  unsigned n, won;
  rl_choice choice;
  rl_status status;
  unsigned state;
  void *ud;
};

static inline void fib_run(rl_fiber *f) {
  fib *b = (fib *)(void *)f; /* the fiber comes first */
  rl_assert(!atomic_exchange(&b->running, true), "a fiber runs twice at a time");
  if (b->waiting) b->status = rl_select_end(&b->waiter, b->cases, b->n, &b->won);
  for (;;) {
    b->waiting = false;
    atomic_store(&b->running, true);
    step_result r = b->step(b);
    if (r == STEP_END) return;
    atomic_store(&b->running, false);
    if (r == STEP_YIELD) {
      rl_sched_requeue(f);
      return;
    }
    settle(b->cases, b->n);
    rl_waiter_fiber(&b->waiter, f);
    b->status = rl_select(&b->waiter, b->cases, b->n, b->choice, &b->won);
    if (b->status != RL_PARK) continue;
    b->waiting = true;
    if (rl_waiter_park(&b->waiter)) return;
    b->status = rl_select_end(&b->waiter, b->cases, b->n, &b->won);
  }
}

static inline void fib_init(fib *b, step_result (*step)(fib *), void *ud) {
  b->fiber.next = NULL;
  b->fiber.pin = NULL;
  b->fiber.run = fib_run;
  rl_waiter_open(&b->waiter);
  b->step = step;
  b->waiting = false;
  atomic_init(&b->running, false);
  b->n = b->won = b->state = 0;
  b->choice = RL_RANDOM;
  b->status = RL_OK;
  b->ud = ud;
}

static inline void fib_start(fib *b, step_result (*step)(fib *), void *ud) {
  fib_init(b, step, ud);
  rl_sched_ready(&b->fiber);
}

#endif

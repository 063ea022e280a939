/*
** stress_test: random programs of all that waits and wakes. What is asserted holds for all of them: a value
** is delivered once or still with its sender, a task that hangs on a done is started or stopped, and in
** the end nobody waits and nothing is held.
**
**     RILLE_SEED=n      begins with this seed
**     RILLE_STRESS=s    rounds for so many seconds (2 by default)
*/
#include "core/after.h"
#include "core/any.h"
#include "core/ticker.h"
#include "wait.h"

#include <sched.h>
#include <string.h>

enum { CHANS = 6, FIBERS = 40, THREADS = 3, SLOTS = 12, STEPS = 3000, CASES = 4 };
static const double SHORT = 100e-6;

static rl_chan *chans[CHANS];
static rl_done *stop;
static atomic_llong sent, received;
static atomic_uint fibers_left;

/* Fibers send and receive at random, some with deadlines, until `stop` fires. */

typedef struct actor {
  rl_fiber fiber;
  rl_waiter waiter;
  rl_timer timer;
  rl_case cases[CASES];
  int64_t offered[CASES];
  unsigned n, won; /* n is 0 when it has not waited */
  uint64_t rnd;
  atomic_bool running;
} actor;

static actor actors[FIBERS];

static actor *of_timer(rl_timer *t) {
  return (actor *)(void *)((char *)t - offsetof(actor, timer));
}

static bool claim_deadline(rl_timer *t) {
  return rl_waiter_claim(&of_timer(t)->waiter, RL_TIMEOUT, NULL);
}

static void wake_deadline(rl_timer *t, rl_wakes *ws) {
  rl_wakes_add(ws, &of_timer(t)->waiter);
}

static void choose_cases(actor *a) {
  a->n = 1 + pick(&a->rnd, CASES);
  a->cases[0] = watch_case(&stop->event);
  for (unsigned i = 1; i < a->n; i++) {
    rl_chan *c = chans[pick(&a->rnd, CHANS)];
    a->offered[i] = pick(&a->rnd, 1000);
    a->cases[i] = pick(&a->rnd, 2) ? send_case(c, a->offered[i]) : recv_case(c);
  }
  settle(a->cases, a->n);
}

static rl_status begin_wait(actor *a, bool blocks) {
  unsigned kind = pick(&a->rnd, 4);
  if (blocks)
    rl_waiter_thread(&a->waiter);
  else
    rl_waiter_fiber(&a->waiter, &a->fiber);
  rl_status st = rl_select(&a->waiter, a->cases, a->n, kind & 1 ? RL_RANDOM : RL_ORDERED, &a->won);
  if (st == RL_PARK && (kind & 2 || a->n == 1))
    rl_timer_set(&a->timer, rl_now() + SHORT * pick(&a->rnd, 4));
  return st;
}

static rl_status end_wait(actor *a) {
  rl_timer_unset(&a->timer);
  return rl_select_end(&a->waiter, a->cases, a->n, &a->won);
}

static void look(actor *a, rl_status st) {
  for (unsigned i = 1; i < a->n; i++) {
    rl_case *c = &a->cases[i];
    bool chosen = st == RL_OK && i == a->won, full = c->msg.tag != RL_MSG_NONE;
    if ((c->op == RL_CASE_SEND) == (chosen == full))
      CHECK(false, "a value is with its sender or was sent");
    if (chosen && c->op == RL_CASE_SEND) atomic_fetch_add(&sent, a->offered[i]);
    if (chosen && c->op == RL_CASE_RECV) atomic_fetch_add(&received, c->msg.u.i);
  }
}

static void block(actor *a) {
  rl_blocked b = {.asleep = rl_waiter_asleep, .of = &a->waiter};
  rl_sched_block(&b);
  rl_waiter_block(&a->waiter, NULL, NULL);
  rl_sched_unblock(&b);
}

/* False: it has parked. */
static bool wait_once(actor *a, rl_status *st) {
  bool blocks = pick(&a->rnd, 8) == 0;
  choose_cases(a);
  *st = begin_wait(a, blocks);
  if (*st != RL_PARK) return true;
  atomic_store(&a->running, false);
  if (blocks)
    block(a);
  else if (rl_waiter_park(&a->waiter))
    return false;
  atomic_store(&a->running, true);
  *st = end_wait(a);
  return true;
}

static void act(rl_fiber *f) {
  actor *a = (actor *)(void *)f; /* the fiber comes first */
  rl_assert(!atomic_exchange(&a->running, true), "a fiber runs twice at a time");
  rl_status st = a->n > 0 ? end_wait(a) : RL_NOT_READY;
  for (;;) {
    look(a, st);
    if (st == RL_FIRED) break;
    if (pick(&a->rnd, 16) == 0) {
      a->n = 0;
      atomic_store(&a->running, false);
      rl_sched_requeue(f);
      return;
    }
    if (!wait_once(a, &st)) return;
  }
  count_down_one(&fibers_left);
}

static void start_actor(actor *a, uint64_t seed) {
  memset(a, 0, sizeof *a);
  a->fiber.run = act;
  a->rnd = seed;
  rl_waiter_open(&a->waiter);
  rl_timer_init(&a->timer, claim_deadline, wake_deadline);
  rl_sched_ready(&a->fiber);
}

/* Threads make, fire and drop dones and tickers, which they find and leave in common slots; they look at the fibers
   from outside, and interrupt them. */

static rl_program *program;
static _Atomic(rl_object *) slots[SLOTS];
static atomic_uint hung, started, prevented;

/* What is in a slot, or NULL; the caller gets the slot's count. */
static rl_object *take(uint64_t *rnd) {
  return atomic_exchange(&slots[pick(rnd, SLOTS)], NULL);
}

static void put_back(uint64_t *rnd, rl_object *o) {
  if (o) o = atomic_exchange(&slots[pick(rnd, SLOTS)], o);
  if (o) rl_release(o);
}

static rl_event *as_event(rl_object *o) {
  return o && (o->kind == RL_DONE || o->kind == RL_TASK) ? (rl_event *)(void *)o : NULL;
}

static rl_done *as_done(rl_object *o) {
  return o && o->kind == RL_DONE ? (rl_done *)(void *)o : NULL;
}

static double some_deadline(uint64_t *rnd) {
  return pick(rnd, 2) ? INFINITY : rl_now() + SHORT * pick(rnd, 4);
}

static void make_child(uint64_t *rnd) {
  rl_object *o = take(rnd);
  rl_done *d = rl_done_make(as_event(o));
  d->timeout_cause = number(1);
  rl_done_start(d, some_deadline(rnd));
  put_back(rnd, o);
  put_back(rnd, &d->event.src.obj);
}

static void make_combined(uint64_t *rnd, bool all) {
  unsigned n = pick(rnd, 4);
  rl_done *d = all ? rl_all_make(n) : rl_any_make(n);
  for (unsigned i = 0; i < n; i++) {
    rl_object *o = take(rnd);
    bool source = o && (o->kind == RL_DONE || o->kind == RL_CHAN);
    rl_source *on = source ? (rl_source *)(void *)o : NULL;
    if (all)
      rl_all_input(d, i, on);
    else
      rl_any_input(d, i, on);
    put_back(rnd, o);
  }
  rl_done_start(d, INFINITY);
  put_back(rnd, &d->event.src.obj);
}

static void make_ticker(uint64_t *rnd) {
  rl_msg form = {.tag = RL_MSG_INLINE};
  rl_ticker *t = rl_ticker_make(SHORT * pick(rnd, 3), SHORT * pick(rnd, 2), &form);
  put_back(rnd, &rl_ticker_chan(t)->src.obj);
}

static void use_ticker(uint64_t *rnd, rl_object *o) {
  bool ok;
  int64_t at;
  rl_ticker *t = rl_ticker_of((rl_chan *)(void *)o);
  switch (pick(rnd, 3)) {
  case 0: rl_ticker_stop(t); break;
  case 1: rl_ticker_reset(t, SHORT * pick(rnd, 3), &ok); break;
  case 2: take_number(rl_ticker_chan(t), &at); break;
  }
}

static void run_task(rl_fiber *f) {
  atomic_fetch_add(&started, 1);
  rl_task_end(rl_task_of(f), false);
}

static void make_after(uint64_t *rnd) {
  rl_object *o = take(rnd);
  rl_msg call = {.tag = RL_MSG_NONE};
  if (as_done(o)) {
    rl_task *t = rl_task_make(program, NULL, "stress", &call);
    if (pick(rnd, 2)) put_back(rnd, (rl_retain(&t->end.src.obj), &t->end.src.obj));
    rl_done *either = rl_any_make(2); /* an after that nothing fires would stay for ever */
    rl_any_input(either, 0, (rl_source *)(void *)o);
    rl_any_input(either, 1, &stop->event.src);
    rl_done_start(either, INFINITY);
    atomic_fetch_add(&hung, 1);
    rl_after *after = rl_after_make(either, t, run_task);
    rl_after_watch(after);
    put_back(rnd, rl_after_object(after));
    drop_done(either);
  }
  put_back(rnd, o);
}

/* Fires, stops or looks at what it finds. */
static void use(uint64_t *rnd) {
  rl_object *o = take(rnd);
  rl_msg cause = number(2);
  if (!o) return;
  if (o->kind == RL_CHAN) use_ticker(rnd, o);
  if (o->kind == RL_AFTER && rl_after_stop(rl_after_of(o))) atomic_fetch_add(&prevented, 1);
  if (as_done(o) && pick(rnd, 2)) {
    rl_done_fire(as_done(o), RL_CANCELED, &cause);
    CHECK(rl_done_poll(as_done(o)), "what was fired has fired");
  } else if (as_done(o)) {
    rl_done_poll(as_done(o));
  }
  if (pick(rnd, 2))
    put_back(rnd, o);
  else
    rl_release(o);
}

static void wait_shortly(uint64_t *rnd, rl_waiter *w) {
  rl_object *o = take(rnd);
  rl_done *until = rl_done_make(NULL);
  unsigned won;
  rl_done_start(until, rl_now() + SHORT * pick(rnd, 3));
  rl_case k[2] = {watch_case(&until->event), recv_case(NULL)};
  if (o && o->kind == RL_CHAN) k[1] = recv_case((rl_chan *)(void *)o);
  if (as_event(o)) k[1] = watch_case(as_event(o));
  wait_on(w, k, 2, RL_RANDOM, &won);
  CHECK(won < 2, "a wait with a deadline ends");
  put_back(rnd, o);
  drop_done(until);
}

static void inspect(actor *a) {
  if (!rl_waiter_inspect(&a->waiter)) return;
  for (int i = 0; i < 100; i++) rl_spin_hint();
  CHECK(!atomic_load(&a->running), "a fiber that is inspected does not run");
  rl_waiter_release(&a->waiter);
}

static void meddle(uint64_t *rnd) {
  actor *a = &actors[pick(rnd, FIBERS)];
  rl_wakes ws = {NULL, NULL};
  if (pick(rnd, 2)) {
    inspect(a);
  } else if (rl_waiter_interrupt(&a->waiter, RL_INTERRUPTED)) {
    rl_wakes_add(&ws, &a->waiter);
    rl_wake_all(&ws);
  }
}

static void *stir(void *arg) {
  uint64_t rnd = *(uint64_t *)arg;
  rl_waiter w;
  rl_waiter_open(&w);
  for (int i = 0; i < STEPS; i++) switch (pick(&rnd, 12)) {
    case 0: make_combined(&rnd, false); break;
    case 1: make_combined(&rnd, true); break;
    case 2: make_ticker(&rnd); break;
    case 3: make_after(&rnd); break;
    case 4: wait_shortly(&rnd, &w); break;
    case 5:
    case 6: make_child(&rnd); break;
    case 7:
    case 8: meddle(&rnd); break;
    default: use(&rnd); break;
    }
  return NULL;
}

static void drain(void) {
  int64_t v;
  for (int i = 0; i < CHANS; i++) {
    while (take_number(chans[i], &v) == RL_OK) atomic_fetch_add(&received, v);
    CHECK(!chans[i]->receivers.first && !chans[i]->senders.first, "in the end nobody waits");
    drop_chan(chans[i]);
  }
  CHECK(atomic_load(&sent) == atomic_load(&received), "what was sent was received, once");
}

static void count_task(rl_task *t, void *n) {
  (void)t;
  ++*(unsigned *)n;
}

static bool gone(void) {
  unsigned tasks = 0;
  rl_program_each(program, count_task, &tasks);
  return tasks == 0 && rl_chans() == 0 && atomic_load(&program->live) == 0;
}

static bool all_decided(void) {
  return atomic_load(&hung) == atomic_load(&started) + atomic_load(&prevented);
}

/* What was fired last may still be under way, in the timers' thread or a worker; the watchdog bounds it. */
static void await_gone(void) {
  while (!all_decided() || !gone()) sched_yield();
  CHECK(all_decided(), "each task that hung on a done was started or stopped");
  CHECK(gone(), "and is gone");
}

static void round_of(uint64_t seed) {
  uint64_t seeds[THREADS];
  pthread_t t[THREADS];
  atomic_store(&fibers_left, FIBERS);
  stop = rl_done_make(NULL);
  rl_done_start(stop, INFINITY);
  for (uint32_t i = 0; i < CHANS; i++) chans[i] = rl_chan_make(i / 2, NULL);
  for (unsigned i = 0; i < FIBERS; i++) start_actor(&actors[i], seed + i);
  for (unsigned i = 0; i < THREADS; i++) {
    seeds[i] = seed + FIBERS + i;
    t[i] = start_thread(stir, &seeds[i]);
  }
  for (int i = 0; i < THREADS; i++) join_thread(t[i]);
  rl_done_fire(stop, RL_CANCELED, NULL);
  await_zero(&fibers_left);
  drain();
  drop_done(stop);
  for (int i = 0; i < SLOTS; i++) {
    rl_object *o = atomic_exchange(&slots[i], NULL);
    if (o) rl_release(o);
  }
  await_gone();
}

int main(void) {
  const char *e = getenv("RILLE_STRESS");
  double seconds = e ? strtod(e, NULL) : 2, until = rl_now() + seconds;
  uint64_t seed = seed_of_run();
  begin((unsigned)seconds + 60);
  program = rl_program_make();
  rl_sched_start();
  do round_of(seed += 1000);
  while (rl_now() < until);
  return finish();
}

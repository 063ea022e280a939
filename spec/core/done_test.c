/*
** done_test: what fires, when it can be seen, and what it says; any and all.
*/
#include "core/any.h"
#include "wait.h"

#include <sched.h>

static rl_done *make_done(rl_event *parent, double own) {
  rl_done *d = rl_done_make(parent);
  if (!d || !rl_done_start(d, own)) abort();
  return d;
}

/* What malloc gives is not empty. */
static void nobody_sleeps_on_a_new_lock(void) {
  volatile unsigned char *dirty = malloc(sizeof(rl_done));
  if (!dirty) abort();
  for (size_t i = 0; i < sizeof(rl_done); i++) dirty[i] = 0xff;
  free((void *)dirty);
  rl_done *d = make_done(NULL, INFINITY);
  CHECK(atomic_load(&d->event.src.lock.sleepers) == 0, "nobody sleeps on the lock of a new done");
  drop_done(d);
}

/* Two threads that do the same to one done at the same time, again and again: fewer times where they share
   a core with others, and each handing over costs a turn of all. */
enum { ROUNDS = 4000 };
static const double RACE_TIME = 10;
static const double ROUND_TIME = 20e-6;

typedef struct race {
  bool (*act)(rl_done *d); /* says whether it saw what it should */
  _Atomic(rl_done *) on;
  atomic_bool over;
  atomic_uint wrong;
} race;

/* Waits for the other thread, which may need this one's core. */
static void relax(unsigned *looks) {
  if (++*looks % 1000 == 0)
    sched_yield();
  else
    rl_spin_hint();
}

static void *second(void *arg) {
  race *r = arg;
  for (unsigned looks = 0; !atomic_load(&r->over); relax(&looks)) {
    rl_done *d = atomic_load(&r->on);
    if (!d) continue;
    atomic_fetch_add(&r->wrong, !r->act(d));
    atomic_store(&r->on, NULL);
  }
  return NULL;
}

static void run_race(rl_done *(*make)(void), bool (*act)(rl_done *), const char *what) {
  race r = {.act = act};
  pthread_t t = start_thread(second, &r);
  double until = rl_now() + RACE_TIME;
  for (int i = 0; i < ROUNDS && rl_now() < until; i++) {
    rl_done *d = make();
    unsigned looks = 0;
    atomic_store(&r.on, d);
    atomic_fetch_add(&r.wrong, !act(d));
    while (atomic_load(&r.on)) relax(&looks);
    drop_done(d);
  }
  atomic_store(&r.over, true);
  join_thread(t);
  CHECK(atomic_load(&r.wrong) == 0, what);
}

static rl_done *without_deadline(void) {
  return make_done(NULL, INFINITY);
}

static rl_done *with_deadline(void) {
  return make_done(NULL, rl_now() + ROUND_TIME);
}

static rl_done *below_deadline(void) {
  rl_done *parent = with_deadline(), *d = make_done(&parent->event, INFINITY);
  drop_done(parent);
  return d;
}

static rl_done *any_of_deadline(void) {
  rl_done *in = rl_done_make(NULL), *d = rl_any_make(1);
  in->timeout_cause = number(7);
  if (!d || !rl_done_start(in, rl_now() + ROUND_TIME)) abort();
  rl_any_input(d, 0, &in->event.src);
  rl_done_start(d, INFINITY);
  drop_done(in);
  return d;
}

static bool cancel(rl_done *d) {
  rl_done_fire(d, RL_CANCELED, NULL);
  return rl_done_poll(d);
}

static bool outlive(rl_done *d) {
  while (rl_now() < d->deadline) rl_spin_hint();
  return rl_done_poll(d);
}

static bool outlive_with_cause(rl_done *d) {
  return outlive(d) && d->why == RL_DEADLINE && d->cause.tag == RL_MSG_INLINE && d->cause.u.i == 7;
}

int main(void) {
  begin(60);
  nobody_sleeps_on_a_new_lock();
  run_race(without_deadline, cancel, "who has fired a done sees it fired, whoever was first");
  run_race(with_deadline, outlive, "a deadline that has passed is seen");
  run_race(below_deadline, outlive, "so is a parent's");
  run_race(any_of_deadline, outlive_with_cause, "so is an input's, with its cause");
  return finish();
}

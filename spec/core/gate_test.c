/*
** gate_test: one gate and what waits at it.
*/
#include "wait.h"

static rl_case pass_case(rl_gate *g, int64_t need, bool held) {
  rl_case k = {.op = RL_CASE_NEVER};
  rl_case_set(&k, RL_CASE_PASS, &g->src);
  k.msg.u.i = need;
  k.msg.len = held;
  return k;
}

static void drop_gate(rl_gate *g) {
  rl_release(&g->src.obj);
}

static bool try_to_pass(rl_gate *g, int64_t need) {
  rl_msg m = {.u.i = need};
  return rl_gate_try(g, &m);
}

static rl_done *make_done(void) {
  rl_done *d = rl_done_make(NULL);
  rl_done_start(d, INFINITY);
  return d;
}

/* Waiters at a gate, for the calling thread to publish and to conclude. */
enum { WAITERS = 10 };
typedef struct crowd {
  rl_waiter w[WAITERS];
  rl_case k[WAITERS][2];
  unsigned n[WAITERS];
} crowd;

static void come(crowd *c, int i, rl_gate *g, int64_t need, rl_done *d) {
  unsigned won, n = 0;
  rl_waiter_open(&c->w[i]);
  if (d) c->k[i][n++] = watch_case(&d->event);
  c->k[i][n++] = pass_case(g, need, false);
  c->n[i] = n;
  CHECK(publish(&c->w[i], c->k[i], n, RL_ORDERED, &won) == RL_PARK, "who cannot pass waits");
}

static bool decided(crowd *c, int i) {
  return rl_waiter_claimed(&c->w[i]);
}

static rl_status outcome(crowd *c, int i) {
  unsigned won;
  return conclude(&c->w[i], c->k[i], c->n[i], &won);
}

static void requests_are_served_in_order(void) {
  rl_gate *g = rl_gate_make(RL_SEMAPHORE, 0, WAITERS, NULL);
  crowd c;
  for (int i = 0; i < WAITERS; i++) come(&c, i, g, 1, NULL);
  for (int i = 0; i < WAITERS; i++) {
    CHECK(!decided(&c, i), "nobody passes before it is its turn");
    rl_gate_add(g, 1);
    CHECK(decided(&c, i) && outcome(&c, i) == RL_OK, "who has come first passes first");
  }
  CHECK(rl_gate_value(g) == 0, "what was given was taken");
  drop_gate(g);
}

static void a_large_request_is_not_overtaken(void) {
  rl_gate *g = rl_gate_make(RL_SEMAPHORE, 2, 3, NULL);
  crowd c;
  come(&c, 0, g, 3, NULL);
  come(&c, 1, g, 1, NULL);
  CHECK(!decided(&c, 1), "a small request waits behind a large one");
  CHECK(!try_to_pass(g, 1), "and none comes in between without waiting");
  rl_gate_add(g, 1);
  CHECK(outcome(&c, 0) == RL_OK && !decided(&c, 1), "the large one gets all");
  rl_gate_add(g, 1);
  CHECK(outcome(&c, 1) == RL_OK, "then the small one");
  CHECK(rl_gate_add(g, 3) && !rl_gate_add(g, 1), "no more is added than the size");
  drop_gate(g);
}

static void who_leaves_makes_way(void) {
  rl_gate *g = rl_gate_make(RL_SEMAPHORE, 2, 3, NULL);
  rl_done *d = make_done();
  crowd c;
  come(&c, 0, g, 3, d);
  come(&c, 1, g, 1, NULL);
  come(&c, 2, g, 1, NULL);
  rl_done_fire(d, RL_CANCELED, NULL);
  CHECK(rl_gate_moving(g), "one that is about to leave is seen");
  CHECK(!decided(&c, 1), "it stands in the queue until it leaves");
  CHECK(outcome(&c, 0) == RL_FIRED, "its done was first");
  CHECK(outcome(&c, 1) == RL_OK && outcome(&c, 2) == RL_OK, "those behind it pass when it leaves");
  CHECK(rl_gate_value(g) == 0 && !rl_gate_moving(g), "it has taken nothing");
  drop_done(d);
  drop_gate(g);
}

static void who_has_left_gets_nothing(void) {
  rl_gate *g = rl_gate_make(RL_SEMAPHORE, 0, 1, NULL);
  rl_done *d = make_done();
  crowd c;
  come(&c, 0, g, 1, d);
  come(&c, 1, g, 1, NULL);
  rl_done_fire(d, RL_CANCELED, NULL);
  rl_gate_add(g, 1);
  CHECK(outcome(&c, 1) == RL_OK, "a permit goes past one whose wait is decided");
  CHECK(outcome(&c, 0) == RL_FIRED, "which has what has decided it");
  CHECK(rl_gate_value(g) == 0, "one permit is taken once");
  drop_done(d);
  drop_gate(g);
}

static void all_pass_a_wait_group_at_zero(void) {
  rl_gate *g = rl_gate_make(RL_WAITGROUP, 0, INT64_MAX, NULL);
  crowd c;
  CHECK(try_to_pass(g, 0), "nothing is left to wait for");
  rl_gate_add(g, 2);
  for (int i = 0; i < WAITERS; i++) come(&c, i, g, 0, NULL);
  rl_gate_add(g, -1);
  CHECK(!decided(&c, 0), "one thing is left");
  CHECK(!rl_gate_add(g, -2), "it does not get negative");
  rl_gate_add(g, -1);
  for (int i = 0; i < WAITERS; i++) CHECK(outcome(&c, i) == RL_OK, "all pass at zero");
  CHECK(!rl_gate_add(g, INT64_MIN) && rl_gate_add(g, INT64_MAX) && !rl_gate_add(g, 1),
        "nor does it overflow");
  drop_gate(g);
}

static void a_barrier_opens_for_all(void) {
  rl_gate *g = rl_gate_make(RL_BARRIER, 0, 4, NULL);
  rl_done *d = make_done();
  crowd c;
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 3; i++) come(&c, i, g, 0, NULL);
    rl_msg m = {.u.i = 0};
    CHECK(rl_gate_try(g, &m) && m.u.i == 1, "the last one passes at once");
    for (int i = 0; i < 3; i++)
      CHECK(outcome(&c, i) == RL_OK && c.k[i][0].msg.u.i == 4 - i, "each has its place");
  }
  come(&c, 0, g, 0, d);
  come(&c, 1, g, 0, NULL);
  come(&c, 2, g, 0, NULL);
  rl_done_fire(d, RL_CANCELED, NULL);
  CHECK(outcome(&c, 0) == RL_FIRED, "one leaves");
  CHECK(!try_to_pass(g, 0), "then another has to come");
  come(&c, 3, g, 0, NULL);
  CHECK(try_to_pass(g, 0), "and does");
  for (int i = 1; i <= 3; i++) CHECK(outcome(&c, i) == RL_OK, "all others pass");
  drop_done(d);
  drop_gate(g);
}

static void signals_go_to_those_who_wait(void) {
  rl_gate *g = rl_gate_make(RL_COND, 0, 0, NULL);
  rl_waiter w[3];
  rl_case k[3];
  unsigned won;
  rl_gate_signal(g, 1);
  for (int i = 0; i < 3; i++) {
    rl_waiter_open(&w[i]);
    k[i] = pass_case(g, 0, false);
    k[i].op = RL_CASE_SIGNAL;
    CHECK(publish(&w[i], &k[i], 1, RL_ORDERED, &won) == RL_PARK, "no signal comes from before");
  }
  rl_gate_signal(g, 1);
  CHECK(rl_waiter_claimed(&w[0]) && !rl_waiter_claimed(&w[1]), "a signal wakes the first");
  rl_gate_signal(g, 5);
  for (int i = 0; i < 3; i++) CHECK(conclude(&w[i], &k[i], 1, &won) == RL_OK, "many wake the rest");
  drop_gate(g);
}

static void what_an_owner_holds_comes_back(void) {
  rl_gate *m = rl_gate_make(RL_MUTEX, 1, 1, NULL), *s = rl_gate_make(RL_SEMAPHORE, 3, 3, "slots"),
          *w = rl_gate_make(RL_WAITGROUP, 0, INT64_MAX, NULL);
  rl_owner o = {NULL, NULL};
  rl_msg one = {.u.i = 1, .len = true}, two = {.u.i = 2, .len = true};
  CHECK(rl_gate_try(m, &one) && one.u.i == 0, "a mutex is locked");
  rl_grant_alone(&o, m);
  CHECK(rl_gate_held_by(m, &o) && !try_to_pass(m, 1), "by its owner alone");
  CHECK(rl_gate_try(s, &two), "permits are taken");
  rl_grant_shared(&o, rl_grant_make(&o), s, 2);
  CHECK(!rl_gate_add(s, 1), "which nobody else gives back");
  CHECK(rl_gate_promise(w, 1), "a group is joined");
  rl_grant_shared(&o, rl_grant_make(&o), w, 1);
  CHECK(!rl_gate_add(w, -1), "which nobody else leaves in its place");
  CHECK(rl_grant_find(&o, s) && !rl_grant_find(&o, m), "what is shared is found");
  rl_owner_end(&o);
  CHECK(rl_gate_value(m) == 1 && rl_gate_value(s) == 3 && rl_gate_value(w) == 0,
        "all comes back at the owner's end");
  rl_msg again = {.u.i = 1, .len = true};
  CHECK(rl_gate_try(m, &again) && again.u.i == 1,
        "the next one is told that the mutex was abandoned");
  rl_grant_alone(&o, m);
  rl_grant_end(&o, &m->alone, false);
  again = (rl_msg){.u.i = 1};
  CHECK(rl_gate_try(m, &again) && again.u.i == 0, "and only that one");
  rl_gate_add(m, 1);
  drop_gate(m);
  drop_gate(s);
  drop_gate(w);
}

/* Threads and fibers that take, hold, leave early and give back; in the end all is there. */
enum { SIZE = 5, ROUNDS = 2000, THREADS = 3, FIBERS = 12 };

typedef struct hammer {
  rl_gate *g;
  atomic_int used;
  atomic_uint left;
  uint64_t seed;
} hammer;

static void took(hammer *h, int n) {
  CHECK(atomic_fetch_add(&h->used, n) + n <= SIZE, "no more is taken than there is");
}

static void give(hammer *h, int n) {
  atomic_fetch_sub(&h->used, n);
  CHECK(rl_gate_add(h->g, n), "what was taken can be given back");
}

static void *hammer_thread(void *arg) {
  hammer *h = arg;
  uint64_t rnd = h->seed + (uintptr_t)&rnd;
  rl_waiter w;
  rl_waiter_open(&w);
  for (int i = 0; i < ROUNDS; i++) {
    rl_done *d = make_done();
    int n = 1 + (int)pick(&rnd, SIZE);
    rl_case k[2] = {watch_case(&d->event), pass_case(h->g, n, false)};
    unsigned won;
    rl_status st = publish(&w, k, 2, RL_ORDERED, &won);
    if (st == RL_PARK) {
      if (pick(&rnd, 2)) rl_done_fire(d, RL_CANCELED, NULL);
      st = conclude(&w, k, 2, &won);
    }
    if (st == RL_OK) {
      took(h, n);
      give(h, n);
    }
    drop_done(d);
  }
  count_down_one(&h->left);
  return NULL;
}

static int share_of(const fib *b) {
  return 1 + (int)(b->state % SIZE);
}

static step_result hammer_step(fib *b) {
  hammer *h = b->ud;
  if (b->n > 0) {
    CHECK(b->status == RL_OK, "a fiber gets what it waits for");
    took(h, share_of(b));
    give(h, share_of(b));
  }
  if (++b->state == ROUNDS) {
    count_down_one(&h->left);
    return STEP_END;
  }
  b->cases[0] = pass_case(h->g, share_of(b), false);
  b->n = 1;
  return STEP_WAIT;
}

static void threads_and_fibers_share(uint64_t seed) {
  hammer h = {.g = rl_gate_make(RL_SEMAPHORE, SIZE, SIZE, NULL), .seed = seed};
  static fib fibers[FIBERS];
  pthread_t t[THREADS];
  atomic_init(&h.used, 0);
  atomic_init(&h.left, THREADS + FIBERS);
  for (int i = 0; i < THREADS; i++) t[i] = start_thread(hammer_thread, &h);
  for (int i = 0; i < FIBERS; i++) fib_start(&fibers[i], hammer_step, &h);
  await_zero(&h.left);
  for (int i = 0; i < THREADS; i++) join_thread(t[i]);
  CHECK(rl_gate_value(h.g) == SIZE && !h.g->waiters.first,
        "in the end all is there, and nobody waits");
  drop_gate(h.g);
}

int main(void) {
  begin(120);
  uint64_t seed = seed_of_run();
  rl_sched_start();
  requests_are_served_in_order();
  a_large_request_is_not_overtaken();
  who_leaves_makes_way();
  who_has_left_gets_nothing();
  all_pass_a_wait_group_at_zero();
  a_barrier_opens_for_all();
  signals_go_to_those_who_wait();
  what_an_owner_holds_comes_back();
  threads_and_fibers_share(seed);
  return finish();
}

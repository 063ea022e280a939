/*
** test: what every test program of the core begins with: checks that name a property, a watchdog, a
** seed. The last line printed is "N passed, N failed".
*/
#ifndef TEST_H
#define TEST_H

#include "core/lock.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_uint passed, failed;

/* A property counts as passed once, however often it is checked. */
#define CHECK(cond, property)                                                                      \
  do {                                                                                             \
    static atomic_bool checked_;                                                                   \
    check((cond), &checked_, property, __FILE__, __LINE__);                                        \
  } while (0)

static inline void check(bool ok, atomic_bool *seen, const char *property, const char *file,
                         int line) {
  if (!ok) {
    if (atomic_fetch_add(&failed, 1) < 20)
      fprintf(stderr, "%s:%d: failed: %s\n", file, line, property);
  } else if (!atomic_load_explicit(seen, memory_order_relaxed) && !atomic_exchange(seen, true)) {
    atomic_fetch_add(&passed, 1);
  }
}

/* A test that hangs dies by SIGALRM. */
static inline void begin(unsigned seconds) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  alarm(seconds);
}

static inline int finish(void) {
  unsigned bad = atomic_load(&failed);
  printf("%u passed, %u failed\n", atomic_load(&passed), bad);
  return bad ? 1 : 0;
}

/* Counts down to an event that somebody awaits; the watchdog bounds it. */
static inline void count_down_one(atomic_uint *left) {
  if (atomic_fetch_sub(left, 1) == 1) rl_futex_wake(left, 1000);
}

static inline void await_zero(atomic_uint *left) {
  unsigned n;
  while ((n = atomic_load(left)) != 0) rl_futex_wait(left, n, rl_now() + 0.01);
}

static inline pthread_t start_thread(void *(*body)(void *), void *arg) {
  pthread_t t;
  if (pthread_create(&t, NULL, body, arg) != 0) abort();
  return t;
}

static inline void join_thread(pthread_t t) {
  pthread_join(t, NULL);
}

/* Reproducible numbers, apart from the core's own. */
static inline unsigned pick(uint64_t *state, unsigned n) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)((*state >> 33) % n);
}

static inline uint64_t seed_of_run(void) {
  const char *e = getenv("RILLE_SEED");
  uint64_t seed = e ? strtoull(e, NULL, 10) : (uint64_t)(rl_now() * 1e6);
  printf("RILLE_SEED=%llu\n", (unsigned long long)seed);
  return seed;
}

#endif

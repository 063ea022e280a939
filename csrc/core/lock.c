/*
** lock: the slow paths of the lock, the futex calls, the clock and the random numbers.
*/
#include "core/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 100 };
static const double SHORT_SLEEP = 1e-3;

static bool registered;

static void register_barrier(void) {
  registered = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool rl_barrier_everywhere(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_barrier);
  return registered && syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static bool spin(rl_lock *l) {
  for (int i = 0; i < SPINS; i++) {
    unsigned was = 0;
    if (atomic_load_explicit(&l->word, memory_order_relaxed) == 0 &&
        atomic_compare_exchange_weak_explicit(&l->word, &was, 1, memory_order_acquire,
                                              memory_order_relaxed))
      return true;
    rl_spin_hint();
  }
  return false;
}

/* Counted first, then the barrier, then the word is looked at: a holder that leaves without having
   seen the count had left before the barrier, so the word is seen to be free. Without barriers the sleep
   is short, for in rare cases it is in vain. Who was woken spins again before it sleeps again: as long as it is
   counted, each that leaves the lock makes a system call. */
static void sleep_for(rl_lock *l) {
  atomic_fetch_add_explicit(&l->sleepers, 1, memory_order_seq_cst);
  bool safe = rl_barrier_everywhere();
  while (!spin(l)) rl_futex_wait(&l->word, 1, safe ? INFINITY : rl_now() + SHORT_SLEEP);
  atomic_fetch_sub_explicit(&l->sleepers, 1, memory_order_relaxed);
}

RL_THREAD_LOCAL unsigned rl_lock_met;

void rl_lock_slow(rl_lock *l) {
  rl_lock_met++;
  if (!spin(l)) sleep_for(l);
}

void rl_unlock_slow(rl_lock *l) {
  rl_futex_wake(&l->word, 1);
}

bool rl_futex_wait(atomic_uint *word, unsigned expected, double deadline) {
  struct timespec at, *limit = NULL;
  if (deadline < 1e15) { /* beyond that it is for ever */
    if (deadline < 0) deadline = 0;
    at.tv_sec = (time_t)deadline;
    at.tv_nsec = (long)((deadline - (double)at.tv_sec) * 1e9);
    limit = &at;
  }
  long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, limit, NULL,
                   FUTEX_BITSET_MATCH_ANY);
  return !(r == -1 && errno == ETIMEDOUT);
}

void rl_futex_wake(atomic_uint *word, int how_many) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
}

double rl_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t seed(void) {
  static atomic_uint_fast64_t threads;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t n = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
  return ((uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 30) * 0x9E3779B97F4A7C15u + n;
}

uint32_t rl_random(uint32_t n) {
  static _Thread_local uint64_t x;
  if (x == 0) x = seed() | 1;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return (uint32_t)(((x >> 32) * n) >> 32);
}

void rl_broken(const char *file, int line, const char *state) {
  fprintf(stderr, "rille: %s:%d: impossible state: %s\n", file, line, state);
  abort();
}

/*
** lock: a small lock, a futex, and the clock. The lock spins for a bounded time and then sleeps,
** because there are more threads than cores. What is done while one is held is tens of
** instructions: no Lua, no waiting, no other lock but as docs/internals.md orders them.
*/
#ifndef RL_LOCK_H
#define RL_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct rl_lock {
  atomic_uint word;     /* 1: held */
  atomic_uint sleepers; /* threads that sleep on the word, or are about to */
} rl_lock;

/* For a lock in memory that is not zero. */
static inline void rl_lock_init(rl_lock *l) {
  atomic_init(&l->word, 0);
  atomic_init(&l->sleepers, 0);
}

/* Keeps what is seldom needed out of the way of what is often run. */
#define RL_SLOW __attribute__((noinline, cold))

/* A memory barrier on every thread of the process that runs, so that the other side of a protocol needs
   none. False: this kernel has none; it always is the same answer. */
bool rl_barrier_everywhere(void);

/* What this thread has stored comes before what it loads next, in one order with all other such fences. ThreadSanitizer
   knows no plain ones. */
static inline void rl_fence(void) {
  static atomic_uint order;
  atomic_fetch_add_explicit(&order, 0, memory_order_seq_cst);
}

/* glibc keeps room for a few such variables of modules that are loaded late: no call to find them. */
#ifdef __GLIBC__
#define RL_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define RL_THREAD_LOCAL _Thread_local
#endif

/* How often this thread has found a lock held by another. */
extern RL_THREAD_LOCAL unsigned rl_lock_met;

void rl_lock_slow(rl_lock *l);
void rl_unlock_slow(rl_lock *l);

static inline void rl_lock_take(rl_lock *l) {
  unsigned was = 0;
  if (!atomic_compare_exchange_strong_explicit(&l->word, &was, 1, memory_order_acquire,
                                               memory_order_relaxed))
    rl_lock_slow(l);
}

/* No locked instruction, though a store is followed by a load that must not come first: whoever
   goes to sleep has made a memory barrier run on all threads after it was counted (see lock.c), so
   either this load sees it counted, or it sees this store. The compiler must keep the order. */
static inline void rl_lock_leave(rl_lock *l) {
  atomic_store_explicit(&l->word, 0, memory_order_release);
  atomic_signal_fence(memory_order_seq_cst);
  if (atomic_load_explicit(&l->sleepers, memory_order_relaxed) > 0) rl_unlock_slow(l);
}

/* Tells the processor that this thread spins. */
static inline void rl_spin_hint(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* Sleeps while *word == expected, until `deadline` (rl_now's clock; INFINITY: none). Returns false
   when the deadline has passed; may return true without cause. */
bool rl_futex_wait(atomic_uint *word, unsigned expected, double deadline);
void rl_futex_wake(atomic_uint *word, int how_many);

/* Seconds on the monotonic clock, for what the runtime does itself. What a program sees follows rl_time. */
double rl_now(void);

/* A number below `n`, from this thread's own generator. */
uint32_t rl_random(uint32_t n);

/* States a fact that must hold, in release builds too; `state` names what was seen. */
#define rl_assert(cond, state) ((cond) ? (void)0 : rl_broken(__FILE__, __LINE__, state))
void rl_broken(const char *file, int line, const char *state) __attribute__((noreturn));

#endif

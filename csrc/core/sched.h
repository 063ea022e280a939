/*
** sched: worker threads that run fibers. A fiber is a function that returns when it has parked,
** ended or given up its turn; whoever makes it runnable again calls rl_sched_ready. Each worker has
** a "next" slot for the fiber it woke last and a local queue; idle workers steal, then sleep.
** A monitor adds threads while workers are stuck in one fiber and others wait to run.
*/
#ifndef RL_SCHED_H
#define RL_SCHED_H

#include "core/lock.h"
#include "core/object.h"

typedef struct rl_fiber rl_fiber;
struct rl_fiber {
  rl_fiber *next;           /* in a run queue */
  void (*run)(rl_fiber *f); /* immutable; when it returns the worker touches f no more */
  struct rl_pin *pin;       /* its own thread, or NULL; immutable once started */
};

/* Starts a detached thread with all signals blocked. */
bool rl_thread_start(void *(*body)(void *), void *arg);
/* Has there ever been one? */
bool rl_thread_any(void);

/* Starts the workers when they do not run yet. False: no thread could be made. */
bool rl_sched_start(void);
/* Gives `f` a thread of its own. False: no thread could be made. */
bool rl_sched_pin(rl_fiber *f);
/* The pinned fiber's thread ends when its current run returns. */
void rl_sched_unpin(rl_fiber *f);

/* Makes `f` runnable: next on this worker, or somewhere when called from another thread. */
void rl_sched_ready(rl_fiber *f);
/* The same, behind all others. */
void rl_sched_requeue(rl_fiber *f);

/* Around a wait that blocks the worker's thread: others may take its place. */
void rl_sched_block(void);
void rl_sched_unblock(void);

/* Runs `f` in a worker that has had nothing to do for a while: for housekeeping. */
void rl_sched_when_idle(void (*f)(void));

/* A time in the past that costs nothing to ask for, on rl_now's clock: when this worker looked last, some
   turns ago. Of other threads it is now. */
double rl_sched_stamp(void);

/* Is the calling thread one of the workers? */
bool rl_sched_is_worker(void);

/* Counts a wait that parks a fiber or blocks the thread. */
void rl_sched_parked(void);

typedef struct rl_sched_stats {
  unsigned threads, workers;
  uint64_t steals, parks;
} rl_sched_stats;
rl_sched_stats rl_sched_count(void);

#endif

/*
** sched: worker threads that run fibers. A fiber is a function that returns when it has parked,
** ended or given up its turn; whoever makes it runnable again calls rl_sched_ready. Each worker has
** a "next" slot for the fiber it woke last and a local queue; idle workers steal, then sleep.
** A monitor asks a fiber that runs for long while others wait to give way, and adds threads while workers
** are stuck in fibers that cannot.
*/
#ifndef RL_SCHED_H
#define RL_SCHED_H

#include "core/lock.h"
#include "core/object.h"
#include "core/thread.h"

typedef struct rl_fiber rl_fiber;
struct rl_fiber {
  rl_fiber *next;           /* in a run queue */
  void (*run)(rl_fiber *f); /* immutable; when it returns the worker touches f no more */
  struct rl_pin *pin;       /* its own thread, or NULL; immutable once started */
};

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

/* A thread that waits on something of ours. */
typedef struct rl_blocked rl_blocked;
struct rl_blocked {
  rl_blocked *prev, *next;        /* in the scheduler's list */
  bool (*asleep)(const void *of); /* does it still wait? Must take no lock */
  const void *of;
};

/* Around a wait that blocks the thread that runs a fiber: others may take its place. `b` is set but for its
   links, and stays where it is in between. */
void rl_sched_block(rl_blocked *b);
void rl_sched_unblock(rl_blocked *b);

/* Is everything quiet? Then no fiber runs or is runnable, every thread that runs one waits on something of ours,
   and so does `also` (NULL: nobody): nothing will happen any more but by a timer, a signal or a thread
   that is none of ours. Work in progress of other threads counts when they have said so by rl_sched_enter. */
bool rl_sched_quiet(const rl_blocked *also);
/* From now on `f` is called, under no lock, wherever it may just have become quiet, by the thread that
   stopped; NULL: no more. There is one such function at a time. */
void rl_sched_on_quiet(void (*f)(void));
/* To be called by a thread that is about to sleep, after it has stored what `asleep` looks at. */
void rl_sched_stopped(void);

/* Around what a thread that runs no fibers does to wake some: it is not quiet in between. */
void rl_sched_enter(void);
void rl_sched_leave(void);

/* Runs `f` in a worker that has had nothing to do for a while, once while it is idle: for housekeeping. `f` says in how
   many seconds it wants to be called again, if nothing happens; INFINITY: not. */
void rl_sched_when_idle(double (*f)(void));
/* If it is quiet (see rl_sched_quiet), an idle worker is woken, to keep house in a while. */
void rl_sched_nudge(const rl_blocked *also);

/* A time in the past that costs nothing to ask for, on rl_now's clock: when this worker looked last, some
   turns ago. Of other threads it is now. */
double rl_sched_stamp(void);

/* Is the calling thread one of the workers? */
bool rl_sched_is_worker(void);

/* What the monitor does at each of its looks, until it returns true; then `c` may be attended to anew. */
typedef struct rl_chore rl_chore;
struct rl_chore {
  rl_chore *next;
  bool (*attend)(rl_chore *c);
};
void rl_sched_attend(rl_chore *c);

/* For chores. Pokes the thread that runs `f`, if it bears that; nothing when none does. */
void rl_sched_poke(rl_fiber *f);
/* The same for every thread that runs a fiber. */
void rl_sched_poke_all(void);
/* Asked in a fiber: is it to give way, because it has run for long and others wait? */
bool rl_sched_give_way(void);

/* Counts a wait that parks a fiber or blocks the thread. */
void rl_sched_parked(void);

typedef struct rl_sched_stats {
  unsigned threads, workers;
  uint64_t steals, parks;
} rl_sched_stats;
rl_sched_stats rl_sched_count(void);

#endif

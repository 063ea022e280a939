/*
** task: what a running function is to the core: a fiber, a waiter, a done that fires when it ends, its
** outcome, and its place in the list of the program it belongs to. How it runs is the binding's.
**
** A program is what one main state started: its tasks and its background.
*/
#ifndef RL_TASK_H
#define RL_TASK_H

#include "core/done.h"
#include "core/gate.h"

typedef enum {
  RL_RUNNABLE,
  RL_RUNNING,
  RL_WAITING,
  RL_FINISHED,
  RL_FAILED,
  RL_TASK_STATES
} rl_task_state;

typedef struct rl_task rl_task;

typedef struct rl_program rl_program;
struct rl_program {
  rl_lock lock; /* first and the tasks' links */
  rl_task *first;
  atomic_uint live;       /* tasks that have not ended */
  atomic_bool over;       /* its runtime is ending: nothing is started any more */
  atomic_uint bell;       /* changes when a task ends after that */
  atomic_uint ended;      /* how far somebody is with ending it */
  atomic_uint leaving;    /* tasks that are in os.exit */
  atomic_uint untaken;    /* errors reported because nobody took them */
  atomic_bool patient;    /* the main program waits without a deadline */
  _Atomic double look_at; /* when it may be searched for deadlocks next */
  atomic_uint leaked;     /* tasks reported at the end as leaked */
  void (*ending)(rl_program *p,
                 bool own); /* called when the tasks have had their moment; immutable */
  rl_waiter waiter;         /* the main program's own */
  rl_owner owner;           /* what the main program holds */
  rl_chore poking;          /* the monitor's, while tasks are unwound */
  void *binding;            /* the binding's record of the main state; immutable */
  rl_done *background;      /* immutable; fires when the program ends */
  rl_program *next;         /* in the list of programs, which only grows */
};

struct rl_task {
  rl_event end; /* kind RL_TASK; fires when it ends, after the outcome was set */
  rl_fiber fiber;
  rl_waiter waiter;
  rl_owner owner;       /* what it holds, until it ends */
  rl_program *program;  /* immutable */
  rl_task *prev, *next; /* program->lock */
  uint64_t id;          /* immutable, as is all to `since` */
  const char *name;     /* in `started`, or behind it */
  bool pinned, daemon;
  bool unlogged; /* it listens to the log, and is not told of there */
  unsigned
      leak_told; /* the turn of the wait that the log has called a leak; by who holds the task */
  atomic_uchar state;   /* an rl_task_state, as its own thread sees it */
  atomic_uchar pending; /* what is to be raised in it: an rl_pending; see interrupt */
  atomic_bool leaving;  /* it is in os.exit */
  atomic_bool taken;    /* somebody has seen the outcome */
  /* of a group's member, immutable once ended: it failed after the done had fired; its failure is the
     group's first, second...; 0: it has not failed */
  unsigned late : 1, rank : 31;
  double since; /* when it was started */
  union {
    rl_msg call;    /* function and arguments, until it runs */
    rl_msg outcome; /* results or error; immutable once ended */
  };
  char *traceback; /* of its error; immutable once ended */
  char *complaint; /* the error as text, for the report if nobody takes it */
  struct rl_interrupts {
    rl_lock lock;
    struct rl_reason *first, *last; /* lock: not raised yet */
    bool attended;                  /* lock: the monitor sees to it */
    rl_chore chore;
  } interrupts;
  void *binding; /* the binding's, while it lives; its own thread's, or an inspector's */
  void (*discard)(void *binding); /* for a task that was never started; immutable */
  char started[];                 /* "file:line", and the name if it has one of its own */
};

rl_program *rl_program_make(void);
rl_program *rl_programs(void); /* the first of all */

/* name (may be NULL) and started are copied; takes `call` when it succeeds. */
rl_task *rl_task_make(rl_program *p, const char *name, const char *started, rl_msg *call);
/* Starts it; `run` is called by a worker. The task holds itself until it ends. False: no thread. */
bool rl_task_start(rl_task *t, void (*run)(rl_fiber *));
static inline rl_task *rl_task_of(rl_fiber *f) {
  return (rl_task *)(void *)((char *)f - offsetof(rl_task, fiber));
}
/* Ends it, with its outcome set; afterwards the caller must not touch it. */
void rl_task_end(rl_task *t, bool failed);

rl_task_state rl_task_status(rl_task *t);
bool rl_task_ended(rl_task *t);

/* Calls `visit` for each task of the program that was started and not yet destroyed, under the program's
   lock. */
void rl_program_each(rl_program *p, void (*visit)(rl_task *t, void *ud), void *ud);
/* Unwinds those that wait: their wait ends with RL_ENDED. Returns how many. */
unsigned rl_program_interrupt(rl_program *p);
/* Ends the runtime of a program: running tasks get a moment, then its background fires, all waits are
   unwound, what runs on is interrupted, and untaken errors and the tasks left are reported. Returns how many tasks had to be abandoned. When somebody else
   is at it, waits until that is done. `own`: on the thread of its main program. */
unsigned rl_program_end(rl_program *p, bool own);
/* Nothing of it is left to end: its threads are another process's. */
void rl_program_forget(rl_program *p);

#endif

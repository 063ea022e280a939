/*
** gate: what tasks pass, one by one or together: mutexes, semaphores, wait groups and their kin. A gate is a
** number and a queue of those that wait, each with what it needs, first come, first served. Who was claimed
** has what it asked for.
**
** What has to be given back whoever forgets it is a *grant* in the list of its owner, a task or a main program: a
** task's end gives all back. A grant counts its gate as one that may release it, so leak analysis finds it like
** a handle.
*/
#ifndef RL_GATE_H
#define RL_GATE_H

#include "core/waiter.h"

typedef enum {
  RL_MUTEX,     /* value: 1, or 0 when locked */
  RL_RWMUTEX,   /* RL_READERS; a reader takes 1, a writer all */
  RL_SEMAPHORE, /* free permits */
  RL_WAITGROUP, /* what is left to do */
  RL_COND,      /* none */
  RL_BARRIER,   /* how many have arrived */
  RL_COUNTER,   /* the number itself; nobody waits */
  RL_ONCE,      /* as a mutex: the one who holds it runs */
  RL_GATE_TYPES
} rl_gate_type;

#define RL_READERS ((int64_t)1 << 32)

typedef struct rl_gate rl_gate;
typedef struct rl_grant rl_grant;

struct rl_grant {
  rl_grant *prev, *next; /* all: the owner's thread's */
  rl_gate *gate;         /* counted, with RL_MAY_RELEASE */
  int64_t n;             /* what is given back at its end */
  unsigned depth;        /* of a reader: how often it has locked */
};

typedef struct rl_owner {
  rl_grant *first; /* touched by the thread that runs the owner */
  rl_grant *spare; /* one that has ended, to be used again; NULL: none */
} rl_owner;

struct rl_gate {
  rl_source src;
  uint8_t type;     /* an rl_gate_type; immutable, as are the next two */
  char *name;       /* or NULL */
  int64_t size;     /* the most that value may be */
  int64_t value;    /* src.lock, as the next three: see rl_gate_type */
  int64_t promised; /* of a semaphore or wait group: what grants will give back */
  bool abandoned;   /* who held it alone has ended without unlocking it */
  rl_queue waiters;
  _Atomic(rl_owner *) held; /* who holds it alone; set and unset by its thread */
  int64_t turns;            /* how often it was held alone; the holder's, as all below */
  int64_t turn;             /* which of these this is */
  rl_grant alone;           /* its grant */
};

/* One of type RL_ONCE: with what came of the run. */
typedef struct rl_once {
  rl_gate gate;
  rl_msg outcome;      /* both by the one who runs, until it is decided; then immutable */
  bool failed;         /* the outcome is an error */
  atomic_bool decided; /* set by the one who runs, before it is given back */
} rl_once;

static inline bool rl_once_decided(const rl_once *o) {
  return atomic_load_explicit(&o->decided, memory_order_acquire);
}

/* `name` (may be NULL) is copied. NULL: out of memory. */
rl_gate *rl_gate_make(rl_gate_type type, int64_t value, int64_t size, const char *name);

/* For select, with the lock held. `m->u.i` is what is needed, and `m->len` says whether it will be held; when
   it has passed, `m->u.i` is what it is told: 1 for a lock that was abandoned; for a barrier its place,
   the last being 1. */
rl_status rl_gate_pass(rl_gate *g, rl_msg *m, rl_wakes *ws);
void rl_gate_queue(rl_gate *g, rl_node *n);
void rl_gate_withdraw(rl_gate *g, rl_node *n, rl_wakes *ws);

/* Passes if that is possible at once, as above. */
bool rl_gate_try(rl_gate *g, rl_msg *m);
/* Adds to the value and lets pass who now may. False: it would be below 0 or above size, or what grants will
   give back would be, and nothing was done. */
bool rl_gate_add(rl_gate *g, int64_t n);
/* The same for what the end of a grant will take back. */
bool rl_gate_promise(rl_gate *g, int64_t n);
/* Wakes up to `most` of those that wait for a signal. */
void rl_gate_signal(rl_gate *g, unsigned most);
int64_t rl_gate_value(rl_gate *g);
/* A counter's: adds, or sets; both wrap around. They return the value after, and the one before. */
int64_t rl_gate_count(rl_gate *g, int64_t n);
int64_t rl_gate_set(rl_gate *g, int64_t value);
/* Does some wait that is decided still stand in the queue? Then those behind it may pass in a moment. */
bool rl_gate_moving(rl_gate *g);

static inline bool rl_gate_held_by(rl_gate *g, const rl_owner *o) {
  return atomic_load_explicit(&g->held, memory_order_relaxed) == o;
}

/* Owners. All are called on the thread that runs the owner, or while it is inspected. */

/* One for rl_grant_shared, from malloc. NULL: out of memory. */
rl_grant *rl_grant_make(rl_owner *o);
/* After all of a mutex or rwmutex was passed by the owner: it holds that alone. */
void rl_grant_alone(rl_owner *o, rl_gate *g);
/* After `n` were passed or promised; takes `h`, which was made before. */
void rl_grant_shared(rl_owner *o, rl_grant *h, rl_gate *g, int64_t n);
/* The owner's grant of `g` as a reader, or NULL. */
rl_grant *rl_grant_find(rl_owner *o, const rl_gate *g);
/* Gives back what is held. */
void rl_grant_end(rl_owner *o, rl_grant *h, bool abandoned);
/* Gives back all, as the owner has come to its end. */
void rl_owner_end(rl_owner *o);

#endif

/*
** waiter: park and wake. A waiter is a task, a blocked OS thread, or a hook (a done that watches
** others). It is armed, then published by nodes in the queues of what it waits on, under their
** locks, then parked. One word decides:
**
**   ARMED    may be claimed
**   CLAIMED  one contender (a sender, a close, a cancellation, a deadline) has won, by the one
**            compare-and-swap; it writes `won` and `status`, then wakes
**   PARKED   the task has finished yielding (a thread that is about to sleep: ASLEEP)
**   BLOCKED  the task keeps its thread, which is in rl_waiter_block
**   WOKEN    the claimer is done with it
**   INSPECTED somebody looks at a parked or blocked task from outside; a wake meanwhile is carried
**            out on release
**
** WOKEN and PARKED are each set by one atomic `or`, which tells whether the other was there
** before: so exactly one of the two sides makes the task run again, and never before its yield
** has completed. Claiming happens under the lock of a queue that holds a node (or the timers'),
** waking after that lock was left; a waiter that was woken withdraws its other nodes under their
** locks before it goes on, so nobody sees a node whose waiter is gone.
*/
#ifndef RL_WAITER_H
#define RL_WAITER_H

#include "core/msg.h"
#include "core/sched.h"

typedef enum {
  RL_OK,
  RL_CLOSED,
  RL_FIRED,       /* a done that was watched */
  RL_TIMEOUT,     /* the wait's own deadline */
  RL_INTERRUPTED, /* given up, or a reason was raised in it */
  RL_ENDED,       /* unwound, as the program ends */
  RL_LEAKED,      /* unwound, as nothing could have woken it */
  RL_STALLED,     /* the same, on a virtual clock: all wait, and no timer is armed */
  RL_DEADLOCK,    /* the same, a main program's */
  RL_NOT_READY,   /* empty, full or not fired */
  RL_PARK,        /* queued: now park */
  RL_NO_MEMORY
} rl_status;

enum {
  RL_W_ARMED = 1,
  RL_W_CLAIMED = 2,
  RL_W_PARKED = 4,
  RL_W_WOKEN = 8,
  RL_W_INSPECTED = 16,
  RL_W_ASLEEP = 32,  /* a thread is about to sleep on the word */
  RL_W_POLLING = 64, /* with ASLEEP: it sleeps on its eventfd */
  RL_W_BLOCKED = 128
};

typedef struct rl_waiter rl_waiter;
typedef struct rl_node rl_node;
typedef struct rl_wakes rl_wakes;

/* What channels and dones begin with: an object that one can wait on. */
typedef struct rl_source {
  rl_object obj;
  rl_lock lock;
} rl_source;

/* A place in a queue. prev, next, queue: under the lock of `on`; the rest is set before. */
struct rl_node {
  rl_node *prev, *next;
  struct rl_queue *queue; /* NULL when in none */
  rl_waiter *waiter;
  rl_source *on;
  rl_msg *msg; /* what is offered, or where it goes */
};

typedef struct rl_queue {
  rl_node *first, *last;
} rl_queue;

typedef enum { RL_WAITER_FIBER, RL_WAITER_THREAD, RL_WAITER_HOOK } rl_waiter_kind;

struct rl_waiter {
  atomic_uint word;
  atomic_uint turn; /* how often it was armed */
  uint8_t kind;
  rl_status status; /* both by the claimer, before the wake */
  rl_node *won;     /* NULL: not by a node */
  rl_waiter *next;  /* in a list of wakes */
  int eventfd;      /* where a thread sleeps that signals may interrupt; -1: not made yet */
  union {
    rl_fiber *fiber;
    struct {
      rl_object *owner; /* weak: claiming takes a count, the wake releases it */
      void (*fire)(rl_waiter *w, rl_wakes *more);
    } hook;
  } u;
};

/* Those claimed under a lock, to be woken after it was left. Waking a hook may add more, which
   makes a cascade one flat loop. */
struct rl_wakes {
  rl_waiter *first, *last;
};

static inline void rl_queue_add(rl_queue *q, rl_node *n) {
  n->queue = q;
  n->next = NULL;
  n->prev = q->last;
  if (q->last)
    q->last->next = n;
  else
    q->first = n;
  q->last = n;
}

/* Nothing when it is in no queue. */
static inline void rl_queue_remove(rl_node *n) {
  rl_queue *q = n->queue;
  if (!q) return;
  n->queue = NULL;
  if (n->prev)
    n->prev->next = n->next;
  else
    q->first = n->next;
  if (n->next)
    n->next->prev = n->prev;
  else
    q->last = n->prev;
}

static inline unsigned rl_waiter_turn(const rl_waiter *w) {
  return atomic_load_explicit(&w->turn, memory_order_relaxed);
}

static inline void rl_waiter_arm(rl_waiter *w, rl_waiter_kind kind) {
  w->kind = (uint8_t)kind;
  w->won = NULL;
  w->next = NULL;
  atomic_store_explicit(&w->turn, rl_waiter_turn(w) + 1, memory_order_relaxed);
  atomic_store_explicit(&w->word, RL_W_ARMED, memory_order_release);
}

static inline void rl_waiter_fiber(rl_waiter *w, rl_fiber *f) {
  w->u.fiber = f;
  rl_waiter_arm(w, RL_WAITER_FIBER);
}

void rl_waiter_thread(rl_waiter *w); /* keeps w's eventfd */
void rl_waiter_open(rl_waiter *w);   /* before the first of these */
void rl_waiter_close(rl_waiter *w);
void rl_waiter_hook(rl_waiter *w, rl_object *owner, void (*fire)(rl_waiter *, rl_wakes *));

/* True for the one that wins; it owes a wake. */
static inline bool rl_waiter_claim(rl_waiter *w, rl_status status, rl_node *won) {
  unsigned word = atomic_load_explicit(&w->word, memory_order_acquire), mine;
  do {
    if (!(word & RL_W_ARMED) || (word & RL_W_CLAIMED)) return false;
    mine = word | RL_W_CLAIMED;
    /* parked: nobody but the claimer touches it before it is made to run, so one step does for both */
    if ((word & RL_W_PARKED) && !(word & RL_W_INSPECTED)) mine |= RL_W_WOKEN;
  } while (!atomic_compare_exchange_weak_explicit(&w->word, &word, mine, memory_order_acq_rel,
                                                  memory_order_acquire));
  /* a hook whose owner is being destroyed takes part no more */
  if (w->kind == RL_WAITER_HOOK && !rl_try_retain(w->u.hook.owner)) return false;
  w->status = status;
  w->won = won;
  return true;
}

/* Claims a wait that is parked or blocked, from anywhere: no lock needed, as only a claimer can end it. */
bool rl_waiter_interrupt(rl_waiter *w, rl_status status);
static inline void rl_wakes_add(rl_wakes *ws, rl_waiter *w) {
  w->next = NULL;
  if (ws->last)
    ws->last->next = w;
  else
    ws->first = w;
  ws->last = w;
}
/* Wakes all, and leaves the list empty. */
void rl_wake_listed(rl_wakes *ws);
static inline void rl_wake_all(rl_wakes *ws) {
  rl_waiter *w = ws->first;
  if (!w) return;
  /* mostly it is one parked task, which its claimer alone can touch */
  if (!w->next && w->kind == RL_WAITER_FIBER &&
      (atomic_load_explicit(&w->word, memory_order_relaxed) & RL_W_WOKEN)) {
    ws->first = ws->last = NULL;
    rl_sched_ready(w->u.fiber);
  } else {
    rl_wake_listed(ws);
  }
}

/* After a task's yield: true when it is parked (touch it no more), false when it was woken already
   and goes on at once. */
static inline bool rl_waiter_park(rl_waiter *w) {
  unsigned was = atomic_fetch_or_explicit(&w->word, RL_W_PARKED, memory_order_acq_rel);
  return !(was & RL_W_WOKEN);
}

/* For rl_blocked: does the thread whose waiter this is sleep, with nobody at waking it? */
bool rl_waiter_asleep(const void *w);

/* Blocks the calling OS thread: spins for a little, then sleeps, until woken. With `interrupted`
   (then `w` must outlive its wakers) it returns false when that, asked with signals blocked, says
   that a signal handler wants the thread back. */
bool rl_waiter_block(rl_waiter *w, bool (*interrupted)(void *ud), void *ud);

/* Looks at what waits from outside: between the two it cannot go on. False: it is neither parked nor
   blocked, or its wait is decided, or somebody else looks at it. */
bool rl_waiter_inspect(rl_waiter *w);
void rl_waiter_release(rl_waiter *w);
/* For a thread that has claimed its own wait: nobody looks at it any more. */
void rl_waiter_await_release(rl_waiter *w);
static inline bool rl_waiter_claimed(const rl_waiter *w) {
  return atomic_load_explicit(&w->word, memory_order_acquire) & RL_W_CLAIMED;
}
/* Is it still in the wait of that turn, which nobody has claimed? */
static inline bool rl_waiter_still(rl_waiter *w, unsigned turn) {
  unsigned word = atomic_load_explicit(&w->word, memory_order_acquire);
  return (word & (RL_W_PARKED | RL_W_BLOCKED)) && !(word & RL_W_CLAIMED) &&
         rl_waiter_turn(w) == turn;
}

#endif

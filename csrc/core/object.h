/*
** object: what tasks share. An object is counted: each handle in a Lua state, each reference in
** a message and each C structure that needs it alive holds one count.
**
** Who holds what: a handle is an *edge* in the list of its holder (a Lua state), a message keeps
** its references in an array. An edge carries rights, because only some of them can wake a
** waiter: who merely watches a done can never fire it. Leak analysis walks exactly these edges.
*/
#ifndef RL_OBJECT_H
#define RL_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum { RL_CHAN, RL_DONE, RL_TASK, RL_CLASS, RL_AFTER, RL_GATE } rl_kind;

typedef struct rl_object rl_object;
struct rl_object {
  atomic_uint_fast64_t
      counts;          /* the lower half: all; the upper: those with a right that can wake */
  uint8_t kind;        /* an rl_kind; immutable */
  atomic_uchar copied; /* leak analysis has to look again: see rl_object_copied */
  atomic_uint carrier; /* its place in the list of carriers, from 1; 0: it is none */
  union {
    /* Runs when the last count with a right that can wake goes, under no lock; NULL: nothing does. Set before there
       is any. */
    void (*abandoned)(rl_object *o);
    rl_object *dying; /* link among those whose last count has just gone */
  } u;
  void (*destroy)(rl_object *o); /* immutable; runs when the last count goes, under no lock */
};

/* What the holder of an edge may do; the combination says which kind of handle it is. */
enum {
  RL_MAY_RECV = 1,
  RL_MAY_SEND = 2, /* and close */
  RL_MAY_WATCH = 4,
  RL_MAY_FIRE = 8,
  RL_MAY_JOIN = 16,
  RL_MAY_RESET = 32,    /* stop and reset the timer behind a channel */
  RL_OFFERS = 64,       /* the edge is part of an rl_offer: see msg.h */
  RL_MAY_RELEASE = 128, /* what others wait for at a gate */

  /* whoever waits to receive, watches, or waits to pass */
  RL_CAN_WAKE = RL_MAY_SEND | RL_MAY_FIRE | RL_MAY_RESET | RL_MAY_RELEASE
};

typedef struct rl_ref {
  rl_object *to; /* counted */
  uint8_t rights;
  uint8_t type; /* the binding's */
} rl_ref;

typedef struct rl_edge rl_edge;
struct rl_edge {
  rl_ref ref;
  rl_edge *prev, *next; /* touched only by the thread that runs the holder */
};

typedef struct rl_holder {
  rl_edge *first;
} rl_holder;

void rl_object_init(rl_object *o, rl_kind kind, void (*destroy)(rl_object *));
/* What a count with these rights adds to the counts. */
static inline uint64_t rl_count_weight(uint8_t rights) {
  return rights & RL_CAN_WAKE ? (uint64_t)1 << 32 | 1 : 1;
}
static inline uint32_t rl_count_of(uint64_t counts) {
  return (uint32_t)counts;
}
static inline uint32_t rl_wakers_of(uint64_t counts) {
  return (uint32_t)(counts >> 32);
}

/* A count that comes with rights, and one that does not: a C structure's own. */
static inline void rl_retain_as(rl_object *o, uint8_t rights) {
  atomic_fetch_add_explicit(&o->counts, rl_count_weight(rights), memory_order_relaxed);
}
static inline void rl_retain(rl_object *o) {
  rl_retain_as(o, 0);
}

void rl_object_unused(rl_object *o);  /* the last count has gone */
void rl_object_give_up(rl_object *o); /* gives up the right that can wake, but not the count */
static inline void rl_release_as(rl_object *o, uint8_t rights) {
  if (rights & RL_CAN_WAKE && o->u.abandoned) {
    rl_object_give_up(o);
    rights = 0;
  }
  uint64_t weight = rl_count_weight(rights);
  uint64_t was = atomic_fetch_sub_explicit(&o->counts, weight, memory_order_acq_rel);
  if (rl_count_of(was) == 1) rl_object_unused(o);
}
static inline void rl_release(rl_object *o) {
  rl_release_as(o, 0);
}

/* To be called by whoever has copied a reference out of `o` that it keeps: after that, and before it may lose `o`. */
static inline void rl_object_copied(rl_object *o) {
  atomic_fetch_or_explicit(&o->copied, 1, memory_order_release);
}

/* For weak references: false when the last count has gone already. */
bool rl_try_retain(rl_object *o);

/* Makes `e` an edge of `h` and takes a count of `to`. */
void rl_hold(rl_holder *h, rl_edge *e, rl_object *to, uint8_t rights);
/* Ends the edge and releases its count; nothing on an empty one. */
void rl_unhold(rl_holder *h, rl_edge *e);

#endif

/*
** chan: the channel. Values wait in a ring, tasks in two queues; a rendezvous has no ring. Sending,
** receiving, their non-waiting forms and select share the two matching routines below.
*/
#ifndef RL_CHAN_H
#define RL_CHAN_H

#include "core/carrier.h"
#include "core/waiter.h"

typedef struct rl_chan rl_chan;
struct rl_chan {
  rl_source src;
  bool never;    /* neither side ever gets ready; immutable */
  bool timed;    /* fed by a timer; immutable */
  bool closed;   /* src.lock, as all below */
  uint32_t cap;  /* immutable */
  uint32_t room; /* how far the ring has grown */
  uint32_t head;
  uint32_t taken;    /* values so far, and those replaced */
  atomic_uint count; /* written under the lock, read by `#ch` without */
  rl_msg *ring;
  rl_queue receivers, senders;
  char *name; /* immutable after make */
};

/* `name` (may be NULL) is copied. NULL: out of memory. */
rl_chan *rl_chan_make(uint32_t cap, const char *name);
void rl_chan_init(rl_chan *c, uint32_t cap, void (*destroy)(rl_object *));
/* Drops values and name; for the destroy of structures that begin with a channel. */
void rl_chan_clear(rl_chan *c);

/* How many values it holds; without the lock, how many it held a moment ago. */
static inline unsigned rl_chan_count(rl_chan *c) {
  return atomic_load_explicit(&c->count, memory_order_relaxed);
}

static inline void rl_chan_set_count(rl_chan *c, unsigned n) {
  atomic_store_explicit(&c->count, n, memory_order_relaxed);
}

/* The two matching routines. They are inline, for every hand-over goes through them; both with the lock
   held, and rl_wake_all after leaving it. */

bool rl_chan_grow(rl_chan *c) RL_SLOW;

/* Takes the first of the queue that can still be claimed; the others' wait is decided already. */
static inline rl_node *rl_claim_first(rl_queue *q, rl_status status, rl_wakes *ws) {
  rl_node *n;
  while ((n = q->first) != NULL) {
    rl_waiter *w = n->waiter;
    rl_queue_remove(n);
    if (rl_waiter_claim(w, status, n)) {
      rl_wakes_add(ws, w);
      return n;
    }
  }
  return NULL;
}

static inline void rl_chan_push(rl_chan *c, rl_msg *m) {
  unsigned n = rl_chan_count(c), i = c->head + n;
  rl_carry(&c->src.obj, m);
  rl_msg_move(&c->ring[i < c->room ? i : i - c->room], m);
  rl_chan_set_count(c, n + 1);
}

static inline void rl_chan_pop(rl_chan *c, rl_msg *m) {
  rl_msg_move(m, &c->ring[c->head]);
  c->head = c->head + 1 < c->room ? c->head + 1 : 0;
  rl_chan_set_count(c, rl_chan_count(c) - 1);
}

/* RL_OK moves `m`; RL_CLOSED, RL_NOT_READY, RL_NO_MEMORY leave it. */
static inline rl_status rl_chan_put(rl_chan *c, rl_msg *m, rl_wakes *ws) {
  if (c->never) return RL_NOT_READY;
  if (c->closed) return RL_CLOSED;
  rl_node *receiver = c->receivers.first ? rl_claim_first(&c->receivers, RL_OK, ws) : NULL;
  if (receiver) {
    rl_msg_move(receiver->msg, m);
    return RL_OK;
  }
  unsigned n = rl_chan_count(c);
  if (n == c->cap) return RL_NOT_READY;
  if (n == c->room && !rl_chan_grow(c)) return RL_NO_MEMORY;
  rl_chan_push(c, m);
  rl_assert(rl_chan_count(c) <= c->cap, "more values than capacity");
  return RL_OK;
}

/* RL_OK fills the empty `m`; RL_CLOSED once closed and drained; RL_NOT_READY. */
static inline rl_status rl_chan_take(rl_chan *c, rl_msg *m, rl_wakes *ws) {
  if (c->never) return RL_NOT_READY;
  bool buffered = rl_chan_count(c) > 0;
  if (buffered) rl_chan_pop(c, m);
  /* a full ring has room now: the first waiting sender's value goes behind the others */
  rl_node *sender = c->senders.first ? rl_claim_first(&c->senders, RL_OK, ws) : NULL;
  if (sender && buffered)
    rl_chan_push(c, sender->msg);
  else if (sender)
    rl_msg_move(m, sender->msg);
  if (buffered || sender) return c->taken++, RL_OK;
  return c->closed ? RL_CLOSED : RL_NOT_READY;
}

/* RL_CLOSED when it was closed before. */
rl_status rl_chan_close(rl_chan *c);
/* Shares the first value of the buffer and leaves it where it is; `version` changes when it is taken or replaced. False:
   there is none. */
bool rl_chan_peek(rl_chan *c, rl_msg *m, uint32_t *version);
/* Exchanges the first value for `m` if it is that version's; false leaves both. */
bool rl_chan_replace(rl_chan *c, uint32_t version, rl_msg *m);
unsigned rl_chans(void); /* how many there are */

#endif

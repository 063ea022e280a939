/*
** chan: the channel. Values wait in a ring, tasks in two queues; a rendezvous has no ring. Sending,
** receiving, their non-waiting forms and select share the two matching routines below.
*/
#ifndef RL_CHAN_H
#define RL_CHAN_H

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

/* Both with the lock held, and rl_wake_all after leaving it.
   put: RL_OK moves `m`; RL_CLOSED, RL_NOT_READY, RL_NO_MEMORY leave it. */
rl_status rl_chan_put(rl_chan *c, rl_msg *m, rl_wakes *ws);
/* take: RL_OK fills the empty `m`; RL_CLOSED once closed and drained; RL_NOT_READY. */
rl_status rl_chan_take(rl_chan *c, rl_msg *m, rl_wakes *ws);

/* RL_CLOSED when it was closed before. */
rl_status rl_chan_close(rl_chan *c);
unsigned rl_chan_len(rl_chan *c);
unsigned rl_chans(void); /* how many there are */

#endif

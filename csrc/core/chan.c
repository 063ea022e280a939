/*
** chan: the channel. Invariants, asserted after each locked section that changes it:
**   count <= cap, and the ring holds `count` values from `head` on;
**   values in the ring: no receiver waits that could still be claimed;
**   room in the ring, or closed: no sender waits that could still be claimed;
**   closed: nobody waits.
** A waiting sender's value stays in its own node until it is claimed; claiming and moving the value
** are one step under the lock, so it is with the sender or with the receiver and never in both.
*/
#include "core/chan.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 8 };

static atomic_uint chans;

static unsigned count_of(rl_chan *c) {
  return atomic_load_explicit(&c->count, memory_order_relaxed);
}

static void set_count(rl_chan *c, unsigned n) {
  atomic_store_explicit(&c->count, n, memory_order_relaxed);
}

void rl_chan_init(rl_chan *c, uint32_t cap, void (*destroy)(rl_object *)) {
  memset(c, 0, sizeof *c);
  rl_object_init(&c->src.obj, RL_CHAN, destroy);
  c->cap = cap;
  atomic_fetch_add_explicit(&chans, 1, memory_order_relaxed);
}

void rl_chan_clear(rl_chan *c) {
  rl_assert(!c->receivers.first && !c->senders.first, "a destroyed channel is still waited on");
  for (unsigned n = count_of(c); n > 0; n--) {
    rl_msg_drop(&c->ring[c->head]);
    c->head = (c->head + 1) % c->room;
  }
  free(c->ring);
  free(c->name);
  atomic_fetch_sub_explicit(&chans, 1, memory_order_relaxed);
}

static void destroy(rl_object *o) {
  rl_chan_clear((rl_chan *)o);
  free(o);
}

rl_chan *rl_chan_make(uint32_t cap, const char *name) {
  rl_chan *c = malloc(sizeof *c);
  char *copy = name ? strdup(name) : NULL;
  if (!c || (name && !copy)) {
    free(c);
    free(copy);
    return NULL;
  }
  rl_chan_init(c, cap, destroy);
  c->name = copy;
  return c;
}

/* Takes the first of the queue that can still be claimed; the others' wait is decided already. */
static rl_node *claim_first(rl_queue *q, rl_status status, rl_wakes *ws) {
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

static bool grow(rl_chan *c) {
  uint32_t room = c->room ? (c->room > c->cap / 2 ? c->cap : c->room * 2) : FIRST_ROOM;
  if (room > c->cap) room = c->cap;
  rl_msg *ring = malloc(room * sizeof *ring);
  if (!ring) return false;
  uint32_t n = count_of(c), tail = c->room - c->head;
  if (n <= tail) {
    if (n) memcpy(ring, c->ring + c->head, n * sizeof *ring);
  } else {
    memcpy(ring, c->ring + c->head, tail * sizeof *ring);
    memcpy(ring + tail, c->ring, (n - tail) * sizeof *ring);
  }
  free(c->ring);
  c->ring = ring;
  c->room = room;
  c->head = 0;
  return true;
}

static void push(rl_chan *c, rl_msg *m) {
  unsigned n = count_of(c), i = c->head + n;
  rl_msg_move(&c->ring[i < c->room ? i : i - c->room], m);
  set_count(c, n + 1);
}

static void pop(rl_chan *c, rl_msg *m) {
  rl_msg_move(m, &c->ring[c->head]);
  c->head = c->head + 1 < c->room ? c->head + 1 : 0;
  set_count(c, count_of(c) - 1);
}

rl_status rl_chan_put(rl_chan *c, rl_msg *m, rl_wakes *ws) {
  if (c->never) return RL_NOT_READY;
  if (c->closed) return RL_CLOSED;
  rl_node *receiver = c->receivers.first ? claim_first(&c->receivers, RL_OK, ws) : NULL;
  if (receiver) {
    rl_msg_move(receiver->msg, m);
    return RL_OK;
  }
  unsigned n = count_of(c);
  if (n == c->cap) return RL_NOT_READY;
  if (n == c->room && !grow(c)) return RL_NO_MEMORY;
  push(c, m);
  rl_assert(count_of(c) <= c->cap, "more values than capacity");
  return RL_OK;
}

rl_status rl_chan_take(rl_chan *c, rl_msg *m, rl_wakes *ws) {
  if (c->never) return RL_NOT_READY;
  bool buffered = count_of(c) > 0;
  if (buffered) pop(c, m);
  /* a full ring has room now: the first waiting sender's value goes behind the others */
  rl_node *sender = c->senders.first ? claim_first(&c->senders, RL_OK, ws) : NULL;
  if (sender && buffered)
    push(c, sender->msg);
  else if (sender)
    rl_msg_move(m, sender->msg);
  if (buffered || sender) return RL_OK;
  return c->closed ? RL_CLOSED : RL_NOT_READY;
}

rl_status rl_chan_close(rl_chan *c) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&c->src.lock);
  bool was = c->closed;
  c->closed = true;
  while (claim_first(&c->receivers, RL_CLOSED, &ws)) continue;
  while (claim_first(&c->senders, RL_CLOSED, &ws)) continue;
  rl_lock_leave(&c->src.lock);
  rl_wake_all(&ws);
  return was ? RL_CLOSED : RL_OK;
}

unsigned rl_chan_len(rl_chan *c) {
  return count_of(c);
}

unsigned rl_chans(void) {
  return atomic_load_explicit(&chans, memory_order_relaxed);
}

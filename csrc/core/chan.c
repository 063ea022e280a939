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

void rl_chan_init(rl_chan *c, uint32_t cap, void (*destroy)(rl_object *)) {
  memset(c, 0, sizeof *c);
  rl_object_init(&c->src.obj, RL_CHAN, destroy);
  c->cap = cap;
  atomic_fetch_add_explicit(&chans, 1, memory_order_relaxed);
}

void rl_chan_clear(rl_chan *c) {
  rl_assert(!c->receivers.first && !c->senders.first, "a destroyed channel is still waited on");
  for (unsigned n = rl_chan_count(c); n > 0; n--) {
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

bool rl_chan_grow(rl_chan *c) {
  uint32_t room = c->room ? (c->room > c->cap / 2 ? c->cap : c->room * 2) : FIRST_ROOM;
  if (room > c->cap) room = c->cap;
  rl_msg *ring = malloc(room * sizeof *ring);
  if (!ring) return false;
  uint32_t n = rl_chan_count(c), tail = c->room - c->head;
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

rl_status rl_chan_close(rl_chan *c) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&c->src.lock);
  bool was = c->closed;
  c->closed = true;
  while (rl_claim_first(&c->receivers, RL_CLOSED, &ws)) continue;
  while (rl_claim_first(&c->senders, RL_CLOSED, &ws)) continue;
  rl_lock_leave(&c->src.lock);
  rl_wake_all(&ws);
  return was ? RL_CLOSED : RL_OK;
}

bool rl_chan_peek(rl_chan *c, rl_msg *m, uint32_t *version) {
  rl_lock_take(&c->src.lock);
  bool some = rl_chan_count(c) > 0;
  if (some) rl_msg_copy(m, &c->ring[c->head], &c->src.obj);
  *version = c->taken;
  rl_lock_leave(&c->src.lock);
  return some;
}

bool rl_chan_replace(rl_chan *c, uint32_t version, rl_msg *m) {
  rl_lock_take(&c->src.lock);
  bool same = rl_chan_count(c) > 0 && c->taken == version;
  if (same) {
    rl_msg old = c->ring[c->head];
    rl_carry(&c->src.obj, m);
    c->ring[c->head] = *m;
    *m = old;
    c->taken++;
  }
  rl_lock_leave(&c->src.lock);
  return same;
}

unsigned rl_chans(void) {
  return atomic_load_explicit(&chans, memory_order_relaxed);
}

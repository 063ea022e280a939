/*
** gate: passing, waiting, holding. src.lock protects value and waiters; no other source's is taken under
** it. Invariant of those that take (mutex, rwmutex, semaphore), after each locked section: the first waiter
** needs more than there is, or its wait is decided and it will withdraw; so nothing that is free
** stays so while somebody waits for it.
*/
#include "core/gate.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void destroy(rl_object *o) {
  rl_gate *g = (rl_gate *)o;
  rl_assert(!g->waiters.first, "a destroyed gate is still waited at");
  rl_assert(!atomic_load_explicit(&g->held, memory_order_relaxed), "a destroyed gate is held");
  if (g->type == RL_ONCE) rl_msg_drop(&((rl_once *)g)->outcome);
  free(g->name);
  free(g);
}

rl_gate *rl_gate_make(rl_gate_type type, int64_t value, int64_t size, const char *name) {
  rl_gate *g = calloc(1, type == RL_ONCE ? sizeof(rl_once) : sizeof *g);
  char *copy = name ? strdup(name) : NULL;
  if (!g || (name && !copy)) {
    free(g);
    free(copy);
    return NULL;
  }
  rl_object_init(&g->src.obj, RL_GATE, destroy);
  g->type = (uint8_t)type;
  g->value = value;
  g->size = size;
  g->name = copy;
  return g;
}

static bool is_taken_from(const rl_gate *g) {
  return g->type == RL_MUTEX || g->type == RL_RWMUTEX || g->type == RL_SEMAPHORE ||
         g->type == RL_ONCE;
}

/* Passing, with the lock held */

/* That much will be held. The count is there before the grant is, for leak analysis. */
static void promise(rl_gate *g, int64_t n) {
  g->promised += n;
  rl_retain_as(&g->src.obj, RL_MAY_RELEASE);
}

/* Takes what `m` needs, which is there. */
static void take(rl_gate *g, rl_msg *m) {
  g->value -= m->u.i;
  if (m->len) promise(g, m->u.i);
  m->u.i = g->abandoned;
  g->abandoned = false;
}

static void serve_takers(rl_gate *g, rl_wakes *ws) {
  rl_node *n;
  while ((n = g->waiters.first) != NULL && n->msg->u.i <= g->value) {
    rl_waiter *w = n->waiter;
    rl_queue_remove(n);
    if (!rl_waiter_claim(w, RL_OK, n)) continue;
    take(g, n->msg);
    rl_wakes_add(ws, w);
  }
}

static unsigned wake(rl_gate *g, unsigned most, rl_wakes *ws) {
  unsigned n = 0;
  while (n < most && g->waiters.first) {
    rl_waiter *w = g->waiters.first->waiter;
    rl_node *node = g->waiters.first;
    rl_queue_remove(node);
    if (!rl_waiter_claim(w, RL_OK, node)) continue;
    rl_wakes_add(ws, w);
    n++;
  }
  return n;
}

/* Lets pass who may after the value or the queue has changed. */
static void serve(rl_gate *g, rl_wakes *ws) {
  if (is_taken_from(g))
    serve_takers(g, ws);
  else if (g->type == RL_WAITGROUP && g->value == 0)
    wake(g, UINT_MAX, ws);
}

/* All have arrived. One whose done fires at the same moment has arrived as well: it finds its place. */
static void open_barrier(rl_gate *g, rl_wakes *ws) {
  int64_t place = g->size;
  for (rl_node *n = g->waiters.first; n; n = n->next) n->msg->u.i = place--;
  wake(g, UINT_MAX, ws);
  g->value = 0;
}

rl_status rl_gate_pass(rl_gate *g, rl_msg *m, rl_wakes *ws) {
  if (g->type == RL_WAITGROUP) return g->value == 0 ? RL_OK : RL_NOT_READY;
  if (g->type == RL_BARRIER) {
    if (g->value + 1 < g->size) return RL_NOT_READY;
    open_barrier(g, ws);
    m->u.i = 1;
    return RL_OK;
  }
  if (g->waiters.first || g->value < m->u.i) return RL_NOT_READY;
  take(g, m);
  return RL_OK;
}

void rl_gate_queue(rl_gate *g, rl_node *n) {
  if (g->type == RL_BARRIER) g->value++;
  rl_queue_add(&g->waiters, n);
}

void rl_gate_withdraw(rl_gate *g, rl_node *n, rl_wakes *ws) {
  if (!n->queue) return;
  rl_queue_remove(n);
  if (g->type == RL_BARRIER) g->value--;
  serve(g, ws);
}

/* What programs do */

bool rl_gate_try(rl_gate *g, rl_msg *m) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&g->src.lock);
  rl_status st = rl_gate_pass(g, m, &ws);
  rl_lock_leave(&g->src.lock);
  rl_wake_all(&ws);
  return st == RL_OK;
}

bool rl_gate_add(rl_gate *g, int64_t n) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&g->src.lock);
  int64_t least = g->type == RL_WAITGROUP ? g->promised : 0;
  int64_t most = g->type == RL_SEMAPHORE ? g->size - g->promised : g->size;
  bool ok = n >= 0 ? n <= most - g->value : n >= least - g->value;
  if (ok) {
    g->value += n;
    serve(g, &ws);
  }
  rl_lock_leave(&g->src.lock);
  rl_wake_all(&ws);
  return ok;
}

bool rl_gate_promise(rl_gate *g, int64_t n) {
  rl_lock_take(&g->src.lock);
  bool ok = n <= g->size - g->value;
  if (ok) {
    g->value += n;
    promise(g, n);
  }
  rl_lock_leave(&g->src.lock);
  return ok;
}

void rl_gate_signal(rl_gate *g, unsigned most) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&g->src.lock);
  wake(g, most, &ws);
  rl_lock_leave(&g->src.lock);
  rl_wake_all(&ws);
}

int64_t rl_gate_value(rl_gate *g) {
  rl_lock_take(&g->src.lock);
  int64_t value = g->value;
  rl_lock_leave(&g->src.lock);
  return value;
}

int64_t rl_gate_count(rl_gate *g, int64_t n) {
  rl_lock_take(&g->src.lock);
  int64_t value = g->value = (int64_t)((uint64_t)g->value + (uint64_t)n);
  rl_lock_leave(&g->src.lock);
  return value;
}

int64_t rl_gate_set(rl_gate *g, int64_t value) {
  rl_lock_take(&g->src.lock);
  int64_t was = g->value;
  g->value = value;
  rl_lock_leave(&g->src.lock);
  return was;
}

bool rl_gate_moving(rl_gate *g) {
  bool moving = false;
  rl_lock_take(&g->src.lock);
  for (rl_node *n = g->waiters.first; n && !moving; n = n->next)
    moving = rl_waiter_claimed(n->waiter);
  rl_lock_leave(&g->src.lock);
  return moving;
}

/* Owners */

rl_grant *rl_grant_make(rl_owner *o) {
  rl_grant *h = o->spare;
  o->spare = NULL;
  return h ? h : malloc(sizeof *h);
}

static void link_grant(rl_owner *o, rl_grant *h) {
  h->prev = NULL;
  h->next = o->first;
  if (h->next) h->next->prev = h;
  o->first = h;
}

static void unlink_grant(rl_owner *o, rl_grant *h) {
  if (h->next) h->next->prev = h->prev;
  if (h->prev)
    h->prev->next = h->next;
  else
    o->first = h->next;
}

void rl_grant_alone(rl_owner *o, rl_gate *g) {
  g->alone.gate = g;
  g->alone.n = g->size;
  g->turn = ++g->turns;
  link_grant(o, &g->alone);
  atomic_store_explicit(&g->held, o, memory_order_relaxed);
}

void rl_grant_shared(rl_owner *o, rl_grant *h, rl_gate *g, int64_t n) {
  h->gate = g;
  h->n = n;
  h->depth = 1;
  link_grant(o, h);
}

rl_grant *rl_grant_find(rl_owner *o, const rl_gate *g) {
  rl_grant *h = o->first;
  while (h && (h->gate != g || h == &g->alone)) h = h->next;
  return h;
}

static void give_back(rl_gate *g, int64_t n, bool abandoned) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&g->src.lock);
  g->abandoned |= abandoned;
  g->promised -= n;
  g->value += g->type == RL_WAITGROUP ? -n : n;
  rl_assert(g->value >= 0 && g->value <= g->size, "more was given back than taken");
  serve(g, &ws);
  rl_lock_leave(&g->src.lock);
  rl_wake_all(&ws);
}

static void keep_spare(rl_owner *o, rl_grant *h) {
  if (o->spare)
    free(h);
  else
    o->spare = h;
}

void rl_grant_end(rl_owner *o, rl_grant *h, bool abandoned) {
  rl_gate *g = h->gate;
  int64_t n = h->n;
  bool alone = h == &g->alone;
  unlink_grant(o, h);
  if (alone)
    atomic_store_explicit(&g->held, NULL, memory_order_relaxed);
  else
    keep_spare(o, h);
  give_back(g, n, abandoned && alone);
  rl_release_as(&g->src.obj, RL_MAY_RELEASE);
}

void rl_owner_end(rl_owner *o) {
  while (o->first) rl_grant_end(o, o->first, true);
  free(o->spare);
  o->spare = NULL;
}

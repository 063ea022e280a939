/*
** event: firing and watching. src.lock protects the watchers; it is never held while another source's is
** taken.
*/
#include "core/event.h"

void rl_event_init(rl_event *e, rl_kind kind, void (*destroy)(rl_object *)) {
  rl_object_init(&e->src.obj, kind, destroy);
  rl_lock_init(&e->src.lock);
  e->watchers.first = e->watchers.last = NULL;
  atomic_init(&e->fired, false);
}

void rl_event_clear(rl_event *e) {
  rl_assert(e->watchers.first == NULL, "a destroyed event is still watched");
}

void rl_event_fire(rl_event *e, rl_wakes *ws) {
  rl_node *n;
  rl_lock_take(&e->src.lock);
  atomic_store_explicit(&e->fired, true, memory_order_release);
  while ((n = e->watchers.first) != NULL) {
    rl_waiter *w = n->waiter;
    if (n->next) { /* of many watchers few are in the cache: the next two are fetched ahead */
      __builtin_prefetch(n->next->waiter, 1);
      __builtin_prefetch(n->next->next, 1);
    }
    rl_queue_remove(n);
    if (rl_waiter_claim(w, RL_FIRED, n)) rl_wakes_add(ws, w);
  }
  rl_lock_leave(&e->src.lock);
}

bool rl_event_watch(rl_event *e, rl_node *n, rl_waiter *w) {
  n->waiter = w;
  n->on = &e->src;
  n->msg = NULL;
  rl_lock_take(&e->src.lock);
  bool fired = rl_event_fired(e);
  if (!fired) rl_queue_add(&e->watchers, n);
  rl_lock_leave(&e->src.lock);
  return !fired;
}

void rl_event_unwatch(rl_event *e, rl_node *n) {
  rl_lock_take(&e->src.lock);
  rl_queue_remove(n);
  rl_lock_leave(&e->src.lock);
}

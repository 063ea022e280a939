/*
** event: what happens once and is never taken back: a done that fires, a task that ends. Who waits for it
** queues here as a watcher.
*/
#ifndef RL_EVENT_H
#define RL_EVENT_H

#include "core/waiter.h"

typedef struct rl_event {
  rl_source src;     /* of kind RL_DONE or RL_TASK */
  rl_queue watchers; /* src.lock */
  atomic_bool fired; /* set under src.lock, after whatever its watchers are to find */
} rl_event;

void rl_event_init(rl_event *e, rl_kind kind, void (*destroy)(rl_object *));
/* For the destroy of structures that begin with an event. */
void rl_event_clear(rl_event *e);

static inline bool rl_event_fired(const rl_event *e) {
  return atomic_load_explicit(&e->fired, memory_order_acquire);
}

/* Claims all watchers, to be woken by the caller, who is the only one to fire it. */
void rl_event_fire(rl_event *e, rl_wakes *ws);
/* Queues `n` for `w`; false: it has fired already. */
bool rl_event_watch(rl_event *e, rl_node *n, rl_waiter *w);
/* Takes `n` out of the queue, if it is there. */
void rl_event_unwatch(rl_event *e, rl_node *n);

#endif

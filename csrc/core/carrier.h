/*
** carrier: the objects that hold references of their own: a channel in its buffer, a done in its cause, a task or
** once in its outcome, an after in its call. Such a one may hang on nothing but itself, and then no state leads
** to it: leak analysis has it from this list.
*/
#ifndef RL_CARRIER_H
#define RL_CARRIER_H

#include "core/lock.h"
#include "core/msg.h"

void rl_carrier_add(rl_object *o) RL_SLOW;
void rl_carrier_remove(rl_object *o); /* one that is listed */
unsigned rl_carrier_count(void);
/* Up to `room` of them, each counted. */
unsigned rl_carrier_list(rl_object **list, unsigned room);

/* `o`, which is alive, is about to hold `m`. One that finds no memory to be listed is taken for held by others. */
static inline void rl_carry(rl_object *o, const rl_msg *m) {
  if (rl_msg_has_refs(m) && atomic_load_explicit(&o->carrier, memory_order_relaxed) == 0)
    rl_carrier_add(o);
}

#endif

/*
** interrupt: reasons that others want raised in a task, in their order. Each ends the wait the task is
** in, or is raised between two instructions of what it runs; the monitor sees to it until that was done, so a task
** that nobody interrupts pays nothing but a look at `pending` as its turn begins.
*/
#ifndef RL_INTERRUPT_H
#define RL_INTERRUPT_H

#include "core/task.h"

/* In rl_task.pending. */
enum { RL_PENDING_REASON = 1, RL_PENDING_END = 2 };

/* Interrupts `t`; takes `reason`, but with the last two outcomes: RL_OK, RL_CLOSED (it has ended), RL_NO_MEMORY. */
rl_status rl_interrupt_send(rl_task *t, rl_msg *reason);
/* By the task itself: the next reason. False: there is none. */
bool rl_interrupt_take(rl_task *t, rl_msg *reason);
/* When the task has ended: what it has not taken. */
void rl_interrupt_drop(rl_task *t);

/* What is pending, at one glance. */
static inline unsigned rl_interrupt_pending(rl_task *t) {
  return atomic_load_explicit(&t->pending, memory_order_relaxed);
}

#endif

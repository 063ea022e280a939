/*
** after: a task that starts when a done fires. It holds itself until then, so nobody need keep it;
** stopping contends with the firing for the claim.
*/
#ifndef RL_AFTER_H
#define RL_AFTER_H

#include "core/select.h"
#include "core/task.h"

typedef struct rl_after rl_after;

/* Takes the caller's count of `task`, which nothing starts yet. NULL: out of memory. */
rl_after *rl_after_make(rl_done *on, rl_task *task, void (*run)(rl_fiber *));
/* From now on the task starts when the done fires; at once when it has fired. Called once. */
void rl_after_watch(rl_after *a);
/* True when this kept the task from starting; later false. */
bool rl_after_stop(rl_after *a);
/* What starts it; immutable. The task: while it lies in the queue of that, whose lock is held; NULL otherwise. */
rl_done *rl_after_on(rl_after *a);
rl_task *rl_after_task(rl_after *a);
/* Was the task started, or stopped? */
bool rl_after_decided(rl_after *a);
rl_object *rl_after_object(rl_after *a);
rl_after *rl_after_of(rl_object *o);

#endif

/*
** interrupt: the queue of a task's reasons. A wait is claimed for a reason (RL_INTERRUPTED) under the queue's lock
** and only while there is one; the task alone takes reasons out, and it takes one before anything else when such a wait
** has ended: so it always finds one. What is put in as the task ends is dropped by the monitor.
*/
#include "core/interrupt.h"

#include <stdlib.h>

typedef struct rl_reason rl_reason;
struct rl_reason {
  rl_reason *next;
  rl_msg msg;
};

static rl_task *of_chore(rl_chore *c) {
  return (rl_task *)(void *)((char *)c - offsetof(rl_task, interrupts.chore));
}

static bool ended(rl_task *t) {
  return atomic_load_explicit(&t->state, memory_order_acquire) >= RL_FINISHED;
}

static void wake(rl_task *t) {
  rl_wakes ws = {NULL, NULL};
  rl_wakes_add(&ws, &t->waiter);
  rl_wake_all(&ws);
}

/* The monitor's: ends the wait that the task has come to, or pokes the thread that runs it. A reason that was missed
   is so raised at its next look. Holds a count of the task. */
static bool attend(rl_chore *c) {
  rl_task *t = of_chore(c);
  struct rl_interrupts *i = &t->interrupts;
  if (ended(t)) rl_interrupt_drop(t);
  rl_lock_take(&i->lock);
  bool done = !i->first;
  bool claimed = !done && rl_waiter_interrupt(&t->waiter, RL_INTERRUPTED);
  if (done) i->attended = false;
  rl_lock_leave(&i->lock);
  if (claimed)
    wake(t);
  else if (!done)
    rl_sched_poke(&t->fiber);
  if (!done) return false;
  rl_sched_leave();
  rl_release(&t->end.src.obj);
  return true;
}

static void append(rl_task *t, rl_reason *r) {
  struct rl_interrupts *i = &t->interrupts;
  if (i->last)
    i->last->next = r;
  else
    i->first = r;
  i->last = r;
  atomic_fetch_or_explicit(&t->pending, RL_PENDING_REASON, memory_order_relaxed);
}

rl_status rl_interrupt_send(rl_task *t, rl_msg *reason) {
  struct rl_interrupts *i = &t->interrupts;
  rl_reason *r = calloc(1, sizeof *r);
  if (!r) return RL_NO_MEMORY;
  if (ended(t)) {
    free(r);
    return RL_CLOSED;
  }
  rl_lock_take(&i->lock);
  rl_msg_move(&r->msg, reason);
  append(t, r);
  bool claimed = rl_waiter_interrupt(&t->waiter, RL_INTERRUPTED);
  bool attended = claimed || i->attended;
  if (!attended) {
    i->attended = true;
    rl_retain(&t->end.src.obj);
  }
  rl_lock_leave(&i->lock);
  if (claimed) wake(t);
  if (attended) return RL_OK;
  rl_sched_enter(); /* it is not quiet until the monitor is done */
  i->chore.attend = attend;
  rl_sched_attend(&i->chore);
  return RL_OK;
}

bool rl_interrupt_take(rl_task *t, rl_msg *reason) {
  struct rl_interrupts *i = &t->interrupts;
  rl_lock_take(&i->lock);
  rl_reason *r = i->first;
  if (r) i->first = r->next;
  if (!i->first) {
    i->last = NULL;
    atomic_fetch_and_explicit(&t->pending, (unsigned char)~RL_PENDING_REASON, memory_order_relaxed);
  }
  rl_lock_leave(&i->lock);
  if (!r) return false;
  rl_msg_move(reason, &r->msg);
  free(r);
  return true;
}

void rl_interrupt_drop(rl_task *t) {
  rl_msg unused = {.tag = RL_MSG_NONE};
  while (rl_interrupt_take(t, &unused)) rl_msg_drop(&unused);
}

/*
** select: waiting on several things at once, of which one happens. Also the wait of a single case,
** which is what send, receive, join and all others come down to.
*/
#ifndef RL_SELECT_H
#define RL_SELECT_H

#include "core/chan.h"
#include "core/done.h"
#include "core/gate.h"

typedef enum {
  RL_CASE_NEVER,
  RL_CASE_RECV,
  RL_CASE_SEND,
  RL_CASE_WATCH,
  RL_CASE_PASS,  /* a gate; msg.u.i is what it needs, then what it is told */
  RL_CASE_SIGNAL /* a cond, which has to wake it; msg.u.p is the binding's */
} rl_case_op;

typedef struct rl_case {
  rl_node node;                    /* node.on is what it waits on (borrowed), set by rl_case_set */
  rl_msg msg;                      /* what is sent (taken when it was), or what was received */
  uint8_t op;                      /* an rl_case_op */
  uint32_t lock_order, look_order; /* permutations of the cases, kept in their slots */
} rl_case;

typedef enum { RL_RANDOM, RL_ORDERED } rl_choice;

/* `on` is an rl_chan, rl_event or rl_gate (NULL for RL_CASE_NEVER); msg is empty unless set for a send. */
static inline void rl_case_set(rl_case *c, rl_case_op op, rl_source *on) {
  c->op = (uint8_t)op;
  c->node.on = on;
  c->node.queue = NULL;
  c->node.msg = &c->msg;
  c->msg.tag = RL_MSG_NONE;
}

static inline rl_chan *rl_case_chan(rl_case *c) {
  return (rl_chan *)c->node.on;
}

static inline rl_event *rl_case_event(rl_case *c) {
  return (rl_event *)c->node.on;
}

static inline rl_gate *rl_case_gate(rl_case *c) {
  return (rl_gate *)c->node.on;
}

/* Does case `c`, whose op is told, if it is ready; with the lock of its source held. */
static inline rl_status rl_case_try(rl_case *c, rl_case_op op, rl_wakes *ws) {
  switch (op) {
  case RL_CASE_RECV: return rl_chan_take(rl_case_chan(c), &c->msg, ws);
  case RL_CASE_SEND: return rl_chan_put(rl_case_chan(c), &c->msg, ws);
  case RL_CASE_WATCH: return rl_event_fired(rl_case_event(c)) ? RL_FIRED : RL_NOT_READY;
  case RL_CASE_PASS: return rl_gate_pass(rl_case_gate(c), &c->msg, ws);
  case RL_CASE_SIGNAL:
  case RL_CASE_NEVER: break;
  }
  return RL_NOT_READY;
}

static inline void rl_case_queue(rl_case *c, rl_case_op op, rl_waiter *w) {
  c->node.waiter = w;
  switch (op) {
  case RL_CASE_RECV: rl_queue_add(&rl_case_chan(c)->receivers, &c->node); break;
  case RL_CASE_SEND: rl_queue_add(&rl_case_chan(c)->senders, &c->node); break;
  case RL_CASE_WATCH: rl_queue_add(&rl_case_event(c)->watchers, &c->node); break;
  case RL_CASE_PASS:
  case RL_CASE_SIGNAL: rl_gate_queue(rl_case_gate(c), &c->node); break;
  case RL_CASE_NEVER: break;
  }
}

/* Lets at most one case happen. RL_OK, RL_CLOSED or RL_FIRED: `*won` is the case's index. RL_NO_MEMORY: a
   send case's buffer could not grow. If none is ready: with `w` (armed) RL_PARK, and all
   are queued; without, RL_NOT_READY. RL_ORDERED takes the first ready one in order, atomically. */
rl_status rl_select(rl_waiter *w, rl_case *cases, unsigned n, rl_choice choice, unsigned *won);

/* The same for a single case, whose op is told: where it is known beforehand, little is left of this. */
static inline rl_status rl_select_one(rl_waiter *w, rl_case *c, rl_case_op op) {
  if (op == RL_CASE_NEVER) return w ? RL_PARK : RL_NOT_READY;
  if (op == RL_CASE_WATCH) rl_event_poll(rl_case_event(c));
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&c->node.on->lock);
  rl_status st = rl_case_try(c, op, &ws);
  if (st == RL_NOT_READY && w) {
    rl_case_queue(c, op, w);
    st = RL_PARK;
  }
  rl_lock_leave(&c->node.on->lock);
  rl_wake_all(&ws);
  return st;
}

/* After the wake: takes the other cases out of their queues, tells what happened. `*won` is n when
   no case did (RL_TIMEOUT, or one that interrupts). */
rl_status rl_select_end(rl_waiter *w, rl_case *cases, unsigned n, unsigned *won);
/* Takes all cases but `won` (or NULL) out of their queues. */
void rl_select_withdraw(rl_case *cases, unsigned n, const rl_node *won);

#endif

/*
** select: look at the cases, queue on all of them, park, withdraw. As in Go all locks are held
** between looking and queueing, taken in the order of addresses, so nothing can happen in between, and none is
** ready only when none was at one moment. But a random choice first looks at one case after the other, each
** under its own lock, as any case that is ready at its turn is as good a choice as any other.
*/
#include "core/select.h"

/* What needs no lock to know: skip the lock. */
static bool surely_not_ready(rl_case *c) {
  return c->op == RL_CASE_NEVER || (c->op == RL_CASE_WATCH && !rl_event_fired(rl_case_event(c)));
}

static rl_status attempt_alone(rl_case *c) {
  if (surely_not_ready(c)) return RL_NOT_READY;
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&c->node.on->lock);
  rl_status st = rl_case_try(c, (rl_case_op)c->op, &ws);
  rl_lock_leave(&c->node.on->lock);
  rl_wake_all(&ws);
  return st;
}

/* A deadline that has passed fires now, before any lock is taken. */
static void poll_dones(rl_case *cases, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    if (cases[i].op == RL_CASE_WATCH) rl_event_poll(rl_case_event(&cases[i]));
}

/* Puts case i's turn: a Fisher-Yates step on the permutation in look_order. */
static unsigned turn(rl_case *cases, unsigned n, unsigned i, rl_choice choice) {
  if (choice == RL_ORDERED) return i;
  unsigned k = i + rl_random(n - i), pick = cases[k].look_order;
  cases[k].look_order = cases[i].look_order;
  cases[i].look_order = pick;
  return pick;
}

static void reset_turns(rl_case *cases, unsigned n) {
  for (unsigned i = 0; i < n; i++) cases[i].look_order = i;
}

static rl_status look_one_by_one(rl_case *cases, unsigned n, unsigned *won) {
  reset_turns(cases, n);
  for (unsigned i = 0; i < n; i++) {
    *won = turn(cases, n, i, RL_RANDOM);
    rl_status st = attempt_alone(&cases[*won]);
    if (st != RL_NOT_READY) return st;
  }
  return RL_NOT_READY;
}

static uintptr_t address(rl_case *cases, unsigned i) {
  return (uintptr_t)cases[cases[i].lock_order].node.on;
}

static void swap(rl_case *cases, unsigned a, unsigned b) {
  uint32_t t = cases[a].lock_order;
  cases[a].lock_order = cases[b].lock_order;
  cases[b].lock_order = t;
}

static void sift(rl_case *cases, unsigned i, unsigned n) {
  for (unsigned child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && address(cases, child + 1) > address(cases, child)) child++;
    if (address(cases, i) >= address(cases, child)) return;
    swap(cases, i, child);
  }
}

static bool in_order(rl_case *cases, unsigned n) {
  unsigned i = 1;
  while (i < n && address(cases, i - 1) <= address(cases, i)) i++;
  return i >= n;
}

/* Heapsort of lock_order by address: in place, and no worse for many cases. What was made one after the other
   is often in order. */
static void order_locks(rl_case *cases, unsigned n) {
  for (unsigned i = 0; i < n; i++) cases[i].lock_order = i;
  if (in_order(cases, n)) return;
  for (unsigned i = n / 2; i-- > 0;) sift(cases, i, n);
  for (unsigned i = n; i-- > 1;) {
    swap(cases, 0, i);
    sift(cases, 0, i);
  }
}

/* A source in several cases is locked once: equal addresses stand side by side. */
static bool locks_here(rl_case *cases, unsigned i) {
  return address(cases, i) && (i == 0 || address(cases, i) != address(cases, i - 1));
}

static void lock_all(rl_case *cases, unsigned n) {
  order_locks(cases, n);
  for (unsigned i = 0; i < n; i++)
    if (locks_here(cases, i)) rl_lock_take(&cases[cases[i].lock_order].node.on->lock);
}

static void unlock_all(rl_case *cases, unsigned n) {
  for (unsigned i = n; i-- > 0;)
    if (locks_here(cases, i)) rl_lock_leave(&cases[cases[i].lock_order].node.on->lock);
}

static rl_status look_and_queue(rl_waiter *w, rl_case *cases, unsigned n, rl_choice choice,
                                unsigned *won) {
  rl_wakes ws = {NULL, NULL};
  rl_status st = RL_NOT_READY;
  reset_turns(cases, n);
  lock_all(cases, n);
  for (unsigned i = 0; i < n && st == RL_NOT_READY; i++) {
    *won = turn(cases, n, i, choice);
    st = rl_case_try(&cases[*won], (rl_case_op)cases[*won].op, &ws);
  }
  if (st == RL_NOT_READY && w) {
    /* as they were looked at: of several cases on one channel the first in its queue will win */
    for (unsigned i = 0; i < n; i++) {
      rl_case *c = &cases[cases[i].look_order];
      rl_case_queue(c, (rl_case_op)c->op, w);
    }
    st = RL_PARK;
  }
  unlock_all(cases, n);
  rl_wake_all(&ws);
  return st;
}

/* What waits on one thing and on a done that comes first is ready at once more often than not: then the
   done's lock is not needed. That it has not fired is seen while the other's lock is held, so both are true of
   one moment. */
static rl_status look_behind_guard(rl_case *guard, rl_case *c) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&c->node.on->lock);
  rl_status st = surely_not_ready(guard) ? rl_case_try(c, (rl_case_op)c->op, &ws) : RL_NOT_READY;
  rl_lock_leave(&c->node.on->lock);
  rl_wake_all(&ws);
  return st;
}

static bool guarded(const rl_case *cases, unsigned n) {
  return n == 2 && cases[0].op == RL_CASE_WATCH &&
         (cases[1].op == RL_CASE_RECV || cases[1].op == RL_CASE_SEND);
}

rl_status rl_select(rl_waiter *w, rl_case *cases, unsigned n, rl_choice choice, unsigned *won) {
  *won = 0;
  if (n == 1) return rl_select_one(w, cases, (rl_case_op)cases->op);
  poll_dones(cases, n);
  if (choice == RL_RANDOM) {
    rl_status st = look_one_by_one(cases, n, won);
    if (st != RL_NOT_READY) return st;
  } else if (guarded(cases, n)) {
    rl_status st = look_behind_guard(&cases[0], &cases[1]);
    *won = 1;
    if (st != RL_NOT_READY) return st;
  }
  return look_and_queue(w, cases, n, choice, won);
}

/* Many cases' sources are seldom in the cache: some are fetched ahead. */
enum { AHEAD = 8 };

static void withdraw(rl_case *c, rl_wakes *ws) {
  rl_node *node = &c->node;
  rl_lock_take(&node->on->lock);
  if (node->on->obj.kind == RL_GATE)
    rl_gate_withdraw(rl_case_gate(c), node, ws); /* those behind it may pass now */
  else
    rl_queue_remove(node);
  rl_lock_leave(&node->on->lock);
}

void rl_select_withdraw(rl_case *cases, unsigned n, const rl_node *won) {
  rl_wakes ws = {NULL, NULL};
  for (unsigned i = 0; i < n; i++) {
    if (n - i > AHEAD) __builtin_prefetch(cases[i + AHEAD].node.on, 1);
    if (cases[i].op != RL_CASE_NEVER && &cases[i].node != won) withdraw(&cases[i], &ws);
  }
  rl_wake_all(&ws);
}

rl_status rl_select_end(rl_waiter *w, rl_case *cases, unsigned n, unsigned *won) {
  rl_case *winner = w->won ? (rl_case *)(void *)w->won : NULL; /* the node comes first */
  *won = winner ? (unsigned)(winner - cases) : n;
  if (n > 1 || !winner) rl_select_withdraw(cases, n, w->won);
  return w->status;
}

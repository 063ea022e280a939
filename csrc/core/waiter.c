/*
** waiter: the one word that decides each wait, and the ways a winner makes it known.
*/
#include "core/waiter.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const double SPIN_TIME = 30e-6; /* then sleep on the futex */
static const double FUTEX_TIME = 1e-3; /* then in ppoll, which misses no signal */

void rl_waiter_open(rl_waiter *w) {
  atomic_init(&w->word, 0);
  atomic_init(&w->turn, 0);
  w->eventfd = -1;
}

void rl_waiter_close(rl_waiter *w) {
  if (w->eventfd >= 0) close(w->eventfd);
  w->eventfd = -1;
}

void rl_waiter_thread(rl_waiter *w) {
  rl_waiter_arm(w, RL_WAITER_THREAD);
}

void rl_waiter_hook(rl_waiter *w, rl_object *owner, void (*fire)(rl_waiter *, rl_wakes *)) {
  w->u.hook.owner = owner;
  w->u.hook.fire = fire;
  rl_waiter_arm(w, RL_WAITER_HOOK);
}

bool rl_waiter_interrupt(rl_waiter *w, rl_status status) {
  unsigned word = atomic_load_explicit(&w->word, memory_order_acquire);
  do
    if (!(word & (RL_W_PARKED | RL_W_BLOCKED)) || (word & RL_W_CLAIMED)) return false;
  while (!atomic_compare_exchange_weak_explicit(&w->word, &word, word | RL_W_CLAIMED,
                                                memory_order_acq_rel, memory_order_acquire));
  w->status = status;
  w->won = NULL;
  return true;
}

static void wake_thread(rl_waiter *w) {
  unsigned was = atomic_fetch_or_explicit(&w->word, RL_W_WOKEN, memory_order_acq_rel);
  if (!(was & RL_W_ASLEEP)) return;
  if (was & RL_W_POLLING) {
    uint64_t one = 1;
    if (write(w->eventfd, &one, sizeof one) < 0) return; /* full: it is readable anyway */
  } else {
    rl_futex_wake(&w->word, 1);
  }
}

static void wake_fiber(rl_waiter *w) {
  rl_fiber *f = w->u.fiber;
  unsigned was = atomic_load_explicit(&w->word, memory_order_relaxed);
  if (!(was & RL_W_WOKEN)) {
    was = atomic_fetch_or_explicit(&w->word, RL_W_WOKEN, memory_order_acq_rel);
    if (!(was & RL_W_PARKED) || (was & RL_W_INSPECTED)) return;
  }
  rl_sched_ready(f);
}

static void wake_hook(rl_waiter *w, rl_wakes *more) {
  rl_object *owner = w->u.hook.owner;
  w->u.hook.fire(w, more);
  rl_release(owner);
}

void rl_wake_listed(rl_wakes *ws) {
  rl_waiter *w;
  while ((w = ws->first) != NULL) {
    ws->first = w->next;
    if (!ws->first) ws->last = NULL;
    switch ((rl_waiter_kind)w->kind) {
    case RL_WAITER_FIBER: wake_fiber(w); break;
    case RL_WAITER_THREAD: wake_thread(w); break;
    case RL_WAITER_HOOK: wake_hook(w, ws); break;
    }
  }
}

/* Woken, and nobody looks at the task from outside. */
static bool may_go(unsigned word) {
  return (word & (RL_W_WOKEN | RL_W_INSPECTED)) == RL_W_WOKEN;
}

static unsigned look(rl_waiter *w) {
  return atomic_load_explicit(&w->word, memory_order_acquire);
}

static bool spin(rl_waiter *w) {
  double until = rl_now() + SPIN_TIME;
  do
    for (int i = 0; i < 64; i++) {
      if (may_go(look(w))) return true;
      rl_spin_hint();
    }
  while (rl_now() < until);
  return false;
}

/* Sleeps on the word; false when the time is up. */
static bool sleep_futex(rl_waiter *w, double deadline) {
  unsigned word = atomic_fetch_or_explicit(&w->word, RL_W_ASLEEP, memory_order_acq_rel);
  word |= RL_W_ASLEEP;
  if (!may_go(word)) rl_sched_stopped();
  while (!may_go(word)) {
    if (!rl_futex_wait(&w->word, word, deadline)) return false;
    word = look(w);
  }
  return true;
}

bool rl_waiter_asleep(const void *w) {
  unsigned word = atomic_load_explicit(&((const rl_waiter *)w)->word, memory_order_acquire);
  return (word & (RL_W_ASLEEP | RL_W_CLAIMED | RL_W_WOKEN)) == RL_W_ASLEEP;
}

/* The waker saw POLLING: its write comes or has come. Awaits it, so that neither the waiter may go nor
   a later wait find it. */
static void await_bell(rl_waiter *w) {
  struct pollfd p = {.fd = w->eventfd, .events = POLLIN};
  uint64_t n;
  while (read(w->eventfd, &n, sizeof n) < 0) poll(&p, 1, -1);
}

/* Between looking and sleeping no signal gets lost: they are let in by ppoll alone. Afterwards POLLING
   is off: whoever wakes a wait that is given up, or goes on in the futex, leaves the eventfd alone. */
static bool sleep_polling(rl_waiter *w, bool (*interrupted)(void *), void *ud) {
  sigset_t all, before;
  if (w->eventfd < 0) w->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (w->eventfd < 0) return sleep_futex(w, INFINITY);
  struct pollfd p = {.fd = w->eventfd, .events = POLLIN};
  if (atomic_fetch_or_explicit(&w->word, RL_W_POLLING, memory_order_acq_rel) & RL_W_WOKEN)
    return sleep_futex(w, INFINITY); /* until nobody looks at it any more */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (!may_go(look(w)) && !interrupted(ud)) ppoll(&p, 1, NULL, &before);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  unsigned was = atomic_fetch_and_explicit(&w->word, ~(unsigned)RL_W_POLLING, memory_order_acq_rel);
  if (!(was & RL_W_WOKEN)) return false;
  await_bell(w);
  return sleep_futex(w, INFINITY);
}

bool rl_waiter_block(rl_waiter *w, bool (*interrupted)(void *ud), void *ud) {
  atomic_fetch_or_explicit(&w->word, RL_W_BLOCKED, memory_order_acq_rel);
  if (spin(w)) return true;
  if (!interrupted) return sleep_futex(w, INFINITY);
  return sleep_futex(w, rl_now() + FUTEX_TIME) || sleep_polling(w, interrupted, ud);
}

bool rl_waiter_inspect(rl_waiter *w) {
  unsigned word = atomic_load_explicit(&w->word, memory_order_acquire);
  do
    if (!(word & (RL_W_PARKED | RL_W_BLOCKED)) ||
        (word & (RL_W_CLAIMED | RL_W_WOKEN | RL_W_INSPECTED)))
      return false;
  while (!atomic_compare_exchange_weak_explicit(&w->word, &word, word | RL_W_INSPECTED,
                                                memory_order_acq_rel, memory_order_acquire));
  return true;
}

void rl_waiter_release(rl_waiter *w) {
  rl_fiber *f = w->kind == RL_WAITER_FIBER ? w->u.fiber : NULL; /* now: afterwards it may be gone */
  unsigned was =
      atomic_fetch_and_explicit(&w->word, ~(unsigned)RL_W_INSPECTED, memory_order_acq_rel);
  if (!(was & RL_W_WOKEN)) return;
  if (f)
    rl_sched_ready(f);
  else if (was & RL_W_ASLEEP)
    rl_futex_wake(&w->word, 1);
}

void rl_waiter_await_release(rl_waiter *w) {
  while (look(w) & RL_W_INSPECTED) sched_yield();
}

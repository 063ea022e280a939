/*
** timer: a 4-ary heap under one lock, the thread that serves it, and the virtual clock: that thread is the
** one that looks whether everything is quiet, and lets the clock jump.
*/
#include "core/timer.h"

#include "core/sched.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { ARITY = 4 };

static struct {
  rl_lock lock; /* all below but the bell */
  rl_timer **heap;
  uint32_t count, room;
  double sleeps_until; /* the thread's; -INFINITY while it is awake */
  bool running;
  atomic_uint bell; /* changes when the thread is to look again */
  atomic_bool rung;
  _Atomic(void (*)(void)) on_ring;
  rl_waiter *runner; /* whose the virtual clock is; NULL: the clock is real */
  rl_blocked also;
  _Atomic(double) virtual_now; /* written under the lock */
} T;

atomic_bool rl_time_stands;

double rl_time_virtual(void) {
  return atomic_load_explicit(&T.virtual_now, memory_order_acquire);
}

void rl_timer_init(rl_timer *t, bool (*claim)(rl_timer *), void (*due)(rl_timer *, rl_wakes *)) {
  t->when = INFINITY;
  t->place = 0;
  t->claimed = t->imagined = false;
  t->claim = claim;
  t->due = due;
  t->vain = NULL;
}

static void put(rl_timer *t, uint32_t i) {
  T.heap[i] = t;
  t->place = i + 1;
}

static void sift_up(rl_timer *t, uint32_t i) {
  while (i > 0 && t->when < T.heap[(i - 1) / ARITY]->when) {
    put(T.heap[(i - 1) / ARITY], i);
    i = (i - 1) / ARITY;
  }
  put(t, i);
}

static uint32_t earliest_child(uint32_t i) {
  uint32_t best = i * ARITY + 1;
  for (uint32_t c = best + 1; c < T.count && c <= i * ARITY + ARITY; c++)
    if (T.heap[c]->when < T.heap[best]->when) best = c;
  return best;
}

static void sift_down(rl_timer *t, uint32_t i) {
  while (i * ARITY + 1 < T.count) {
    uint32_t c = earliest_child(i);
    if (t->when <= T.heap[c]->when) break;
    put(T.heap[c], i);
    i = c;
  }
  put(t, i);
}

static void heap_remove(rl_timer *t) {
  uint32_t i = t->place - 1;
  t->place = 0;
  rl_timer *last = T.heap[--T.count];
  if (last == t) return;
  if (i > 0 && last->when < T.heap[(i - 1) / ARITY]->when)
    sift_up(last, i);
  else
    sift_down(last, i);
}

static bool make_room(void) {
  if (T.count < T.room) return true;
  uint32_t room = T.room ? T.room * 2 : 64;
  rl_timer **heap = realloc(T.heap, room * sizeof *heap);
  if (!heap) return false;
  T.heap = heap;
  T.room = room;
  return true;
}

static void look_again(void) {
  atomic_fetch_add_explicit(&T.bell, 1, memory_order_release);
  rl_futex_wake(&T.bell, 1);
}

/* The next that is due and could be claimed, taken from the heap. From before it is taken until its waiters were
   woken, this thread counts as one at work. */
static rl_timer *pop_due(double now, bool *working) {
  while (T.count > 0 && T.heap[0]->when <= now) {
    rl_timer *t = T.heap[0];
    if (!*working) rl_sched_enter();
    *working = true;
    heap_remove(t);
    t->claimed = true;
    if (t->claim(t)) return t;
    t->claimed = false;
  }
  return NULL;
}

/* Under the lock: timers armed for earlier than this have to wake the thread. On a virtual clock these are
   those that are due at once; it comes to the others when it is quiet. */
static double next_look(void) {
  if (T.runner) return nextafter(rl_time_virtual(), (double)INFINITY);
  return T.count > 0 ? T.heap[0]->when : (double)INFINITY;
}

static void serve(void) {
  bool working = false;
  for (;;) {
    rl_lock_take(&T.lock);
    rl_timer *t = pop_due(rl_time(), &working);
    if (!t) T.sleeps_until = next_look();
    rl_lock_leave(&T.lock);
    if (!t) break;
    rl_wakes ws = {NULL, NULL};
    t->due(t, &ws);
    rl_wake_all(&ws);
  }
  if (working) rl_sched_leave();
}

/* Under the lock: will no timer that is armed ever wake anybody? Mostly the first of them will. */
static bool all_vain(void) {
  for (uint32_t i = 0; i < T.count; i++)
    if (!T.heap[i]->vain || !T.heap[i]->vain(T.heap[i])) return false;
  return true;
}

/* Under the lock, with everything quiet and nothing due: to the earliest timer, or to the end. The runner
   sleeps, as all do, so that its wait can be claimed. */
static bool advance(rl_wakes *ws) {
  if (!all_vain()) {
    atomic_store_explicit(&T.virtual_now, T.heap[0]->when, memory_order_release);
    return true;
  }
  if (!rl_waiter_interrupt(T.runner, RL_STALLED)) return false;
  rl_wakes_add(ws, T.runner);
  rl_sched_enter();
  return true;
}

/* Lets the virtual clock jump if it is time; true: there may be something to serve. The lock is held
   throughout, so that the clock is not taken away in between. */
static bool jump(void) {
  if (!atomic_load_explicit(&rl_time_stands, memory_order_acquire)) return false;
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&T.lock);
  bool due = T.count > 0 && T.heap[0]->when <= rl_time();
  bool jumped = due || (T.runner && rl_sched_quiet(&T.also) && advance(&ws));
  rl_lock_leave(&T.lock);
  if (!ws.first) return jumped;
  rl_wake_all(&ws);
  rl_sched_leave();
  return true;
}

static void *timer_main(void *arg) {
  (void)arg;
  for (;;) {
    unsigned bell = atomic_load_explicit(&T.bell, memory_order_acquire);
    if (atomic_exchange_explicit(&T.rung, false, memory_order_acq_rel)) {
      void (*ring)(void) = atomic_load_explicit(&T.on_ring, memory_order_acquire);
      ring();
    }
    do serve();
    while (jump());
    rl_lock_take(&T.lock);
    double until = T.runner ? (double)INFINITY : T.sleeps_until;
    rl_lock_leave(&T.lock);
    rl_futex_wait(&T.bell, bell, until);
    rl_lock_take(&T.lock);
    T.sleeps_until = -INFINITY;
    rl_lock_leave(&T.lock);
  }
  return NULL;
}

/* Under the lock: the heap's thread is there. */
static bool ensure_thread(void) {
  if (!T.running) {
    T.sleeps_until = -INFINITY;
    T.running = rl_thread_start(timer_main, NULL);
  }
  return T.running;
}

bool rl_timer_set(rl_timer *t, double when) {
  rl_lock_take(&T.lock);
  bool ok = ensure_thread() && (t->place || make_room());
  bool wake = false;
  if (ok) {
    if (t->place) heap_remove(t);
    t->when = when;
    t->claimed = false;
    t->imagined = T.runner != NULL;
    T.count++;
    sift_up(t, T.count - 1);
    wake = when < T.sleeps_until;
    if (wake) T.sleeps_until = when; /* those after it need not wake the thread again */
  }
  rl_lock_leave(&T.lock);
  if (wake) look_again();
  return ok;
}

bool rl_timer_unset(rl_timer *t) {
  rl_lock_take(&T.lock);
  bool was = t->place || t->claimed;
  t->claimed = false;
  if (t->place) heap_remove(t);
  rl_lock_leave(&T.lock);
  return was;
}

bool rl_timer_armed(rl_timer *t) {
  rl_lock_take(&T.lock);
  bool armed = t->place || t->claimed;
  rl_lock_leave(&T.lock);
  return armed;
}

bool rl_timer_commit(rl_timer *t) {
  rl_lock_take(&T.lock);
  bool ok = t->claimed;
  t->claimed = false;
  rl_lock_leave(&T.lock);
  return ok;
}

/* Later than rl_now by less than a microsecond: a multiple of 2^-20 s, so that sums of it and of whole seconds,
   halves and quarters are exact. */
static double starting_time(void) {
  return ldexp(ceil(ldexp(rl_now(), 20)), -20);
}

rl_time_status rl_time_take(rl_waiter *runner, rl_waiter *also) {
  rl_time_status st = RL_TIME_OK;
  rl_lock_take(&T.lock);
  if (T.runner)
    st = RL_TIME_TAKEN;
  else if (!ensure_thread())
    st = RL_TIME_NO_THREAD;
  if (st == RL_TIME_OK) {
    T.runner = runner;
    T.also = (rl_blocked){.asleep = rl_waiter_asleep, .of = also};
    atomic_store_explicit(&T.virtual_now, starting_time(), memory_order_release);
    atomic_store_explicit(&rl_time_stands, true, memory_order_seq_cst);
    rl_sched_on_quiet(look_again);
  }
  rl_lock_leave(&T.lock);
  if (st == RL_TIME_OK) look_again();
  return st;
}

/* Under the lock: what was armed on the virtual clock is due as much later, or earlier. */
static void to_real_time(double by) {
  for (uint32_t i = 0; i < T.count; i++) {
    if (T.heap[i]->imagined) T.heap[i]->when += by;
    T.heap[i]->imagined = false;
  }
  for (uint32_t i = T.count; i-- > 0;) sift_down(T.heap[i], i);
}

void rl_time_release(void) {
  rl_lock_take(&T.lock);
  rl_sched_on_quiet(NULL);
  to_real_time(rl_now() - rl_time_virtual());
  T.runner = NULL;
  T.sleeps_until = -INFINITY;
  atomic_store_explicit(&rl_time_stands, false, memory_order_seq_cst);
  rl_lock_leave(&T.lock);
  look_again();
}

bool rl_timer_on_ring(void (*bell)(void)) {
  atomic_store_explicit(&T.on_ring, bell, memory_order_release);
  rl_lock_take(&T.lock);
  bool ok = ensure_thread();
  rl_lock_leave(&T.lock);
  return ok;
}

void rl_timer_ring(void) {
  atomic_store_explicit(&T.rung, true, memory_order_release);
  look_again();
}

/*
** timer: a 4-ary heap under one lock, and the thread that serves it.
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
} T;

void rl_timer_init(rl_timer *t, bool (*claim)(rl_timer *), void (*due)(rl_timer *, rl_wakes *)) {
  t->when = INFINITY;
  t->place = 0;
  t->claimed = false;
  t->claim = claim;
  t->due = due;
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

/* The next that is due and could be claimed, taken from the heap. */
static rl_timer *pop_due(double now) {
  while (T.count > 0 && T.heap[0]->when <= now) {
    rl_timer *t = T.heap[0];
    heap_remove(t);
    t->claimed = true;
    if (t->claim(t)) return t;
    t->claimed = false;
  }
  return NULL;
}

static void serve(void) {
  for (;;) {
    rl_lock_take(&T.lock);
    rl_timer *t = pop_due(rl_now());
    if (!t) T.sleeps_until = T.count > 0 ? T.heap[0]->when : INFINITY;
    rl_lock_leave(&T.lock);
    if (!t) return;
    rl_wakes ws = {NULL, NULL};
    t->due(t, &ws);
    rl_wake_all(&ws);
  }
}

static void *timer_main(void *arg) {
  (void)arg;
  for (;;) {
    unsigned bell = atomic_load_explicit(&T.bell, memory_order_acquire);
    if (atomic_exchange_explicit(&T.rung, false, memory_order_acq_rel)) {
      void (*ring)(void) = atomic_load_explicit(&T.on_ring, memory_order_acquire);
      ring();
    }
    serve();
    rl_lock_take(&T.lock);
    double until = T.sleeps_until;
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

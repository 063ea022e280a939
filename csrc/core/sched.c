/*
** sched: workers, their queues, stealing, sleeping, and the monitor.
**
** A runnable fiber is in exactly one place: a worker's next slot, a worker's ring, the shared queue, the queue of
** those that had to give way, or running. Locks: a worker's ring has its own, the two queues, the list of idle workers and
** the counts have `S.lock`; none is taken while another is held.
**
** No wake gets lost: a worker first enters the idle list, then looks at every queue once more, then
** sleeps on its bell; whoever pushes looks at the idle list after pushing. A fiber in the next slot
** wakes nobody, because its worker comes to it when the running fiber parks, which takes less
** than waking a thread; if it does not come, the monitor sees to it.
*/
#include "core/sched.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
  RING = 256,         /* fibers in a local queue */
  BATCH = RING / 2,   /* moved at once between queues */
  FAIR = 61,          /* each so many fibers the shared queue comes first */
  LINE = 16 * FAIR,   /* each so many the next slot's fiber goes behind the ring's */
  LOOK = 16,          /* each so many turns a worker looks at how it fares */
  MAX_THREADS = 4096, /* workers, stuck ones included */
  QUIET_TICKS = 8,    /* of the monitor with nothing to do, before it sleeps */
  OFTEN = 100,        /* with nothing but chores, before it makes them slower */
  /* the monitor's looks at one turn: */
  PATIENCE = 3,    /* that found the worker waiting in a call, before it is stuck */
  TIME_SLICE = 4,  /* between which it computed, before it is asked to give way */
  SHORT_SLICE = 1, /* the same while a crowd waits */
  CROWD = 64,      /* fibers in the queues for each worker */
  IN_VAIN = 4      /* and so many more, before it is stuck */
};
enum { FREE, STUCK, ROBBED };
static const double SEARCH_TIME = 30e-6; /* an idle worker looks for work this long */
static const double SPARE_TIME = 0.2;    /* a worker beyond the wanted number waits this long */
static const double REST_TIME = 20e-3;   /* an idle worker keeps house after this long */
static const double LONG_TURN = 20e-6;   /* in such turns what was woken had better not wait */
static const double MEETING = 5e-6; /* locks met more often than this: workers disturb each other */
static const double PAUSE_TIME = 2e-3; /* then one of them leaves the others alone for so long */
static const double TICK_TIME = 2e-3;  /* the monitor's, while something is runnable */
static const double SLOW_TICK_TIME =
    16e-3; /* while somebody is to be interrupted who does not come round */

typedef struct worker worker;
struct worker {
  _Atomic(rl_fiber *) next; /* woken last by what runs here */
  rl_lock lock;             /* ring, head; count is written under it */
  unsigned head;
  atomic_uint count;
  rl_fiber *ring[RING];
  atomic_uint turns;          /* odd while a fiber runs; written by the worker alone */
  atomic_uint_fast64_t parks; /* likewise */
  atomic_uint stuck;    /* FREE; STUCK: the monitor's verdict, taken back by the worker; ROBBED */
  atomic_uint give_way; /* the turn that the monitor wants to end */
  atomic_uint bell;     /* 1: somebody woke this worker */
  _Atomic(rl_fiber *)
      fiber;         /* of this turn, or the last one: to be compared only, it may be gone */
  worker *idle_next; /* S.lock */
  bool idle;         /* S.lock */
  bool alive;        /* S.lock: a thread runs it */
  rl_thread thread;  /* it is poked under S.lock, while alive and known */
  /* the worker's own: */
  bool long_turns; /* of late */
  unsigned looked; /* turns since it looked at how it fares */
  unsigned met;    /* rl_lock_met then */
  double since;    /* when that was */
  /* the monitor's: */
  unsigned seen;    /* its last look at turns */
  unsigned busy;    /* looks since that between which the thread computed */
  unsigned waiting; /* looks in a row that found it waiting in a call */
  uint64_t had;     /* its processor time at the last look */
};

typedef struct queue {
  rl_fiber *first, *last; /* S.lock */
  atomic_uint length;     /* written under S.lock */
} queue;

static struct {
  rl_lock lock;
  queue shared;      /* what no worker has put into its own */
  queue late;        /* what had to give way: it comes after all others */
  worker *idle;      /* lock */
  atomic_uint nidle; /* written under lock */
  atomic_uint searching;
  atomic_uint nstuck;
  atomic_uint threads; /* workers with a thread, written under lock */
  atomic_uint wanted;  /* how many should be running fibers */
  atomic_uint slots;   /* how far `workers` is filled; grows only */
  atomic_uint pausing; /* workers that leave others alone */
  atomic_uint pinned;
  atomic_uint
      busy; /* runs of pinned fibers that are due or under way, and others' work: see rl_sched_enter */
  rl_blocked *blocked; /* lock */
  unsigned nblocked;   /* lock */
  _Atomic(void (*)(void)) on_quiet;
  _Atomic(worker *) workers[MAX_THREADS];
  _Atomic(double (*)(void)) when_idle;
  atomic_uint monitor;        /* bell of the monitor: 0 asleep, 1 on duty */
  _Atomic(rl_chore *) chores; /* handed to the monitor */
  rl_lock pin_lock;
  struct rl_pin *pins; /* pin_lock: those whose threads run */
  atomic_uint_fast64_t steals;
  atomic_uint_fast64_t parks; /* of threads that are no workers */
} S;

static RL_THREAD_LOCAL worker *self;
static RL_THREAD_LOCAL bool runs_fibers; /* it is a worker's thread or a pinned fiber's */

struct rl_pin {
  rl_fiber *fiber;  /* to be compared only, when others look: it may be gone */
  atomic_uint bell; /* 1: run */
  atomic_bool end;
  rl_thread thread;
  struct rl_pin *prev, *next; /* S.pin_lock */
};

/* Are there barriers everywhere? Set before the first worker starts. */
static bool plain_take;

/* Queues */

static unsigned length(const queue *q) {
  return atomic_load_explicit(&q->length, memory_order_relaxed);
}

static void append(queue *q, rl_fiber *first, rl_fiber *last, unsigned n) {
  rl_lock_take(&S.lock);
  last->next = NULL;
  if (q->last)
    q->last->next = first;
  else
    q->first = first;
  q->last = last;
  atomic_store_explicit(&q->length, length(q) + n, memory_order_relaxed);
  rl_lock_leave(&S.lock);
}

/* With the lock: takes up to `most` from the head. */
static unsigned remove_some(queue *q, rl_fiber **out, unsigned most) {
  unsigned n = 0;
  for (; n < most && q->first; n++) {
    out[n] = q->first;
    q->first = q->first->next;
  }
  if (!q->first) q->last = NULL;
  atomic_store_explicit(&q->length, length(q) - n, memory_order_relaxed);
  return n;
}

static unsigned ring_count(worker *w) {
  return atomic_load_explicit(&w->count, memory_order_relaxed);
}

static void ring_set_count(worker *w, unsigned n) {
  atomic_store_explicit(&w->count, n, memory_order_relaxed);
}

/* Takes up to `most` from the head of the ring. */
static unsigned ring_take(worker *w, rl_fiber **out, unsigned most) {
  if (ring_count(w) == 0) return 0;
  rl_lock_take(&w->lock);
  unsigned n = ring_count(w);
  if (n > most) n = most;
  for (unsigned i = 0; i < n; i++) out[i] = w->ring[(w->head + i) % RING];
  w->head = (w->head + n) % RING;
  ring_set_count(w, ring_count(w) - n);
  rl_lock_leave(&w->lock);
  return n;
}

static bool ring_put(worker *w, rl_fiber *f) {
  rl_lock_take(&w->lock);
  unsigned n = ring_count(w);
  bool room = n < RING;
  if (room) {
    w->ring[(w->head + n) % RING] = f;
    ring_set_count(w, n + 1);
  }
  rl_lock_leave(&w->lock);
  return room;
}

static void share(rl_fiber **f, unsigned n) {
  for (unsigned i = 0; i + 1 < n; i++) f[i]->next = f[i + 1];
  if (n) append(&S.shared, f[0], f[n - 1], n);
}

static void local_push(worker *w, rl_fiber *f) {
  rl_fiber *half[BATCH];
  while (!ring_put(w, f)) share(half, ring_take(w, half, BATCH));
}

/* Takes one from the shared queue, and a fair part of the rest into the ring. */
static rl_fiber *shared_pop(worker *w) {
  if (length(&S.shared) == 0) return NULL;
  rl_fiber *got[BATCH];
  rl_lock_take(&S.lock);
  unsigned part = length(&S.shared) / atomic_load_explicit(&S.wanted, memory_order_relaxed) + 1;
  unsigned n = remove_some(&S.shared, got, part < BATCH ? part : BATCH);
  rl_lock_leave(&S.lock);
  for (unsigned i = 1; i < n; i++) local_push(w, got[i]);
  return n ? got[0] : NULL;
}

static rl_fiber *late_pop(void) {
  rl_fiber *f = NULL;
  if (length(&S.late) == 0) return NULL;
  rl_lock_take(&S.lock);
  remove_some(&S.late, &f, 1);
  rl_lock_leave(&S.lock);
  return f;
}

/* What a worker comes to when it has nothing of its own; in the other order now and then. */
static rl_fiber *queued_pop(worker *w, bool late_first) {
  rl_fiber *f = late_first ? late_pop() : shared_pop(w);
  if (f) return f;
  return late_first ? shared_pop(w) : late_pop();
}

/* By the worker itself, between two turns: a thief comes only within one (see rob). */
static rl_fiber *take_next(worker *w) {
  rl_fiber *f = atomic_load_explicit(&w->next, memory_order_relaxed);
  if (!f) return NULL;
  if (plain_take) {
    atomic_store_explicit(&w->next, NULL, memory_order_relaxed);
    return f;
  }
  return atomic_exchange_explicit(&w->next, NULL, memory_order_acquire);
}

/* Takes the next slot's fiber from a worker that is stuck in a turn. The worker, when that turn ends,
   counts it and then looks whether it was marked, with no barrier in between. The thief
   marks the worker, has a barrier run everywhere, and then looks at the count: if it is still the
   same, the worker will see the mark, and wait until the thief is done. */
static rl_fiber *rob(worker *w) {
  unsigned turns = atomic_load_explicit(&w->turns, memory_order_relaxed), stuck = STUCK;
  if (!(turns & 1) || !atomic_load_explicit(&w->next, memory_order_relaxed)) return NULL;
  if (!atomic_compare_exchange_strong(&w->stuck, &stuck, ROBBED)) return NULL;
  rl_fiber *f = NULL;
  if (!plain_take ||
      (rl_barrier_everywhere() && atomic_load_explicit(&w->turns, memory_order_relaxed) == turns))
    f = atomic_exchange_explicit(&w->next, NULL, memory_order_acquire);
  atomic_store_explicit(&w->stuck, STUCK, memory_order_release);
  return f;
}

static rl_fiber *steal_from(worker *w, worker *victim) {
  rl_fiber *got[BATCH];
  unsigned have = ring_count(victim);
  unsigned n = have ? ring_take(victim, got, have - have / 2 < BATCH ? have - have / 2 : BATCH) : 0;
  if (n == 0) {
    bool stuck = atomic_load_explicit(&victim->stuck, memory_order_acquire) == STUCK;
    rl_fiber *f = stuck ? rob(victim) : NULL;
    if (f) atomic_fetch_add_explicit(&S.steals, 1, memory_order_relaxed);
    return f;
  }
  for (unsigned i = 1; i < n; i++) local_push(w, got[i]);
  atomic_fetch_add_explicit(&S.steals, n, memory_order_relaxed);
  return got[0];
}

static worker *slot(unsigned i) {
  return atomic_load_explicit(&S.workers[i], memory_order_acquire);
}

static rl_fiber *steal(worker *w) {
  unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
  unsigned start = rl_random(n);
  for (unsigned i = 0; i < n; i++) {
    worker *victim = slot((start + i) % n);
    if (!victim || victim == w) continue;
    rl_fiber *f = steal_from(w, victim);
    if (f) return f;
  }
  return NULL;
}

/* Is anything runnable that no worker is about to come to? */
static bool work_waits(void) {
  if (length(&S.shared) + length(&S.late) > 0) return true;
  unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
  for (unsigned i = 0; i < n; i++) {
    worker *w = slot(i);
    if (!w) continue;
    if (ring_count(w) > 0) return true;
    if (atomic_load_explicit(&w->stuck, memory_order_acquire) == STUCK &&
        atomic_load_explicit(&w->next, memory_order_relaxed))
      return true;
  }
  return false;
}

/* Sleeping and waking */

static void ring_bell(atomic_uint *bell) {
  if (atomic_exchange_explicit(bell, 1, memory_order_release) == 0) rl_futex_wake(bell, 1);
}

static void leave_idle(worker *w) {
  worker **p = &S.idle;
  while (*p != w) p = &(*p)->idle_next;
  *p = w->idle_next;
  w->idle = false;
  atomic_fetch_sub_explicit(&S.nidle, 1, memory_order_relaxed);
}

/* Wakes one idle worker to look for work, unless one is looking already. */
static void wake_one(void) {
  /* a read that writes: in its order with the worker's increment, either this sees the worker in the
     list, or the worker's last look at the queues sees what was pushed before this */
  if (atomic_fetch_add_explicit(&S.nidle, 0, memory_order_acq_rel) == 0 ||
      atomic_load_explicit(&S.searching, memory_order_relaxed) > 0)
    return;
  rl_lock_take(&S.lock);
  worker *w = S.idle;
  if (w) {
    leave_idle(w);
    atomic_fetch_add_explicit(&S.searching, 1, memory_order_relaxed);
  }
  rl_lock_leave(&S.lock);
  if (w) ring_bell(&w->bell);
}

static void call_monitor(void) {
  if (atomic_load_explicit(&S.monitor, memory_order_relaxed) == 0) ring_bell(&S.monitor);
}

static unsigned running(void) {
  unsigned all = atomic_load_explicit(&S.threads, memory_order_relaxed);
  unsigned off = atomic_load_explicit(&S.nidle, memory_order_relaxed) +
                 atomic_load_explicit(&S.nstuck, memory_order_relaxed);
  return all > off ? all - off : 0;
}

static bool surplus(void) {
  return running() > atomic_load_explicit(&S.wanted, memory_order_relaxed);
}

/* Are there threads that would not be needed if all were runnable? */
static bool extra(void) {
  return running() + atomic_load_explicit(&S.nidle, memory_order_relaxed) >
         atomic_load_explicit(&S.wanted, memory_order_relaxed);
}

/* A worker that leaves hands on what it has. */
static void give_away(worker *w) {
  rl_fiber *got[BATCH];
  unsigned n;
  while ((n = ring_take(w, got, BATCH)) > 0) share(got, n);
  rl_fiber *f = take_next(w);
  if (f) share(&f, 1);
}

static void link_blocked(rl_blocked *b) {
  rl_lock_take(&S.lock);
  b->prev = NULL;
  b->next = S.blocked;
  if (b->next) b->next->prev = b;
  S.blocked = b;
  S.nblocked++;
  rl_lock_leave(&S.lock);
}

static void unlink_blocked(rl_blocked *b) {
  rl_lock_take(&S.lock);
  if (b->prev)
    b->prev->next = b->next;
  else
    S.blocked = b->next;
  if (b->next) b->next->prev = b->prev;
  S.nblocked--;
  rl_lock_leave(&S.lock);
}

static bool always(const void *of) {
  (void)of;
  return true;
}

/* Neither idle nor searching meanwhile: others are woken. That it is quiet otherwise can be seen. What it wakes
   goes where others find it, as if its turns were long, and where it looks itself before it sleeps. */
static double keep_house(worker *w) {
  double (*f)(void) = atomic_load_explicit(&S.when_idle, memory_order_acquire);
  if (!f) return INFINITY;
  rl_blocked b = {.asleep = always};
  bool long_turns = w->long_turns;
  w->long_turns = true;
  link_blocked(&b);
  double again = f();
  unlink_blocked(&b);
  w->long_turns = long_turns;
  return rl_now() + again;
}

/* Out of the idle list, unless somebody is waking it right now. */
static bool get_up(worker *w) {
  rl_lock_take(&S.lock);
  bool here = w->idle;
  if (here) leave_idle(w);
  rl_lock_leave(&S.lock);
  return here;
}

/* The number that nobody sees at nought while something goes on: it falls under the lock alone, so whoever
   holds that and finds nought knows that nothing went on since it took it. */
void rl_sched_enter(void) {
  atomic_fetch_add_explicit(&S.busy, 1, memory_order_acq_rel);
}

void rl_sched_leave(void) {
  rl_lock_take(&S.lock);
  atomic_fetch_sub_explicit(&S.busy, 1, memory_order_acq_rel);
  rl_lock_leave(&S.lock);
  rl_sched_stopped();
}

void rl_sched_on_quiet(void (*f)(void)) {
  atomic_store_explicit(&S.on_quiet, f, memory_order_seq_cst);
}

/* A read that writes, as there is one in rl_sched_quiet: in the order of the two either that one's looks see what
   the caller of this one has stored, or this one sees who asks. */
static void in_order(void) {
  atomic_fetch_add_explicit(&S.busy, 0, memory_order_acq_rel);
}

static void stopped(void) {
  in_order();
  void (*f)(void) = atomic_load_explicit(&S.on_quiet, memory_order_acquire);
  if (f) f();
}

/* An idle worker keeps house after a while. Where another thread is the last to stop, one is woken for that. */
void rl_sched_nudge(const rl_blocked *also) {
  if (rl_sched_quiet(also)) wake_one();
}

void rl_sched_stopped(void) {
  stopped();
  if (runs_fibers) rl_sched_nudge(NULL);
}

/* Leaves for good, unless somebody is waking it right now, or others went first. */
static bool resign(worker *w) {
  rl_lock_take(&S.lock);
  bool gone = w->idle && extra();
  if (gone) {
    leave_idle(w);
    w->alive = false;
    atomic_store_explicit(&w->thread.known, false, memory_order_relaxed);
    atomic_fetch_sub_explicit(&S.threads, 1, memory_order_relaxed);
  }
  rl_lock_leave(&S.lock);
  return gone;
}

/* Sleeps until the bell or `until`; true: the bell. */
static bool await_bell(worker *w, double until) {
  while (atomic_load_explicit(&w->bell, memory_order_acquire) == 0)
    if (!rl_futex_wait(&w->bell, 0, until)) return false;
  return true;
}

/* Enters the idle list. */
static bool lie_down(worker *w) {
  atomic_store_explicit(&w->bell, 0, memory_order_relaxed);
  rl_lock_take(&S.lock);
  w->idle = true;
  w->idle_next = S.idle;
  S.idle = w;
  atomic_fetch_add_explicit(&S.nidle, 1, memory_order_acq_rel); /* see wake_one */
  bool dispensable = extra();
  rl_lock_leave(&S.lock);
  return dispensable;
}

/* A spare one stays up for what waits only if too few are left to come to it. True: it is up again, to look for
   work, and is counted for that. */
static bool needed(worker *w, bool spare) {
  if (!work_waits()) return false;
  if (spare && running() >= atomic_load_explicit(&S.wanted, memory_order_relaxed)) return false;
  if (!get_up(w)) return false;
  atomic_fetch_add_explicit(&S.searching, 1, memory_order_relaxed);
  return true;
}

/* Enters the idle list, sleeps; false: this worker's thread ends. True: it is to look for work, and is counted for
   that. */
static bool sleep_idle(worker *w, bool spare) {
  double house_at = rl_now() + REST_TIME;
  for (;;) {
    double gone_at = lie_down(w) ? rl_now() + SPARE_TIME : (double)INFINITY;
    if (needed(w, spare)) return true;
    stopped();
    if (gone_at < house_at && !await_bell(w, gone_at) && resign(w)) return false;
    if (await_bell(w, house_at) || !get_up(w)) return await_bell(w, INFINITY);
    house_at = keep_house(w);
  }
}

/* A searching worker that found something lets the next one search. */
static void end_search(bool found) {
  atomic_fetch_sub_explicit(&S.searching, 1, memory_order_seq_cst);
  if (found && work_waits()) wake_one();
}

static rl_fiber *search(worker *w) {
  double until = rl_now() + SEARCH_TIME;
  do
    for (int i = 0; i < 16; i++) {
      rl_fiber *f = queued_pop(w, false);
      if (!f) f = steal(w);
      if (f) return f;
      for (int k = 0; k < 8; k++) rl_spin_hint();
    }
  while (rl_now() < until);
  return NULL;
}

/* How a worker fares. Two things are seen only over some turns: that they are long, and then what it wakes goes
   where others find it (see rl_sched_ready); and that it keeps meeting others at locks, as the
   fibers of one channel do when several workers run them: then one worker alone is faster, so all but one make a
   pause, again and again as long as that is so. */

static void look_anew(worker *w, double now) {
  w->looked = 0;
  w->since = now;
  w->met = rl_lock_met;
}

/* True: it meets others too often. */
static bool look(worker *w) {
  double now = rl_now(), took = now - w->since;
  bool meets = (rl_lock_met - w->met) * MEETING > took;
  w->long_turns = took > w->looked * LONG_TURN;
  look_anew(w, now);
  return meets;
}

/* Two fibers that keep waking each other would keep the worker: after a while they stand in line. */
static void yield_next(worker *w) {
  rl_fiber *f = ring_count(w) > 0 ? take_next(w) : NULL;
  if (f) local_push(w, f);
}

static rl_fiber *find_local(worker *w, unsigned turn) {
  rl_fiber *f;
  if (turn % LINE == 0) yield_next(w);
  if (turn % FAIR == 0 && (f = queued_pop(w, turn % (2 * FAIR) == 0)) != NULL) return f;
  if ((f = take_next(w)) != NULL) return f;
  if (ring_take(w, &f, 1)) return f;
  return queued_pop(w, false);
}

/* Returns the fiber to run, or NULL when the thread is to end. */
__attribute__((noinline)) static rl_fiber *find(worker *w, unsigned turn, bool *looking) {
  for (;;) {
    rl_fiber *f = find_local(w, turn);
    if (!f && !*looking) {
      *looking = true;
      atomic_fetch_add_explicit(&S.searching, 1, memory_order_relaxed);
    }
    if (!f) {
      f = search(w);
      look_anew(w, rl_now()); /* that it had nothing to do is no long turn */
    }
    if (*looking) {
      *looking = false;
      end_search(f != NULL);
    }
    if (f) return f;
    if (!sleep_idle(w, false)) return NULL;
    *looking = true; /* whoever woke it has counted it */
  }
}

static void unmark_stuck(worker *w) {
  for (;;) {
    unsigned stuck = STUCK;
    if (atomic_compare_exchange_strong_explicit(&w->stuck, &stuck, FREE, memory_order_acq_rel,
                                                memory_order_acquire)) {
      atomic_fetch_sub_explicit(&S.nstuck, 1, memory_order_relaxed);
      return;
    }
    if (stuck == FREE) return;
    sched_yield(); /* the thief needs microseconds */
  }
}

static void mark_stuck(worker *w) {
  unsigned was = FREE;
  if (atomic_compare_exchange_strong_explicit(&w->stuck, &was, STUCK, memory_order_acq_rel,
                                              memory_order_relaxed))
    atomic_fetch_add_explicit(&S.nstuck, 1, memory_order_relaxed);
}

/* The worker is the only writer, so no locked instruction is needed. */
static void next_turn(worker *w) {
  unsigned n = atomic_load_explicit(&w->turns, memory_order_relaxed);
  atomic_store_explicit(&w->turns, n + 1, memory_order_relaxed);
}

/* True: it was stuck in it. */
static bool run(worker *w, rl_fiber *f) {
  atomic_store_explicit(&w->fiber, f, memory_order_relaxed);
  next_turn(w);
  f->run(f);
  next_turn(w);
  atomic_signal_fence(memory_order_seq_cst); /* see rob */
  if (atomic_load_explicit(&w->stuck, memory_order_relaxed) == FREE) return false;
  unmark_stuck(w);
  return true;
}

static void pause_for_others(worker *w) {
  unsigned n = atomic_load_explicit(&S.pausing, memory_order_relaxed);
  do
    if (n + 1 >= running()) return;
  while (!atomic_compare_exchange_weak_explicit(&S.pausing, &n, n + 1, memory_order_relaxed,
                                                memory_order_relaxed));
  give_away(w);
  struct timespec t = {0, (long)(PAUSE_TIME * 1e9)};
  nanosleep(&t, NULL);
  atomic_fetch_sub_explicit(&S.pausing, 1, memory_order_relaxed);
  look_anew(w, rl_now());
}

static void *worker_main(void *arg) {
  worker *w = self = arg;
  runs_fibers = true;
  bool looking = false;
  rl_fiber *f;
  look_anew(w, rl_now());
  rl_thread_enter(&w->thread);
  for (unsigned turn = 1;; turn++) {
    f = looking || turn % FAIR == 0 ? NULL : take_next(w);
    if (!f && !(f = find(w, turn, &looking))) return NULL;
    bool stuck = run(w, f);
    if ((++w->looked == LOOK || rl_lock_met - w->met > LOOK) && look(w)) pause_for_others(w);
    if ((stuck || turn % FAIR == 0) && surplus()) { /* others have taken over */
      give_away(w);
      if (work_waits()) wake_one();
      if (!sleep_idle(w, true)) return NULL;
      looking = true;
    }
  }
}

/* Gives a thread to an idle slot or to a new one. */
static bool add_worker(void) {
  worker *w = NULL;
  rl_lock_take(&S.lock);
  unsigned n = atomic_load_explicit(&S.slots, memory_order_relaxed);
  for (unsigned i = 0; i < n && !w; i++)
    if (slot(i) && !slot(i)->alive) w = slot(i);
  if (w) w->alive = true;
  if (w) atomic_fetch_add_explicit(&S.threads, 1, memory_order_relaxed);
  rl_lock_leave(&S.lock);
  if (!w) {
    if (n >= MAX_THREADS || !(w = calloc(1, sizeof *w))) return false;
    rl_lock_take(&S.lock);
    n = atomic_load_explicit(&S.slots, memory_order_relaxed);
    w->alive = true;
    atomic_store_explicit(&S.workers[n], w, memory_order_release);
    atomic_store_explicit(&S.slots, n + 1, memory_order_release);
    atomic_fetch_add_explicit(&S.threads, 1, memory_order_relaxed);
    rl_lock_leave(&S.lock);
  }
  if (rl_thread_start(worker_main, w)) return true;
  rl_lock_take(&S.lock);
  w->alive = false;
  atomic_fetch_sub_explicit(&S.threads, 1, memory_order_relaxed);
  rl_lock_leave(&S.lock);
  rl_sched_stopped(); /* it was counted as one that runs */
  return false;
}

/* The monitor */

static bool known(rl_thread *t) {
  return atomic_load_explicit(&t->known, memory_order_acquire);
}

/* Its thread cannot end meanwhile. */
static void poke(worker *w) {
  if (!known(&w->thread) || !rl_thread_bears(&w->thread)) return;
  rl_lock_take(&S.lock);
  if (w->alive && known(&w->thread)) rl_thread_poke(&w->thread);
  rl_lock_leave(&S.lock);
}

static void ask_to_give_way(worker *w, unsigned turn) {
  atomic_store_explicit(&w->give_way, turn, memory_order_relaxed);
  poke(w);
}

static void see_new_turn(worker *w, unsigned turn) {
  w->seen = turn;
  w->busy = w->waiting = 0;
  w->had = known(&w->thread) ? rl_thread_time(&w->thread) : 0;
  if (!(turn & 1)) unmark_stuck(w);
}

/* Looks once more at a turn. What counts is what its thread did meanwhile, not how long it took: on a busy machine
   the system may be what keeps it. */
static void see_turn_again(worker *w) {
  uint64_t had = rl_thread_time(&w->thread);
  if (had != w->had)
    w->busy++;
  else if (!rl_thread_computes(&w->thread)) {
    w->waiting++;
    return;
  }
  w->had = had;
  w->waiting = 0;
}

/* A worker that waits in a call is stuck after some looks. One that computes is asked to give way, and is stuck if
   it cannot. One that ended its turn at the moment of the verdict could not take it back: the next look does. */
static void judge(worker *w, unsigned slice) {
  unsigned turn = atomic_load_explicit(&w->turns, memory_order_relaxed);
  if (turn != w->seen || !(turn & 1) || !known(&w->thread)) {
    see_new_turn(w, turn);
    return;
  }
  see_turn_again(w);
  bool in_vain = w->busy >= TIME_SLICE + IN_VAIN;
  if (w->waiting >= PATIENCE || in_vain) mark_stuck(w);
  if (w->waiting > 0 || w->busy < slice) return;
  if (!in_vain || w->busy % TIME_SLICE == 0) ask_to_give_way(w, turn); /* one day it may */
}

bool rl_sched_give_way(void) {
  worker *w = self;
  return w && atomic_load_explicit(&w->give_way, memory_order_relaxed) ==
                  atomic_load_explicit(&w->turns, memory_order_relaxed);
}

static bool next_waits(void) {
  unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
  for (unsigned i = 0; i < n; i++) {
    worker *w = slot(i);
    if (w && atomic_load_explicit(&w->next, memory_order_relaxed)) return true;
  }
  return false;
}

/* More threads for what is runnable: as many again as are stuck, so the number doubles. */
static void relieve(void) {
  unsigned idle = atomic_load_explicit(&S.nidle, memory_order_relaxed);
  if (idle > 0) wake_one();
  unsigned runs = running() + idle, wanted = atomic_load_explicit(&S.wanted, memory_order_relaxed);
  if (runs >= wanted) return;
  unsigned more = atomic_load_explicit(&S.nstuck, memory_order_relaxed);
  if (more < wanted - runs) more = wanted - runs;
  unsigned queued = length(&S.shared) + length(&S.late) + wanted;
  unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
  for (unsigned i = 0; i < n; i++)
    if (slot(i)) queued += ring_count(slot(i));
  if (more > queued) more = queued;
  while (more-- > 0 && add_worker()) continue;
}

/* Chores */

void rl_sched_attend(rl_chore *c) {
  c->next = atomic_load_explicit(&S.chores, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(&S.chores, &c->next, c)) continue;
  ring_bell(&S.monitor); /* after the push: see how the monitor goes to sleep */
}

/* Attends to each of `list`; those that go on join `left`. One that is done may be handed over anew at once, or be
   gone. */
static void attend_each(rl_chore *list, rl_chore **left) {
  rl_chore *c;
  while ((c = list) != NULL) {
    list = c->next;
    if (c->attend(c)) continue;
    c->next = *left;
    *left = c;
  }
}

/* Those from before and those handed over meanwhile; returns those that go on. */
static rl_chore *attend_all(rl_chore *list) {
  rl_chore *left = NULL;
  attend_each(list, &left);
  attend_each(atomic_exchange(&S.chores, NULL), &left);
  return left;
}

/* In a turn that `f` has, or any (NULL). */
static bool in_turn(worker *w, rl_fiber *f) {
  if (!(atomic_load_explicit(&w->turns, memory_order_relaxed) & 1)) return false;
  return !f || atomic_load_explicit(&w->fiber, memory_order_relaxed) == f;
}

static void poke_workers(rl_fiber *f) {
  unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
  for (unsigned i = 0; i < n; i++)
    if (slot(i) && in_turn(slot(i), f)) poke(slot(i));
}

static void poke_pinned(rl_fiber *f) {
  rl_lock_take(&S.pin_lock);
  for (struct rl_pin *p = S.pins; p; p = p->next)
    if ((!f || p->fiber == f) && rl_thread_bears(&p->thread)) rl_thread_poke(&p->thread);
  rl_lock_leave(&S.pin_lock);
}

void rl_sched_poke(rl_fiber *f) {
  if (f->pin)
    poke_pinned(f);
  else
    poke_workers(f);
}

void rl_sched_poke_all(void) {
  poke_workers(NULL);
  poke_pinned(NULL);
}

/* So that one of a thousand has its turn every second or two. */
static unsigned time_slice(void) {
  unsigned crowd = CROWD * atomic_load_explicit(&S.wanted, memory_order_relaxed);
  return length(&S.shared) + length(&S.late) > crowd ? SHORT_SLICE : TIME_SLICE;
}

static void *monitor_main(void *arg) {
  (void)arg;
  unsigned quiet = 0, attended = 0;
  rl_chore *chores = NULL;
  for (;;) {
    rl_futex_wait(&S.monitor, 1, rl_now() + (attended < OFTEN ? TICK_TIME : SLOW_TICK_TIME));
    bool waits = work_waits() || next_waits();
    chores = attend_all(chores);
    unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
      if (slot(i) && waits) judge(slot(i), time_slice());
    if (work_waits()) relieve();
    attended = chores && !waits ? attended + 1 : 0;
    quiet = waits || chores ? 0 : quiet + 1;
    if (quiet < QUIET_TICKS) continue;
    quiet = 0;
    atomic_store_explicit(&S.monitor, 0, memory_order_seq_cst);
    /* whoever pushed without seeing this 0 has its push seen after one tick more */
    rl_futex_wait(&S.monitor, 0, rl_now() + TICK_TIME);
    if (work_waits() || next_waits() || atomic_load(&S.chores))
      atomic_store_explicit(&S.monitor, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&S.monitor, memory_order_acquire) == 0)
      rl_futex_wait(&S.monitor, 0, INFINITY);
  }
  return NULL;
}

/* The interface */

static unsigned wanted_threads(void) {
  const char *e = getenv("RILLE_THREADS");
  long n = e ? strtol(e, NULL, 10) : 0;
  if (n <= 0) n = sysconf(_SC_NPROCESSORS_ONLN);
  if (n <= 0) n = 1;
  return n > MAX_THREADS / 4 ? MAX_THREADS / 4 : (unsigned)n;
}

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool started;

static bool start_all(void) {
  static bool watched;
  plain_take = rl_barrier_everywhere();
  atomic_store(&S.wanted, wanted_threads());
  if (!watched) watched = rl_thread_start(monitor_main, NULL);
  while (watched && atomic_load(&S.threads) < atomic_load(&S.wanted))
    if (!add_worker()) break;
  return watched && atomic_load(&S.threads) > 0;
}

bool rl_sched_start(void) {
  if (atomic_load_explicit(&started, memory_order_acquire)) return true;
  pthread_mutex_lock(&starting);
  bool ok = atomic_load(&started) || start_all();
  atomic_store_explicit(&started, ok, memory_order_release);
  pthread_mutex_unlock(&starting);
  return ok;
}

static void enlist_pin(struct rl_pin *p) {
  rl_lock_take(&S.pin_lock);
  p->prev = NULL;
  p->next = S.pins;
  if (S.pins) S.pins->prev = p;
  S.pins = p;
  rl_lock_leave(&S.pin_lock);
}

static void delist_pin(struct rl_pin *p) {
  rl_lock_take(&S.pin_lock);
  if (p->prev)
    p->prev->next = p->next;
  else
    S.pins = p->next;
  if (p->next) p->next->prev = p->prev;
  rl_lock_leave(&S.pin_lock);
}

static void *pinned_main(void *arg) {
  struct rl_pin *p = arg;
  runs_fibers = true;
  rl_thread_enter(&p->thread);
  enlist_pin(p);
  while (!atomic_load_explicit(&p->end, memory_order_relaxed)) {
    while (atomic_load_explicit(&p->bell, memory_order_acquire) == 0)
      rl_futex_wait(&p->bell, 0, INFINITY);
    atomic_store_explicit(&p->bell, 0, memory_order_relaxed);
    p->fiber->run(p->fiber);
    rl_sched_leave();
    rl_sched_nudge(NULL);
  }
  delist_pin(p);
  free(p);
  atomic_fetch_sub_explicit(&S.pinned, 1, memory_order_relaxed);
  return NULL;
}

bool rl_sched_pin(rl_fiber *f) {
  struct rl_pin *p = calloc(1, sizeof *p);
  if (!p) return false;
  p->fiber = f;
  f->pin = p;
  atomic_fetch_add_explicit(&S.pinned, 1, memory_order_relaxed);
  if (rl_thread_start(pinned_main, p)) return true;
  atomic_fetch_sub_explicit(&S.pinned, 1, memory_order_relaxed);
  f->pin = NULL;
  free(p);
  return false;
}

void rl_sched_unpin(rl_fiber *f) {
  atomic_store_explicit(&f->pin->end, true, memory_order_relaxed);
}

/* Its run counts from here on, and until it has returned. */
static void ring_pinned(struct rl_pin *p) {
  rl_sched_enter();
  ring_bell(&p->bell);
}

static void push(queue *q, rl_fiber *f) {
  append(q, f, f, 1);
  wake_one();
  call_monitor();
}

void rl_sched_ready(rl_fiber *f) {
  worker *w = self;
  if (f->pin) {
    ring_pinned(f->pin);
  } else if (!w) {
    push(&S.shared, f);
  } else if (w->long_turns) {
    local_push(w, f);
    wake_one();
    call_monitor();
  } else {
    if (!atomic_load_explicit(&w->next, memory_order_relaxed)) {
      atomic_store_explicit(&w->next, f, memory_order_release); /* others only ever empty it */
    } else {
      rl_fiber *older = atomic_exchange_explicit(&w->next, f, memory_order_acq_rel);
      if (older) local_push(w, older);
      wake_one();
    }
    call_monitor();
  }
}

void rl_sched_requeue(rl_fiber *f) {
  if (f->pin) {
    ring_pinned(f->pin);
  } else if (!self) {
    push(&S.shared, f);
  } else if (rl_sched_give_way()) {
    push(&S.late, f);
  } else {
    local_push(self, f);
    if (ring_count(self) > 1 || atomic_load_explicit(&self->next, memory_order_relaxed)) wake_one();
    call_monitor();
  }
}

/* Quiet */

static bool blocked_sleep(void) {
  for (const rl_blocked *b = S.blocked; b; b = b->next)
    if (!b->asleep(b->of)) return false;
  return true;
}

static bool queues_empty(void) {
  if (length(&S.shared) + length(&S.late) > 0) return false;
  unsigned n = atomic_load_explicit(&S.slots, memory_order_acquire);
  for (unsigned i = 0; i < n; i++)
    if (slot(i) &&
        (ring_count(slot(i)) > 0 || atomic_load_explicit(&slot(i)->next, memory_order_relaxed)))
      return false;
  return true;
}

/* Who could run a fiber is a worker, or counted as busy; of these all must be idle or blocked. */
static bool none_runs(void) {
  unsigned could = atomic_load_explicit(&S.threads, memory_order_relaxed) +
                   atomic_load_explicit(&S.busy, memory_order_acquire);
  return could == atomic_load_explicit(&S.nidle, memory_order_relaxed) + S.nblocked;
}

/* `also` is looked at first: see docs/internals.md. */
bool rl_sched_quiet(const rl_blocked *also) {
  in_order();
  rl_lock_take(&S.lock);
  bool quiet =
      (!also || also->asleep(also->of)) && blocked_sleep() && none_runs() && queues_empty();
  rl_lock_leave(&S.lock);
  return quiet;
}

void rl_sched_block(rl_blocked *b) {
  worker *w = self;
  link_blocked(b);
  if (!w) return;
  mark_stuck(w);
  if (work_waits()) wake_one();
  call_monitor();
}

void rl_sched_unblock(rl_blocked *b) {
  worker *w = self;
  unlink_blocked(b);
  if (w) unmark_stuck(w);
}

void rl_sched_when_idle(double (*f)(void)) {
  atomic_store_explicit(&S.when_idle, f, memory_order_release);
}

bool rl_sched_is_worker(void) {
  return self != NULL;
}

double rl_sched_stamp(void) {
  worker *w = self;
  return w ? w->since : rl_now();
}

void rl_sched_parked(void) {
  worker *w = self;
  if (w)
    atomic_store_explicit(&w->parks, atomic_load_explicit(&w->parks, memory_order_relaxed) + 1,
                          memory_order_relaxed);
  else
    atomic_fetch_add_explicit(&S.parks, 1, memory_order_relaxed);
}

rl_sched_stats rl_sched_count(void) {
  rl_sched_stats s;
  s.parks = atomic_load_explicit(&S.parks, memory_order_relaxed);
  for (unsigned i = 0; i < atomic_load_explicit(&S.slots, memory_order_acquire); i++)
    s.parks += slot(i) ? atomic_load_explicit(&slot(i)->parks, memory_order_relaxed) : 0;
  s.workers = atomic_load_explicit(&S.threads, memory_order_relaxed);
  s.threads = s.workers + atomic_load_explicit(&S.pinned, memory_order_relaxed);
  s.steals = atomic_load_explicit(&S.steals, memory_order_relaxed);
  return s;
}

/*
** notify: the list of listeners, under one mutex that is never held while a done fires.
*/
#include "core/notify.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { SIGNALS = 65 };

typedef struct listener listener;
struct listener {
  rl_done done;
  listener *prev, *next; /* under `lock`; weak */
  bool listed;           /* under `lock` */
  unsigned n;
  rl_notify_signal signals[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static listener *first;                  /* lock */
static unsigned listening[SIGNALS];      /* lock: listeners for each signal */
static struct sigaction before[SIGNALS]; /* lock: what to put back */
static bool kept[SIGNALS];               /* lock: our handler stays once it is there */
static atomic_bool caught[SIGNALS];

static void on_signal(int number) {
  atomic_store_explicit(&caught[number], true, memory_order_release);
  rl_timer_ring();
}

/* The kernel puts the default action back when the signal comes, unless we are to keep ours: a second one has
   its effect. What it interrupts goes on: it is no error of a read. */
static bool watch(int number) {
  struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  if (!kept[number]) a.sa_flags |= (int)SA_RESETHAND;
  sigemptyset(&a.sa_mask);
  if (listening[number] == 0 && sigaction(number, &a, &before[number]) != 0) return false;
  listening[number]++;
  return true;
}

/* Puts back what was there before, unless our handler has gone already. */
static void unwatch(int number) {
  struct sigaction now;
  if (--listening[number] > 0 || kept[number]) return;
  if (sigaction(number, NULL, &now) == 0 && now.sa_handler == on_signal)
    sigaction(number, &before[number], NULL);
}

static void unlist(listener *l) {
  if (!l->listed) return;
  l->listed = false;
  if (l->prev)
    l->prev->next = l->next;
  else
    first = l->next;
  if (l->next) l->next->prev = l->prev;
  for (unsigned i = 0; i < l->n; i++) unwatch(l->signals[i].number);
}

static bool enlist(listener *l) {
  for (unsigned i = 0; i < l->n; i++)
    if (!watch(l->signals[i].number)) {
      while (i-- > 0) unwatch(l->signals[i].number);
      return false;
    }
  l->listed = true;
  l->prev = NULL;
  l->next = first;
  if (first) first->prev = l;
  first = l;
  return true;
}

/* The name under which `l` listens for signal `number`; NULL: it does not. */
static rl_msg *listens_for(listener *l, int number) {
  for (unsigned i = 0; i < l->n; i++)
    if (l->signals[i].number == number) return &l->signals[i].name;
  return NULL;
}

/* All that listen for signal `number`, unlisted and counted, linked by `next`; the oldest comes first. All
   at once: whoever listens as soon as one of them has fired waits for another signal. */
static listener *take_listeners(int number) {
  listener *taken = NULL;
  for (listener *l = first, *next; l; l = next) {
    next = l->next;
    if (!listens_for(l, number) || !rl_try_retain(&l->done.event.src.obj)) continue;
    unlist(l);
    l->next = taken;
    taken = l;
  }
  return taken;
}

static void deliver(int number) {
  pthread_mutex_lock(&lock);
  listener *l = take_listeners(number);
  pthread_mutex_unlock(&lock);
  for (listener *next; l; l = next) {
    next = l->next;
    rl_msg cause;
    rl_msg_share(&cause, listens_for(l, number));
    if (!rl_done_fire(&l->done, RL_CANCELED, &cause)) rl_msg_drop(&cause);
    rl_release(&l->done.event.src.obj);
  }
}

static void deliver_all(void) {
  for (int i = 1; i < SIGNALS; i++)
    if (atomic_exchange_explicit(&caught[i], false, memory_order_acq_rel)) deliver(i);
}

static void destroy(rl_object *o) {
  listener *l = (listener *)o;
  pthread_mutex_lock(&lock);
  unlist(l);
  pthread_mutex_unlock(&lock);
  rl_done_clear(&l->done);
  for (unsigned i = 0; i < l->n; i++) rl_msg_drop(&l->signals[i].name);
  free(l);
}

void rl_notify_keep(int number) {
  pthread_mutex_lock(&lock);
  kept[number] = true;
  pthread_mutex_unlock(&lock);
}

rl_done *rl_notify_make(rl_done *parent, rl_notify_signal *signals, unsigned n) {
  listener *l = malloc(sizeof *l + n * sizeof l->signals[0]);
  if (!l) return NULL;
  rl_done_init(&l->done, destroy);
  rl_done_below(&l->done, &parent->event);
  l->done.foreign = true;
  l->listed = false;
  l->n = n;
  for (unsigned i = 0; i < n; i++) {
    l->signals[i].number = signals[i].number;
    rl_msg_move(&l->signals[i].name, &signals[i].name);
  }
  pthread_mutex_lock(&lock);
  bool ok = rl_timer_on_ring(deliver_all) && enlist(l);
  pthread_mutex_unlock(&lock);
  if (ok && rl_done_start(&l->done, (double)INFINITY)) return &l->done;
  rl_release(&l->done.event.src.obj);
  return NULL;
}

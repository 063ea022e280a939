/*
** timer: deadlines in one heap, served by one thread that sleeps until the earliest. A timer lies
** in the structure it belongs to; arming and disarming cost a logarithm.
**
** When one is due, `claim` runs under the heap's lock (it must take no other: a compare-and-swap
** or a count), and, if it says yes, `due` runs with nothing locked. So a structure that has
** disarmed its timer knows that neither will run later unless it was claimed.
*/
#ifndef RL_TIMER_H
#define RL_TIMER_H

#include "core/waiter.h"

typedef struct rl_timer rl_timer;
struct rl_timer {
  double when;    /* the heap's lock */
  uint32_t place; /* its index in the heap + 1, 0: not armed; the heap's lock */
  bool claimed;   /* due, and neither disarmed nor committed since; the heap's lock */
  bool (*claim)(rl_timer *t);
  void (*due)(rl_timer *t, rl_wakes *ws);
};

void rl_timer_init(rl_timer *t, bool (*claim)(rl_timer *), void (*due)(rl_timer *, rl_wakes *));
/* Arms for `when` on rl_now's clock; one that is armed moves. False: no memory or no thread. */
bool rl_timer_set(rl_timer *t, double when);
/* Disarms. True when it would have fired and now will not: it was armed, or claimed and not yet
   committed. */
bool rl_timer_unset(rl_timer *t);
/* Is it still to come, or about to be served? */
bool rl_timer_armed(rl_timer *t);
/* Asked by a `due` under its own lock: false when it was disarmed or armed anew meanwhile. */
bool rl_timer_commit(rl_timer *t);

/* Runs `bell` in the timer thread soon after rl_timer_ring was called, which a signal handler may. */
bool rl_timer_on_ring(void (*bell)(void));
void rl_timer_ring(void);

#endif

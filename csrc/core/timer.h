/*
** timer: deadlines in one heap, served by one thread that sleeps until the earliest. A timer lies
** in the structure it belongs to; arming and disarming cost a logarithm.
**
** When one is due, `claim` runs under the heap's lock (it must take no other: a compare-and-swap
** or a count), and, if it says yes, `due` runs with nothing locked. So a structure that has
** disarmed its timer knows that neither will run later unless it was claimed.
**
** Here is also the clock that timers follow, and all that a program sees of the time. It is the monotonic
** clock, unless it was made virtual: then it stands still while anything runs, and when everything is quiet it
** jumps to the earliest timer.
*/
#ifndef RL_TIMER_H
#define RL_TIMER_H

#include "core/waiter.h"

typedef struct rl_timer rl_timer;
struct rl_timer {
  double when;    /* the heap's lock */
  uint32_t place; /* its index in the heap + 1, 0: not armed; the heap's lock */
  bool claimed;   /* due, and neither disarmed nor committed since; the heap's lock */
  bool imagined;  /* armed while the clock was virtual; the heap's lock */
  bool (*claim)(rl_timer *t);
  void (*due)(rl_timer *t, rl_wakes *ws);
  bool (*vain)(rl_timer *t); /* is firing it of no use as long as nobody runs? NULL: it is of use */
};

void rl_timer_init(rl_timer *t, bool (*claim)(rl_timer *), void (*due)(rl_timer *, rl_wakes *));
/* Arms for `when` on rl_time's clock; one that is armed moves. False: no memory or no thread. */
bool rl_timer_set(rl_timer *t, double when);
/* Disarms. True when it would have fired and now will not: it was armed, or claimed and not yet
   committed. */
bool rl_timer_unset(rl_timer *t);
/* Is it still to come, or about to be served? */
bool rl_timer_armed(rl_timer *t);
/* Asked by a `due` under its own lock: false when it was disarmed or armed anew meanwhile. */
bool rl_timer_commit(rl_timer *t);

/* Seconds on the clock of timers. */
extern atomic_bool rl_time_stands;
double rl_time_virtual(void);
static inline double rl_time(void) {
  return atomic_load_explicit(&rl_time_stands, memory_order_relaxed) ? rl_time_virtual() : rl_now();
}

/* Makes the clock virtual, from about rl_now on. `runner` is the waiter of whoever wants it so, a task or a main
   program, `also` that of the main program in any case: the clock jumps when both wait, too. When everything is
   quiet and no timer is armed, the wait of `runner` ends with RL_STALLED. Neither may go before
   rl_time_release. */
typedef enum { RL_TIME_OK, RL_TIME_TAKEN, RL_TIME_NO_THREAD } rl_time_status;
rl_time_status rl_time_take(rl_waiter *runner, rl_waiter *also);
/* Makes it real again. A timer that was armed meanwhile keeps the time it has left, one that was armed before
   keeps its point in time. */
void rl_time_release(void);

/* Runs `bell` in the timer thread soon after rl_timer_ring was called, which a signal handler may. */
bool rl_timer_on_ring(void (*bell)(void));
void rl_timer_ring(void);

#endif

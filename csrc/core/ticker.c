/*
** ticker: after, tick and timer. The channel's lock orders delivery against stop and reset; the
** timers' lock is taken inside it.
*/
#include "core/ticker.h"

#include <math.h>
#include <stdlib.h>

struct rl_ticker {
  rl_chan chan;
  rl_timer timer;
  double period; /* 0: delivers once; the channel's lock */
  rl_msg form;   /* immutable */
};

static rl_ticker *of_timer(rl_timer *t) {
  return (rl_ticker *)(void *)((char *)t - offsetof(rl_ticker, timer));
}

static bool claim(rl_timer *t) {
  return rl_try_retain(&of_timer(t)->chan.src.obj);
}

static void deliver(rl_ticker *t, rl_wakes *ws) {
  double now = rl_time();
  rl_msg m = t->form;
  m.u.n = now;
  rl_chan_put(&t->chan, &m, ws); /* full or closed: dropped, it holds nothing */
  t->chan.taken++;               /* leak analysis sees that it has moved, also by a hand-over */
  if (t->period <= 0 || t->chan.closed) return;
  double next = t->timer.when + t->period;
  if (next <= now) next = now + t->period - fmod(now - next, t->period);
  rl_timer_set(&t->timer, next);
}

static void due(rl_timer *timer, rl_wakes *ws) {
  rl_ticker *t = of_timer(timer);
  rl_lock_take(&t->chan.src.lock);
  if (rl_timer_commit(timer)) deliver(t, ws);
  rl_lock_leave(&t->chan.src.lock);
  rl_wake_all(ws);
  rl_release(&t->chan.src.obj);
}

/* A ticker whose last tick nobody has taken goes on, but drops all others. */
static bool vain(rl_timer *timer) {
  return rl_chan_count(&of_timer(timer)->chan) > 0;
}

static void destroy(rl_object *o) {
  rl_ticker *t = (rl_ticker *)o;
  rl_timer_unset(&t->timer);
  rl_chan_clear(&t->chan);
  free(t);
}

rl_ticker *rl_ticker_make(double wait, double period, const rl_msg *form) {
  rl_ticker *t = malloc(sizeof *t);
  if (!t) return NULL;
  rl_chan_init(&t->chan, 1, destroy);
  t->chan.timed = true;
  t->period = period;
  t->form = *form;
  rl_timer_init(&t->timer, claim, due);
  t->timer.vain = vain;
  if (wait == INFINITY || rl_timer_set(&t->timer, rl_time() + wait)) return t;
  rl_release(&t->chan.src.obj);
  return NULL;
}

bool rl_ticker_repeats(rl_ticker *t) {
  rl_lock_take(&t->chan.src.lock);
  bool repeats = t->period > 0;
  rl_lock_leave(&t->chan.src.lock);
  return repeats;
}

bool rl_ticker_armed(rl_ticker *t) {
  rl_lock_take(&t->chan.src.lock); /* what is due is either still to come or has been delivered */
  bool armed = rl_timer_armed(&t->timer);
  rl_lock_leave(&t->chan.src.lock);
  return armed;
}

rl_chan *rl_ticker_chan(rl_ticker *t) {
  return &t->chan;
}

rl_ticker *rl_ticker_of(rl_chan *c) {
  return (rl_ticker *)c;
}

static bool halt(rl_ticker *t) {
  rl_wakes none = {NULL, NULL};
  rl_msg stale = {.tag = RL_MSG_NONE};
  bool was = rl_timer_unset(&t->timer);
  return rl_chan_take(&t->chan, &stale, &none) == RL_OK || was;
}

bool rl_ticker_stop(rl_ticker *t) {
  rl_lock_take(&t->chan.src.lock);
  bool was = halt(t);
  rl_lock_leave(&t->chan.src.lock);
  return was;
}

bool rl_ticker_reset(rl_ticker *t, double wait, bool *ok) {
  rl_lock_take(&t->chan.src.lock);
  bool was = halt(t);
  if (t->period > 0) t->period = wait;
  *ok = wait == INFINITY || rl_timer_set(&t->timer, rl_time() + wait);
  rl_lock_leave(&t->chan.src.lock);
  return was;
}

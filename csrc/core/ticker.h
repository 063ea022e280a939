/*
** ticker: a channel that a timer feeds, once or again and again. It has room for one value; a tick that
** finds it full is dropped. Stopping or resetting takes out a value not yet received, so nothing
** stale is delivered afterwards.
*/
#ifndef RL_TICKER_H
#define RL_TICKER_H

#include "core/chan.h"
#include "core/timer.h"

typedef struct rl_ticker rl_ticker;

/* First after `wait` seconds, then each `period` (0: never again). `form` is the message that is
   delivered, with u.n set to the time. NULL: out of memory, or no thread. */
rl_ticker *rl_ticker_make(double wait, double period, const rl_msg *form);
bool rl_ticker_armed(rl_ticker *t);
rl_chan *rl_ticker_chan(rl_ticker *t);
rl_ticker *rl_ticker_of(rl_chan *c); /* of a `timed` channel */
bool rl_ticker_repeats(rl_ticker *t);
/* Both: was something still to come? reset fails (*ok false) without memory; for one that repeats, `wait`
   is the new period and above 0. */
bool rl_ticker_stop(rl_ticker *t);
bool rl_ticker_reset(rl_ticker *t, double wait, bool *ok);

#endif

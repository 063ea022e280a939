/*
** notify: dones that fire on signals. The handler only marks the signal and rings; the timers' thread
** does the rest. A handler is there while somebody waits for its signal, and for one signal only, unless it
** is to be kept.
*/
#ifndef RL_NOTIFY_H
#define RL_NOTIFY_H

#include "core/done.h"

typedef struct rl_notify_signal {
  int number;
  rl_msg name; /* becomes the cause */
} rl_notify_signal;

/* A done below `parent` that fires on the first of the n signals; takes the names. NULL: out of memory,
   no thread, or a signal that cannot be caught. */
rl_done *rl_notify_make(rl_done *parent, rl_notify_signal *signals, unsigned n);
/* From now on the handler for signal `number` stays once it is there: for who waits for it again and again.
   A signal that comes in between is ignored. */
void rl_notify_keep(int number);

#endif

/*
** log: what becomes of tasks, told as it happens, on stderr and to channels. It is off unless
** somebody asked: then each point that tells something costs the load of one flag.
**
** Events are told in the order of their times, and those of one task in the order in which they
** happened. Nothing that runs waits for who listens: what a full channel cannot take is dropped, and
** counted for the next event.
*/
#ifndef RL_LOG_H
#define RL_LOG_H

#include "core/chan.h"
#include "core/task.h"

typedef enum {
  RL_LOG_STARTED,
  RL_LOG_WAITING,
  RL_LOG_WOKEN,
  RL_LOG_FINISHED,
  RL_LOG_FAILED,
  RL_LOG_INTERRUPTED, /* an error was raised in it from outside */
  RL_LOG_LEAKED,      /* nothing can wake it any more */
  RL_LOG_COLLECTED,   /* and it was unwound */
  RL_LOG_KINDS
} rl_log_kind;

extern const char *const rl_log_names[RL_LOG_KINDS];

/* All strings are borrowed. */
typedef struct rl_log_event {
  rl_log_kind kind;
  const rl_task *task;
  const char *at;      /* "file:line": of the wait, else of the start */
  const char *op, *on; /* of a wait; `on` may be NULL */
  double since;        /* when that began which has its duration told; 0: nothing did */
  double time;         /* this and the rest by rl_log */
  double duration;     /* < 0: none */
  unsigned dropped;    /* events that did not reach this listener, right before this one */
} rl_log_event;

/* A line of its own: nothing else is written there. */
extern struct rl_log_switch { _Alignas(64) atomic_bool on; } rl_log_switch;

static inline bool rl_logging(void) {
  return __builtin_expect(atomic_load_explicit(&rl_log_switch.on, memory_order_relaxed), 0);
}

/* Tells an event. The caller holds no lock; `e` gets its time. */
void rl_log(rl_log_event *e) RL_SLOW;
/* The same for the start or the end of a task. */
void rl_log_task(rl_log_kind kind, const rl_task *t) RL_SLOW;

/* From now on each event goes to stderr, as one line and one write. */
void rl_log_to_stderr(void);
/* From now on the program's events go into the channel, as messages that `encode` makes (false: out of
   memory), until it is closed. Holds it with the right to send. False: out of memory. */
typedef bool (*rl_log_encode)(const rl_log_event *e, rl_msg *out);
bool rl_log_to(rl_program *p, rl_chan *c, rl_log_encode encode);
/* Lets go of channels that are closed, and of those of the program (may be NULL). */
void rl_log_forget(rl_program *p);

#endif

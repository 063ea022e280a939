/*
** done: an event that carries cancellation. Who fires it is decided by the claim word
** of its own waiter `self`: a cancel, its deadline, its parent or any other input contend for it
** alike. A child holds its parent; the parent knows the child only by a node in its queue of
** watchers, which the child withdraws when it fires or is destroyed.
*/
#ifndef RL_DONE_H
#define RL_DONE_H

#include "core/event.h"
#include "core/timer.h"

typedef enum { RL_CANCELED, RL_DEADLINE } rl_why;

typedef struct rl_done rl_done;

typedef void rl_input_visitor(rl_source *input, bool open, void *ud);

/* How a done hangs on its inputs: one parent, several (any), or none. */
typedef struct rl_done_inputs {
  void (*start)(rl_done *d);        /* begins to watch them; fires when one has fired already */
  void (*withdraw)(rl_done *d);     /* takes its nodes out of the inputs' queues */
  rl_done *(*earliest)(rl_done *d); /* once its deadline has passed: the late input; NULL: itself */
  /* Calls `visit` for each input, counted, and tells whether it is still to fire; returns how many of
     these have to. */
  unsigned (*each)(rl_done *d, rl_input_visitor *visit, void *ud);
} rl_done_inputs;

struct rl_done {
  rl_event event;
  bool timed;   /* has a deadline of its own; immutable once started */
  bool foreign; /* fires from outside the program: a signal; immutable after make */
  rl_msg cause; /* immutable once fired; empty: the error itself */
  rl_waiter self;
  rl_event *parent;             /* counted; immutable; NULL: none, or other inputs */
  rl_node up;                   /* in the parent's watchers */
  const rl_done_inputs *inputs; /* immutable */
  rl_timer timer;               /* for that */
  double deadline;              /* it has fired by then; immutable after make */
  uint8_t why;                  /* an rl_why; immutable once fired */
  rl_msg timeout_cause; /* becomes the cause when the deadline fires; immutable once started */
  rl_msg values;        /* immutable after make */
  rl_done *values_from; /* counted; where values are looked up further; immutable */
  char *name;           /* immutable after make */
};

/* Makes one without parent; `destroy` is called first by rl_done_clear's user. */
void rl_done_init(rl_done *d, void (*destroy)(rl_object *));
/* Releases what a done holds; for the destroy of structures that begin with a done. */
void rl_done_clear(rl_done *d);

/* Puts an initialized one below `parent`, a done or the end of a task, which it counts. */
void rl_done_below(rl_done *d, rl_event *parent);

/* A done of its own; `parent` may be NULL. NULL when out of memory. Not started: set deadline, values, causes,
   then start. */
rl_done *rl_done_make(rl_event *parent);
/* Begins to watch the inputs and arms the deadline; `own` is its own one (INFINITY: none). False: no
   memory or thread for the timer. */
bool rl_done_start(rl_done *d, double own);

/* Makes one that nobody can fire yet a promise: it fires when the last right to fire it is given up. So
   who waits for what a task is to bring about never waits for one that has died, or has lost it. */
void rl_done_promise(rl_done *d);

/* Fires; takes the cause (may be NULL). False when others did; then the cause stays. It has fired on
   return in any case, so it must not be called between a claim and its wakes. */
bool rl_done_fire(rl_done *d, rl_why why, rl_msg *cause);
/* The same for one whose `self` the caller has claimed; wakes are left to the caller. */
void rl_done_finish(rl_done *d, rl_why why, rl_msg *cause, rl_wakes *ws);

/* Has it fired? Looks at deadlines itself, so it is never late. As rl_done_fire. */
bool rl_done_poll(rl_done *d);
static inline bool rl_done_fired(const rl_done *d) {
  return rl_event_fired(&d->event);
}

/* What is to be known of any event that may be a done: the same; why and with what cause it has fired (that of
   a task's end is "canceled", and empty); the deadline on its path. */
static inline rl_done *rl_done_of(rl_event *e) {
  return e->src.obj.kind == RL_DONE ? (rl_done *)e : NULL;
}

static inline bool rl_event_poll(rl_event *e) {
  return rl_event_fired(e) || (rl_done_of(e) && rl_done_poll(rl_done_of(e)));
}

/* The cause is shared: it is the caller's. */
rl_why rl_event_outcome(rl_event *e, rl_msg *cause);
double rl_event_deadline(rl_event *e);

/* "canceled" or "deadline exceeded" */
const char *rl_why_text(uint8_t why);

#endif

/*
** leak: which waiting tasks nothing can ever wake. Told from who holds what, by the rule and with the proof in
** docs/leaks.md; the world goes on meanwhile.
*/
#ifndef RL_LEAK_H
#define RL_LEAK_H

#include "core/select.h"
#include "core/task.h"

/* What is to be seen of a state that waits, while it is inspected. */
typedef struct rl_glimpse {
  rl_holder *holder;
  rl_case *cases;
  unsigned ncases;
  bool timed; /* the wait has a deadline */
} rl_glimpse;

/* How to look into the binding's record of a task or of a main program. */
typedef struct rl_inspector {
  void (*look)(void *binding, rl_glimpse *g);
  /* Ends the edges of garbage. False: there was none to look for. */
  bool (*tidy)(void *binding);
} rl_inspector;

/* The main program of the program asked about: it runs on; it waits, and can it be woken?; it ends, so that what
   it holds counts for nothing. */
typedef enum { RL_MAIN_RUNS, RL_MAIN_WAITS, RL_MAIN_ENDS } rl_main_role;

typedef struct rl_leak_question {
  rl_program *program;
  rl_main_role main;
  rl_holder *caller; /* of the state that asks; NULL: none does */
  rl_owner *owner;   /* the same of what it holds */
  bool tidy;         /* garbage in states that wait does not count */
} rl_leak_question;

typedef struct rl_leaked {
  rl_task *task; /* counted */
  unsigned turn; /* of its waiter: the wait that nothing can end */
} rl_leaked;

typedef struct rl_verdict {
  rl_leaked *leaked;
  unsigned n;
  rl_object **litter; /* carriers that nobody comes to again, in any case; counted */
  unsigned nlitter;
  bool deadlock;      /* RL_MAIN_WAITS: nothing can wake the main program, */
  unsigned main_turn; /* in this wait */
} rl_verdict;

/* False: out of memory, and nothing is known. One at a time: others wait. */
bool rl_leak_find(const rl_leak_question *q, const rl_inspector *in, rl_verdict *v);
/* All tasks of the program that have not ended, as if they had leaked. False: out of memory. */
bool rl_verdict_all(rl_program *p, rl_verdict *v);
void rl_verdict_drop(rl_verdict *v);

/* Ends those waits with RL_LEAKED, where they still last; returns how many. Then takes out what the litter holds, so that
   it goes when the verdict does. */
unsigned rl_leak_unwind(const rl_verdict *v);
/* Until those have ended or wait again, as long as that makes progress. */
void rl_leak_await_rest(const rl_verdict *v);

#endif

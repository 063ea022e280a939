/*
** thread: OS threads. They start with all signals blocked; one that runs fibers lets in the runtime's own
** signal, by which it is poked: made to look, between two instructions of what it runs, whether somebody
** wants something of it.
*/
#ifndef RL_THREAD_H
#define RL_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef struct rl_thread {
  atomic_bool known; /* the rest is set */
  pthread_t id;
  pid_t tid;
  clockid_t clock; /* of the processor time it has had */
  uint64_t had;    /* the looker's, see rl_thread_computes */
} rl_thread;

/* Starts a detached thread with all signals blocked. */
bool rl_thread_start(void *(*body)(void *), void *arg);
/* Has there ever been one? */
bool rl_thread_any(void);

/* What a poked thread does, in a signal handler. Set before threads may be poked. */
void rl_thread_on_poke(void (*f)(void));
/* The calling thread can be poked as `t` from now on. */
void rl_thread_enter(rl_thread *t);
/* It must not have ended: the caller sees to that. */
void rl_thread_poke(const rl_thread *t);

/* Processor time it has had, in nanoseconds; 0 when it has ended. */
uint64_t rl_thread_time(const rl_thread *t);
/* Does it run, or wait for nothing but a processor? Else it is in a call that waits. One thread alone asks. */
bool rl_thread_computes(rl_thread *t);
/* Does it bear a signal? One that is in a call which then fails (EINTR) does not: foreign code may not
   expect that. Likewise. */
bool rl_thread_bears(rl_thread *t);

#endif

/*
** wait: from a Lua call to a core wait and back. A function of ours describes its wait in the state's
** one rl_wait, then returns rl_wait_for(...): which lets a ready case happen at once, or parks the
** task by yielding, or blocks the OS thread where Lua cannot yield; and ends in `finish`.
*/
#ifndef RL_WAIT_H
#define RL_WAIT_H

#include "core/select.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>

typedef struct rl_state rl_state;

/* What the waits of a task raise that the program's end unwinds. */
#define RL_UNWOUND "interrupted: the program has ended"

/* Pushes the results of a wait that ended with `st`; S->wait->won tells which case. */
typedef int (*rl_finish)(lua_State *L, rl_state *S, rl_status st);

typedef struct rl_wait {
  rl_waiter *waiter; /* the task's, or the program's */
  rl_timer timer;    /* for the deadline */
  double deadline;   /* INFINITY: none */
  rl_case *cases;    /* inl, or room */
  rl_case inl[2];
  rl_case *room; /* for more cases; NULL until it is needed */
  unsigned nroom;
  unsigned n, won;
  bool guarded;     /* case 0 is the optional done */
  uint8_t choice;   /* an rl_choice */
  bool named;       /* select's: the cases came in a table */
  unsigned timeout; /* select's: the case that stands for the deadline */
  rl_grant *grant;  /* a gate's: for what it will share; NULL: there is none */
  const char *op;   /* what it is called in reports */
  lua_State *L;     /* the coroutine that waits */
  double since;     /* about when it began to; to the point once it was told to the log */
  rl_finish finish;
} rl_wait;

void rl_wait_open(rl_wait *W, rl_waiter *w);
void rl_wait_close(rl_wait *W);

/* Begins to describe a wait; then guard and cases are added, then it is waited. */
static inline rl_wait *rl_wait_begin(rl_wait *W, const char *op) {
  W->op = op;
  W->cases = W->inl;
  W->n = 0;
  W->deadline = INFINITY;
  W->guarded = false;
  W->choice = RL_ORDERED;
  return W;
}

/* What stands at `idx` that can be waited on, a channel to receive from, timer, done or task; else NULL. An
   object that names one in a field (`__case`) is replaced by it, which so stays alive; `idx` is counted from the
   bottom, and three slots are free. Allocates nothing. */
rl_source *rl_wait_source(lua_State *L, int idx);
/* The optional `done` at `idx`: a done, channel, task, timer or number. Raises on others. It becomes
   case 0, or the deadline. */
void rl_wait_guard(lua_State *L, rl_state *S, int idx);
static inline rl_case *rl_wait_add(rl_wait *W, rl_case_op op, rl_source *on) {
  rl_case *c = &W->cases[W->n++];
  rl_case_set(c, op, on);
  return c;
}
/* Adds the case that is ready when `on` fires, ends or delivers. */
static inline void rl_wait_watch(rl_wait *W, rl_source *on) {
  rl_wait_add(W, on->obj.kind == RL_CHAN ? RL_CASE_RECV : RL_CASE_WATCH, on);
}
/* Makes room for n cases; raises out of memory. */
void rl_wait_room(lua_State *L, rl_wait *W, unsigned n);
int rl_wait_for(lua_State *L, rl_state *S, rl_finish finish);
/* What goes on after a wait that has parked; W->finish is set. */
int rl_wait_resumed(lua_State *L, rl_state *S);
/* The same without waiting; the caller drops unsent messages. */
rl_status rl_wait_try(rl_state *S);
void rl_wait_drop_unsent(rl_wait *W);
/* Lets other tasks run, then goes on in `k`. */
int rl_give_turn(lua_State *L, rl_state *S, lua_KFunction k);

/* A number of seconds from now at `idx` as a deadline; raises on nan. */
double rl_deadline_at(lua_State *L, int idx);

/* Decodes and drops `m`; returns the number of values pushed. May raise; `m` is dropped in any case. */
int rl_receive(lua_State *L, rl_state *S, rl_msg *m);
/* The same with a copy of what `o` keeps. */
int rl_receive_copy(lua_State *L, rl_state *S, const rl_msg *m, rl_object *o);

/* When the guard or the deadline has ended a wait: pushes nil, error, cause. */
static inline bool rl_wait_cut_short(const rl_wait *W, rl_status st) {
  return st == RL_TIMEOUT || (W->guarded && W->won == 0);
}
int rl_push_cut_short(lua_State *L, rl_state *S, rl_status st);
/* Pushes error and cause of what has fired: two values. */
void rl_push_fired(lua_State *L, rl_state *S, rl_event *e);
/* The same for the case of a wait on whatever stands for a done. */
void rl_push_case_fired(lua_State *L, rl_state *S, rl_case *c, rl_status st);

/* Raises when a wait is not allowed here. */
void rl_may_wait(lua_State *L, rl_state *S);

#endif

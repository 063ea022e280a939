/*
** sync: what the handles of gates share, each type of which has its file: how one is made and told of, and how
** a call passes it.
*/
#ifndef RL_SYNC_H
#define RL_SYNC_H

#include "lua/state.h"

/* Arguments */

/* The gate at 1, which is of that type; `S` (may be NULL) gets its state. */
static inline rl_gate *rl_sync_check(lua_State *L, rl_state **S, rl_handle_type type) {
  return (rl_gate *)rl_handle_check(L, S, 1, type);
}
/* A number at `idx`, not a string that reads as one. */
int64_t rl_sync_check_integer(lua_State *L, int idx);
/* One of at least 1; the error calls it `what`. */
int64_t rl_sync_check_number(lua_State *L, int idx, const char *what);

/* Pushes the handle of a new gate. Its name may stand at `name`; 0: it has none. */
int rl_sync_make(lua_State *L, rl_gate_type type, int64_t value, int64_t size, int name);
/* `tostring` of the one at 1, which is of that type. */
int rl_sync_tostring(lua_State *L, rl_handle_type type);

/* Waiting */

/* What is to be passed, and how. */
typedef struct rl_passage {
  int64_t need;
  bool held; /* afterwards by the caller */
  int done;  /* where the optional done stands; 0: none does */
  const char *op;
} rl_passage;

/* Passes, waiting if it has to, and ends in `finish`. */
int rl_sync_pass(lua_State *L, rl_state *S, rl_gate *g, const rl_passage *p, rl_finish finish);
/* The finish that pushes true, or what has cut the wait short. */
int rl_sync_passed(lua_State *L, rl_state *S, rl_status st);

/* The gate's: the last one. */
static inline rl_case *rl_sync_case(rl_state *S) {
  return &S->wait->cases[S->wait->n - 1];
}
/* For a finish: what the wait was for, */
static inline rl_gate *rl_sync_gate(rl_state *S) {
  return (rl_gate *)rl_sync_case(S)->node.on;
}
/* and what it was told when it passed: see rl_gate_pass. */
static inline int64_t rl_sync_told(rl_state *S) {
  return rl_sync_case(S)->msg.u.i;
}

static inline int rl_sync_push_true(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

/* That a lock was abandoned may have to be told. The news lies below the result, which is on top: it is there before the
   wait, as nothing may fail for lack of memory once a lock was taken. */
void rl_sync_push_news(lua_State *L);
/* How many results there are, with the news or without. */
int rl_sync_with_news(lua_State *L, int64_t abandoned);

/* What a shared grant needs lies in the wait, as finalizers that run while that is under way have another. It comes
   after all else that allocates, and so may run finalizers on this one. May raise out of memory. */
void rl_sync_prepare(lua_State *L, rl_state *S);
/* After `n` were passed: the grant of them, from what was prepared. */
rl_grant *rl_sync_share(rl_state *S, rl_gate *g, int64_t n);

/* `rille.mutex` and so on. */
int rl_mutex_make(lua_State *L);
int rl_rwmutex_make(lua_State *L);
int rl_semaphore_make(lua_State *L);
int rl_waitgroup_make(lua_State *L);
int rl_cond_make(lua_State *L);
int rl_barrier_make(lua_State *L);
int rl_counter_make(lua_State *L);
int rl_once_make(lua_State *L);

#endif

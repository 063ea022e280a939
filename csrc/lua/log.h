/*
** log: what the binding knows of an event: where it happens, and on what a task waits. What is cold is
** behind the look at the core's flag.
*/
#ifndef RL_LUA_LOG_H
#define RL_LUA_LOG_H

#include "core/leak.h"
#include "core/log.h"
#include "lua/state.h"

void rl_log_wait_slow(rl_state *S, rl_log_kind kind) RL_SLOW;
void rl_log_woken_slow(rl_state *S) RL_SLOW;
void rl_log_leaks_slow(const rl_verdict *v, bool daemons) RL_SLOW;
void rl_log_here_slow(lua_State *L, rl_state *S, rl_log_kind kind) RL_SLOW;

/* Tells something of the wait that the state's task is in, or has just left: by the task's own thread, before it
   parks and after it was woken. */
static inline void rl_log_wait(rl_state *S, rl_log_kind kind) {
  if (rl_logging()) rl_log_wait_slow(S, kind);
}

/* Its wait is over. That of one that was ended from outside is told when the error is raised. */
static inline void rl_log_woken(rl_state *S) {
  if (rl_logging()) rl_log_woken_slow(S);
}

/* Tells of those that leak, each once for its wait; of daemons, too, if `daemons`. */
static inline void rl_log_leaks(const rl_verdict *v, bool daemons) {
  if (rl_logging()) rl_log_leaks_slow(v, daemons);
}

/* Tells what happens to a task that does not wait, in L, which it runs. */
static inline void rl_log_here(lua_State *L, rl_state *S, rl_log_kind kind) {
  if (rl_logging()) rl_log_here_slow(L, S, kind);
}

/* Ends what listens through the channel. False: it had ended. */
bool rl_log_stop(rl_chan *c);

#endif

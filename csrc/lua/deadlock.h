/*
** deadlock: a main program that waits for what nothing can ever give.
*/
#ifndef RL_DEADLOCK_H
#define RL_DEADLOCK_H

#include "lua/state.h"

/* Looks for deadlocks, if nothing runs, and ends such waits with RL_DEADLOCK. Called when it has been quiet for a while.
   Says in how many seconds it wants to be called again, if nothing happens. */
double rl_deadlock_look(void);
/* The same, by a main program that is about to sleep in its wait; it may be that no worker is there. */
void rl_deadlock_look_first(rl_state *S);
/* Pushes what the wait of a main program raises: who waits where. */
void rl_deadlock_push(lua_State *L, rl_state *S);

#endif

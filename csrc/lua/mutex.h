/*
** mutex: a lock that one holds alone. A rwmutex is held so by the one who writes.
*/
#ifndef RL_MUTEX_H
#define RL_MUTEX_H

#include "lua/sync.h"

/* The methods of a mutex, with its arguments, for a gate that is locked when one holds all of it. */
int rl_mutex_lock(lua_State *L, rl_state *S, rl_gate *g);
int rl_mutex_guard(lua_State *L, rl_state *S, rl_gate *g);
int rl_mutex_try_lock(lua_State *L, rl_state *S, rl_gate *g);
int rl_mutex_unlock(lua_State *L, rl_state *S, rl_gate *g);

#endif

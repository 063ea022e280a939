/*
** guard: what closes a lock at the end of a scope.
*/
#ifndef RL_GUARD_H
#define RL_GUARD_H

#include "core/gate.h"
#include "lua/state.h"

typedef struct rl_guard rl_guard;

/* Pushes a guard of `g` that holds nothing yet. May raise out of memory. */
rl_guard *rl_guard_push(lua_State *L, rl_state *S, rl_gate *g);
/* It closes what was just taken: `shared` is the hold, NULL when that is alone. */
void rl_guard_fill(rl_guard *u, rl_grant *shared);

/* Ends one lock of a reader, if the owner has any. */
bool rl_guard_unlock_shared(rl_owner *o, rl_gate *g);

#endif

/*
** library: the standard libraries of a task's state, opened when the code first reaches for them. A
** program cannot tell the difference: see library.c.
*/
#ifndef RL_LIBRARY_H
#define RL_LIBRARY_H

#include "lua/state.h"

/* Is `name` one of the words of `list`, each of which stands between spaces? */
bool rl_listed(const char *list, const char *name);
/* Prepares a task's fresh state, which has no library yet. */
void rl_library_prepare(lua_State *L);
/* Opens all; nothing on a main program's state, or when it was done before. */
void rl_library_open_all(lua_State *L);
/* Pushes the metatable of what is filled on demand, or nil on a main program's state. */
void rl_library_push_demand(lua_State *L);
/* Pushes rille's own module if `name` is its. */
bool rl_library_push_own(lua_State *L, const char *name);

#endif

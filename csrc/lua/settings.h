/*
** settings: what the `rille` command sets in the environment.
*/
#ifndef RL_SETTINGS_H
#define RL_SETTINGS_H

#include <lua.h>

/* Sets what the table at index 1 says, if there is one. Raises out of memory. */
void rl_settings_take(lua_State *L);

#endif

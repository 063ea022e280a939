/*
** settings: what the `rille` command asks for when it opens the module.
*/
#ifndef RL_SETTINGS_H
#define RL_SETTINGS_H

#include <lua.h>

/* If there is a table at index 1 the command opens the module: sets the environment as the table says.
   Raises out of memory. */
void rl_settings_take(lua_State *L);

#endif

/*
** runtime: figures, and the end of a program.
*/
#ifndef RL_RUNTIME_H
#define RL_RUNTIME_H

#include "lua/state.h"

/* Ties the program's runtime to its main state: when that is closed, or the process exits, the
   runtime ends. */
void rl_runtime_anchor(lua_State *L, rl_state *S);
/* os.exit was called: its status stands, whatever the exit finds. */
void rl_runtime_status_given(void);
/* Ends the process, from a task of program `p`. */
_Noreturn void rl_runtime_exit(rl_program *p, int status);

#endif

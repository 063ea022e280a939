/*
** interrupt: the hook by which a running task is interrupted or gives way. It is armed on the coroutine that runs, by
** the thread itself (in a signal handler, as Lua's own interpreter does for Ctrl-C), fires at the next
** instruction and is gone: a task that nobody wants anything of runs without one.
*/
#ifndef RL_LUA_INTERRUPT_H
#define RL_LUA_INTERRUPT_H

#include "lua/state.h"

/* What runs on this thread, for the signal handler; NULL: nothing. */
extern RL_THREAD_LOCAL rl_state *volatile rl_interrupt_here;

/* Sees to it that pokes arm the hook. */
void rl_interrupt_open(void);
/* The task's function begins: from now on it can be interrupted. Raises what is pending. */
void rl_interrupt_begin(lua_State *L, rl_state *S);

/* Arms the hook on the coroutine that runs; nothing before the task has begun. */
void rl_interrupt_arm(rl_state *S);
/* No coroutine is armed any more. */
void rl_interrupt_disarm(rl_state *S);
/* What runs has changed, and a hook is armed: it goes along. */
void rl_interrupt_follow(rl_state *S);
/* `co` was just made: it must not inherit our hook. */
void rl_interrupt_made(rl_state *S, lua_State *co);

/* Raises the next reason, or that the program has ended. Does nothing when nothing is pending. */
void rl_interrupt_raise(lua_State *L, rl_state *S);
void rl_interrupt_raise_end(lua_State *L, rl_state *S);

#endif

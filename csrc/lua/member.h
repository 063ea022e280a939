/*
** member: a task as a member of a group. Such a task fails also by returning nil and an error; the group's
** failures are numbered in the order of time, the one that makes their number up fires the group's
** done, and each end puts the member's place into a channel. All this happens at the task's end, whatever
** way it ends: before its function ran, out of memory, interrupted.
*/
#ifndef RL_MEMBER_H
#define RL_MEMBER_H

#include "lua/state.h"

typedef struct rl_member rl_member;

/* Has the body of a member left nil and an error, at 2 and 3? */
bool rl_member_refused(lua_State *L, rl_state *S);
/* Counts the failure, if it is one, of a task whose outcome is set. What it returns is for the next function,
   to be called when others can see that the task has ended; NULL: it was of no group. */
rl_member *rl_member_end(rl_state *S, bool failed);
void rl_member_ended(rl_member *m);
/* For a state that is closed without this: its task was never started. */
void rl_member_leave(rl_state *S);

/* Makes the task, which is not started yet, a member of the group at `idx`. False: out of memory. */
bool rl_member_join(lua_State *L, int idx, rl_task *t, lua_Integer place);
/* The level of the first function that is not in the folder of the one that has called the running one. */
int rl_member_starter(lua_State *L);

void rl_open_member(lua_State *L, rl_state *S);

#endif

/*
** inspect: looking at a state that waits, from outside, while its waiter is held.
*/
#ifndef RL_INSPECT_H
#define RL_INSPECT_H

#include <stdio.h>

#include "core/leak.h"
#include "lua/state.h"

extern const rl_inspector rl_state_inspector;

/* What a state waits for. Strings that do not fit are cut. */
typedef struct rl_sight {
  const char *op; /* NULL: it does not wait */
  char on[120];   /* empty: on nothing with a name */
  char at[LUA_IDSIZE + 16];
  double since;    /* about when the wait began, on rl_now's clock */
  char *traceback; /* malloc'ed, when it was asked for; NULL out of memory */
} rl_sight;

/* False: it is not waiting, or its wait has just been decided. */
bool rl_inspect_task(rl_task *t, bool traceback, rl_sight *s);
bool rl_inspect_main(rl_program *p, bool traceback, rl_sight *s);
/* What the wait that S itself is in looks like. */
void rl_see_wait(rl_state *S, bool traceback, rl_sight *s);
void rl_sight_drop(rl_sight *s);

/* Writes "recv jobs at file:line". */
void rl_sight_write(const rl_sight *s, FILE *f);

/* "file:line" of the innermost Lua function from `level` on. */
void rl_place(lua_State *L, int level, char *buf, size_t size);

#endif

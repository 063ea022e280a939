/*
** any: dones that hang on several inputs. `any` fires with the first, `all` with the last. Neither
** needs a task: an input is one node in the queue of what is watched; all are withdrawn when the
** done fires or is destroyed.
*/
#ifndef RL_ANY_H
#define RL_ANY_H

#include "core/select.h"

/* For n inputs, to be set by rl_any_input, then started by rl_done_start. NULL: out of memory. */
rl_done *rl_any_make(unsigned n);
rl_done *rl_all_make(unsigned n);
/* Input i: a channel that delivers or is closed, or a done that fires; counted. NULL: never. */
void rl_any_input(rl_done *d, unsigned i, rl_source *on);
void rl_all_input(rl_done *d, unsigned i, rl_source *on);

#endif

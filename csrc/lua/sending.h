/*
** sending: what `ch:sending(v)` gives: a send case for select, with its value already encoded.
*/
#ifndef RL_SENDING_H
#define RL_SENDING_H

#include "core/chan.h"
#include "lua/handle.h"

typedef struct rl_sending {
  rl_offer offer; /* the edge leads to the channel */
  rl_state *state;
} rl_sending;

/* Pushes an empty one; `fill` takes the message, and may raise out of memory. */
rl_sending *rl_sending_new(lua_State *L);
void rl_sending_fill(lua_State *L, rl_state *S, rl_sending *s, rl_chan *c, rl_msg *m);
/* The one at `idx`; NULL for anything else, and for one that was finalized. */
rl_sending *rl_sending_test(lua_State *L, int idx);

#endif

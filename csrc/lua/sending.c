/*
** sending: a send case. It may take part in many selects; each that chooses it sends the value.
*/
#include "lua/sending.h"

#include "lua/state.h"

static const char type_name[] = "rille.sending";

static int sending_gc(lua_State *L) {
  rl_sending *s = luaL_checkudata(L, 1, type_name);
  if (s->offer.edge.ref.to) rl_handle_end_edge(s->state, &s->offer.edge);
  rl_msg_drop(&s->offer.msg);
  return 0;
}

rl_sending *rl_sending_new(lua_State *L) {
  rl_sending *s = lua_newuserdatauv(L, sizeof *s, 0);
  s->offer.edge.ref.to = NULL;
  s->offer.msg.tag = RL_MSG_NONE;
  if (luaL_newmetatable(L, type_name)) {
    lua_pushcfunction(L, sending_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return s;
}

void rl_sending_fill(lua_State *L, rl_state *S, rl_sending *s, rl_chan *c, rl_msg *m) {
  s->state = S;
  S->has_finalizers = true;
  s->offer.msg = *m;
  if (S->closing) rl_handle_hold_late(L, S, m);
  rl_handle_hold_edge(L, S, &s->offer.edge, &c->src.obj, RL_MAY_SEND | RL_OFFERS);
}

rl_sending *rl_sending_test(lua_State *L, int idx) {
  rl_sending *s = luaL_testudata(L, idx, type_name);
  return s && s->offer.edge.ref.to ? s : NULL;
}

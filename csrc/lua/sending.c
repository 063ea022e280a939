/*
** sending: a send case. It may take part in many selects; each that chooses it sends the value.
*/
#include "lua/sending.h"

#include "lua/state.h"

static const char type_name[] = "rille.sending";

rl_sending *rl_sending_new(lua_State *L) {
  rl_sending *s = lua_newuserdatauv(L, sizeof *s, 0);
  s->edge.ref.to = NULL;
  s->msg.tag = RL_MSG_NONE;
  luaL_setmetatable(L, type_name);
  return s;
}

void rl_sending_fill(rl_state *S, rl_sending *s, rl_chan *c, rl_msg *m) {
  rl_hold(&S->holder, &s->edge, &c->src.obj, RL_MAY_SEND);
  rl_msg_move(&s->msg, m);
}

rl_sending *rl_sending_test(lua_State *L, int idx) {
  return luaL_testudata(L, idx, type_name);
}

static int sending_gc(lua_State *L) {
  rl_sending *s = luaL_checkudata(L, 1, type_name);
  rl_unhold(&rl_self(L)->holder, &s->edge);
  rl_msg_drop(&s->msg);
  return 0;
}

void rl_sending_open(lua_State *L, rl_state *S) {
  static const luaL_Reg methods[] = {{"__gc", sending_gc}, {NULL, NULL}};
  luaL_newmetatable(L, type_name);
  rl_setfuncs(L, S, methods);
  lua_pop(L, 1);
}

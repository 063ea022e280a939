/*
** promise: for the modules of Lua, dones that also fire when no right to fire them is left, and requests: calls
** that are sent through a channel together with the right to fire the promise of their outcome.
*/
#include "core/done.h"

#include <math.h>

#include "lua/state.h"
#include "lua/transfer.h"

static rl_done *push_promise(lua_State *L, rl_state *S) {
  rl_handle *h = rl_handle_new(L, RL_H_DONE);
  rl_done *d = rl_done_make(NULL);
  if (!d) {
    luaL_error(L, "not enough memory");
    return NULL;
  }
  rl_done_promise(d);
  rl_handle_fill(L, S, h, &d->event.src.obj, RL_MAY_WATCH);
  return d;
}

/* _promise() -> done, cancel */
static int promise(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_handle_alive(L, S);
  rl_done *d = push_promise(L, S);
  rl_handle_push(L, S, &d->event.src.obj, RL_MAY_FIRE);
  return 2;
}

/* A request is a message of the cancel and the arguments. The cancel is never a value here, so that it is nobody's
   but the message's: what stands for it while that is encoded holds no count. */

enum { CHANNEL = 1, GUARD, PROMISE, CANCEL, ARGUMENTS };

static rl_handle *push_cancel(lua_State *L, rl_state *S, rl_done *d) {
  rl_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  h->edge.ref = (rl_ref){&d->event.src.obj, RL_MAY_FIRE, RL_H_CANCEL};
  h->state = S;
  h->mark = &rl_handle_mark;
  return h;
}

/* Describes the send of a request. */
static rl_state *describe(lua_State *L) {
  rl_state *S;
  rl_chan *c = (rl_chan *)rl_handle_check(L, &S, CHANNEL, RL_H_CHAN);
  rl_msg m = {.tag = RL_MSG_NONE};
  rl_wait_begin(S->wait, "send");
  rl_wait_guard(L, S, GUARD); /* raises now if it has to: afterwards there is the message */
  rl_handle *cancel = push_cancel(L, S, push_promise(L, S));
  lua_rotate(L, PROMISE, 2);
  rl_encode_call(L, S, CANCEL, lua_gettop(L) - CANCEL + 1, &m);
  cancel->mark = NULL;
  rl_wait *W = rl_wait_begin(S->wait, "send");
  rl_wait_guard(L, S, GUARD);
  rl_msg_move(&rl_wait_add(W, RL_CASE_SEND, &c->src)->msg, &m);
  return S;
}

static int sent(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  if (st == RL_NO_MEMORY) return luaL_error(L, "not enough memory");
  if (st == RL_OK) return lua_pushvalue(L, PROMISE), 1;
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return 2;
}

/* _request(channel, done or nil, ...) -> promise | nil, "closed" | nil, err, cause */
static int request(lua_State *L) {
  luaL_checkany(L, GUARD);
  return rl_wait_for(L, describe(L), sent);
}

/* The same without waiting; false, "full" when it would have to. */
static int try_request(lua_State *L) {
  luaL_checkany(L, GUARD);
  rl_state *S = describe(L);
  rl_status st = rl_wait_try(S);
  rl_wait_drop_unsent(S->wait);
  if (st != RL_NOT_READY) return sent(L, S, st);
  lua_pushboolean(L, 0);
  lua_pushliteral(L, "full");
  return 2;
}

void rl_open_promise(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"_promise", promise},
                                       {"_forget", rl_handle_forget},
                                       {"_request", request},
                                       {"_try_request", try_request},
                                       {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

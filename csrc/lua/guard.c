/*
** guard: a userdata of the task that has locked. It ends what it was made for and nothing else: a lock that was
** unlocked before, and perhaps taken again, is not its own any more. It does so when it is closed, called
** or collected. It is no finalizer that a state must be closed for: what a task holds ends with it anyway.
*/
#include "lua/guard.h"

struct rl_guard {
  rl_edge edge; /* the gate */
  rl_state *state;
  rl_grant *shared; /* NULL: it is held alone, */
  int64_t turn;     /* for the so manieth time */
  bool open;
};

static rl_gate *gate_of(const rl_guard *u) {
  return (rl_gate *)u->edge.ref.to;
}

bool rl_guard_unlock_shared(rl_owner *o, rl_gate *g) {
  rl_grant *h = rl_grant_find(o, g);
  if (h && --h->depth == 0) rl_grant_end(o, h, false);
  return h != NULL;
}

static void release(rl_guard *u, bool forgotten) {
  rl_owner *o = rl_state_owner(u->state);
  rl_gate *g = gate_of(u);
  if (!u->open) return;
  u->open = false;
  if (u->state->over)
    return; /* nobody waits any more; in a forked child the gate may stay locked */
  if (g->type == RL_SEMAPHORE)
    rl_grant_end(o, u->shared, false);
  else if (u->shared)
    rl_guard_unlock_shared(o, g);
  else if (rl_gate_held_by(g, o) && g->turn == u->turn)
    rl_grant_end(o, &g->alone, forgotten);
}

static int guard_close(lua_State *L) {
  release(lua_touserdata(L, 1), false);
  return 0;
}

static int guard_gc(lua_State *L) {
  rl_guard *u = lua_touserdata(L, 1);
  release(u, true);
  rl_handle_end_edge(u->state, &u->edge);
  return 0;
}

static int guard_call(lua_State *L) {
  release(luaL_checkudata(L, 1, "rille.guard"), false);
  return 0;
}

rl_guard *rl_guard_push(lua_State *L, rl_state *S, rl_gate *g) {
  static const luaL_Reg methods[] = {
      {"__close", guard_close}, {"__gc", guard_gc}, {"__call", guard_call}, {NULL, NULL}};
  rl_guard *u = lua_newuserdatauv(L, sizeof *u, 0);
  u->edge.ref.to = NULL;
  u->state = S;
  u->open = false;
  if (luaL_newmetatable(L, "rille.guard")) {
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    luaL_setfuncs(L, methods, 0);
  }
  lua_setmetatable(L, -2);
  rl_handle_hold_edge(L, S, &u->edge, &g->src.obj, 0);
  return u;
}

void rl_guard_fill(rl_guard *u, rl_grant *shared) {
  u->shared = shared;
  u->turn = gate_of(u)->turn;
  u->open = true;
  u->state->tender = true;
}

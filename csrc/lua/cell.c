/*
** cell: shared state for modules of Lua. A cell is a channel of capacity 1 that nobody waits on: its value is
** read where it lies, and replaced if it is still the one that was read. So what several tasks share changes in
** single steps, whole: whoever is interrupted in between leaves it as it was.
*/
#include "core/chan.h"
#include "lua/state.h"
#include "lua/transfer.h"

static rl_handle *check(lua_State *L) {
  rl_handle_check(L, NULL, 1, RL_H_CHAN);
  return rl_handle_test(L, 1);
}

/* rille._peek(cell) returns the value and its version. */
static int cell_peek(lua_State *L) {
  rl_handle *h = check(L);
  rl_msg m = {.tag = RL_MSG_NONE};
  uint32_t version;
  if (!rl_chan_peek((rl_chan *)h->edge.ref.to, &m, &version))
    return luaL_argerror(L, 1, "an empty channel is no cell");
  int n = rl_receive(L, h->state, &m);
  lua_pushinteger(L, version);
  return n + 1;
}

/* rille._replace(cell, version, value) returns whether the value is in its place. */
static int cell_replace(lua_State *L) {
  rl_handle *h = check(L);
  uint32_t version = (uint32_t)luaL_checkinteger(L, 2);
  rl_msg m = {.tag = RL_MSG_NONE};
  luaL_checkany(L, 3);
  rl_encode(L, h->state, 3, "value", &m);
  bool replaced = rl_chan_replace((rl_chan *)h->edge.ref.to, version, &m);
  rl_msg_drop(&m);
  lua_pushboolean(L, replaced);
  return 1;
}

/* They find the state in the handle: without an upvalue they take no memory of a task's. */
void rl_open_cell(lua_State *L) {
  lua_pushcfunction(L, cell_peek);
  lua_setfield(L, -2, "_peek");
  lua_pushcfunction(L, cell_replace);
  lua_setfield(L, -2, "_replace");
}

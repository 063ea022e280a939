/*
** transfer_class: the identity of classes. A class and all classes it leads to that were not sent
** before are encoded together, once, as a unit. A unit refers only to older units, so units form
** no cycles of counts. Messages refer to a class as unit and index. A state knows a unit by a userdata,
** which the state's classes of that unit keep alive, and which keeps them.
*/
#include "lua/transfer_impl.h"

#include "lua/state.h"

#include <stdlib.h>

static void unit_destroy(rl_object *o) {
  rl_unit *u = (rl_unit *)o;
  rl_blob_release(u->blob);
  free(u);
}

static int unit_gc(lua_State *L) {
  rl_unit **box = lua_touserdata(L, 1);
  rl_unit *u = *box;
  *box = NULL;
  if (u) rl_release(&u->obj);
  return 0;
}

rl_unit *rl_unit_of(lua_State *L, int tidx, int idx, uint32_t *index) {
  int top = lua_gettop(L);
  rl_unit *u = NULL;
  rl_transfer_table(L, tidx, UV_UNIT_OF);
  lua_pushvalue(L, idx);
  if (lua_rawget(L, -2) == LUA_TUSERDATA) {
    u = *(rl_unit **)lua_touserdata(L, -1);
    lua_getiuservalue(L, -1, 1);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    *index = (uint32_t)lua_tointeger(L, -1);
  }
  lua_settop(L, top);
  return u;
}

/* Pushes a userdata that holds no unit yet, with the array of classes at `classes`, which gets an
   index for each class too. */
static rl_unit **push_box(lua_State *L, int tidx, int classes) {
  rl_unit **box = lua_newuserdatauv(L, sizeof *box, 1);
  *box = NULL;
  if (lua_getiuservalue(L, tidx, UV_UNIT_META) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, unit_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, tidx, UV_UNIT_META);
    rl_state_of(L)->has_finalizers = true;
  }
  lua_setmetatable(L, -2);
  lua_Integer n = (lua_Integer)lua_rawlen(L, classes);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, classes, i);
    lua_pushinteger(L, i);
    lua_rawset(L, classes);
  }
  lua_pushvalue(L, classes);
  lua_setiuservalue(L, -2, 1);
  return box;
}

/* Gives the caller's count of `u` to its userdata. */
static void own(lua_State *L, rl_unit **box, rl_unit *u) {
  rl_state *S = rl_state_of(L);
  rl_msg m = {.u.ref.to = &u->obj, .tag = RL_MSG_REF};
  if (S->closing) rl_handle_hold_late(L, S, &m);
  *box = u;
}

/* Makes the unit whose userdata is on top known. A class that another unit has meanwhile keeps that
   (a __transfer had sent it). */
static void make_known(lua_State *L, transfer *T, int tidx, int classes, const rl_unit *u) {
  int box = lua_gettop(L);
  rl_transfer_table(L, tidx, UV_UNITS);
  lua_pushvalue(L, box);
  lua_rawsetp(L, -2, u);
  lua_settop(L, box);
  rl_transfer_table(L, tidx, UV_UNIT_OF);
  lua_Integer n = (lua_Integer)lua_rawlen(L, classes);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, classes, i);
    rl_notable_add(L, T, tidx, lua_topointer(L, -1));
    lua_pushvalue(L, -1);
    if (lua_rawget(L, box + 1) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_pushvalue(L, box);
      lua_rawset(L, box + 1);
    }
    lua_settop(L, box + 1);
  }
  lua_settop(L, box);
}

void rl_unit_make(lua_State *L, encoder *e, int tidx) {
  transfer *T = e->T;
  int classes = e->classes;
  luaL_checkstack(L, 16, NULL);
  rl_unit **box = push_box(L, tidx, classes);
  rl_blob *blob = rl_encoder_blob(e);
  rl_unit *u = malloc(sizeof *u);
  if (!u) {
    rl_blob_release(blob);
    luaL_error(L, "not enough memory");
    return;
  }
  rl_object_init(&u->obj, RL_CLASS, unit_destroy);
  u->blob = blob;
  own(L, box, u);
  rl_encoder_end(T);
  make_known(L, T, tidx, classes, u);
  lua_pop(L, 1);
}

/* Pushes the userdata of a unit if this state knows it. */
static bool push_known(lua_State *L, int tidx, const rl_unit *u) {
  rl_transfer_table(L, tidx, UV_UNITS);
  bool known = lua_rawgetp(L, -1, u) == LUA_TUSERDATA;
  lua_remove(L, -2);
  if (!known) lua_pop(L, 1);
  return known;
}

/* Pushes the userdata of a unit that this state does not know. Decoding may run a `require`, which
   may receive the same unit: then that one counts. */
static void push_decoded(lua_State *L, rl_state *S, transfer *T, int tidx, rl_unit *u) {
  lua_newtable(L);
  int classes = lua_gettop(L);
  rl_decode_blob(L, S, u->blob, classes);
  rl_object_copied(&u->obj);
  lua_settop(L, classes);
  if (!push_known(L, tidx, u)) {
    rl_unit **box = push_box(L, tidx, classes);
    rl_retain(&u->obj);
    own(L, box, u);
    make_known(L, T, tidx, classes, u);
  }
  lua_remove(L, classes);
}

void rl_unit_push(lua_State *L, rl_state *S, rl_unit *u, uint32_t index) {
  luaL_checkstack(L, 16, "too deep");
  transfer *T = rl_transfer_push(L);
  int tidx = lua_gettop(L);
  if (!push_known(L, tidx, u)) push_decoded(L, S, T, tidx, u);
  lua_getiuservalue(L, -1, 1);
  lua_rawgeti(L, -1, index);
  lua_replace(L, tidx);
  lua_settop(L, tidx);
}

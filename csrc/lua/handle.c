/*
** handle: the cache of a state's handles, their types and their metatables. The cache is a table with weak
** values, keyed by the object's address plus the type; an entry goes before its handle's
** finalizer gives up the count, so a key never names an object that was freed.
*/
#include "lua/handle.h"

#include <stdlib.h>

#include "core/chan.h"
#include "lua/state.h"

static const char cache_key = 0;
static const char class_key[RL_H_TYPES];
const char rl_handle_mark;

static const char *const names[RL_H_TYPES] = {"channel", "receiver", "sender", "timer",
                                              "done",    "cancel",   "task",   "stop"};

const char *rl_handle_name(rl_handle_type type) {
  return names[type];
}

static rl_handle_type type_of(rl_object *o, uint8_t rights) {
  switch ((rl_kind)o->kind) {
  case RL_TASK: return RL_H_TASK;
  case RL_DONE: return rights & RL_MAY_FIRE ? RL_H_CANCEL : RL_H_DONE;
  case RL_CHAN:
    if (rights & RL_MAY_RESET) return RL_H_TIMER;
    if (!(rights & RL_MAY_SEND)) return RL_H_RECEIVER;
    return rights & RL_MAY_RECV ? RL_H_CHAN : RL_H_SENDER;
  case RL_AFTER: return RL_H_STOP;
  case RL_CLASS: break;
  }
  rl_broken(__FILE__, __LINE__, "an object without handles");
}

rl_handle *rl_handle_as(lua_State *L, int idx, rl_handle_type type) {
  rl_handle *h = rl_handle_test(L, idx);
  return h && h->type == type ? h : NULL;
}

void rl_handle_alive(lua_State *L, rl_state *S) {
  if (S->over) luaL_error(L, "the program's runtime has ended");
}

int rl_type_error(lua_State *L, int idx, const char *what) {
  rl_handle *h = rl_handle_test(L, idx);
  const char *got = h ? names[h->type] : luaL_typename(L, idx);
  return luaL_argerror(L, idx, lua_pushfstring(L, "%s expected, got %s", what, got));
}

rl_object *rl_handle_check(lua_State *L, rl_state **S, int idx, rl_handle_type type) {
  rl_handle *h = rl_handle_as(L, idx, type);
  if (!h) {
    rl_handle_alive(L, rl_state_of(L)); /* after its end a handle may have been finalized */
    rl_type_error(L, idx, names[type]);
  }
  rl_handle_alive(L, h->state);
  if (S) *S = h->state;
  return h->edge.ref.to;
}

static int handle_gc(lua_State *L) {
  rl_handle *h = rl_handle_test(L, 1);
  if (!h) return 0;
  h->mark = NULL;
  rl_unhold(&h->state->holder, &h->edge);
  return 0;
}

bool rl_handle_has_method(lua_CFunction f) {
  for (int i = 0; i < 2 * RL_H_TYPES; i++)
    for (const luaL_Reg *l = rl_handle_methods[i / 2][i % 2]; l && l->name; l++)
      if (l->func == f) return true;
  return false;
}

static int count(const luaL_Reg *l) {
  int n = 0;
  while (l && l[n].name) n++;
  return n;
}

static void make_class(lua_State *L, rl_handle_type type) {
  const luaL_Reg *const *lists = rl_handle_methods[type];
  lua_createtable(L, 0, count(lists[0]) + count(lists[1]) + 3);
  for (int i = 0; i < 2 && lists[i]; i++) luaL_setfuncs(L, lists[i], 0);
  lua_pushcfunction(L, handle_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushfstring(L, "rille.%s", names[type]);
  lua_setfield(L, -2, "__name");
}

static void push_class(lua_State *L, rl_handle_type type) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key[type]) != LUA_TNIL) return;
  lua_pop(L, 1);
  make_class(L, type);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &class_key[type]);
}

rl_handle *rl_handle_new(lua_State *L, rl_handle_type type) {
  rl_handle *h = lua_newuserdatauv(L, sizeof *h, type == RL_H_DONE ? 1 : 0);
  h->edge.ref.to = NULL;
  h->type = (uint8_t)type;
  h->mark = NULL; /* until it is filled */
  push_class(L, type);
  lua_setmetatable(L, -2);
  return h;
}

/* A handle that a finalizer makes while its state is being closed. Nobody will finalize it, so its count is
   in a list, which is dropped when the state is closed. */
struct rl_late {
  rl_late *next;
  rl_object *to;
};

static void hold_late(lua_State *L, rl_state *S, rl_handle *h, rl_object *o, uint8_t rights) {
  rl_late *late = malloc(sizeof *late);
  if (!late) luaL_error(L, "not enough memory");
  rl_retain(o);
  *late = (rl_late){S->late, o};
  S->late = late;
  h->edge.ref = (rl_ref){o, rights};
}

void rl_handle_drop_late(rl_state *S) {
  for (rl_late *late; (late = S->late) != NULL;) {
    S->late = late->next;
    rl_release(late->to);
    free(late);
  }
}

/* Makes `h` hold the object: from now on it is a handle. */
static void hold(lua_State *L, rl_state *S, rl_handle *h, rl_object *o, uint8_t rights) {
  if (S->closing)
    hold_late(L, S, h, o, rights);
  else
    rl_hold(&S->holder, &h->edge, o, rights);
  h->state = S;
  h->mark = &rl_handle_mark;
}

void rl_handle_fill(lua_State *L, rl_state *S, rl_handle *h, rl_object *o, uint8_t rights) {
  hold(L, S, h, o, rights);
  rl_release(o); /* the caller's count */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, (char *)o + h->type);
  lua_pop(L, 1);
}

void rl_handle_push(lua_State *L, rl_state *S, rl_object *o, uint8_t rights) {
  rl_handle_type type = type_of(o, rights);
  const void *key = (char *)o + type;
  luaL_checkstack(L, 6, "too many values");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  if (lua_rawgetp(L, -1, key) == LUA_TNIL) {
    lua_pop(L, 1);
    rl_handle *h = rl_handle_new(L, type);
    hold(L, S, h, o, rights);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, key);
  }
  lua_remove(L, -2);
}

void rl_handle_open(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
}

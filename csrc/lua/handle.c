/*
** handle: the cache of a state's handles, their types and their metatables. The cache is a table with weak
** values, keyed by the object's address plus the type; an entry goes before its handle's
** finalizer gives up the count, so a key never names an object that was freed.
*/
#include "lua/handle.h"

#include <stdlib.h>
#include <string.h>

#include "core/chan.h"
#include "lua/library.h"
#include "lua/state.h"

static const char cache_key = 0;
static const char class_key[RL_H_TYPES];
const char rl_handle_mark;

static const char *const names[RL_H_TYPES] = {
    "channel", "receiver", "sender",    "timer",     "done", "cancel",  "task",    "stop",
    "mutex",   "rwmutex",  "semaphore", "waitgroup", "cond", "barrier", "counter", "once"};

const char *rl_handle_name(rl_handle_type type) {
  return names[type];
}

static rl_handle_type type_of(rl_object *o, uint8_t rights) {
  switch ((rl_kind)o->kind) {
  case RL_TASK: return RL_H_TASK;
  case RL_DONE: return rights & RL_MAY_FIRE ? RL_H_CANCEL : RL_H_DONE;
  case RL_CHAN:
    if (rights & RL_MAY_RESET) return RL_H_TIMER;
    if (rights & RL_MAY_FIRE) return RL_H_STOP; /* see log */
    if (!(rights & RL_MAY_SEND)) return RL_H_RECEIVER;
    return rights & RL_MAY_RECV ? RL_H_CHAN : RL_H_SENDER;
  case RL_AFTER: return RL_H_STOP;
  case RL_GATE: return rl_gate_handle((rl_gate *)o);
  case RL_CLASS: break;
  }
  rl_broken(__FILE__, __LINE__, "an object without handles");
}

rl_handle *rl_handle_as(lua_State *L, int idx, rl_handle_type type) {
  rl_handle *h = rl_handle_test(L, idx);
  return h && rl_handle_type_of(h) == type ? h : NULL;
}

void rl_handle_alive(lua_State *L, rl_state *S) {
  if (S->over) luaL_error(L, "the program's runtime has ended");
}

int rl_type_error(lua_State *L, int idx, const char *what) {
  rl_handle *h = rl_handle_test(L, idx);
  const char *got = h ? names[rl_handle_type_of(h)] : luaL_typename(L, idx);
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
  rl_handle_end_edge(h->state, &h->edge);
  return 0;
}

int rl_handle_forget(lua_State *L) {
  rl_handle *h = rl_handle_test(L, 1);
  if (!h) return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  lua_pushnil(L);
  lua_rawsetp(L, -2, (char *)h->edge.ref.to + rl_handle_type_of(h));
  handle_gc(L);
  lua_pushnil(L); /* no finalizer runs for it */
  lua_setmetatable(L, 1);
  return 0;
}

bool rl_handle_has_method(lua_CFunction f) {
  for (int i = 0; i < 2 * RL_H_TYPES; i++)
    for (const luaL_Reg *l = rl_handle_methods[i / 2][i % 2]; l && l->name; l++)
      if (l->func == f) return true;
  return false;
}

/* Classes. A metatable, and the table of methods that is its __index. In a state whose libraries open on
   demand, so do the methods, as most tasks use few. */

static bool is_metamethod(const char *name) {
  return name[0] == '_';
}

static lua_CFunction find_method(rl_handle_type type, const char *name) {
  for (int i = 0; i < 2; i++)
    for (const luaL_Reg *l = rl_handle_methods[type][i]; l && l->name; l++)
      if (!is_metamethod(l->name) && strcmp(l->name, name) == 0) return l->func;
  return NULL;
}

/* Sets the metamethods of a type, or its methods, in the table on top. */
static void set_functions(lua_State *L, rl_handle_type type, bool metamethods) {
  for (int i = 0; i < 2; i++)
    for (const luaL_Reg *l = rl_handle_methods[type][i]; l && l->name; l++)
      if (is_metamethod(l->name) == metamethods) {
        lua_pushstring(L, l->name);
        lua_pushcfunction(L, l->func);
        lua_rawset(L, -3);
      }
}

static int count(rl_handle_type type, bool metamethods) {
  int n = 0;
  for (int i = 0; i < 2; i++)
    for (const luaL_Reg *l = rl_handle_methods[type][i]; l && l->name; l++)
      n += is_metamethod(l->name) == metamethods;
  return n;
}

/* Does the class of a type have the table of methods at 1? */
static bool has_methods(lua_State *L, rl_handle_type type) {
  bool has = false;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key[type]) == LUA_TTABLE) {
    lua_getfield(L, -1, "__index");
    has = lua_rawequal(L, 1, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return has;
}

/* Puts the method whose name is the string at 2 into the table of methods at `idx`, and pushes it. */
static int fetch_method(lua_State *L, rl_handle_type type, int idx) {
  lua_CFunction f = find_method(type, lua_tostring(L, 2));
  if (!f) return 0;
  lua_pushcfunction(L, f);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, idx);
  return 1;
}

int rl_handle_method(lua_State *L) {
  int type = 0;
  while (type < RL_H_TYPES && !has_methods(L, (rl_handle_type)type)) type++;
  return type < RL_H_TYPES ? fetch_method(L, (rl_handle_type)type, 1) : 0;
}

/* Pushes the table of all methods, with twice the room: few then share a place in its hash. */
static void push_all_methods(lua_State *L, rl_handle_type type) {
  lua_createtable(L, 0, 2 * count(type, false));
  set_functions(L, type, false);
}

void rl_handle_open_methods(lua_State *L) {
  for (int type = 0; type < RL_H_TYPES; type++) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key[type]) == LUA_TTABLE) {
      push_all_methods(L, (rl_handle_type)type);
      lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
  }
}

/* __index of a class none of whose methods was used: makes the table, which takes this one's place. */
static int first_method(lua_State *L) {
  rl_handle *h = rl_handle_test(L, 1);
  if (!h || lua_type(L, 2) != LUA_TSTRING) return 0;
  lua_getmetatable(L, 1);
  lua_newtable(L);
  rl_library_push_demand(L);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setfield(L, 3, "__index");
  return fetch_method(L, rl_handle_type_of(h), 4);
}

/* __index comes first: what comes later and falls on the same place of the hash is behind it. */
static void make_class(lua_State *L, rl_handle_type type) {
  lua_createtable(L, 0, count(type, true) + 3);
  if (rl_state_of(L)->lazy)
    lua_pushcfunction(L, first_method);
  else
    push_all_methods(L, type);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, handle_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushfstring(L, "rille.%s", names[type]);
  lua_setfield(L, -2, "__name");
  set_functions(L, type, true);
}

static void push_class(lua_State *L, rl_handle_type type) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &class_key[type]) == LUA_TTABLE) return;
  lua_pop(L, 1);
  make_class(L, type);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &class_key[type]);
}

rl_handle *rl_handle_new(lua_State *L, rl_handle_type type) {
  /* a done keeps its decoded values, and the handle above it that has some */
  rl_handle *h = lua_newuserdatauv(L, sizeof *h, type == RL_H_DONE ? 2 : 0);
  h->edge.ref.to = NULL;
  h->edge.ref.type = (uint8_t)type;
  h->mark = NULL; /* until it is filled */
  push_class(L, type);
  lua_setmetatable(L, -2);
  return h;
}

struct rl_late {
  rl_late *next;
  rl_msg held;
};

void rl_handle_hold_late(lua_State *L, rl_state *S, rl_msg *m) {
  rl_late *late = malloc(sizeof *late);
  if (!late) {
    rl_msg_drop(m);
    luaL_error(L, "not enough memory");
    return;
  }
  late->next = S->late;
  rl_msg_move(&late->held, m);
  S->late = late;
}

void rl_handle_drop_late(rl_state *S) {
  for (rl_late *late; (late = S->late) != NULL;) {
    S->late = late->next;
    rl_msg_drop(&late->held);
    free(late);
  }
}

void rl_handle_hold_edge(lua_State *L, rl_state *S, rl_edge *e, rl_object *o, uint8_t rights) {
  if (!S->closing) {
    rl_hold(&S->holder, e, o, rights);
    return;
  }
  rl_msg m = {.u.ref = {.to = o, .rights = rights}, .tag = RL_MSG_REF};
  rl_retain_as(o, rights);
  rl_handle_hold_late(L, S, &m);
  e->ref.to = o;
  e->ref.rights = rights;
}

void rl_handle_end_edge(rl_state *S, rl_edge *e) {
  if (!S->over) rl_unhold(&S->holder, e);
}

/* Makes `h` hold the object: from now on it is a handle. */
static void hold(lua_State *L, rl_state *S, rl_handle *h, rl_object *o, uint8_t rights) {
  rl_handle_hold_edge(L, S, &h->edge, o, rights);
  h->state = S;
  h->mark = &rl_handle_mark;
}

void rl_handle_fill(lua_State *L, rl_state *S, rl_handle *h, rl_object *o, uint8_t rights) {
  hold(L, S, h, o, rights);
  rl_release(o); /* the caller's count */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cache_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, (char *)o + rl_handle_type_of(h));
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

/* Most tasks have a few handles of two or three types: what stands for the classes until they are made keeps
   the registry from growing for them. */
void rl_handle_open(lua_State *L) {
  for (int i = 0; i < 4; i++) {
    lua_pushboolean(L, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &class_key[i]);
  }
  lua_createtable(L, 0, 4); /* its own metatable: its keys are light userdata but for this one */
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_pushvalue(L, -1);
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cache_key);
}

/*
** transfer_names: what the sender's package.loaded knows goes by name. The names are collected when
** the first one is asked for, and again when package.loaded has changed. Of several names the
** shortest counts, then the first in order, so that every run gives the same one.
*/
#include "lua/transfer_impl.h"

#include "lua/library.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

/* the addresses that are worth a look */

static size_t home_of(const transfer *T, const void *p) {
  uint64_t h = ((uint64_t)(uintptr_t)p >> 3) * UINT64_C(0x9e3779b97f4a7c15);
  size_t i = (size_t)(h >> 32) & (T->notable_room - 1);
  while (T->notable[i] && T->notable[i] != p) i = (i + 1) & (T->notable_room - 1);
  return i;
}

bool rl_notable_test(const transfer *T, const void *p) {
  return T->nnotable > 0 && T->notable[home_of(T, p)] == p;
}

static void insert(transfer *T, const void *p) {
  size_t i = home_of(T, p);
  if (T->notable[i]) return;
  T->notable[i] = p;
  T->nnotable++;
}

static size_t count_keys(lua_State *L, int tidx, int uv) {
  size_t n = 0;
  rl_transfer_table(L, tidx, uv);
  for (lua_pushnil(L); lua_next(L, -2); n++) lua_pop(L, 1);
  lua_pop(L, 1);
  return n;
}

static void insert_keys(lua_State *L, transfer *T, int tidx, int uv) {
  rl_transfer_table(L, tidx, uv);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    insert(T, lua_topointer(L, -1));
  }
  lua_pop(L, 1);
}

/* Makes the hash anew of what is alive: addresses of collected classes go. */
static void rehash(lua_State *L, transfer *T, int tidx) {
  size_t n = 1, room = 64;
  for (int uv = UV_TABLES; uv <= UV_UNIT_OF; uv++) n += count_keys(L, tidx, uv);
  while (room < n * 4) room *= 2;
  const void **p = calloc(room, sizeof *p);
  if (!p) luaL_error(L, "not enough memory");
  free(T->notable);
  T->notable = p;
  T->notable_room = room;
  T->nnotable = 0;
  for (int uv = UV_TABLES; uv <= UV_UNIT_OF; uv++) insert_keys(L, T, tidx, uv);
}

void rl_notable_add(lua_State *L, transfer *T, int tidx, const void *p) {
  luaL_checkstack(L, 8, NULL);
  if (T->nnotable >= T->notable_room / 2) rehash(L, T, tidx);
  insert(T, p);
}

/* collecting */

typedef struct collector {
  lua_State *L;
  transfer *T;
  int tidx, tables, functions; /* stack indices */
  const void *globals;
  int depth; /* how many fields a name may have */
} collector;

/* Functions of the base library only; what else is global does not exist elsewhere. */
static bool is_base(const char *name) {
  static const char base[] = " assert collectgarbage dofile error getmetatable ipairs load loadfile"
                             " next pairs pcall print rawequal rawget rawlen rawset require select"
                             " setmetatable tonumber tostring type warn xpcall ";
  return rl_listed(base, name);
}

static size_t count_fields(const char *name, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) n += name[i] == '\0';
  return n;
}

static bool is_better(lua_State *L, int new, int old) {
  size_t nlen, olen;
  const char *n = lua_tolstring(L, new, &nlen), *o = lua_tolstring(L, old, &olen);
  size_t nfields = count_fields(n, nlen), ofields = count_fields(o, olen);
  if (nfields != ofields) return nfields < ofields;
  return nlen != olen ? nlen < olen : memcmp(n, o, nlen) < 0;
}

/* The object at `idx` may have the name on top. */
static void offer(collector *c, int idx) {
  lua_State *L = c->L;
  int names = lua_istable(L, idx) ? c->tables : c->functions, name = lua_gettop(L);
  lua_pushvalue(L, idx);
  bool taken = lua_rawget(L, names) != LUA_TNIL && !is_better(L, name, name + 1);
  lua_settop(L, name);
  if (taken) return;
  rl_notable_add(L, c->T, c->tidx,
                 lua_topointer(L, idx)); /* first: what is only notable is harmless */
  lua_pushvalue(L, idx);
  lua_pushvalue(L, name);
  lua_rawset(L, names);
}

/* Pushes `name` and `key`, joined; both are strings on the stack. */
static void push_joined(lua_State *L, int name, int key) {
  lua_pushvalue(L, name);
  lua_pushlstring(L, "", 1);
  lua_pushvalue(L, key);
  lua_concat(L, 3);
}

/* The fields of the table at `idx`, whose name is at `name`. */
static void collect_fields(collector *c, int idx, int name, int depth) {
  lua_State *L = c->L;
  luaL_checkstack(L, 12, NULL);
  int key = lua_gettop(L) + 1;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    bool table = lua_istable(L, key + 1);
    if (lua_type(L, key) == LUA_TSTRING && (table || lua_iscfunction(L, key + 1))) {
      push_joined(L, name, key);
      if (!table || depth == 1 || c->depth > 2) offer(c, key + 1);
      if (table && depth < c->depth) collect_fields(c, key + 1, key + 2, depth + 1);
    }
    lua_settop(L, key);
  }
}

static void collect_base(collector *c, int idx, int name) {
  lua_State *L = c->L;
  int key = lua_gettop(L) + 1;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    bool named = lua_type(L, key) == LUA_TSTRING && lua_iscfunction(L, key + 1);
    if (named && is_base(lua_tostring(L, key))) {
      push_joined(L, name, key);
      offer(c, key + 1);
    }
    lua_settop(L, key);
  }
}

/* The module at `idx`; its name is the string below it. */
static void collect_module(collector *c, int idx) {
  lua_State *L = c->L;
  int name = idx - 1;
  if (!lua_istable(L, idx) && !lua_iscfunction(L, idx)) return;
  lua_pushvalue(L, name);
  offer(c, idx);
  lua_pop(L, 1);
  if (!lua_istable(L, idx)) return;
  if (lua_topointer(L, idx) == c->globals) {
    collect_base(c, idx, name);
    return;
  }
  const char *s = lua_tostring(L, name);
  /* below package lie all the others; our own module holds its metatables in a table */
  c->depth = strcmp(s, LUA_LOADLIBNAME) == 0 ? 1 : strcmp(s, "rille.core") == 0 ? 4 : 2;
  collect_fields(c, idx, name, 1);
}

static void collect_modules(collector *c, int loaded) {
  lua_State *L = c->L;
  int key = lua_gettop(L) + 1;
  lua_pushnil(L);
  while (lua_next(L, loaded)) {
    size_t len;
    if (lua_type(L, key) == LUA_TSTRING && strlen(lua_tolstring(L, key, &len)) == len)
      collect_module(c, key + 1);
    lua_settop(L, key);
  }
}

/* Changes when a module is added, removed or replaced. Not 0. */
static uintptr_t signature_of(lua_State *L, int loaded) {
  uintptr_t sum = 1;
  lua_pushnil(L);
  while (lua_next(L, loaded)) {
    sum += (uintptr_t)lua_topointer(L, -1) * 2 + 2;
    lua_pop(L, 1);
  }
  return sum;
}

/* Tables lose old names with this: a module that was replaced goes by value. C functions keep them,
   so that a function whose global was overwritten still crosses. */
static void forget_tables(lua_State *L, int tidx) {
  rl_transfer_table(L, tidx, UV_TABLES);
  lua_newtable(L);
  lua_getmetatable(L, -2);
  lua_setmetatable(L, -2);
  lua_setiuservalue(L, tidx, UV_TABLES);
  lua_pop(L, 1);
}

void rl_names_refresh(lua_State *L, transfer *T, int tidx, bool anyway) {
  luaL_checkstack(L, 16, NULL);
  int top = lua_gettop(L), loaded = top + 1;
  luaL_getsubtable(L, LUA_REGISTRYINDEX,
                   LUA_LOADED_TABLE); /* a state without libraries has none yet */
  uintptr_t signature = signature_of(L, loaded);
  if (anyway || signature != T->signature) {
    forget_tables(L, tidx);
    rl_transfer_table(L, tidx, UV_TABLES);
    rl_transfer_table(L, tidx, UV_FUNCTIONS);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    collector c = {L, T, tidx, top + 2, top + 3, lua_topointer(L, -1), 0};
    collect_modules(&c, loaded);
    T->signature = signature;
  }
  lua_settop(L, top);
}

bool rl_name_push(lua_State *L, int tidx, int idx, bool held) {
  luaL_checkstack(L, 4, NULL);
  rl_transfer_table(L, tidx, lua_istable(L, idx) ? UV_TABLES : UV_FUNCTIONS);
  lua_pushvalue(L, idx);
  if (lua_rawget(L, -2) == LUA_TSTRING) {
    lua_remove(L, -2);
    if (held || strlen(lua_tostring(L, -1)) == lua_rawlen(L, -1)) return true;
    lua_pop(L, 1);
    return false;
  }
  lua_pop(L, 2);
  return false;
}

/* resolving */

static const char require_key = 0;

/* The function as it was when the module was loaded, or when the libraries were. */
void rl_names_open(lua_State *L) {
  lua_getglobal(L, "require");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &require_key);
}

/* Pushes the module, loading it when it is not there yet. */
static void push_module(lua_State *L, const char *module) {
  if (rl_library_push_own(L, module)) return;
  rl_library_open_all(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushstring(L, module);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &require_key);
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
  }
  lua_remove(L, -2);
}

/* Replaces the table on top by its field. */
static bool step_to_field(lua_State *L, const char *field) {
  if (!lua_istable(L, -1)) return false;
  lua_pushstring(L, field);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return !lua_isnil(L, -1);
}

void rl_name_resolve(lua_State *L, const char *name, size_t len) {
  const char *module = lua_pushlstring(L, name, len); /* with a zero at its end */
  const char *end = module + len, *field = module + strlen(module);
  push_module(L, module);
  for (; field < end; field += strlen(field))
    if (!step_to_field(L, ++field)) luaL_error(L, "module '%s' has no '%s' here", module, field);
  lua_remove(L, -2);
}

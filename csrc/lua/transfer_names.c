/*
** transfer_names: what the sender's package.loaded knows goes by name. The names are collected when
** the first one is asked for, and again when package.loaded has changed. Of several names one that
** every state knows counts, then the shortest, then the first in order, so that every run gives the same.
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

/* the standard libraries */

/* Pushes `name` and `key`, joined; both are strings on the stack. */
static void push_joined(lua_State *L, int name, int key) {
  lua_pushvalue(L, name);
  lua_pushlstring(L, "", 1);
  lua_pushvalue(L, key);
  lua_concat(L, 3);
}

/* The C functions that every state has, as a state made for this shows them: what a program did to the
   libraries of its own is not what a name stands for elsewhere. */
typedef struct standard {
  lua_CFunction f;
  size_t len;
  char name[32];
} standard;

typedef struct standards {
  size_t n;
  standard at[];
} standards;

enum { MOST_STANDARDS = 256 }; /* there are 150 */

static void add_standard(lua_State *L, standards *s) {
  size_t len;
  const char *name = lua_tolstring(L, -1, &len);
  if (s->n == MOST_STANDARDS || len >= sizeof s->at->name) return;
  standard *new = &s->at[s->n++];
  *new = (standard){.f = lua_tocfunction(L, -2), .len = len};
  memcpy(new->name, name, len);
}

/* Argument: the list. */
static int read_standards(lua_State *L) {
  luaL_openlibs(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (lua_pushnil(L); lua_next(L, 2); lua_settop(L, 3))
    for (lua_pushnil(L); lua_next(L, 4); lua_settop(L, 5))
      if (lua_iscfunction(L, 6)) {
        push_joined(L, 3, 5);
        add_standard(L, lua_touserdata(L, 1));
      }
  return 0;
}

static standards *make_standards(void) {
  standards *s = calloc(1, sizeof *s + MOST_STANDARDS * sizeof *s->at);
  lua_State *L = luaL_newstate();
  bool made = false;
  if (s && L) {
    lua_pushcfunction(L, read_standards);
    lua_pushlightuserdata(L, s);
    made = lua_pcall(L, 1, 0, 0) == LUA_OK;
  }
  if (L) lua_close(L);
  if (made) return s;
  free(s);
  return NULL;
}

/* They are made once; of several makers at the same time one is the first. */
static const standards *get_standards(lua_State *L) {
  static _Atomic(standards *) made;
  standards *s = atomic_load(&made), *before = NULL;
  if (s) return s;
  if ((s = make_standards()) == NULL) luaL_error(L, "not enough memory");
  if (atomic_compare_exchange_strong(&made, &before, s)) return s;
  free(s);
  return before;
}

static bool is_standard(const standards *s, const char *name, size_t len) {
  for (size_t i = 0; i < s->n; i++)
    if (s->at[i].len == len && memcmp(s->at[i].name, name, len) == 0) return true;
  return false;
}

/* Is this a module of every state, or the name of something in it? */
static bool is_everywhere(const standards *s, const char *name) {
  for (size_t i = 0; i < s->n; i++)
    if (strcmp(s->at[i].name, name) == 0) return true;
  return strcmp(name, "rille") == 0;
}

/* collecting */

typedef struct collector {
  lua_State *L;
  transfer *T;
  int tidx, tables, functions; /* stack indices */
  const void *globals;
  const standards *standards;
} collector;

enum { MOST_FIELDS = 2 }; /* that a name has */

static size_t count_fields(const char *name, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) n += name[i] == '\0';
  return n;
}

static bool is_better(collector *c, int new, int old) {
  lua_State *L = c->L;
  size_t nlen, olen;
  const char *n = lua_tolstring(L, new, &nlen), *o = lua_tolstring(L, old, &olen);
  if (lua_rawequal(L, new, old) || is_everywhere(c->standards, o)) return false;
  if (is_everywhere(c->standards, n)) return true;
  size_t nfields = count_fields(n, nlen), ofields = count_fields(o, olen);
  if (nfields != ofields) return nfields < ofields;
  return nlen != olen ? nlen < olen : memcmp(n, o, nlen) < 0;
}

/* The object at `idx` may have the name on top. */
static void offer(collector *c, int idx) {
  lua_State *L = c->L;
  int names = lua_istable(L, idx) ? c->tables : c->functions, name = lua_gettop(L);
  lua_pushvalue(L, idx);
  bool taken = lua_rawget(L, names) != LUA_TNIL && !is_better(c, name, name + 1);
  lua_settop(L, name);
  if (taken) return;
  rl_notable_add(L, c->T, c->tidx,
                 lua_topointer(L, idx)); /* first: what is only notable is harmless */
  lua_pushvalue(L, idx);
  lua_pushvalue(L, name);
  lua_rawset(L, names);
}

/* Zeros separate the words of a name, so a key with a zero in it is none. */
static bool is_word(lua_State *L, int key) {
  size_t len;
  return lua_type(L, key) == LUA_TSTRING && strlen(lua_tolstring(L, key, &len)) == len;
}

/* The fields of the table at `idx`, whose name is at `name`. The parts of our own module are modules themselves. */
static void collect_fields(collector *c, int idx, int name, int depth) {
  lua_State *L = c->L;
  luaL_checkstack(L, 12, NULL);
  int key = lua_gettop(L) + 1;
  bool own = rl_state_is_module(L, idx);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    bool table = lua_istable(L, key + 1);
    if (is_word(L, key) && !(own && rl_is_part(L, key)) && (table || lua_iscfunction(L, key + 1))) {
      push_joined(L, name, key);
      if (!table || depth == 1) offer(c, key + 1);
      if (table && depth < MOST_FIELDS) collect_fields(c, key + 1, key + 2, depth + 1);
    }
    lua_settop(L, key);
  }
}

/* The standard functions by their own names, whatever the program did to its libraries. */
static void collect_standards(collector *c) {
  lua_State *L = c->L;
  const standards *s = c->standards;
  for (size_t i = 0; i < s->n; i++) {
    lua_pushcfunction(L, s->at[i].f);
    lua_pushlstring(L, s->at[i].name, s->at[i].len);
    offer(c, lua_gettop(L) - 1);
    lua_pop(L, 2);
  }
}

/* Our replacements of functions of a standard library, which stand at the same place in each task. */
static void collect_replacements(collector *c, int idx, int name) {
  lua_State *L = c->L;
  int key = lua_gettop(L) + 1;
  size_t len;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    if (lua_type(L, key) == LUA_TSTRING && lua_iscfunction(L, key + 1)) {
      push_joined(L, name, key);
      const char *joined = lua_tolstring(L, -1, &len);
      if (is_standard(c->standards, joined, len)) offer(c, key + 1);
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
  const char *s = lua_tostring(L, name);
  if (is_everywhere(c->standards, s) && strcmp(s, "rille") != 0)
    collect_replacements(c, idx, name);
  else if (lua_topointer(L, idx) != c->globals)
    collect_fields(c, idx, name, 1);
}

static void collect_modules(collector *c, int loaded) {
  lua_State *L = c->L;
  int key = lua_gettop(L) + 1;
  lua_pushnil(L);
  while (lua_next(L, loaded)) {
    if (is_word(L, key)) collect_module(c, key + 1);
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
    collector c = {L, T, tidx, top + 2, top + 3, lua_topointer(L, -1), get_standards(L)};
    if (T->signature == 0) collect_standards(&c); /* they keep their names */
    collect_modules(&c, loaded);
    T->signature = signature;
  }
  lua_settop(L, top);
}

/* Replaces the table on top by its field. */
static bool step_to_field(lua_State *L, const char *field) {
  if (!lua_istable(L, -1)) return false;
  lua_pushstring(L, field);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return !lua_isnil(L, -1);
}

static bool push_collected(lua_State *L, int tidx, int idx) {
  rl_transfer_table(L, tidx, lua_istable(L, idx) ? UV_TABLES : UV_FUNCTIONS);
  lua_pushvalue(L, idx);
  bool named = lua_rawget(L, -2) == LUA_TSTRING;
  lua_remove(L, -2);
  if (!named) lua_pop(L, 1);
  return named;
}

/* Does the name on top still stand for the object at `idx`? */
static bool stands_for(lua_State *L, int idx) {
  int top = lua_gettop(L);
  size_t len;
  const char *module = lua_tolstring(L, top, &len), *field = module + strlen(module);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  bool there = step_to_field(L, module);
  for (; there && field < module + len; field += strlen(field)) there = step_to_field(L, ++field);
  there = there && lua_rawequal(L, -1, idx);
  lua_settop(L, top);
  return there;
}

bool rl_name_push(lua_State *L, transfer *T, int tidx, int idx, bool held) {
  luaL_checkstack(L, 8, NULL);
  if (!push_collected(L, tidx, idx)) return false;
  if (lua_istable(L, idx) && !stands_for(L, idx)) { /* a module was changed since */
    lua_pop(L, 1);
    rl_names_refresh(L, T, tidx, true);
    if (!push_collected(L, tidx, idx)) return false;
  }
  if (held || strlen(lua_tostring(L, -1)) == lua_rawlen(L, -1)) return true;
  lua_pop(L, 1);
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

/* A part of ours may come only now that it is named. */
static bool step_to_part(lua_State *L, const char *field) {
  if (!rl_state_is_module(L, -1)) return step_to_field(L, field);
  lua_getfield(L, -1, field);
  lua_remove(L, -2);
  return !lua_isnil(L, -1);
}

void rl_name_resolve(lua_State *L, const char *name, size_t len) {
  const char *module = lua_pushlstring(L, name, len); /* with a zero at its end */
  const char *end = module + len, *field = module + strlen(module);
  push_module(L, module);
  for (; field < end; field += strlen(field))
    if (!step_to_part(L, ++field)) luaL_error(L, "module '%s' has no '%s' here", module, field);
  lua_remove(L, -2);
}

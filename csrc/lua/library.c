/*
** library: libraries on demand. Most tasks use few of them, and a state with all takes three times the
** memory and ten times the time to make.
**
** A state begins without any. What code can do to reach one is: name a global, which goes through the table
** of globals; or use a string's method or arithmetic, which goes through the strings' metatable. Both
** tables have metamethods here that open what is asked for and take their own place back. The methods of
** handles come likewise, one by one.
** What could see the metatable of the table of globals, or that a field is not there yet, has itself to
** be reached by a global's name (getmetatable, next, pairs, rawget, load, debug, _G...): such a name opens
** everything, before its function can run. So does setmetatable, for a state that has no finalizers is
** closed without them. When other functions of the base library are opened first, these are kept aside.
** Assigning to a name that is a library's opens everything too, so what a program has put there is never
** overwritten. C functions of other modules come through `require`, and what comes by name in a message is
** looked up after everything was opened.
*/
#include "lua/library.h"

#include <lualib.h>
#include <string.h>

#include "lua/transfer.h"

/* registry: the metatable of what is filled on demand, the globals and the methods of handles */
static const char demand_key = 0;

typedef enum { NONE, ALONE, BASE, ALL } reach;

typedef struct library {
  const char *name;
  lua_CFunction open;
} library;

/* Opened by themselves: nothing in them shows what else is open. */
static const library alone[] = {{LUA_COLIBNAME, luaopen_coroutine}, {LUA_TABLIBNAME, luaopen_table},
                                {LUA_STRLIBNAME, luaopen_string},   {LUA_MATHLIBNAME, luaopen_math},
                                {LUA_UTF8LIBNAME, luaopen_utf8},    {LUA_OSLIBNAME, luaopen_os},
                                {LUA_IOLIBNAME, luaopen_io},        {NULL, NULL}};

static const char base[] =
    " assert error ipairs pcall print rawequal rawlen select tonumber tostring"
    " type warn xpcall _VERSION ";
static const char *const telling[] = {"_G",           "collectgarbage", "debug",    "dofile",
                                      "getmetatable", "load",           "loadfile", "next",
                                      "package",      "pairs",          "rawget",   "rawset",
                                      "require",      "setmetatable",   NULL};

bool rl_listed(const char *list, const char *name) {
  size_t len = strlen(name);
  if (len == 0 || strchr(name, ' ')) return false;
  for (const char *p = list; (p = strstr(p, name)) != NULL; p += len)
    if (p[-1] == ' ' && p[len] == ' ') return true;
  return false;
}

static bool is_telling(const char *name) {
  for (int i = 0; telling[i]; i++)
    if (strcmp(telling[i], name) == 0) return true;
  return false;
}

static const library *find_alone(const char *name) {
  for (const library *l = alone; l->name; l++)
    if (strcmp(l->name, name) == 0) return l;
  return NULL;
}

static reach reach_of(lua_State *L, int key, const library **l) {
  size_t len;
  if (lua_type(L, key) != LUA_TSTRING) return NONE;
  const char *name = lua_tolstring(L, key, &len);
  if (strlen(name) != len) return NONE;
  if ((*l = find_alone(name)) != NULL) return ALONE;
  if (rl_listed(base, name)) return BASE;
  return is_telling(name) ? ALL : NONE;
}

/* Opening; the table of globals has no metatable meanwhile. */

static bool is_open(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  bool open = lua_getfield(L, -1, name) != LUA_TNIL;
  lua_pop(L, 2);
  return open;
}

static void open_one(lua_State *L, rl_state *S, const library *l) {
  if (is_open(L, l->name)) return;
  luaL_requiref(L, l->name, l->open, 1);
  lua_pop(L, 1);
  if (l->open == luaopen_io) S->has_finalizers = true;
  if (l->open == luaopen_coroutine) rl_open_coroutine(L, S);
  if (l->open == luaopen_os) rl_open_os(L, S);
  if (l->open == luaopen_io) rl_open_io(L, S);
  if (l->open == luaopen_math) rl_state_seed_random(L);
}

/* Between the table of globals and, aside, the metatable that it has while not all is open. */
static void move_telling(lua_State *L, bool aside) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  rl_library_push_demand(L);
  int from = lua_gettop(L) - aside, to = lua_gettop(L) - !aside;
  for (int i = 0; telling[i]; i++) {
    if (lua_getfield(L, from, telling[i]) != LUA_TNIL) {
      lua_setfield(L, to, telling[i]);
      lua_pushnil(L);
      lua_setfield(L, from, telling[i]);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 2);
}

static void open_base(lua_State *L, bool whole) {
  if (!is_open(L, LUA_GNAME)) {
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    lua_pop(L, 1);
    if (!whole) move_telling(L, true);
  } else if (whole) {
    move_telling(L, false);
  }
}

static void open_all(lua_State *L, rl_state *S) {
  open_base(L, true);
  for (const library *l = alone; l->name; l++) open_one(L, S, l);
  luaL_requiref(L, LUA_LOADLIBNAME, luaopen_package, 1);
  luaL_requiref(L, LUA_DBLIBNAME, luaopen_debug, 1);
  lua_pop(L, 2);
  rl_open_debug(L, S);
  rl_state_set_paths(L, S);
  rl_open_searcher(L);
  rl_state_open_idle(L, S);
  rl_names_open(L);
  rl_handle_open_methods(L);
}

typedef struct job {
  rl_state *S;
  reach what;
  const library *library;
} job;

static int open_protected(lua_State *L) {
  job *j = lua_touserdata(L, 1);
  if (j->what == ALL)
    open_all(L, j->S);
  else if (j->what == BASE)
    open_base(L, false);
  else
    open_one(L, j->S, j->library);
  return 0;
}

/* Sets the metatable of the globals to the value on top, which goes. */
static void set_globals_metatable(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

static void open_library(lua_State *L, rl_state *S, reach what, const library *l) {
  job j = {S, what, l};
  luaL_checkstack(L, 8, NULL);
  lua_pushnil(L);
  set_globals_metatable(L);
  lua_pushcfunction(L, open_protected);
  lua_pushlightuserdata(L, &j);
  int failed = lua_pcall(L, 1, 0, 0);
  if (what == ALL && !failed) {
    S->lazy = false;
    S->has_finalizers = true;
    return;
  }
  rl_library_push_demand(L);
  set_globals_metatable(L);
  if (failed) lua_error(L);
}

void rl_library_open_all(lua_State *L) {
  rl_state *S = rl_state_of(L);
  if (S->lazy) open_library(L, S, ALL, NULL);
}

/* What code reaches for */

static bool is_globals(lua_State *L, int idx) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  bool is = lua_rawequal(L, idx, -1);
  lua_pop(L, 1);
  return is;
}

static int demand_index(lua_State *L) {
  rl_state *S = rl_state_of(L);
  const library *l = NULL;
  if (rl_state_is_module(L, 1)) return rl_part(L);
  if (lua_type(L, 2) != LUA_TSTRING || !S->lazy) return 0;
  if (!is_globals(L, 1)) return rl_handle_method(L);
  reach what = reach_of(L, 2, &l);
  if (what == NONE) return 0;
  open_library(L, S, what, l);
  lua_settop(L, 2);
  lua_rawget(L, 1);
  return 1;
}

/* Only the globals are written to before all is open. */
static int demand_newindex(lua_State *L) {
  rl_state *S = rl_state_of(L);
  const library *l;
  if (S->lazy && reach_of(L, 2, &l) != NONE) open_library(L, S, ALL, NULL);
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

static void open_strings(lua_State *L) {
  open_library(L, rl_state_of(L), ALONE, find_alone(LUA_STRLIBNAME));
}

static int string_index(lua_State *L) {
  open_strings(L);
  lua_settop(L, 2);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_STRLIBNAME);
  lua_pushvalue(L, 2);
  lua_gettable(L, -2);
  return 1;
}

/* Becomes the library's own metamethod, in the same call: errors and tracebacks are as they should be. */
static int arithmetic(lua_State *L, const char *event) {
  open_strings(L);
  lua_settop(L, 2);
  lua_pushliteral(L, "");
  luaL_getmetafield(L, -1, event);
  lua_CFunction f = lua_tocfunction(L, -1);
  lua_settop(L, 2);
  return f(L);
}

#define ARITHMETIC(name)                                                                           \
  static int string_##name(lua_State *L) {                                                         \
    return arithmetic(L, "__" #name);                                                              \
  }

ARITHMETIC(add)
ARITHMETIC(sub)
ARITHMETIC(mul)
ARITHMETIC(mod)
ARITHMETIC(pow)
ARITHMETIC(div)
ARITHMETIC(idiv)
ARITHMETIC(unm)

static const luaL_Reg string_events[] = {{"__index", string_index}, {"__add", string_add},
                                         {"__sub", string_sub},     {"__mul", string_mul},
                                         {"__mod", string_mod},     {"__pow", string_pow},
                                         {"__div", string_div},     {"__idiv", string_idiv},
                                         {"__unm", string_unm},     {NULL, NULL}};

static const luaL_Reg demand_events[] = {
    {"__index", demand_index}, {"__newindex", demand_newindex}, {NULL, NULL}};

void rl_library_push_demand(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &demand_key);
}

/* Warnings, as luaL_newstate sets them up: off until warn("@on"). */

static void warn_off(void *L, const char *text, int more);
static void warn_on(void *L, const char *text, int more);

static bool controls(void *L, const char *text, int more) {
  if (more || text[0] != '@') return false;
  if (strcmp(text, "@off") == 0) lua_setwarnf(L, warn_off, L);
  if (strcmp(text, "@on") == 0) lua_setwarnf(L, warn_on, L);
  return true;
}

static void warn_off(void *L, const char *text, int more) {
  controls(L, text, more);
}

static void warn_continued(void *L, const char *text, int more) {
  lua_writestringerror(more ? "%s" : "%s\n", text);
  lua_setwarnf(L, more ? warn_continued : warn_on, L);
}

static void warn_on(void *L, const char *text, int more) {
  if (controls(L, text, more)) return;
  lua_writestringerror("%s", "Lua warning: ");
  warn_continued(L, text, more);
}

void rl_library_prepare(lua_State *L) {
  lua_setwarnf(L, warn_off, L);
  lua_pushliteral(L, "");
  lua_createtable(L, 0, (int)(sizeof string_events / sizeof string_events[0]) - 1);
  luaL_setfuncs(L, string_events, 0);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  luaL_setfuncs(L, demand_events, 0);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &demand_key);
  set_globals_metatable(L);
  rl_state_of(L)->lazy = true;
}

bool rl_library_push_own(lua_State *L, const char *name) {
  if (!rl_state_of(L)->lazy || (strcmp(name, "rille") != 0 && strcmp(name, "rille.core") != 0))
    return false;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, name) == LUA_TNIL) {
    lua_pushcfunction(L, luaopen_rille_core);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "rille");
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "rille.core");
    lua_remove(L, -2);
  }
  lua_remove(L, -2);
  return true;
}

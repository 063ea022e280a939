/*
** state: the record of each Lua state, and how a task's state is made: as a copy of a fresh one. The first
** is made in a slot as Lua makes them; the words in it that are addresses within the slot are noted,
** and every other one is its bytes with these words moved. A state without finalizers of its own is
** dropped as it is made, all at once.
*/
#include "lua/state.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lua/deadlock.h"
#include "lua/interrupt.h"
#include "lua/library.h"
#include "lua/member.h"
#include "lua/report.h"
#include "lua/runtime.h"
#include "lua/settings.h"
#include "lua/transfer.h"

static const char state_key = 0;
static const char module_key = 0;

void rl_nowait_begin(rl_state *S) {
  S->nowait++;
}

void rl_nowait_end(rl_state *S) {
  S->nowait--;
}

void rl_setfuncs(lua_State *L, rl_state *S, const luaL_Reg *l) {
  lua_pushlightuserdata(L, S);
  luaL_setfuncs(L, l, 1);
}

static void drop_blob(rl_blob **b) {
  if (*b) rl_blob_release(*b);
  *b = NULL;
}

static rl_blob *share_blob(rl_blob *b) {
  if (b) rl_blob_retain(b);
  return b;
}

/* What a task inherits */

static const char *package_field(lua_State *L, const char *field, size_t *len) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "package");
  if (lua_type(L, -1) == LUA_TTABLE)
    lua_getfield(L, -1, field);
  else
    lua_pushnil(L);
  lua_replace(L, -3);
  lua_pop(L, 1);
  const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, len) : NULL;
  if (!s) *len = 0;
  return s ? s : "";
}

/* Both strings stay on the Lua stack while they are compared. */
rl_blob *rl_state_paths(lua_State *L, rl_state *S) {
  size_t np, nc;
  if (S->lazy) return S->paths; /* nothing can have changed them */
  const char *path = package_field(L, "path", &np), *cpath = package_field(L, "cpath", &nc);
  rl_blob *b = S->paths;
  if (!b || b->size != np + nc + 2 || memcmp(b->data, path, np + 1) != 0 ||
      memcmp(b->data + np + 1, cpath, nc + 1) != 0) {
    char *both = lua_newuserdatauv(L, np + nc + 2, 0);
    memcpy(both, path, np + 1);
    memcpy(both + np + 1, cpath, nc + 1);
    b = rl_blob_make(both, np + nc + 2, NULL, 0);
    lua_pop(L, 1);
    if (!b) luaL_error(L, "not enough memory");
    drop_blob(&S->paths);
    S->paths = b;
  }
  lua_pop(L, 2);
  return b;
}

static bool is_standard(const char *name) {
  static const char *const names[] = {"_G",           "_VERSION", "assert",       "collectgarbage",
                                      "coroutine",    "debug",    "dofile",       "error",
                                      "getmetatable", "io",       "ipairs",       "load",
                                      "loadfile",     "math",     "next",         "os",
                                      "package",      "pairs",    "pcall",        "print",
                                      "rawequal",     "rawget",   "rawlen",       "rawset",
                                      "require",      "select",   "setmetatable", "string",
                                      "table",        "tonumber", "tostring",     "type",
                                      "utf8",         "warn",     "xpcall",       NULL};
  for (int i = 0; names[i]; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

static unsigned count_globals(lua_State *L, int globals) {
  unsigned n = 0;
  for (lua_pushnil(L); lua_next(L, globals); lua_pop(L, 1)) n++;
  return n;
}

static rl_blob *collect_globals(lua_State *L, int globals) {
  luaL_Buffer b;
  size_t len;
  lua_newtable(L); /* the names; values of the buffer must lie above what lua_next needs */
  int key = lua_gettop(L);
  lua_pushnil(L);
  unsigned n = 0;
  while (lua_next(L, globals)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING || is_standard(lua_tostring(L, -1))) continue;
    lua_pushvalue(L, -1);
    lua_rawseti(L, key, ++n);
  }
  luaL_buffinit(L, &b);
  for (unsigned i = 1; i <= n; i++) {
    lua_rawgeti(L, key, i);
    luaL_addvalue(&b);
    luaL_addchar(&b, '\0');
  }
  luaL_pushresult(&b);
  const char *s = lua_tolstring(L, -1, &len);
  rl_blob *names = len ? rl_blob_make(s, len, NULL, 0) : NULL;
  lua_settop(L, key - 1);
  return names;
}

/* The names are gathered anew only when the number of globals has changed: they serve a hint. */
rl_blob *rl_state_globals(lua_State *L, rl_state *S) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  int globals = lua_gettop(L);
  unsigned n = count_globals(L, globals);
  if (n != S->nglobals) {
    rl_blob *names = collect_globals(L, globals);
    drop_blob(&S->own_globals);
    S->own_globals = names;
    S->nglobals = n;
  }
  lua_settop(L, globals - 1);
  return S->own_globals;
}

/* Making and closing */

/* Freed states leave the allocator's arenas full of holes: after many of them, memory is given
   back when a worker has nothing better to do. */
static atomic_uint closed;
enum { TRIM_AFTER = 1000 };

static void trim(void) {
  rl_slot_trim();
#ifdef __GLIBC__
  unsigned n = atomic_load_explicit(&closed, memory_order_relaxed);
  if (n < TRIM_AFTER || !atomic_compare_exchange_strong(&closed, &n, 0)) return;
  malloc_trim(0);
#endif
}

static double keep_house(void) {
  trim();
  return rl_deadlock_look();
}

static void record_init(rl_state *S, rl_task *t, rl_program *p) {
  memset(S, 0, sizeof *S);
  S->task = t;
  S->program = p;
  S->parkable = true;
  S->hooking = true;
  S->wait = &S->own_wait;
  rl_wait_open(S->wait, t ? &t->waiter : p ? &p->waiter : NULL);
}

void rl_state_open_idle(lua_State *L, rl_state *S) {
  static const char idle_key = 0;
  S->idle = lua_newthread(L);
  rl_interrupt_made(S, S->idle);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &idle_key);
}

static void attach(lua_State *L, rl_state *S) {
  S->L = S->running = L;
  lua_pushlightuserdata(L, S);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  rl_handle_open(L);
}

rl_state *rl_state_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  rl_state *S = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (S) return S;
  S = malloc(sizeof *S); /* never freed: finalizers may still call us after the runtime's end */
  rl_program *p = S ? rl_program_make() : NULL;
  if (!p) {
    free(S);
    luaL_error(L, "not enough memory");
    return NULL;
  }
  record_init(S, NULL, p);
  p->binding = S;
  p->ending = rl_report_leaks;
  rl_sched_when_idle(keep_house);
  rl_interrupt_open();
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  attach(L, S);
  rl_state_open_idle(L, S);
  rl_names_open(L);
  S->L = S->running = main;
  rl_runtime_anchor(L, S);
  return S;
}

/* Where the sanitizers watch, each block is one of malloc's, and each state is made by Lua. */
#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifndef WATCHED
#define WATCHED 0
#endif

enum { RECORD = (sizeof(rl_state) + 15) & ~(size_t)15 }; /* a slot begins with the record */

rl_state *rl_state_make(rl_task *t, rl_blob *paths, rl_blob *globals, size_t memory_cap) {
  rl_state *S = WATCHED ? malloc(sizeof *S) : rl_slot_take();
  if (!S) return NULL;
  record_init(S, t, t->program);
  S->paths = share_blob(paths);
  S->globals = share_blob(globals);
  S->memory_cap = memory_cap;
  return S;
}

static void *resize(rl_state *S, void *ptr, size_t old, size_t size) {
  if (!WATCHED) return rl_arena_resize(&S->arena, ptr, old, size);
  if (size > 0) return realloc(ptr, size);
  free(ptr);
  return NULL;
}

static void *allocate(void *ud, void *ptr, size_t old, size_t size) {
  rl_state *S = ud;
  if (!ptr) {
    old = 0;
    if (size == 0) return NULL;
  }
  if (S->memory_cap && size > old && S->memory + (size - old) > S->memory_cap) return NULL;
  void *p = resize(S, ptr, old, size);
  if (p || size == 0) S->memory = S->memory - old + size;
  return p;
}

void rl_state_set_paths(lua_State *L, rl_state *S) {
  const char *path = (const char *)S->paths->data;
  lua_getglobal(L, "package");
  lua_pushstring(L, path);
  lua_setfield(L, -2, "path");
  lua_pushstring(L, path + strlen(path) + 1);
  lua_setfield(L, -2, "cpath");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_rille_core);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "rille");
  lua_setfield(L, -2, "rille.core");
  lua_pop(L, 2);
}

/* States made in the same second at the same address would draw the same numbers. */
void rl_state_seed_random(lua_State *L) {
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "randomseed");
  lua_pushinteger(L, (lua_Integer)((uint64_t)rl_random(UINT32_MAX) << 32 | rl_random(UINT32_MAX)));
  lua_call(L, 1, 0);
  lua_pop(L, 1);
}

static int prepare(lua_State *L) {
  rl_state *S = lua_touserdata(L, 1);
  attach(L, S);
  rl_library_prepare(L);
  lua_pushcfunction(L, rl_task_main);
  return 1;
}

static bool make(rl_state *S) {
  rl_arena_open(&S->arena, (char *)S + RECORD, (char *)S + RL_SLOT);
  lua_State *L = lua_newstate(allocate, S);
  if (!L) return false;
  S->L = L;
  lua_pushcfunction(L, prepare);
  lua_pushlightuserdata(L, S);
  return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

/* The fresh state that others are copied from. It is never run. */
static struct {
  rl_state *S; /* NULL: there is none */
  size_t size; /* of the record and the blocks */
  uint16_t *address;
  unsigned naddresses; /* offsets of words that are addresses within the slot */
} fresh;

static bool is_address(uintptr_t word) {
  return word - (uintptr_t)fresh.S < RL_SLOT;
}

static uintptr_t *word_at(rl_state *S, size_t offset) {
  return (uintptr_t *)(void *)((char *)S + offset);
}

static bool note_addresses(void) {
  fresh.address = malloc(RL_SLOT / sizeof(uintptr_t) * sizeof(uint16_t));
  if (!fresh.address) return false;
  for (size_t at = RECORD; at < fresh.size; at += sizeof(uintptr_t))
    if (is_address(*word_at(fresh.S, at))) fresh.address[fresh.naddresses++] = (uint16_t)at;
  return true;
}

static void make_fresh(void) {
  rl_state *S = WATCHED ? NULL : rl_slot_take();
  if (!S) return;
  record_init(S, NULL, NULL);
  if (!make(S)) return;
  lua_gc(S->L, LUA_GCCOLLECT);
  if (S->arena.chunks || S->arena.large) return; /* it does not fit: each is made by Lua */
  fresh.S = S;
  fresh.size = (size_t)(S->arena.at - (char *)S);
  if (!note_addresses()) fresh.S = NULL;
}

static void *moved(rl_state *S, void *p) {
  return p ? (char *)S + ((char *)p - (char *)fresh.S) : NULL;
}

static void copy_fresh(rl_state *S) {
  uintptr_t by = (uintptr_t)S - (uintptr_t)fresh.S;
  memcpy((char *)S + RECORD, (char *)fresh.S + RECORD, fresh.size - RECORD);
  for (unsigned i = 0; i < fresh.naddresses; i++) *word_at(S, fresh.address[i]) += by;
  rl_arena_open(&S->arena, moved(S, fresh.S->arena.at), (char *)S + RL_SLOT);
  for (int i = 0; i < RL_ARENA_CLASSES; i++) S->arena.freed[i] = moved(S, fresh.S->arena.freed[i]);
  S->memory = fresh.S->memory;
  S->lazy = true;
  S->L = S->running = moved(S, fresh.S->L);
}

bool rl_state_begin(rl_state *S) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_fresh);
  if (!fresh.S) return make(S);
  copy_fresh(S);
  return true;
}

/* Without finalizers but those of our handles there is nothing for Lua to do. */
static void drop_lua(rl_state *S) {
  while (S->holder.first) rl_unhold(&S->holder, S->holder.first);
}

static void close_lua(rl_state *S) {
  S->closing = true;
  if (S->has_finalizers || WATCHED)
    lua_close(S->L);
  else
    drop_lua(S);
  rl_handle_drop_late(S);
  rl_transfer_close(S->transfer);
  rl_arena_close(&S->arena);
}

void rl_state_close(rl_state *S) {
  atomic_fetch_add_explicit(&closed, 1, memory_order_relaxed);
  if (S->task) S->task->binding = NULL;
  rl_member_leave(S);
  if (S->L) close_lua(S);
  rl_wait_close(&S->own_wait);
  drop_blob(&S->paths);
  drop_blob(&S->globals);
  drop_blob(&S->own_globals);
  if (WATCHED)
    free(S);
  else
    rl_slot_give(S);
}

void rl_state_discard(void *S) {
  rl_state_close(S);
}

/* The module */

/* A view that may not send has the methods for it all the same: they say so. */
const luaL_Reg *const rl_handle_methods[RL_H_TYPES][2] = {
    [RL_H_CHAN] = {rl_chan_receiving, rl_chan_sending},
    [RL_H_RECEIVER] = {rl_chan_receiving, rl_chan_sending},
    [RL_H_SENDER] = {rl_chan_receiving, rl_chan_sending},
    [RL_H_TIMER] = {rl_chan_receiving, rl_timer_methods},
    [RL_H_DONE] = {rl_done_methods},
    [RL_H_CANCEL] = {rl_cancel_methods},
    [RL_H_TASK] = {rl_task_methods},
    [RL_H_STOP] = {rl_stop_methods},
    [RL_H_MUTEX] = {rl_mutex_methods},
    [RL_H_RWMUTEX] = {rl_rwmutex_methods},
    [RL_H_SEMAPHORE] = {rl_semaphore_methods},
    [RL_H_WAITGROUP] = {rl_waitgroup_methods},
    [RL_H_COND] = {rl_cond_methods},
    [RL_H_BARRIER] = {rl_barrier_methods},
    [RL_H_COUNTER] = {rl_counter_methods},
    [RL_H_ONCE] = {rl_once_methods}};

bool rl_state_is_module(lua_State *L, int idx) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key);
  bool is = lua_rawequal(L, idx, -1);
  lua_pop(L, 1);
  return is;
}

int luaopen_rille_core(lua_State *L) {
  rl_settings_take(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) == LUA_TTABLE) return 1;
  rl_state *S = rl_state_of(L);
  lua_newtable(L);
  rl_open_chan(L, S);
  rl_open_select(L, S);
  rl_open_done(L, S);
  rl_open_task(L, S);
  rl_open_member(L, S);
  rl_open_leak(L, S);
  rl_open_time(L, S);
  rl_open_notify(L, S);
  rl_open_promise(L, S);
  rl_open_log(L, S);
  rl_open_runtime(L, S);
  rl_open_testing(L, S);
  rl_open_cell(L);
  rl_open_parts(L, S);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 1;
}

/*
** handle: the userdata that stand for core objects in a Lua state. Within one state an object (with
** the same rights) is always the same userdata, so `==` and table keys work; the cache that
** sees to it is weak.
*/
#ifndef RL_HANDLE_H
#define RL_HANDLE_H

#include "core/gate.h"

#include <lauxlib.h>
#include <lua.h>

typedef struct rl_state rl_state;
typedef struct rl_late rl_late;

typedef enum {
  RL_H_CHAN,
  RL_H_RECEIVER,
  RL_H_SENDER,
  RL_H_TIMER,
  RL_H_DONE,
  RL_H_CANCEL,
  RL_H_TASK,
  RL_H_STOP,
  RL_H_MUTEX, /* those of gates, in the order of rl_gate_type */
  RL_H_RWMUTEX,
  RL_H_SEMAPHORE,
  RL_H_WAITGROUP,
  RL_H_COND,
  RL_H_BARRIER,
  RL_H_COUNTER,
  RL_H_ONCE,
  RL_H_TYPES
} rl_handle_type;

/* How an object of a gate's type is handled. */
static inline rl_handle_type rl_gate_handle(const rl_gate *g) {
  return (rl_handle_type)(RL_H_MUTEX + g->type);
}

typedef struct rl_handle {
  rl_edge edge;     /* edge.ref.to is NULL on an empty handle; edge.ref.type is an rl_handle_type */
  const void *mark; /* says that this is one of ours: cheaper to look at than the metatable */
  rl_state *state;  /* that it belongs to; immutable once filled */
} rl_handle;

extern const char rl_handle_mark;

/* The handle at `idx`, or NULL when there stands something else. Raises nothing. A light userdata has
   no length; a foreign userdata of the same size lacks the mark. */
static inline rl_handle *rl_handle_test(lua_State *L, int idx) {
  rl_handle *h = (rl_handle *)lua_touserdata(L, idx);
  return h && lua_rawlen(L, idx) == sizeof *h && h->mark == &rl_handle_mark ? h : NULL;
}

static inline rl_handle_type rl_handle_type_of(const rl_handle *h) {
  return (rl_handle_type)h->edge.ref.type;
}

/* Pushes the handle of `o` (borrowed; the handle takes a count of its own). May raise out of memory. */
void rl_handle_push(lua_State *L, rl_state *S, rl_object *o, uint8_t rights);

/* For a new object: pushes an empty handle, which is then filled; `fill` takes the caller's count, so
   nothing is lost when memory runs out in between. */
rl_handle *rl_handle_new(lua_State *L, rl_handle_type type);
void rl_handle_fill(lua_State *L, rl_state *S, rl_handle *h, rl_object *o, uint8_t rights);

/* The handle at `idx` if it is of that type, else NULL. */
rl_handle *rl_handle_as(lua_State *L, int idx, rl_handle_type type);
/* Its object, raising "<what> expected, got ..." and on a program that has ended. `S` (may be NULL)
   gets its state. */
rl_object *rl_handle_check(lua_State *L, rl_state **S, int idx, rl_handle_type type);
void rl_handle_alive(lua_State *L, rl_state *S);
const char *rl_handle_name(rl_handle_type type);

/* The methods and metamethods of each type, in up to two lists. They find the state in the handle. A state
   makes a type's metatable when it gets the first handle of that type. */
extern const luaL_Reg *const rl_handle_methods[RL_H_TYPES][2];
bool rl_handle_has_method(lua_CFunction f);
/* For methods that come on demand: __index of the table of methods at 1, for the string at 2. */
int rl_handle_method(lua_State *L);
/* From now on all methods are there. */
void rl_handle_open_methods(lua_State *L);

/* What finalizers make while a task's state is being closed will not be finalized: what it holds is in a list,
   which is dropped afterwards. Takes `m`; raises out of memory. */
void rl_handle_hold_late(lua_State *L, rl_state *S, rl_msg *m);
void rl_handle_drop_late(rl_state *S);
/* Makes `e`, of a userdata that ends it when it is finalized, an edge of the state; takes a count of `o`. */
void rl_handle_hold_edge(lua_State *L, rl_state *S, rl_edge *e, rl_object *o, uint8_t rights);
/* Ends it, as its userdata is finalized. In a forked child it stays: a lock that this came to may be held by a thread
   that is not there. */
void rl_handle_end_edge(rl_state *S, rl_edge *e);

/* For modules of Lua: empties the handle at 1 as its finalizer does, without waiting for the garbage collector. */
int rl_handle_forget(lua_State *L);

/* Prepares a state for handles. */
void rl_handle_open(lua_State *L);

/* Raises that `what` is expected at `idx`, and names what is there. */
int rl_type_error(lua_State *L, int idx, const char *what);

#endif

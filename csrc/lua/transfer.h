/*
** transfer: Lua values to messages and back. Encoding happens before any lock is taken and raises
** before anything was sent; decoding happens after the message was received.
*/
#ifndef RL_TRANSFER_H
#define RL_TRANSFER_H

#include "core/msg.h"
#include "lua/handle.h"

typedef struct rl_transfer rl_transfer; /* what a state keeps for it */

/* Encodes the value at `idx` into the empty message `out`. Raises, with `out` still empty and
   nothing held, when it cannot cross: "cannot send coroutine at value.jobs[3].co"; `root` is how
   the path starts: "value", "cause", "error", "values", "reason". */
void rl_encode(lua_State *L, rl_state *S, int idx, const char *root, rl_msg *out);

/* The same for an integer, the commonest of values; false when there stands something else. */
static inline bool rl_encode_integer(lua_State *L, int idx, rl_msg *out) {
  if (!lua_isinteger(L, idx)) return false;
  out->u.i = lua_tointegerx(L, idx, NULL);
  out->tag = RL_MSG_INTEGER;
  return true;
}

/* Decodes an integer; false when `m` is no such message. */
static inline bool rl_decode_integer(lua_State *L, const rl_msg *m) {
  if (m->tag == RL_MSG_INTEGER) lua_pushinteger(L, m->u.i);
  return m->tag == RL_MSG_INTEGER;
}

/* Encodes the `n` values from `first` on as one message. The paths start with "result 1" and so on. The first
   function does what takes no memory, so it raises nothing; false: the second one has to. */
bool rl_encode_small_results(lua_State *L, int first, int n, rl_msg *out);
void rl_encode_results(lua_State *L, rl_state *S, int first, int n, rl_msg *out);

/* Encodes a function (or module name) at `first` and the n-1 arguments behind it, as one message. The
   paths start with "upvalue 'name'" for the function's upvalues, "argument 2" for the arguments. */
void rl_encode_call(lua_State *L, rl_state *S, int first, int n, rl_msg *out);

/* A field of a table that C makes; `key` and strings are borrowed, integers small. */
typedef struct rl_field {
  const char *key;
  enum { RL_FIELD_STRING, RL_FIELD_INTEGER, RL_FIELD_NUMBER } type;
  union {
    const char *s;
    uint64_t i;
    double n;
  } u;
} rl_field;

/* Encodes a table with `n` such fields, without a Lua state. False: out of memory. */
bool rl_encode_record(const rl_field *f, unsigned n, rl_msg *out);

/* Pushes what `m` holds and returns how many values that is; `m` stays as it is. May raise (out of
   memory, a `require` or a rebuilding function that fails). */
int rl_decode(lua_State *L, rl_state *S, const rl_msg *m);

/* Frees what a task's state has kept, after its end; `T` may be NULL. */
void rl_transfer_close(rl_transfer *T);
/* Notes the state's `require`, for modules that go by name. */
void rl_names_open(lua_State *L);

#endif

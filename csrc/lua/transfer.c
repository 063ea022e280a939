/*
** transfer: the entrance. Scalars, short strings and single handles lie in the message itself; all
** else is encoded under lua_pcall, so that whatever raises finds the encoder's C memory and
** counts released before the error goes on.
*/
/***
What crosses to another task.
Everything that is sent, passed to `go`, captured as an upvalue, returned, raised, or given as cause or values, crosses
from one Lua state to another as a message. Each message is complete before it is sent: what cannot
cross raises at the sender, and nothing was sent.

- **Booleans, integers, floats, strings, light userdata** cross as they are.
- **Tables** are copied, cycles and shared parts kept, read and written raw.
- **Rille's own handles** cross by reference.
- **Lua functions** cross by code and upvalues: two closures that share an upvalue still share it on the
other side, and within one message a function stays one function. The sender's globals as `_ENV` become
the destination's; another `_ENV` is a table like any other. Globals stay behind: a task that fails on a nil
global which its starter has gets a note in its error that says so.
- **Modules** go by name: a table or C function that the sender's `package.loaded` knows is
`require`d on the other side, so a closure can use `local http = require "socket.http"` from outside
it. `package.path` and `package.cpath` go along.
- **Classes** keep their identity. A metatable that a loaded module holds goes by name. Another
class (a metatable in the message, or a table that has `__index`, `__name` or another metamethod) is encoded when it is
first sent and decoded once for each state: `getmetatable(a) == getmetatable(b)` stays true, and it maps back to
the original at home. Later changes to it stay where they are made. A metatable with `__gc`
does not cross, for it would finalize twice, unless it has `__transfer`.
- **A userdata or table whose metatable has `__transfer`** says itself how it crosses: `__transfer(value)` gives a
function and its arguments, which rebuild it over there, once for each message. Neither may wait.
- **Anything else** (coroutines, open files, foreign userdata) raises and names the path:
`cannot send coroutine at value.jobs[3].co`.

A path starts with `value`, `argument 2` (of the function), `upvalue 'name'`, `result 1`, `error`, `cause` or `values`, and
goes on with `.key`, `["odd key"]`, `[3]`, `[true]`, `[<table>]`, `<metatable>`, `<upvalue 'name'>`.

The bytes of a message are described in [the transfer format](../transfer-format.md).
@module transfer
*/

#include "lua/transfer_impl.h"

#include "core/lock.h"
#include "lua/state.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { /* inline contents */
       IN_INT = RL_MSG_INTEGER,
       IN_VOID, /* no values at all */
       IN_NIL,
       IN_FALSE,
       IN_TRUE,
       IN_FLOAT,
       IN_POINTER,
       IN_STRING /* of `len` bytes */
};

enum { IDLE_ROOM = 1 << 20 }; /* an idle encoder keeps no larger buffer */
enum { CHARGE = 64 << 10 };   /* bytes of messages that the collector is told of at once */

static const char state_key = 0;
const char rl_root_result[] = "result", rl_root_call[] = "argument";

static void drop(transfer *T);

static int transfer_gc(lua_State *L) {
  drop(*(transfer **)lua_touserdata(L, 1));
  return 0;
}

/* The record of a main program is never freed, so it has a finalizer here. That of a task outlives its state: a
   finalizer may be what encodes first, or last. */
static void set_finalizer(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, transfer_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
}

transfer *rl_transfer_push(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key) == LUA_TUSERDATA)
    return *(transfer **)lua_touserdata(L, -1);
  lua_pop(L, 1);
  rl_state *S = rl_state_of(L);
  transfer **T = lua_newuserdatauv(L, sizeof *T, UV_COUNT);
  if (!S->transfer && !(S->transfer = calloc(1, sizeof **T))) luaL_error(L, "not enough memory");
  *T = S->transfer;
  if (!S->task) set_finalizer(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  return *T;
}

/* encoders */

void *rl_transfer_grow(lua_State *L, void *array, size_t size, uint32_t *room) {
  uint32_t more = *room ? *room * 2 : 16;
  void *grown = more > *room ? realloc(array, more * size) : NULL;
  if (!grown) luaL_error(L, "not enough memory");
  *room = more;
  return grown;
}

static void encoder_free(encoder *e) {
  free(e->buf);
  free(e->ref);
  free(e->off);
  free(e->memo.entry);
  free(e->memo.slot);
  free(e);
}

encoder *rl_encoder_begin(lua_State *L, rl_state *S, transfer *T) {
  encoder *e = T->idle;
  if (e) {
    T->idle = e->below;
  } else if ((e = calloc(1, sizeof *e)) == NULL) {
    luaL_error(L, "not enough memory");
    return NULL;
  }
  e->below = T->active;
  T->active = e;
  e->L = L;
  e->S = S;
  e->T = T;
  e->unit = e->checked = false;
  e->nclasses = e->nanchored = e->nid = e->nkept = e->later = e->nref = e->noff = 0;
  e->len = 0;
  e->memo.n = 0;
  if (++e->memo.turn == 0 && e->memo.slot) memset(e->memo.slot, 0, e->memo.nslots * sizeof(slot));
  if (e->memo.turn == 0) e->memo.turn = 1;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  e->globals = lua_topointer(L, -1);
  lua_pop(L, 1);
  return e;
}

void rl_encoder_end(transfer *T) {
  encoder *e = T->active;
  T->active = e->below;
  for (uint32_t i = 0; i < e->nref; i++) rl_release_as(e->ref[i].to, e->ref[i].rights);
  e->nref = 0;
  if (T->closed || e->room > IDLE_ROOM || e->memo.room > IDLE_ROOM / sizeof(entry)) {
    encoder_free(e);
    return;
  }
  e->below = T->idle;
  T->idle = e;
}

rl_blob *rl_encoder_blob(encoder *e) {
  rl_blob *b = rl_blob_make(e->buf, e->len, e->ref, e->nref);
  if (!b) luaL_error(e->L, "not enough memory");
  e->ref = NULL;
  e->nref = e->ref_room = 0;
  return b;
}

/* encoding */

static bool encode_string(lua_State *L, int idx, rl_msg *out) {
  size_t len;
  const char *s = lua_tolstring(L, idx, &len);
  if (len <= RL_MSG_ROOM) {
    memcpy(out->u.s, s, len);
    out->tag = IN_STRING;
    out->len = (uint8_t)len;
    return true;
  }
  out->u.blob = rl_blob_make(s, len, NULL, 0);
  if (!out->u.blob) luaL_error(L, "not enough memory");
  out->tag = RL_MSG_BLOB;
  out->len = ONE_STRING;
  return true;
}

static bool encode_number(lua_State *L, int idx, rl_msg *out) {
  if (rl_encode_integer(L, idx, out)) return true;
  out->u.n = lua_tonumber(L, idx);
  out->tag = IN_FLOAT;
  return true;
}

static bool encode_handle(lua_State *L, int idx, rl_msg *out) {
  rl_handle *h = rl_handle_test(L, idx);
  if (!h || !h->edge.ref.to) return false;
  rl_retain_as(h->edge.ref.to, h->edge.ref.rights);
  out->u.ref = h->edge.ref;
  out->tag = RL_MSG_REF;
  return true;
}

/* What needs no encoder; false for anything else. */
static bool encode_inline(lua_State *L, int idx, rl_msg *out) {
  switch (lua_type(L, idx)) {
  case LUA_TNIL: out->tag = IN_NIL; return true;
  case LUA_TBOOLEAN: out->tag = lua_toboolean(L, idx) ? IN_TRUE : IN_FALSE; return true;
  case LUA_TNUMBER: return encode_number(L, idx, out);
  case LUA_TSTRING: return encode_string(L, idx, out);
  case LUA_TUSERDATA: return encode_handle(L, idx, out);
  case LUA_TLIGHTUSERDATA:
    out->u.p = lua_touserdata(L, idx);
    out->tag = IN_POINTER;
    return true;
  default: return false;
  }
}

/* The collector sees a handle, not the messages that its object may hold: it works as if what was encoded
   had been allocated in the state, so that garbage does not pile up behind small handles. */
static void charge(lua_State *L, rl_state *S, const rl_msg *m) {
  if (m->tag != RL_MSG_BLOB) return;
  S->encoded += m->u.blob->size;
  if (S->encoded < CHARGE) return;
  size_t kib = S->encoded >> 10;
  S->encoded = 0;
  if (lua_gc(L, LUA_GCISRUNNING) == 1) lua_gc(L, LUA_GCSTEP, kib < INT_MAX ? (int)kib : INT_MAX);
}

typedef struct job {
  rl_state *S;
  transfer *T;
  const char *root;
  uint32_t n;
  rl_blob *blob;
} job;

/* Stack: the job, the transfer userdata, the values. */
static int encode_protected(lua_State *L) {
  job *j = lua_touserdata(L, 1);
  encoder *e = rl_encoder_begin(L, j->S, j->T);
  e->tidx = 2;
  e->first = 3;
  e->root = j->root;
  lua_pushnil(L);
  e->anchor = lua_gettop(L);
  rl_encoder_run(e, j->n);
  j->blob = rl_encoder_blob(e);
  rl_encoder_end(j->T);
  return 0;
}

/* The error message on top gets the place in the Lua code that wanted to send. */
static void add_place(lua_State *L) {
  luaL_where(L, 1);
  lua_insert(L, -2);
  lua_concat(L, 2);
}

static void encode_values(lua_State *L, rl_state *S, int first, int n, const char *root,
                          rl_msg *out) {
  luaL_checkstack(L, n + 8, "too many values");
  lua_pushcfunction(L, encode_protected);
  job j = {S, NULL, root, (uint32_t)n, NULL};
  lua_pushlightuserdata(L, &j);
  transfer *T = j.T = rl_transfer_push(L);
  for (int i = 0; i < n; i++) lua_pushvalue(L, first + i);
  encoder *before = T->active;
  int failed = lua_pcall(L, n + 2, 0, 0);
  while (T->active != before) rl_encoder_end(T);
  if (failed) {
    if (T->refused) add_place(L);
    T->refused = false;
    lua_error(L);
  }
  out->u.blob = j.blob;
  out->tag = RL_MSG_BLOB;
  out->len = ENCODED;
}

void rl_encode(lua_State *L, rl_state *S, int idx, const char *root, rl_msg *out) {
  if (!encode_inline(L, idx, out)) encode_values(L, S, lua_absindex(L, idx), 1, root, out);
  charge(L, S, out);
}

bool rl_encode_small_results(lua_State *L, int first, int n, rl_msg *out) {
  if (n == 0) {
    out->tag = IN_VOID;
    return true;
  }
  bool small = lua_type(L, first) != LUA_TSTRING || lua_rawlen(L, first) <= RL_MSG_ROOM;
  return n == 1 && small && encode_inline(L, first, out);
}

void rl_encode_results(lua_State *L, rl_state *S, int first, int n, rl_msg *out) {
  if (n != 1 || !encode_inline(L, first, out))
    encode_values(L, S, lua_absindex(L, first), n, rl_root_result, out);
}

void rl_encode_call(lua_State *L, rl_state *S, int first, int n, rl_msg *out) {
  encode_values(L, S, lua_absindex(L, first), n, rl_root_call, out);
}

/* decoding */

static int decode_blob(lua_State *L, rl_state *S, const rl_msg *m) {
  const rl_blob *b = m->u.blob;
  if (m->len == ENCODED) return rl_decode_blob(L, S, b, 0);
  lua_pushlstring(L, (const char *)b->data, b->size);
  return 1;
}

int rl_decode(lua_State *L, rl_state *S, const rl_msg *m) {
  if (m->tag < RL_MSG_INLINE) luaL_checkstack(L, 8, "too many values");
  switch (m->tag) {
  case RL_MSG_NONE:
  case IN_VOID: return 0;
  case RL_MSG_BLOB: return decode_blob(L, S, m);
  case RL_MSG_REF: rl_handle_push(L, S, m->u.ref.to, m->u.ref.rights); return 1;
  case IN_NIL: lua_pushnil(L); return 1;
  case IN_FALSE: lua_pushboolean(L, 0); return 1;
  case IN_TRUE: lua_pushboolean(L, 1); return 1;
  case IN_INT: lua_pushinteger(L, m->u.i); return 1;
  case IN_FLOAT: lua_pushnumber(L, m->u.n); return 1;
  case IN_POINTER: lua_pushlightuserdata(L, m->u.p); return 1;
  case IN_STRING: lua_pushlstring(L, m->u.s, m->len); return 1;
  default: rl_broken(__FILE__, __LINE__, "a message of no kind");
  }
}

/* the state's part */

static void drop(transfer *T) {
  T->closed = true;
  for (encoder *e; (e = T->idle) != NULL;) {
    T->idle = e->below;
    encoder_free(e);
  }
  free(T->notable);
  T->notable = NULL;
  T->nnotable = T->notable_room = 0;
}

void rl_transfer_close(transfer *T) {
  if (!T) return;
  drop(T);
  free(T);
}

void rl_transfer_table(lua_State *L, int tidx, int uv) {
  if (lua_getiuservalue(L, tidx, uv) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, uv == UV_UNITS || uv == UV_RECENT ? "v" : "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, tidx, uv);
}

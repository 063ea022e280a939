/*
** transfer_decode: the reading side, the encoder's mirror. It owns no C memory, so an error may leave
** it anywhere. The bytes come from this process and are trusted; what asserts would be our fault.
*/
#include "lua/transfer_impl.h"

#include "core/lock.h"
#include "lua/state.h"

#include <string.h>

typedef struct decoder {
  lua_State *L;
  rl_state *S;
  const rl_blob *b;
  const unsigned char *p;
  int kept;    /* stack index of a table: number -> what is referred to later */
  int off;     /* stack index of an array: what has its body put off */
  int classes; /* stack index of an array for the classes of a unit, or 0 */
  lua_Integer nid, noff, nclasses;
} decoder;

static uint64_t get_varint(decoder *d) {
  uint64_t n = *d->p & 0x7f;
  for (int shift = 7; *d->p++ & 0x80; shift += 7) n |= (uint64_t)(*d->p & 0x7f) << shift;
  return n;
}

static const void *get_bytes(decoder *d, size_t len) {
  const void *p = d->p;
  d->p += len;
  return p;
}

static void get_value(decoder *d);

/* What is on top has the number `id`. */
static void keep(decoder *d, int tag, lua_Integer id) {
  if (!(tag & KEEP)) return;
  lua_pushvalue(d->L, -1);
  lua_rawseti(d->L, d->kept, id);
}

static void get_int(decoder *d) {
  uint64_t n = get_varint(d);
  lua_pushinteger(d->L, (lua_Integer)(n >> 1 ^ (0 - (n & 1))));
}

/* The integers that the array at `idx` begins with; how many. */
static lua_Integer get_integers(decoder *d, int idx) {
  d->p++;
  lua_Integer n = (lua_Integer)get_varint(d);
  for (lua_Integer i = 1; i <= n; i++) {
    get_int(d);
    lua_rawseti(d->L, idx, i);
  }
  return n;
}

static void get_float(decoder *d) {
  double n;
  memcpy(&n, get_bytes(d, sizeof n), sizeof n);
  lua_pushnumber(d->L, n);
}

static void get_pointer(decoder *d) {
  void *p;
  memcpy(&p, get_bytes(d, sizeof p), sizeof p);
  lua_pushlightuserdata(d->L, p);
}

static void get_string(decoder *d) {
  size_t len = get_varint(d);
  lua_pushlstring(d->L, get_bytes(d, len), len);
}

static void get_name(decoder *d) {
  size_t len = get_varint(d);
  rl_name_resolve(d->L, get_bytes(d, len), len);
}

static void get_handle(decoder *d) {
  rl_ref r = d->b->ref[get_varint(d)];
  rl_handle_push(d->L, d->S, r.to, r.rights);
}

static void get_class(decoder *d) {
  rl_object *o = d->b->ref[get_varint(d)].to;
  rl_unit_push(d->L, d->S, (rl_unit *)o, (uint32_t)get_varint(d));
}

/* bodies: the object is on top */

static void put_off_body(decoder *d) {
  lua_pushvalue(d->L, -1);
  lua_rawseti(d->L, d->off, ++d->noff);
}

static void get_table_body(decoder *d, lua_Integer narr) {
  lua_State *L = d->L;
  luaL_checkstack(L, 12, "too deep");
  int idx = lua_gettop(L);
  lua_Integer integers = *d->p == T_INTS ? get_integers(d, idx) : 0;
  for (lua_Integer i = integers + 1; i <= narr; i++) {
    get_value(d);
    lua_rawseti(L, idx, i);
  }
  while (*d->p != T_END) {
    get_value(d);
    get_value(d);
    lua_rawset(L, idx);
  }
  d->p++;
  if (*d->p == T_NIL) {
    d->p++;
    return;
  }
  get_value(d); /* one that goes by name is what the module here makes of it */
  if (!lua_istable(L, -1))
    luaL_error(L, "the metatable of a value is a %s here (its module differs)",
               luaL_typename(L, -1));
  lua_setmetatable(L, idx);
}

static void get_cell(decoder *d, int n) {
  d->p++;
  lua_rawgeti(d->L, d->kept, (lua_Integer)get_varint(d));
  lua_upvaluejoin(d->L, -2, n, -1, (int)get_varint(d));
  lua_pop(d->L, 1);
}

/* Sets every upvalue: lua_load had put the globals into the first. */
static void get_upvalues(decoder *d) {
  luaL_checkstack(d->L, 12, "too deep");
  for (int n = 1; *d->p != T_END; n++) {
    if (*d->p == T_CELL) {
      get_cell(d, n);
    } else {
      get_value(d);
      lua_setupvalue(d->L, -2, n);
    }
  }
  d->p++;
}

/* Reads the bodies that were put off since there were `mark` of them. */
static void get_bodies(decoder *d, lua_Integer mark) {
  while (d->noff > mark) {
    lua_rawgeti(d->L, d->off, d->noff--);
    if (lua_isfunction(d->L, -1))
      get_upvalues(d);
    else
      get_table_body(d, (lua_Integer)get_varint(d));
    lua_pop(d->L, 1);
  }
}

/* objects */

static void get_table(decoder *d, int tag, lua_Integer id) {
  uint64_t narr = get_varint(d), nhash = get_varint(d);
  lua_createtable(d->L, (int)narr, (int)nhash);
  keep(d, tag, id);
  if (tag & IS_CLASS) {
    lua_pushvalue(d->L, -1);
    lua_rawseti(d->L, d->classes, ++d->nclasses);
  }
  if (tag & LATER)
    put_off_body(d);
  else
    get_table_body(d, (lua_Integer)narr);
}

typedef struct code {
  const char *p;
  size_t len;
} code;

static void get_method(decoder *d) {
  lua_CFunction f;
  memcpy(&f, get_bytes(d, sizeof f), sizeof f);
  lua_pushcfunction(d->L, f);
}

static const char *read_code(lua_State *L, void *ud, size_t *len) {
  (void)L;
  code *c = ud;
  *len = c->len;
  c->len = 0;
  return *len ? c->p : NULL;
}

static void get_function(decoder *d, int tag, lua_Integer id) {
  uint32_t len;
  memcpy(&len, get_bytes(d, sizeof len), sizeof len);
  code c = {get_bytes(d, len), len};
  if (lua_load(d->L, read_code, &c, "=rille", "b") != LUA_OK) lua_error(d->L);
  keep(d, tag, id);
  if (tag & LATER)
    put_off_body(d);
  else
    get_upvalues(d);
}

static void get_rebuild(decoder *d, int tag, lua_Integer id) {
  lua_State *L = d->L;
  int nargs = (int)get_varint(d);
  lua_Integer mark = d->noff;
  luaL_checkstack(L, nargs + 12, "too many arguments to rebuild an object");
  for (int i = 0; i <= nargs; i++) get_value(d);
  get_bodies(d, mark);
  rl_nowait_begin(d->S);
  int failed = lua_pcall(L, nargs, 1, 0);
  rl_nowait_end(d->S);
  if (failed) lua_error(L);
  keep(d, tag, id);
}

static void get_numbered(decoder *d, int tag) {
  lua_Integer id = d->nid++;
  switch (tag & T_KIND) {
  case T_TABLE: get_table(d, tag, id); return;
  case T_FUNCTION: get_function(d, tag, id); return;
  case T_REBUILD: get_rebuild(d, tag, id); return;
  case T_STRING: get_string(d); break;
  case T_NAME: get_name(d); break;
  case T_HANDLE: get_handle(d); break;
  case T_CLASS: get_class(d); break;
  default: rl_broken(__FILE__, __LINE__, "a message with an unknown tag");
  }
  keep(d, tag, id);
}

/* Pushes the next value. */
static void get_value(decoder *d) {
  int tag = *d->p++;
  switch (tag) {
  case T_NIL: lua_pushnil(d->L); break;
  case T_FALSE: lua_pushboolean(d->L, 0); break;
  case T_TRUE: lua_pushboolean(d->L, 1); break;
  case T_INT: get_int(d); break;
  case T_FLOAT: get_float(d); break;
  case T_POINTER: get_pointer(d); break;
  case T_METHOD: get_method(d); break;
  case T_SEEN: lua_rawgeti(d->L, d->kept, (lua_Integer)get_varint(d)); break;
  case T_GLOBALS: lua_rawgeti(d->L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS); break;
  default: get_numbered(d, tag);
  }
}

/* Two slots below the values: a table, or nil where none is needed. */
static void push_tables(decoder *d, const header *h) {
  if (h->nkept)
    lua_createtable(d->L, 0, (int)h->nkept);
  else
    lua_pushnil(d->L);
  d->kept = lua_gettop(d->L);
  if (h->later)
    lua_newtable(d->L);
  else
    lua_pushnil(d->L);
  d->off = lua_gettop(d->L);
}

int rl_decode_blob(lua_State *L, rl_state *S, const rl_blob *b, int classes) {
  header h;
  memcpy(&h, b->data, sizeof h);
  decoder d = {L, S, b, b->data + sizeof h, 0, 0, classes, 0, 0, 0};
  luaL_checkstack(L, (int)h.nvalues + 12, "too many values");
  push_tables(&d, &h);
  for (uint32_t i = 0; i < h.nvalues; i++) get_value(&d);
  get_bodies(&d, 0);
  rl_assert(d.p == b->data + b->size, "a message not read to its end");
  lua_remove(L, d.off);
  lua_remove(L, d.kept);
  return (int)h.nvalues;
}

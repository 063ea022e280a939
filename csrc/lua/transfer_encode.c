/*
** transfer_encode: the writing side. It touches tables raw and calls nothing of the user's but
** `__transfer`. Bodies nest up to DEEP levels of C calls; below that they are put off to a list, so a
** linked list of any length crosses.
*/
#include "lua/transfer_impl.h"

#include "lua/library.h"

#include <stdlib.h>
#include <string.h>

/* the buffer */

static void make_room(encoder *e, size_t len) {
  size_t room = e->room ? e->room : 256;
  while (room - e->len < len && room <= SIZE_MAX / 2) room *= 2;
  unsigned char *grown = room - e->len < len ? NULL : realloc(e->buf, room);
  if (!grown) luaL_error(e->L, "not enough memory");
  e->buf = grown;
  e->room = room;
}

/* The next `len` bytes, to be filled at once. */
static unsigned char *claim(encoder *e, size_t len) {
  if (e->room - e->len < len) make_room(e, len);
  unsigned char *p = e->buf + e->len;
  e->len += len;
  return p;
}

void rl_encoder_write(encoder *e, const void *data, size_t len) {
  if (len) memcpy(claim(e, len), data, len);
}

static void put_tag(encoder *e, int tag) {
  *claim(e, 1) = (unsigned char)tag;
}

static unsigned char *write_varint(unsigned char *p, uint64_t n) {
  for (; n > 0x7f; n >>= 7) *p++ = (unsigned char)(n | 0x80);
  *p++ = (unsigned char)n;
  return p;
}

static void put_varint(encoder *e, uint64_t n) {
  unsigned char *from = claim(e, 10);
  e->len -= 10 - (size_t)(write_varint(from, n) - from);
}

static void put_tagged(encoder *e, int tag, uint64_t n) {
  unsigned char *from = claim(e, 11);
  *from = (unsigned char)tag;
  e->len -= 11 - (size_t)(write_varint(from + 1, n) - from);
}

/* the memo */

static slot *probe(const memo *m, const void *key) {
  uint64_t h = ((uint64_t)(uintptr_t)key >> 3) * UINT64_C(0x9e3779b97f4a7c15);
  uint32_t i = (uint32_t)(h >> 32) & (m->nslots - 1);
  while (m->slot[i].turn == m->turn && m->entry[m->slot[i].index].key != key)
    i = (i + 1) & (m->nslots - 1);
  return &m->slot[i];
}

static entry *find(encoder *e, const void *key) {
  memo *m = &e->memo;
  if (m->n == 0) return NULL;
  slot *s = probe(m, key);
  return s->turn == m->turn ? &m->entry[s->index] : NULL;
}

static void fill(memo *m, uint32_t index) {
  slot *s = probe(m, m->entry[index].key);
  s->turn = m->turn;
  s->index = index;
}

static void more_slots(encoder *e) {
  memo *m = &e->memo;
  uint32_t nslots = m->nslots ? m->nslots * 2 : 64;
  slot *s = calloc(nslots, sizeof *s);
  if (!s) luaL_error(e->L, "not enough memory");
  free(m->slot);
  m->slot = s;
  m->nslots = nslots;
  for (uint32_t i = 0; i < m->n; i++) fill(m, i);
}

static uint32_t add(encoder *e, const void *key, size_t at, uint32_t id, uint32_t parent) {
  memo *m = &e->memo;
  if (m->n == m->room) m->entry = rl_transfer_grow(e->L, m->entry, sizeof(entry), &m->room);
  if (m->n >= m->nslots / 2) more_slots(e);
  m->entry[m->n] = (entry){key, at, id, parent};
  fill(m, m->n);
  return m->n++;
}

/* Writes a numbered head and remembers it. */
static uint32_t put_head(encoder *e, int tag, const void *key, uint32_t parent) {
  uint32_t index = add(e, key, e->len, e->nid, parent);
  e->nid++;
  put_tag(e, tag);
  return index;
}

static void keep(encoder *e, size_t at) {
  if (e->buf[at] & KEEP) return;
  e->buf[at] |= KEEP;
  e->nkept++;
}

/* refusing */

static void refuse_as(encoder *e, const char *word, const void *p, uint32_t parent) {
  lua_pushstring(e->L, word);
  rl_path_push(e, p, parent);
  lua_pushfstring(e->L, "cannot send %s at %s", lua_tostring(e->L, -2), lua_tostring(e->L, -1));
  e->T->refused = true;
  lua_error(e->L);
}

static const char *name_of_userdata(lua_State *L, int idx) {
  if (!lua_getmetatable(L, idx)) return "userdata";
  lua_pushliteral(L, "__name");
  if (lua_rawget(L, -2) != LUA_TSTRING) return "userdata";
  return lua_pushfstring(L, "userdata (%s)", lua_tostring(L, -1));
}

/* For the value at `idx`, which is not on top of what must remain. */
static void refuse(encoder *e, int idx, uint32_t parent) {
  lua_State *L = e->L;
  luaL_checkstack(L, 8, NULL);
  const char *word = luaL_typename(L, idx);
  if (lua_isthread(L, idx)) word = "coroutine";
  if (lua_isfunction(L, idx)) word = "C function";
  if (lua_type(L, idx) == LUA_TUSERDATA) word = name_of_userdata(L, idx);
  refuse_as(e, word, lua_topointer(L, idx), parent);
}

/* Something met before is only referred to. */
static bool put_seen(encoder *e, const void *p, uint32_t parent) {
  entry *m = find(e, p);
  if (!m) return false;
  if (m->at == OPEN) refuse_as(e, "what its own __transfer gives", p, parent);
  keep(e, m->at);
  put_tagged(e, T_SEEN, m->id);
  return true;
}

/* values without parts */

static void put_string(encoder *e, int idx, uint32_t parent) {
  size_t len;
  const char *s = lua_tolstring(e->L, idx, &len);
  if (put_seen(e, s, parent)) return;
  put_head(e, T_STRING, s, parent);
  put_varint(e, len);
  rl_encoder_write(e, s, len);
}

static uint64_t zigzag(lua_State *L, int idx) {
  uint64_t i = (uint64_t)lua_tointeger(L, idx);
  return i << 1 ^ (0 - (i >> 63));
}

static void put_number(encoder *e, int idx) {
  if (lua_isinteger(e->L, idx)) {
    put_tagged(e, T_INT, zigzag(e->L, idx));
  } else {
    double n = lua_tonumber(e->L, idx);
    put_tag(e, T_FLOAT);
    rl_encoder_write(e, &n, sizeof n);
  }
}

static void put_pointer(encoder *e, int idx) {
  void *p = lua_touserdata(e->L, idx);
  put_tag(e, T_POINTER);
  rl_encoder_write(e, &p, sizeof p);
}

/* Takes a count of `to`; gives the index of the reference. */
static uint32_t add_ref(encoder *e, rl_object *to, uint8_t rights) {
  if (e->nref == e->ref_room) e->ref = rl_transfer_grow(e->L, e->ref, sizeof(rl_ref), &e->ref_room);
  rl_retain_as(to, rights);
  e->ref[e->nref] = (rl_ref){.to = to, .rights = rights};
  return e->nref++;
}

/* names */

/* Compares package.loaded with the collected names, once in a message. */
static void check_names(encoder *e) {
  if (!e->checked) rl_names_refresh(e->L, e->T, e->tidx, false);
  e->checked = true;
}

static bool put_name(encoder *e, int idx, uint32_t parent, bool held) {
  lua_State *L = e->L;
  const void *p = lua_topointer(L, idx);
  if (!rl_notable_test(e->T, p) || !rl_name_push(L, e->T, e->tidx, idx, held)) return false;
  size_t len;
  const char *name = lua_tolstring(L, -1, &len);
  put_head(e, T_NAME, p, parent);
  put_varint(e, len);
  rl_encoder_write(e, name, len);
  lua_pop(L, 1);
  return true;
}

/* tables */

static void put_value(encoder *e, int idx, uint32_t parent, int depth);
static void put_rebuild(encoder *e, int idx, uint32_t parent, int depth);

/* The table of what must stay reachable while its address is in the memo or its body is put off. */
static int anchor(encoder *e) {
  if (lua_isnil(e->L, e->anchor)) {
    lua_newtable(e->L);
    lua_replace(e->L, e->anchor);
  }
  return e->anchor;
}

static void put_off_body(encoder *e, int idx, uint32_t index, uint32_t narr) {
  if (e->noff == e->off_room)
    e->off = rl_transfer_grow(e->L, e->off, sizeof(put_off), &e->off_room);
  lua_pushvalue(e->L, idx);
  lua_rawseti(e->L, anchor(e), (lua_Integer)e->noff + 1);
  e->off[e->noff++] = (put_off){index, narr};
  e->later = 1;
}

/* Of a small table the survey leaves the pairs on the stack, so that they are walked only once. HEAD is more than
   the bytes before an array's integers. */
enum { HELD = 12, HEAD = 32 };

typedef struct shape {
  uint32_t narr, nhash; /* the array is what lua_next gives first as 1, 2, 3... */
  uint32_t nint;        /* how many integers it begins with; they are written already... */
  size_t at, size;      /* ...HEAD bytes behind here, in so many bytes */
  bool class, meta;
  bool held; /* keys and values are on top of the stack */
} shape;

static bool is_metamethod(const char *key) {
  static const char known[] = " __index __newindex __call __name __tostring __eq __lt __le __len"
                              " __concat __unm __add __sub __mul __div __idiv __mod __pow __band"
                              " __bor __bxor __shl __shr __bnot __close __gc __mode __pairs"
                              " __metatable __transfer ";
  return rl_listed(known, key);
}

/* Does it belong to the array? */
static bool count_key(lua_State *L, int key, shape *s) {
  if (s->nhash == 0 && lua_isinteger(L, key) && lua_tointeger(L, key) == (lua_Integer)s->narr + 1) {
    s->narr++;
    return true;
  }
  s->nhash++;
  if (s->class || lua_type(L, key) != LUA_TSTRING) return false;
  const char *name = lua_tostring(L, key);
  s->class = name[0] == '_' && name[1] == '_' && is_metamethod(name);
  return false;
}

/* The integer on top follows those before it in the array. */
static void write_integer(encoder *e, shape *s) {
  size_t at = HEAD + s->size;
  if (e->room - e->len < at + 10) make_room(e, at + 10);
  unsigned char *p = e->buf + e->len + at;
  s->size += (size_t)(write_varint(p, zigzag(e->L, -1)) - p);
  s->nint++;
}

static shape survey(encoder *e, int idx) {
  lua_State *L = e->L;
  shape s = {.meta = true, .at = e->len};
  int top = lua_gettop(L);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    if (count_key(L, -2, &s) && s.nint == s.narr - 1 && lua_isinteger(L, -1)) write_integer(e, &s);
    if (s.narr + s.nhash <= HELD)
      lua_pushvalue(L, -2);
    else
      lua_pop(L, 1);
  }
  s.held = s.narr + s.nhash <= HELD;
  if (!s.held) lua_settop(L, top);
  return s;
}

/* Takes from the stack what the survey left there. */
static void drop_held(lua_State *L, shape *s) {
  if (s->held) lua_pop(L, (int)(s->narr + s->nhash) * 2);
  s->held = false;
}

static bool has_field(lua_State *L, int idx, const char *key) {
  lua_pushstring(L, key);
  bool has = lua_rawget(L, idx) != LUA_TNIL;
  lua_pop(L, 1);
  return has;
}

/* Objects of such a class would be finalized on both sides. */
static bool finalizes(lua_State *L, int idx) {
  return has_field(L, idx, "__gc") && !has_field(L, idx, "__transfer");
}

static void put_class(encoder *e, int idx, uint32_t parent, shape *s, int depth);

/* Pushes nothing; the metatable, if any, was pushed by the caller. */
static void put_metatable(encoder *e, int idx, uint32_t parent, int depth) {
  lua_State *L = e->L;
  const void *p = lua_topointer(L, idx);
  if (p == e->globals) {
    put_tag(e, T_GLOBALS);
    return;
  }
  if (finalizes(L, idx)) refuse_as(e, "metatable with __gc", p, parent);
  if (put_seen(e, p, parent)) return;
  shape s = survey(e, idx);
  drop_held(L, &s);
  put_class(e, idx, parent, &s, depth);
}

/* Moves the integers to where they belong. */
static void put_integers(encoder *e, const shape *s) {
  put_tagged(e, T_INTS, s->nint);
  unsigned char *to = claim(e, s->size);
  memmove(to, e->buf + s->at + HEAD, s->size);
}

static void put_held_pairs(encoder *e, uint32_t index, const shape *s, int depth) {
  int n = (int)(s->narr + s->nhash), key = lua_gettop(e->L) - 2 * n + 1;
  for (int i = (int)s->nint; i < n; i++) {
    if (i >= (int)s->narr) put_value(e, key + 2 * i, index, depth + 1);
    put_value(e, key + 2 * i + 1, index, depth + 1);
  }
  lua_pop(e->L, 2 * n);
}

static void put_pairs(encoder *e, int idx, uint32_t index, const shape *s, int depth) {
  lua_State *L = e->L;
  int key = lua_gettop(L) + 1;
  for (uint32_t i = s->nint + 1; i <= s->narr; i++) {
    lua_rawgeti(L, idx, i);
    put_value(e, key, index, depth + 1);
    lua_settop(L, key - 1);
  }
  if (s->narr)
    lua_pushinteger(L, s->narr);
  else
    lua_pushnil(L);
  while (lua_next(L, idx)) {
    put_value(e, key, index, depth + 1);
    put_value(e, key + 1, index, depth + 1);
    lua_settop(L, key);
  }
}

static void put_table_body(encoder *e, int idx, uint32_t index, const shape *s, int depth) {
  lua_State *L = e->L;
  if (s->nint) put_integers(e, s);
  if (s->held)
    put_held_pairs(e, index, s, depth);
  else
    put_pairs(e, idx, index, s, depth);
  put_tag(e, T_END);
  if (s->meta && lua_getmetatable(L, idx)) {
    put_metatable(e, lua_gettop(L), index, depth + 1);
    lua_pop(L, 1);
  } else {
    put_tag(e, T_NIL);
  }
}

/* Takes from the stack what the survey left there. */
static void put_plain_table(encoder *e, int idx, uint32_t parent, shape *s, int flag, int depth) {
  bool later = depth >= DEEP;
  int tag = T_TABLE | flag | (later ? LATER : 0);
  uint32_t index = put_head(e, tag, lua_topointer(e->L, idx), parent);
  put_varint(e, s->narr);
  put_varint(e, s->nhash);
  if (later) {
    drop_held(e->L, s);
    put_off_body(e, idx, index, s->narr);
  } else {
    put_table_body(e, idx, index, s, depth);
  }
}

static void put_bodies(encoder *e, uint32_t mark, int depth);

static void start(encoder *e) {
  claim(e, sizeof(header));
}

static void finish(encoder *e, uint32_t nvalues) {
  put_bodies(e, 0, 0);
  header h = {nvalues, e->nkept, e->later};
  memcpy(e->buf, &h, sizeof h);
}

/* A class of the unit under way, encoded in place. */
static void put_class_of_unit(encoder *e, int idx, uint32_t parent, shape *s, int depth) {
  lua_pushvalue(e->L, idx);
  lua_rawseti(e->L, e->classes, ++e->nclasses);
  put_plain_table(e, idx, parent, s, IS_CLASS, depth);
}

/* Encodes the class at `idx` and all new classes it leads to as a unit. */
static void encode_unit(encoder *below, int idx, uint32_t parent, shape *s, int depth) {
  lua_State *L = below->L;
  int top = lua_gettop(L);
  encoder *e = rl_encoder_begin(L, below->S, below->T);
  e->unit = true;
  e->tidx = below->tidx;
  e->found_in = parent;
  e->checked = true;
  lua_newtable(L);
  e->classes = lua_gettop(L);
  lua_pushnil(L);
  e->anchor = lua_gettop(L);
  lua_pushvalue(L, idx);
  e->first = lua_gettop(L);
  start(e);
  put_class_of_unit(e, e->first, ROOT, s, depth);
  finish(e, 1);
  rl_unit_make(L, e, below->tidx);
  lua_settop(L, top);
}

static bool put_known_class(encoder *e, int idx, uint32_t parent) {
  uint32_t in_unit;
  const void *p = lua_topointer(e->L, idx);
  rl_unit *u = rl_notable_test(e->T, p) ? rl_unit_of(e->L, e->tidx, idx, &in_unit) : NULL;
  if (!u) return false;
  uint32_t ref = add_ref(e, &u->obj, 0);
  put_head(e, T_CLASS, p, parent);
  put_varint(e, ref);
  put_varint(e, in_unit);
  return true;
}

static void put_class(encoder *e, int idx, uint32_t parent, shape *s, int depth) {
  luaL_checkstack(e->L, 16, "too deep");
  s->nint = 0; /* they lie in the way of a name, and of a unit in another encoder */
  if (put_known_class(e, idx, parent)) return;
  check_names(e);
  if (put_name(e, idx, parent, true)) return;
  if (finalizes(e->L, idx)) refuse_as(e, "metatable with __gc", lua_topointer(e->L, idx), parent);
  if (e->unit) {
    put_class_of_unit(e, idx, parent, s, depth);
  } else {
    encode_unit(e, idx, parent, s, depth);
    put_known_class(e, idx, parent);
  }
}

/* If the metatable on top has __transfer, this takes the place of the metatable. */
static bool has_transfer(lua_State *L) {
  lua_pushliteral(L, "__transfer");
  if (lua_rawget(L, -2) == LUA_TNIL) {
    lua_pop(L, 1);
    return false;
  }
  lua_remove(L, -2);
  return true;
}

/* By name, as a known class, or as the globals; false: none of these. */
static bool put_table_known(encoder *e, int idx, const void *p, uint32_t parent) {
  if (p == e->globals) {
    put_tag(e, T_GLOBALS);
    return true;
  }
  check_names(e);
  return rl_notable_test(e->T, p) &&
         (put_known_class(e, idx, parent) || put_name(e, idx, parent, false));
}

static void put_table(encoder *e, int idx, uint32_t parent, int depth) {
  lua_State *L = e->L;
  const void *p = lua_topointer(L, idx);
  if (put_seen(e, p, parent)) return;
  luaL_checkstack(L, 2 * HELD + 16, "too deep");
  if (put_table_known(e, idx, p, parent)) return;
  shape s = survey(e, idx);
  if (s.class) { /* before __transfer, which its ancestor may have for objects */
    drop_held(L, &s);
    put_class(e, idx, parent, &s, depth);
    return;
  }
  s.meta = lua_getmetatable(L, idx);
  if (s.meta && has_transfer(L)) {
    put_rebuild(e, idx, parent, depth);
    drop_held(L, &s);
    return;
  }
  if (s.meta) lua_pop(L, 1);
  put_plain_table(e, idx, parent, &s, 0, depth);
}

/* functions */

static int dump_part(lua_State *L, const void *data, size_t len, void *ud) {
  (void)L;
  rl_encoder_write(ud, data, len);
  return 0;
}

static void put_dumped_code(encoder *e, int idx) {
  lua_pushvalue(e->L, idx);
  lua_dump(e->L, dump_part, e, 0);
  lua_pop(e->L, 1);
}

enum { RECENT = 16 };

/* Most closures are sent once: only those that are seen again, soon, are worth keeping their code. */
static bool is_repeated(encoder *e, int idx) {
  lua_State *L = e->L;
  const void *p = lua_topointer(L, idx);
  lua_Integer place = (lua_Integer)((uintptr_t)p >> 4) % RECENT + 1;
  rl_transfer_table(L, e->tidx, UV_RECENT);
  lua_rawgeti(L, -1, place);
  bool is = lua_topointer(L, -1) == p;
  lua_pushvalue(L, idx);
  lua_rawseti(L, -3, place);
  lua_pop(L, 2);
  return is;
}

/* The code of a function never changes, whatever debug.setupvalue does to it. */
static void put_kept_code(encoder *e, int idx) {
  lua_State *L = e->L;
  size_t at = e->len, size;
  rl_transfer_table(L, e->tidx, UV_CODE);
  lua_pushvalue(L, idx);
  if (lua_rawget(L, -2) == LUA_TSTRING) {
    const char *code = lua_tolstring(L, -1, &size);
    rl_encoder_write(e, code, size);
  } else {
    put_dumped_code(e, idx);
    lua_pushvalue(L, idx);
    lua_pushlstring(L, (const char *)e->buf + at, e->len - at);
    lua_rawset(L, -4);
  }
  lua_pop(L, 2);
}

static void put_code(encoder *e, int idx) {
  size_t at = e->len;
  claim(e, sizeof(uint32_t));
  if (is_repeated(e, idx))
    put_kept_code(e, idx);
  else
    put_dumped_code(e, idx);
  size_t size = e->len - at - sizeof(uint32_t);
  if (size > UINT32_MAX) luaL_error(e->L, "not enough memory");
  uint32_t len = (uint32_t)size;
  memcpy(e->buf + at, &len, sizeof len);
}

/* Upvalue `n` of the function with entry `index`, whose value is on top. */
static void put_upvalue(encoder *e, int idx, uint32_t index, int n, int depth) {
  const void *cell = lua_upvalueid(e->L, idx, n);
  entry *seen = find(e, cell);
  if (!seen) {
    add(e, cell, (size_t)n, 0, index);
    put_value(e, lua_gettop(e->L), index, depth + 1);
    return;
  }
  entry *owner = &e->memo.entry[seen->parent];
  keep(e, owner->at);
  put_tag(e, T_CELL);
  put_varint(e, owner->id);
  put_varint(e, seen->at);
}

static void put_upvalues(encoder *e, int idx, uint32_t index, int depth) {
  lua_State *L = e->L;
  for (int n = 1; lua_getupvalue(L, idx, n); n++) {
    put_upvalue(e, idx, index, n, depth);
    lua_pop(L, 1);
  }
  put_tag(e, T_END);
}

static void put_c_function(encoder *e, int idx, uint32_t parent) {
  check_names(e);
  if (put_name(e, idx, parent, true)) return;
  rl_names_refresh(e->L, e->T, e->tidx, true);
  if (put_name(e, idx, parent, true)) return;
  lua_CFunction f = lua_tocfunction(e->L, idx);
  if (!rl_handle_has_method(f)) refuse(e, idx, parent);
  put_tag(e, T_METHOD);
  rl_encoder_write(e, &f, sizeof f);
}

static void put_function(encoder *e, int idx, uint32_t parent, int depth) {
  lua_State *L = e->L;
  const void *p = lua_topointer(L, idx);
  if (put_seen(e, p, parent)) return;
  luaL_checkstack(L, 16, "too deep");
  if (lua_iscfunction(L, idx)) {
    put_c_function(e, idx, parent);
    return;
  }
  bool later = depth >= DEEP;
  uint32_t index = put_head(e, T_FUNCTION | (later ? LATER : 0), p, parent);
  put_code(e, idx);
  if (later)
    put_off_body(e, idx, index, 0);
  else
    put_upvalues(e, idx, index, depth);
}

/* userdata, and whatever else rebuilds itself */

/* Writes the bodies that were put off since there were `mark` of them. */
static void put_bodies(encoder *e, uint32_t mark, int depth) {
  lua_State *L = e->L;
  luaL_checkstack(L, 16, "too deep");
  while (e->noff > mark) {
    put_off o = e->off[--e->noff];
    lua_rawgeti(L, e->anchor, (lua_Integer)e->noff + 1);
    int idx = lua_gettop(L);
    if (lua_isfunction(L, idx)) {
      put_upvalues(e, idx, o.entry, depth);
    } else {
      put_varint(e, o.narr);
      put_table_body(e, idx, o.entry, &(shape){.narr = o.narr, .meta = true}, depth);
    }
    lua_settop(L, idx - 1);
  }
}

static void keep_reachable(encoder *e, int idx) {
  lua_pushvalue(e->L, idx);
  lua_rawseti(e->L, anchor(e), -(lua_Integer)++e->nanchored);
}

/* Calls the __transfer on top; its results replace it. */
static void call_transfer(encoder *e, int idx) {
  lua_pushvalue(e->L, idx);
  rl_nowait_begin(e->S);
  int failed = lua_pcall(e->L, 1, LUA_MULTRET, 0);
  rl_nowait_end(e->S);
  if (failed) lua_error(e->L);
}

static void put_rebuild(encoder *e, int idx, uint32_t parent, int depth) {
  lua_State *L = e->L;
  int first = lua_gettop(L);
  if (depth > TOO_DEEP) luaL_error(L, "__transfer nests too deep");
  luaL_checkstack(L, 12, "too deep");
  uint32_t index = add(e, lua_topointer(L, idx), OPEN, 0, parent);
  call_transfer(e, idx);
  int last = lua_gettop(L);
  luaL_checkstack(L, 12, "too deep");
  if (last < first || !lua_isfunction(L, first)) refuse(e, idx, parent);
  for (int i = first; i <= last; i++) keep_reachable(e, i);
  size_t at = e->len;
  e->memo.entry[index].id = e->nid++;
  put_tag(e, T_REBUILD);
  put_varint(e, (uint64_t)(last - first));
  uint32_t mark = e->noff;
  for (int i = first; i <= last; i++) put_value(e, i, index, depth + 1);
  put_bodies(e, mark, depth + 1);
  e->memo.entry[index].at = at;
  lua_settop(L, first - 1);
}

static void put_handle(encoder *e, rl_handle *h, int idx, uint32_t parent) {
  if (!h->edge.ref.to) refuse(e, idx, parent);
  uint32_t ref = add_ref(e, h->edge.ref.to, h->edge.ref.rights);
  put_head(e, T_HANDLE, lua_topointer(e->L, idx), parent);
  put_varint(e, ref);
}

static void put_userdata(encoder *e, int idx, uint32_t parent, int depth) {
  luaL_checkstack(e->L, 8, "too deep");
  if (put_seen(e, lua_topointer(e->L, idx), parent)) return;
  rl_handle *h = rl_handle_test(e->L, idx);
  if (h)
    put_handle(e, h, idx, parent);
  else if (lua_getmetatable(e->L, idx) && has_transfer(e->L))
    put_rebuild(e, idx, parent, depth);
  else
    refuse(e, idx, parent);
}

/* The value at `idx`, an absolute index, which was found in entry `parent`. */
static void put_value(encoder *e, int idx, uint32_t parent, int depth) {
  switch (lua_type(e->L, idx)) {
  case LUA_TNIL: put_tag(e, T_NIL); break;
  case LUA_TBOOLEAN: put_tag(e, lua_toboolean(e->L, idx) ? T_TRUE : T_FALSE); break;
  case LUA_TNUMBER: put_number(e, idx); break;
  case LUA_TSTRING: put_string(e, idx, parent); break;
  case LUA_TLIGHTUSERDATA: put_pointer(e, idx); break;
  case LUA_TTABLE: put_table(e, idx, parent, depth); break;
  case LUA_TFUNCTION: put_function(e, idx, parent, depth); break;
  case LUA_TUSERDATA: put_userdata(e, idx, parent, depth); break;
  default: refuse(e, idx, parent);
  }
}

void rl_encoder_run(encoder *e, uint32_t n) {
  start(e);
  for (uint32_t i = 0; i < n; i++) put_value(e, e->first + (int)i, ROOT | i, 0);
  finish(e, n);
}

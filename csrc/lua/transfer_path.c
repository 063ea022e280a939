/*
** transfer_path: where in a message a value lies, for an error. While encoding, each thing met only
** notes in what it was found; the way is searched again from the root when it is needed.
*/
#include "lua/transfer_impl.h"

#include "lua/library.h"

#include <string.h>

static void put_text(encoder *t, const char *s) {
  rl_encoder_write(t, s, strlen(s));
}

/* Appends the string on top and pops it. */
static void put_popped(encoder *t) {
  put_text(t, lua_tostring(t->L, -1));
  lua_pop(t->L, 1);
}

static bool is_identifier(const char *s, size_t len) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
  static const char reserved[] =
      " and break do else elseif end false for function goto if in local nil"
      " not or repeat return then true until while ";
  if (len == 0 || strspn(s, letters) != len || (*s >= '0' && *s <= '9')) return false;
  return !rl_listed(reserved, s);
}

static void put_quoted(encoder *t, const char *s, size_t len) {
  put_text(t, "[\"");
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c >= ' ' && c != '"' && c != '\\' && c != 0x7f) {
      rl_encoder_write(t, s + i, 1);
      continue;
    }
    if (c == '"' || c == '\\') {
      lua_pushfstring(t->L, "\\%c", c);
    } else {
      lua_pushfstring(t->L, "\\%d%d%d", c / 100, c / 10 % 10, c % 10);
    }
    put_popped(t);
  }
  put_text(t, "\"]");
}

static void put_string_key(encoder *t, int key) {
  size_t len;
  const char *s = lua_tolstring(t->L, key, &len);
  if (!is_identifier(s, len)) {
    put_quoted(t, s, len);
    return;
  }
  put_text(t, ".");
  rl_encoder_write(t, s, len);
}

static void put_type_key(encoder *t, int key) {
  lua_pushfstring(t->L, "[<%s>]", lua_isthread(t->L, key) ? "coroutine" : luaL_typename(t->L, key));
  put_popped(t);
}

static void put_key(encoder *t, int key) {
  lua_State *L = t->L;
  switch (lua_type(L, key)) {
  case LUA_TSTRING: put_string_key(t, key); break;
  case LUA_TBOOLEAN: put_text(t, lua_toboolean(L, key) ? "[true]" : "[false]"); break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, key))
      lua_pushfstring(L, "[%I]", (LUAI_UACINT)lua_tointeger(L, key));
    else
      lua_pushfstring(L, "[%f]", (LUAI_UACNUMBER)lua_tonumber(L, key));
    put_popped(t);
    break;
  default: put_type_key(t, key);
  }
}

static bool is(lua_State *L, int idx, const void *p) {
  return lua_type(L, idx) > LUA_TSTRING && lua_topointer(L, idx) == p;
}

/* The steps push what lies at `p` in the object on top, and append how to get there. */

static bool step_in_pairs(encoder *t, const void *p) {
  lua_State *L = t->L;
  int key = lua_gettop(L) + 1;
  lua_pushnil(L);
  while (lua_next(L, key - 1)) {
    if (is(L, key + 1, p) || is(L, key, p)) {
      put_key(t, key);
      if (is(L, key + 1, p)) lua_replace(L, key);
      lua_settop(L, key);
      return true;
    }
    lua_settop(L, key);
  }
  return false;
}

static bool step_to_metatable(encoder *t, const void *p) {
  if (!lua_getmetatable(t->L, -1)) return false;
  if (lua_topointer(t->L, -1) == p) {
    put_text(t, "<metatable>");
    return true;
  }
  lua_pop(t->L, 1);
  return false;
}

/* The upvalues of the function that `go` is given start a path. */
static bool step_to_upvalue(encoder *t, const void *p, bool start) {
  lua_State *L = t->L;
  const char *name;
  for (int n = 1; (name = lua_getupvalue(L, -1, n)) != NULL; n++) {
    if (is(L, -1, p)) {
      lua_pushfstring(L, start ? "upvalue '%s'" : "<upvalue '%s'>", name);
      put_popped(t);
      return true;
    }
    lua_pop(L, 1);
  }
  return false;
}

static bool step(encoder *t, const void *p, bool start) {
  lua_State *L = t->L;
  luaL_checkstack(L, 8, NULL);
  if (lua_isfunction(L, -1)) return step_to_upvalue(t, p, start);
  if (lua_istable(L, -1) && step_in_pairs(t, p)) return true;
  return step_to_metatable(t, p);
}

static void put_root(encoder *t, const encoder *e, uint32_t root) {
  if (e->root == rl_root_call && root == 0) {
    lua_pushliteral(t->L, "function");
  } else if (e->root == rl_root_call || e->root == rl_root_result) {
    int n = (int)root + (e->root == rl_root_result);
    lua_pushfstring(t->L, "%s %d", e->root, n);
  } else {
    lua_pushstring(t->L, e->root);
  }
  put_popped(t);
}

/* Pushes an array of the addresses on the way from a root value, which is the first, to `p`. */
static const void **way_to(lua_State *L, const encoder *e, const void *p, uint32_t parent,
                           size_t *n) {
  *n = 1;
  for (uint32_t i = parent; !(i & ROOT); i = e->memo.entry[i].parent) ++*n;
  const void **way = lua_newuserdatauv(L, *n * sizeof *way, 0);
  way[*n - 1] = p;
  uint32_t at = parent;
  for (size_t i = *n - 1; i-- > 0; at = e->memo.entry[at].parent) way[i] = e->memo.entry[at].key;
  return way;
}

static uint32_t root_of(const encoder *e, uint32_t parent) {
  while (!(parent & ROOT)) parent = e->memo.entry[parent].parent;
  return parent & ~ROOT;
}

/* Appends to `t` the path in `e`; that of a unit goes on from where its first class was found. */
static void put_path(encoder *t, encoder *e, const void *p, uint32_t parent) {
  lua_State *L = e->L;
  uint32_t root = root_of(e, parent);
  luaL_checkstack(L, 8, NULL);
  if (e->unit) put_path(t, e->below, lua_topointer(L, e->first), e->found_in);
  size_t n;
  const void **way = way_to(L, e, p, parent, &n);
  bool start = e->root == rl_root_call && root == 0 && n > 1;
  if (!e->unit && !start) put_root(t, e, root);
  lua_pushvalue(L, e->first + (int)root);
  for (size_t i = 1; i < n; i++) {
    if (!step(t, way[i], start && i == 1)) {
      put_text(t, "<__transfer>"); /* what it gave is not kept */
      break;
    }
    lua_replace(L, -2);
  }
  lua_pop(L, 2);
}

void rl_path_push(encoder *e, const void *p, uint32_t parent) {
  e->len = 0;
  put_path(e, e, p, parent);
  lua_pushlstring(e->L, (const char *)e->buf, e->len);
}

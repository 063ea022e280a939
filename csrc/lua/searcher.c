/*
** searcher: how a task finds modules written in Lua: as stock Lua does, but what was compiled once in this
** process is only loaded. The stock searcher is kept, and does whatever else there is: it finds nothing and
** says where it looked, it words errors, it loads what is binary or begins with what no text of Lua does.
*/
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua/code.h"
#include "lua/state.h"

enum { PACKAGE = 1, STOCK }; /* upvalues of the searcher */

/* Finding */

/* Pushes the module's path: all templates with the name in the place of their marks. */
static const char *push_names(lua_State *L, const char *module) {
  if (lua_getfield(L, lua_upvalueindex(PACKAGE), "path") != LUA_TSTRING) return NULL;
  const char *path = lua_tostring(L, -1);
  if (strchr(module, '.')) module = luaL_gsub(L, module, ".", LUA_DIRSEP);
  return luaL_gsub(L, path, LUA_PATH_MARK, module);
}

/* Pushes the name of the first that is there. */
static const char *push_found(lua_State *L, const char *names, struct stat *file) {
  for (const char *end; *names; names = *end ? end + 1 : end) {
    end = strchr(names, *LUA_PATH_SEP);
    if (!end) end = names + strlen(names);
    const char *name = lua_pushlstring(L, names, (size_t)(end - names));
    if (stat(name, file) == 0) return name;
    lua_pop(L, 1);
  }
  return NULL;
}

/* Compiling */

typedef struct source {
  struct stat file;
  bool settled; /* when it was opened */
  char *data;   /* from malloc */
  size_t size;
} source;

static bool read_all(int fd, char *data, size_t size) {
  for (ssize_t n; size > 0; data += n, size -= (size_t)n)
    if ((n = read(fd, data, size)) <= 0) return false;
  return true;
}

/* What the file is like is asked for before it is read. If it changes after that it never is like that
   again, so what was read will not be found. */
static bool read_open_file(int fd, source *s) {
  if (fstat(fd, &s->file) != 0 || s->file.st_size <= 0) return false;
  s->settled = rl_code_settled(&s->file);
  s->size = (size_t)s->file.st_size;
  s->data = malloc(s->size);
  return s->data && read_all(fd, s->data, s->size);
}

static bool read_file(const char *name, source *s) {
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool whole = read_open_file(fd, s);
  close(fd);
  return whole;
}

static int count(lua_State *L, const void *data, size_t size, void *ud) {
  (void)L;
  (void)data;
  *(size_t *)ud += size;
  return 0;
}

static int fill(lua_State *L, const void *data, size_t size, void *ud) {
  (void)L;
  rl_bytes *rest = ud;
  memcpy(rest->data, data, size);
  rest->data += size;
  return 0;
}

/* Keeps the code of the function on top. */
static void keep(lua_State *L, const char *name, const struct stat *file) {
  size_t size = 0;
  lua_dump(L, count, &size, 0);
  rl_code *c = rl_code_make(name, file, size);
  if (!c) return;
  rl_bytes rest = rl_code_bytes(c);
  lua_dump(L, fill, &rest, 0);
  rl_code_keep(c);
}

/* Pushes the function, or whatever if it gives false. */
static bool compile(lua_State *L, const char *name, const char *chunk) {
  source s = {.data = NULL};
  bool good = read_file(name, &s) && luaL_loadbufferx(L, s.data, s.size, chunk, "t") == LUA_OK;
  free(s.data);
  if (good && s.settled) keep(L, name, &s.file);
  return good;
}

/* Likewise. */
static bool load(lua_State *L, const char *name, const struct stat *file) {
  const char *chunk = lua_pushfstring(L, "@%s", name);
  rl_code *c = rl_code_find(name, file);
  if (!c) return compile(L, name, chunk);
  rl_bytes b = rl_code_bytes(c);
  int status = luaL_loadbufferx(L, b.data, b.size, chunk, "b");
  rl_code_release(c);
  return status == LUA_OK;
}

static int stock(lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(STOCK));
  lua_insert(L, 1);
  lua_call(L, 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* Gives the module's loader and the name of its file, or what stock does. */
static int search(lua_State *L) {
  struct stat file;
  const char *names = push_names(L, luaL_checkstring(L, 1));
  const char *name = names ? push_found(L, names, &file) : NULL;
  if (!name || !S_ISREG(file.st_mode) || !load(L, name, &file)) return stock(L);
  lua_pushstring(L, name);
  return 2;
}

void rl_open_searcher(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  lua_pushvalue(L, -2);
  lua_rawgeti(L, -2, 2);
  lua_pushcclosure(L, search, 2);
  lua_rawseti(L, -2, 2);
  lua_pop(L, 2);
}

/*
** forking: `fork(f)` calls f in a forked child, which then leaves by exit(0), or 1 when f raised, and gives the
** child's status: as libraries that fork do.
*/
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int fork_and(lua_State *L) {
  int status;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    int failed = lua_pcall(L, 0, 0, 0);
    if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    exit(failed);
  }
  waitpid(pid, &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return 1;
}

int luaopen_forking(lua_State *L) {
  lua_pushcfunction(L, fork_and);
  return 1;
}

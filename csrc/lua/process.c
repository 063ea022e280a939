/*
** process: library functions that concern the whole process, as tasks need them. `os.exit` must not close
** the task's own state; `os.execute` must not ignore the process's signals while it runs, as the
** C library's `system` does; and children must not inherit a worker's blocked signals.
*/
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lua/runtime.h"

extern char **environ;

static int os_exit(lua_State *L) {
  int status = lua_isboolean(L, 1) ? (lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE)
                                   : (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
  rl_state *S = rl_self(L);
  atomic_store_explicit(&S->task->leaving, true, memory_order_relaxed);
  rl_runtime_exit(S->program, status);
}

static int spawn_shell(const char *command, pid_t *pid) {
  char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
  posix_spawnattr_t attr;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int failed = posix_spawnattr_init(&attr);
  if (failed) return failed;
  posix_spawnattr_setsigmask(&attr, &none);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
  failed = posix_spawn(pid, "/bin/sh", NULL, &attr, argv, environ);
  posix_spawnattr_destroy(&attr);
  return failed;
}

static int os_execute(lua_State *L) {
  const char *command = luaL_optstring(L, 1, NULL);
  int status;
  pid_t pid;
  if (!command) {
    lua_pushboolean(L, 1);
    return 1;
  }
  errno = spawn_shell(command, &pid);
  if (errno) return luaL_fileresult(L, 0, NULL);
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return luaL_fileresult(L, 0, NULL);
  return luaL_execresult(L, status);
}

/* Upvalue 2 is the stock io.popen: the child it makes inherits the thread's signal mask. Its arguments are
   checked here, where the messages can name them. */
static int io_popen(lua_State *L) {
  sigset_t none, before;
  luaL_checkstring(L, 1);
  const char *mode = luaL_optstring(L, 2, "r");
  luaL_argcheck(L, strcmp(mode, "r") == 0 || strcmp(mode, "w") == 0, 2, "invalid mode");
  sigemptyset(&none);
  int n = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  pthread_sigmask(SIG_SETMASK, &none, &before);
  int failed = lua_pcall(L, n, LUA_MULTRET, 0);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed ? lua_error(L) : lua_gettop(L);
}

void rl_open_os(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"exit", os_exit}, {"execute", os_execute}, {NULL, NULL}};
  lua_getglobal(L, "os");
  rl_setfuncs(L, S, functions);
  lua_pop(L, 1);
}

void rl_open_io(lua_State *L, rl_state *S) {
  lua_getglobal(L, "io");
  lua_pushlightuserdata(L, S);
  lua_getfield(L, -2, "popen");
  lua_pushcclosure(L, io_popen, 2);
  lua_setfield(L, -2, "popen");
  lua_pop(L, 1);
}

/*
** runtime: stats, and how a program ends: through lua_close, which collects the anchor, or through
** exit, which runs our handler. Threads that will not stop are abandoned: then the process is left by
** _exit, because what else exit does could wait for a lock that such a thread holds.
*/
/***
The runtime.
There is nothing to configure before first use. Settings come from the environment:

- `RILLE_THREADS`: how many tasks run at once; by default one for each core,
- `RILLE_LEAKS=fail`: the exit code is 1 when an error was never taken, unless `os.exit` gave one,
- `RILLE_LOG=tasks`: what happens to each task is written to stderr, see [the log](log.md).

When the main program ends, running tasks get a moment (0.2 s) to end; then
`rille.background` fires, and every wait is unwound by an error, so that `<close>` variables and
`rille.defer` run. What runs on regardless is interrupted, as by `task:interrupt`, again and again while it catches the
error. What does not end even so, as it is in a call of a C function, is reported on stderr (but for daemons) and abandoned without harm. The same holds for `os.exit`, in the main program or in a task, and for an error in the main
program. After that every operation on a handle raises.

A module written in Lua that tasks `require` is compiled by the first of them and kept for the process, up to 16 MB of code in all;
when it would be more, all is dropped. Each `require` looks for the file as stock Lua does, so whatever changes `package.path`, the
searchers or the directories counts at once; what is kept is taken if the file that was found has the same
device, inode, size and times (of its contents and of the inode) as when it was compiled, and is compiled again otherwise. A file that had
changed in the last 0.1 s (2 s where the file system counts only seconds) is not kept, as the next change might not show. Nor is a
binary chunk, or a file that begins with `#` or a byte order mark. Modules in C and the main program's `require` are Lua's own.

Ctrl-C reaches a main program that waits, at once; to handle it, see `rille.notify` in [done](done.md).

A finalizer (`__gc`) may use Rille, but a wait in it raises `cannot wait in a finalizer`.
@module runtime
*/

#include "lua/runtime.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "core/chan.h"
#include "core/log.h"
#include "lua/code.h"
#include "lua/report.h"

static const double FLUSH_TIME = 0.2;
static const double STDOUT_TIME = 0.5; /* it is blocked more seldom than others, and missed more */

/* A thread of the module must never find its code unmapped: it stays loaded. */
static void pin_library(void) {
  Dl_info info;
  union {
    int (*f)(lua_State *);
    void *p;
  } here = {luaopen_rille_core};
  if (dladdr(here.p, &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

/* A flush that has a time limit. */
typedef struct flush {
  FILE *file; /* NULL: all */
  double time;
  atomic_uint under_way;
} flush;

static void *run_flush(void *ud) {
  flush *f = ud;
  fflush(f->file);
  atomic_store(&f->under_way, 0);
  rl_futex_wake(&f->under_way, 1);
  return NULL;
}

/* A file may be locked by an abandoned task that is blocked in writing a full pipe, or in reading an empty
   one: then the flush of all files gets no further than there, which must not keep back stdout. */
static void flush_bounded(void) {
  static flush flushes[] = {{.time = STDOUT_TIME}, {.time = FLUSH_TIME}};
  double start = rl_now();
  flushes[0].file = stdout;
  for (int i = 0; i < 2; i++) {
    atomic_store(&flushes[i].under_way, 1);
    if (!rl_thread_start(run_flush, &flushes[i])) atomic_store(&flushes[i].under_way, 0);
  }
  for (flush *f = flushes; f < flushes + 2; f++)
    while (atomic_load(&f->under_way) && rl_futex_wait(&f->under_way, 1, start + f->time)) continue;
}

static pid_t home; /* whose exit is ours to do: not a forked child's that has none of our threads */
static bool
    fails; /* RILLE_LEAKS=fail: an error nobody took, or a leak, is the program's failure; immutable */
static atomic_bool status_given; /* by os.exit */
static atomic_bool leaving;      /* a thread is at leaving the process */

static void leave(int status) {
  if (getpid() != home) return;
  atomic_store(&leaving, true);
  unsigned abandoned = 0, lost = 0;
  bool own = !rl_programs() || (!rl_programs()->next && !rl_sched_is_worker());
  for (rl_program *p = rl_programs(); p; p = p->next) {
    abandoned += rl_program_end(p, own) + atomic_load(&p->leaving);
    lost += atomic_load(&p->untaken) + atomic_load(&p->leaked);
  }
  if (fails && lost > 0 && !atomic_load(&status_given))
    status = EXIT_FAILURE;
  else if (abandoned == 0)
    return;
  flush_bounded();
  _exit(status);
}

void rl_runtime_status_given(void) {
  atomic_store(&status_given, true);
}

static void await_exit(void) {
  for (;;) pause();
}

/* The first one's status counts. It ends the programs before it calls exit: if the main program has just
   done so too, our handler is taken, and this exit would cut its work short. */
void rl_runtime_exit(rl_program *p, int status) {
  rl_runtime_status_given();
  atomic_fetch_add(&p->leaving, 1);
  if (getpid() == home) {
    if (atomic_exchange(&leaving, true)) await_exit();
    for (p = rl_programs(); p; p = p->next) rl_program_end(p, false);
  }
  exit(status);
}

/* The main program's os.exit, where the status matters; upvalue 2 is the stock one. */
static int exit_with_status(lua_State *L) {
  rl_runtime_status_given();
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 0);
  return 0;
}

static void watch_os_exit(lua_State *L, rl_state *S) {
  if (lua_getglobal(L, "os") == LUA_TTABLE) {
    lua_pushlightuserdata(L, S);
    lua_getfield(L, -2, "exit");
    lua_pushcclosure(L, exit_with_status, 2);
    lua_setfield(L, -2, "exit");
  }
  lua_pop(L, 1);
}

#ifdef __GLIBC__
static void on_leave(int status, void *arg) {
  (void)arg;
  leave(status);
}

static void watch_exit(void) {
  on_exit(on_leave, NULL);
}
#else /* without on_exit the status is not known: only abandoned tasks make that visible */
static void on_leave(void) {
  leave(EXIT_SUCCESS);
}

static void watch_exit(void) {
  atexit(on_leave);
}
#endif

/* Of the threads only the one that forked goes on in the child. If there were others, what they were at is
   lost: there the runtime has ended. */
static void after_fork(void) {
  if (!rl_thread_any()) {
    home = getpid();
    return;
  }
  for (rl_program *p = rl_programs(); p; p = p->next) {
    rl_program_forget(p);
    ((rl_state *)p->binding)->over = true;
  }
}

static void read_log_setting(void) {
  const char *what = getenv("RILLE_LOG");
  if (!what || !*what) return;
  if (strcmp(what, "tasks") == 0)
    rl_log_to_stderr();
  else
    fprintf(stderr, "rille: RILLE_LOG=%s is unknown: it can be \"tasks\"\n", what);
}

static void prepare(void) {
  fails = rl_leaks_setting() == RL_LEAKS_FAIL;
  read_log_setting();
  home = getpid();
  pin_library();
  watch_exit();
  pthread_atfork(NULL, NULL, after_fork);
}

/* A task that has called os.exit meanwhile decides the status. */
static int anchor_gc(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_program_end(S->program, true);
  rl_log_forget(S->program);
  S->over = true;
  if (atomic_load(&S->program->leaving) > 0) await_exit();
  return 0;
}

void rl_runtime_anchor(lua_State *L, rl_state *S) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  static const char anchor_key = 0;
  static const luaL_Reg methods[] = {{"__gc", anchor_gc}, {NULL, NULL}};
  pthread_once(&once, prepare);
  lua_newuserdatauv(L, 0, 0);
  lua_newtable(L);
  rl_setfuncs(L, S, methods);
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &anchor_key);
  if (fails) watch_os_exit(L, S);
}

static void count_state(rl_task *t, void *ud) {
  ((unsigned *)ud)[rl_task_status(t)]++;
}

/***
Figures.
@function rille.stats
@treturn table `tasks`, a table of counts by status: `runnable`, `running`, `waiting`, `finished`, `failed` (the last two as long
as somebody holds them); `threads` and, among them, `workers`; `channels`; `message_bytes` in all messages under way;
`code_bytes` kept of modules that tasks have required; `parks` (waits so far), `steals` (tasks that another worker took over);
`untaken` (errors reported so far because nobody took them)
*/
static int rille_stats(lua_State *L) {
  static const char *const names[] = {"runnable", "running", "waiting", "finished", "failed"};
  rl_state *S = rl_self(L);
  unsigned by_state[RL_TASK_STATES] = {0};
  rl_program_each(S->program, count_state, by_state);
  rl_sched_stats s = rl_sched_count();
  lua_createtable(L, 0, 10);
  lua_createtable(L, 0, RL_TASK_STATES);
  for (int i = 0; i < RL_TASK_STATES; i++) {
    lua_pushinteger(L, by_state[i]);
    lua_setfield(L, -2, names[i]);
  }
  lua_setfield(L, -2, "tasks");
  lua_pushinteger(L, s.threads);
  lua_setfield(L, -2, "threads");
  lua_pushinteger(L, s.workers);
  lua_setfield(L, -2, "workers");
  lua_pushinteger(L, rl_chans());
  lua_setfield(L, -2, "channels");
  lua_pushinteger(L, (lua_Integer)rl_msg_bytes());
  lua_setfield(L, -2, "message_bytes");
  lua_pushinteger(L, (lua_Integer)rl_code_total());
  lua_setfield(L, -2, "code_bytes");
  lua_pushinteger(L, (lua_Integer)s.parks);
  lua_setfield(L, -2, "parks");
  lua_pushinteger(L, (lua_Integer)s.steals);
  lua_setfield(L, -2, "steals");
  lua_pushinteger(L, atomic_load(&S->program->untaken));
  lua_setfield(L, -2, "untaken");
  return 1;
}

static int closed(lua_State *L, int status, lua_KContext ctx) {
  (void)L;
  (void)status;
  (void)ctx;
  return 0;
}

static int closable_close(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
  if (lua_isnil(L, -1)) return 0;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1); /* runs once */
  lua_callk(L, 0, 0, 0, closed);
  return 0;
}

/***
Runs a function at the end of the scope: Go's `defer`.
Also when the scope is left by an error or a cancellation. Several run in reverse order. The function may wait.
@function rille.defer
@tparam function fn called without arguments, once
@return a value for a `<close>` variable
@raise on what is no function
@usage
local file = assert(io.open("/dev/null"))
local _ <close> = rille.defer(function() file:close() end)
*/
static int rille_defer(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_newuserdatauv(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, "rille.defer");
  return 1;
}

/***
The version of the module.
@field rille._VERSION
*/
void rl_open_runtime(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {
      {"stats", rille_stats}, {"defer", rille_defer}, {NULL, NULL}};
  static const luaL_Reg defer_methods[] = {{"__close", closable_close}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
  luaL_newmetatable(L, "rille.defer");
  rl_setfuncs(L, S, defer_methods);
  lua_pop(L, 1);
  lua_pushliteral(L, "Rille scm");
  lua_setfield(L, -2, "_VERSION");
}

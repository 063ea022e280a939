/*
** notify: signals by name.
*/
/***
Signals.
@submodule done
*/

#include "core/notify.h"

#include <signal.h>
#include <string.h>

#include "lua/state.h"
#include "lua/transfer.h"

static const struct {
  const char *name;
  int number;
} known[] = {{"INT", SIGINT},   {"TERM", SIGTERM},   {"HUP", SIGHUP},   {"QUIT", SIGQUIT},
             {"USR1", SIGUSR1}, {"USR2", SIGUSR2},   {"ALRM", SIGALRM}, {"CHLD", SIGCHLD},
             {"CONT", SIGCONT}, {"WINCH", SIGWINCH}, {"PIPE", SIGPIPE}, {"TSTP", SIGTSTP}};

static int signal_number(lua_State *L, int idx) {
  luaL_checktype(L, idx, LUA_TSTRING);
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strcmp(known[i].name, lua_tostring(L, idx)) == 0) return known[i].number;
  return luaL_argerror(L, idx, lua_pushfstring(L, "unknown signal '%s'", lua_tostring(L, idx)));
}

enum { MOST = 16 };

/***
Fires on the first of these signals: Go's `signal.NotifyContext`.
The cause is the name of the signal. A second signal has its default effect, so a program that
does not end in order can still be stopped. The signals are watched for until the done has fired.
@function rille.notify
@tparam string ... `"INT"`, `"TERM"`, `"HUP"`, `"QUIT"`, `"USR1"`, `"USR2"`, `"ALRM"`, `"CHLD"`, `"CONT"`, `"WINCH"`,
`"PIPE"`, `"TSTP"`
@treturn done
@raise on an unknown name
@usage
local done = rille.notify("INT", "TERM")
assert(done:err() == nil)
*/
static int rille_notify(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_notify_signal signals[MOST];
  int n = lua_gettop(L);
  rl_handle_alive(L, S);
  luaL_argcheck(L, n >= 1, 1, "signal name expected, got no value");
  luaL_argcheck(L, n <= MOST, MOST + 1, "too many signals");
  for (int i = 1; i <= n; i++) signals[i - 1].number = signal_number(L, i);
  rl_handle *h = rl_handle_new(L, RL_H_DONE);
  for (int i = 1; i <= n; i++) { /* short strings lie inside the message: nothing is held */
    signals[i - 1].name.tag = RL_MSG_NONE;
    rl_encode(L, S, i, "cause", &signals[i - 1].name);
  }
  rl_done *d = rl_notify_make(S->program->background, signals, (unsigned)n);
  if (!d) return luaL_error(L, "cannot watch for the signals");
  rl_handle_fill(L, S, h, &d->event.src.obj, RL_MAY_WATCH);
  return 1;
}

void rl_open_notify(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"notify", rille_notify}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
}

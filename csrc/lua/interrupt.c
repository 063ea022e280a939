/*
** interrupt: the hook. Another thread must not set it: Lua walks the list of calls to do so. So the monitor
** sends the thread a signal, and its handler sets the hook on the coroutine that runs, between two instructions of
** the machine; Lua allows that.
**
** At most one coroutine of a state is armed, and what it had as its own hook is kept meanwhile. Whoever switches coroutines
** takes the hook along; before a task gives its thread back it is disarmed, so a parked state never has it. The
** hook disarms itself before it raises or yields: what unwinds, <close> variables above all, runs undisturbed. Where the
** handler comes at a bad moment (`hooking`: the thread is at the hooks itself) it does nothing: the monitor will poke again.
*/
#include "lua/interrupt.h"

#include "core/interrupt.h"
#include "lua/transfer.h"

/* ThreadSanitizer holds signals back until the thread makes a call of the C library. There a hook that is
   always set, and fires seldom, looks at what is pending. */
#if defined(__SANITIZE_THREAD__)
#define STANDING 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STANDING 1
#endif
#endif
#ifndef STANDING
#define STANDING 0
#endif

enum {
  SELDOM = 10000, /* instructions between two calls of a hook that is always set */
  CHANCES =
      20 /* how often the program's end is raised in a task before its <close> variables are cut short */
};

RL_THREAD_LOCAL rl_state *volatile rl_interrupt_here;

static void hook(lua_State *L, lua_Debug *ar);

/* With `hooking` set, or in the signal handler. The coroutine's own hook goes on being called for its own events, but
   for that of a line: Lua would call it after ours even when that has yielded. */
static void set(rl_state *S) {
  lua_State *co = S->running;
  if (S->armed && S->armed != co) return; /* between two coroutines: who switches sees to it */
  if (!S->armed) {
    S->hook = lua_gethook(co);
    S->kept_mask = (unsigned char)lua_gethookmask(co);
    S->kept_count = lua_gethookcount(co);
    if (S->hook == hook && !STANDING) S->hook = NULL, S->kept_mask = 0; /* inherited */
    S->armed = co;
  }
  lua_sethook(co, hook, (S->kept_mask & ~LUA_MASKLINE) | LUA_MASKCOUNT, 1);
}

static void put_back(rl_state *S, lua_State *co) {
  lua_sethook(co, S->hook, S->kept_mask, S->kept_count);
}

static void begin(rl_state *S) {
  S->hooking = true;
  atomic_signal_fence(memory_order_seq_cst);
}

static void end(rl_state *S) {
  atomic_signal_fence(memory_order_seq_cst);
  S->hooking = false;
}

static void unset(rl_state *S) {
  begin(S);
  if (S->armed) put_back(S, S->armed);
  S->armed = NULL;
  end(S);
}

void rl_interrupt_arm(rl_state *S) {
  if (S->hooking) return;
  begin(S);
  set(S);
  end(S);
}

void rl_interrupt_disarm(rl_state *S) {
  unset(S);
}

void rl_interrupt_follow(rl_state *S) {
  if (S->armed == S->running) return;
  unset(S);
  rl_interrupt_arm(S);
}

void rl_interrupt_made(rl_state *S, lua_State *co) {
  if (lua_gethook(co) == hook && S->armed) put_back(S, co);
}

/* A coroutine that has a hook of its own for lines or instructions does not give way: after the yield Lua would miss
   a line, and count anew. It has a thread to itself instead. */
static bool watches_itself(lua_State *co) {
  return lua_gethook(co) != hook && (lua_gethookmask(co) & (LUA_MASKLINE | LUA_MASKCOUNT));
}

/* The signal handler, on the thread that runs the state. */
static void poked(void) {
  rl_state *S = rl_interrupt_here;
  if (!S || S->hooking) return;
  if (!rl_interrupt_pending(S->task) && watches_itself(S->running)) return;
  set(S);
}

void rl_interrupt_open(void) {
  rl_thread_on_poke(poked);
}

/* Where the code is that is interrupted: in a hook the function at level 0, else that which called ours. */
static void push_where(lua_State *L) {
  lua_Debug ar;
  luaL_where(L, lua_getstack(L, 0, &ar) && lua_getinfo(L, "S", &ar) && *ar.what == 'C' ? 1 : 0);
}

static void push_reason(lua_State *L, rl_state *S, rl_msg *reason) {
  if (reason->tag != RL_MSG_NONE) {
    rl_receive(L, S, reason);
    return;
  }
  push_where(L);
  lua_pushliteral(L, "interrupted");
  lua_concat(L, 2);
}

/* Again and again while the task catches it; in the end it gets no further than one instruction. */
void rl_interrupt_raise_end(lua_State *L, rl_state *S) {
  unset(S);
  S->unwound = RL_UNWOUND;
  push_where(L);
  lua_pushliteral(L, RL_UNWOUND);
  lua_concat(L, 2);
  if (S->ends == CHANCES)
    rl_interrupt_arm(S);
  else
    S->ends++;
  lua_error(L);
}

void rl_interrupt_raise(lua_State *L, rl_state *S) {
  rl_msg reason = {.tag = RL_MSG_NONE};
  unset(S);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (rl_interrupt_take(S->task, &reason)) {
    push_reason(L, S, &reason);
    lua_error(L);
  }
  if (rl_interrupt_pending(S->task) & RL_PENDING_END) rl_interrupt_raise_end(L, S);
}

/* A value that is transferred is so as a whole: what is pending waits until then. */
static void fire(lua_State *L, rl_state *S) {
  if (S->nowait > 0) return;
  if (rl_interrupt_pending(S->task)) rl_interrupt_raise(L, S);
  if (rl_sched_give_way() && rl_can_park(L, S) && !watches_itself(L)) {
    S->requeue = true;
    lua_yield(L, 0);
  }
}

/* The instruction to come may make a guard that was just returned a <close> variable: the next one is as good. */
static bool is_tender(rl_state *S) {
  bool was = S->tender;
  S->tender = false;
  return was;
}

static void hook(lua_State *L, lua_Debug *ar) {
  rl_state *S = rl_state_of_task(L);
  if (ar->event == LUA_HOOKCOUNT && is_tender(S)) return;
  if (ar->event != LUA_HOOKCOUNT) {
    if (S->armed == L && S->hook && S->hook != hook) S->hook(L, ar);
    return;
  }
  if (S->armed == L)
    unset(S);
  else if (!STANDING)
    lua_sethook(L, NULL, 0, 0); /* inherited by a coroutine that foreign code has made */
  fire(L, S);
}

/* With the place where the function begins, as it has not been entered yet. */
static void raise_at_start(lua_State *L, rl_state *S, int fn) {
  rl_msg reason = {.tag = RL_MSG_NONE};
  lua_Debug ar;
  if (!rl_interrupt_take(S->task, &reason)) {
    rl_interrupt_raise(L, S);
    return;
  }
  if (reason.tag == RL_MSG_NONE && lua_isfunction(L, fn) && !lua_iscfunction(L, fn)) {
    lua_pushvalue(L, fn);
    lua_getinfo(L, ">S", &ar);
    lua_pushfstring(L, "%s:%d: interrupted", ar.short_src, ar.linedefined);
  } else {
    push_reason(L, S, &reason);
  }
  lua_error(L);
}

void rl_interrupt_begin(lua_State *L, rl_state *S) {
  if (STANDING) lua_sethook(L, hook, LUA_MASKCOUNT, SELDOM);
  end(S);
  if (rl_interrupt_pending(S->task)) raise_at_start(L, S, 1);
}

/* The debug library */

/* A task sees its own hooks alone: nothing is armed meanwhile. What fails is done again in this very call, whose name
   the error has. Upvalue 2 is the stock function. */
static int undisturbed(lua_State *L) {
  rl_state *S = rl_self(L);
  int n = lua_gettop(L);
  luaL_checkstack(L, n + 1, NULL);
  lua_pushvalue(L, lua_upvalueindex(2));
  for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
  unset(S);
  S->hooking = true;
  int failed = lua_pcall(L, n, LUA_MULTRET, 0);
  end(S);
  if (!failed) return lua_gettop(L) - n;
  lua_settop(L, n);
  return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

static void wrap(lua_State *L, rl_state *S, const char *name) {
  lua_pushlightuserdata(L, S);
  lua_getfield(L, -2, name);
  lua_pushcclosure(L, undisturbed, 2);
  lua_setfield(L, -2, name);
}

void rl_open_debug(lua_State *L, rl_state *S) {
  lua_getglobal(L, "debug");
  wrap(L, S, "sethook");
  wrap(L, S, "gethook");
  lua_pop(L, 1);
}

/*
** wait: park where Lua can yield, block the thread where it cannot. Nothing of Lua's allocates or
** raises between the moment the wait is published and the moment the task has yielded.
**
** A task parks when it runs on the coroutine chain our own `resume` built and every link can yield:
** lua_isyieldable alone does not see a C call below the current coroutine.
*/
#include "lua/wait.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lua/deadlock.h"
#include "lua/interrupt.h"
#include "lua/log.h"
#include "lua/state.h"
#include "lua/transfer.h"

static rl_wait *of_timer(rl_timer *t) {
  return (rl_wait *)(void *)((char *)t - offsetof(rl_wait, timer));
}

static bool claim_deadline(rl_timer *t) {
  return rl_waiter_claim(of_timer(t)->waiter, RL_TIMEOUT, NULL);
}

static void wake_deadline(rl_timer *t, rl_wakes *ws) {
  rl_wakes_add(ws, of_timer(t)->waiter);
}

void rl_wait_open(rl_wait *W, rl_waiter *w) {
  W->waiter = w;
  W->L = NULL;
  W->cases = W->inl;
  W->n = 0;
  W->room = NULL;
  W->nroom = 0;
  W->grant = NULL;
  rl_timer_init(&W->timer, claim_deadline, wake_deadline);
}

void rl_wait_close(rl_wait *W) {
  free(W->room);
  free(W->grant);
}

void rl_wait_room(lua_State *L, rl_wait *W, unsigned n) {
  if (n <= sizeof W->inl / sizeof W->inl[0]) return;
  if (n > W->nroom) {
    rl_case *room = malloc(n * sizeof *room);
    if (!room) luaL_error(L, "not enough memory");
    free(W->room);
    W->room = room;
    W->nroom = n;
  }
  W->cases = W->room;
}

double rl_deadline_at(lua_State *L, int idx) {
  double s = lua_tonumber(L, idx);
  luaL_argcheck(L, !isnan(s), idx, "number of seconds expected, got nan");
  return s <= 0 ? 0 : rl_time() + s;
}

/* Puts the handle that an object of Lua's says to wait on in its place: its metatable's `__case` names the
   field. Looked for by hand, as nothing may be allocated: a wait may be described in part. */
static void replace_by_case(lua_State *L, int idx) {
  if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx)) return;
  int meta = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, meta); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "__case") != 0) continue;
    lua_rawget(L, idx);
    if (rl_handle_test(L, -1)) lua_replace(L, idx);
    break;
  }
  lua_settop(L, meta - 1);
}

rl_source *rl_wait_source(lua_State *L, int idx) {
  replace_by_case(L, idx);
  rl_handle *h = rl_handle_test(L, idx);
  uint8_t waitable = RL_MAY_RECV | RL_MAY_WATCH | RL_MAY_JOIN;
  return h && h->edge.ref.rights & waitable ? (rl_source *)h->edge.ref.to : NULL;
}

static int guard_error(lua_State *L, int idx) {
  if (rl_handle_as(L, idx, RL_H_CANCEL))
    return luaL_argerror(L, idx,
                         "done expected, got cancel (put the call that makes it in parentheses)");
  return rl_type_error(L, idx, "done, channel, task, timer or number");
}

void rl_wait_guard(lua_State *L, rl_state *S, int idx) {
  rl_wait *W = S->wait;
  if (lua_isnoneornil(L, idx)) return;
  if (lua_type(L, idx) == LUA_TNUMBER) {
    W->deadline = rl_deadline_at(L, idx);
    return;
  }
  rl_source *on = rl_wait_source(L, idx);
  if (!on) guard_error(L, idx);
  rl_wait_watch(W, on);
  W->guarded = true;
}

void rl_wait_drop_unsent(rl_wait *W) {
  for (unsigned i = 0; i < W->n; i++)
    if (W->cases[i].op == RL_CASE_SEND) rl_msg_drop(&W->cases[i].msg);
}

static int conclude(lua_State *L, rl_state *S, rl_status st) {
  rl_wait_drop_unsent(S->wait);
  return S->wait->finish(L, S, st);
}

/* Raises why the wait was ended from outside. */
static int interrupted(lua_State *L, rl_state *S, rl_status st) {
  if (st == RL_DEADLOCK) {
    luaL_where(L, 1);
    rl_deadlock_push(L, S);
    lua_concat(L, 2);
    return lua_error(L);
  }
  if (st == RL_STALLED) return rl_testing_stalled(L, S);
  rl_log_wait(S, st == RL_LEAKED ? RL_LOG_COLLECTED : RL_LOG_INTERRUPTED);
  if (st == RL_INTERRUPTED) rl_interrupt_raise(L, S);
  if (st == RL_ENDED) rl_interrupt_raise_end(L, S);
  rl_assert(st == RL_LEAKED, "interrupted without a reason");
  S->unwound = "leaked";
  return luaL_error(L, "%s", S->unwound);
}

int rl_wait_resumed(lua_State *L, rl_state *S) {
  rl_wait *W = S->wait;
  if (W->deadline != INFINITY) rl_timer_unset(&W->timer);
  rl_status st = rl_select_end(W->waiter, W->cases, W->n, &W->won);
  if (st == RL_OK && W->n == 1) return W->finish(L, S, st);
  if (st < RL_INTERRUPTED || st > RL_DEADLOCK) return conclude(L, S, st);
  rl_wait_drop_unsent(W);
  return interrupted(L, S, st);
}

static int resumed(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  return rl_wait_resumed(L, (rl_state *)ctx);
}

static void arm(rl_state *S, bool park) {
  if (park)
    rl_waiter_fiber(S->wait->waiter, &S->task->fiber);
  else
    rl_waiter_thread(S->wait->waiter);
}

/* Takes a published wait back. False: it is decided already, and its wake will come. */
static bool give_up(rl_wait *W) {
  if (!rl_waiter_claim(W->waiter, RL_INTERRUPTED, NULL)) return false;
  rl_waiter_await_release(W->waiter);
  if (W->deadline != INFINITY) rl_timer_unset(&W->timer);
  rl_select_withdraw(W->cases, W->n, NULL);
  return true;
}

/* A wait of the main program: S->wait may be another for a while, as long as somebody looks at it (see
   inspect). */
typedef struct main_wait {
  rl_state *S;
  rl_wait *W;
  bool looked; /* for a deadlock */
} main_wait;

/* Has a signal handler (the interpreter's for Ctrl-C) set a hook on the main thread? It may have come
   before the wait, after Lua looked for hooks last: any hook counts that no wait has called yet. */
static bool hook_set(void *ud) {
  main_wait *m = ud;
  rl_state *S = m->S;
  lua_Hook now = lua_gethook(S->L);
  if (now && now != S->hook) return true;
  if (!m->looked && m->W->deadline == INFINITY) rl_deadlock_look_first(S);
  m->looked = true;
  return false;
}

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* A coroutine does not see the hook of the main thread: it is called for it. */
static int call_main_hook(lua_State *L) {
  lua_Debug ar = {.event = LUA_HOOKCOUNT};
  lua_Hook hook = lua_gethook(rl_self(L)->L);
  if (hook) hook(L, &ar);
  return 0;
}

/* Lets the hook raise what it has to raise; the wait was taken back. What the hook calls may wait itself, so
   what is waited for here is kept aside. */
static void run_hook(lua_State *L, rl_state *S) {
  rl_wait *kept = S->wait, other;
  rl_wait_open(&other, kept->waiter);
  S->wait = &other;
  lua_pushlightuserdata(L, S);
  lua_pushcclosure(L, L == S->L ? nothing : call_main_hook, 1);
  int failed = lua_pcall(L, 0, 0, 0);
  rl_wait_close(&other);
  S->wait = kept;
  if (!failed) {
    S->hook = lua_gethook(S->L); /* one that has put itself off may come again */
    return;
  }
  lua_sethook(S->L, NULL, 0, 0);
  rl_wait_drop_unsent(S->wait);
  lua_error(L);
}

/* Blocks the main program's thread. True: woken; false: a hook ran and the wait was taken back. */
static bool block_main(lua_State *L, rl_state *S) {
  main_wait m = {S, S->wait, false};
  atomic_store(&S->program->patient, m.W->deadline == INFINITY);
  bool woken = rl_waiter_block(m.W->waiter, hook_set, &m);
  atomic_store(&S->program->patient, false);
  if (woken) return true;
  if (!give_up(m.W)) return rl_waiter_block(m.W->waiter, NULL, NULL);
  run_hook(L, S);
  return false;
}

static void block_task(rl_state *S) {
  rl_log_wait(S, RL_LOG_WAITING);
  atomic_store_explicit(&S->task->state, RL_WAITING, memory_order_release);
  rl_blocked b = {.asleep = rl_waiter_asleep, .of = S->wait->waiter};
  rl_sched_block(&b);
  rl_waiter_block(S->wait->waiter, NULL, NULL);
  rl_sched_unblock(&b);
  atomic_store_explicit(&S->task->state, RL_RUNNING, memory_order_release);
  rl_log_woken(S);
}

void rl_may_wait(lua_State *L, rl_state *S) {
  if (lua_gc(L, LUA_GCISRUNNING) == -1) luaL_error(L, "cannot wait in a finalizer");
  if (S->nowait > 0) luaL_error(L, "cannot wait while a value is transferred");
}

static bool must_not_wait(lua_State *L, rl_state *S) {
  return S->nowait > 0 || lua_gc(L, LUA_GCISRUNNING) == -1;
}

/* A wait that is published but may not be waited: taken back, unless it was decided meanwhile. */
static void refuse(lua_State *L, rl_state *S) {
  if (!give_up(S->wait)) {
    rl_waiter_block(S->wait->waiter, NULL, NULL);
    return;
  }
  rl_wait_drop_unsent(S->wait);
  rl_may_wait(L, S);
}

static rl_status no_timer(lua_State *L, rl_state *S) {
  if (!give_up(S->wait)) return RL_PARK;
  rl_wait_drop_unsent(S->wait);
  luaL_error(L, "cannot arm a timer: no memory or no thread");
  return RL_NO_MEMORY;
}

rl_status rl_wait_try(rl_state *S) {
  rl_wait *W = S->wait;
  return rl_select(NULL, W->cases, W->n, (rl_choice)W->choice, &W->won);
}

/* Begins the wait. RL_PARK: published, with its deadline armed. */
static rl_status publish(lua_State *L, rl_state *S, bool park) {
  rl_wait *W = S->wait;
  bool late = W->deadline != INFINITY && W->deadline <= rl_time();
  arm(S, park);
  rl_status st = rl_select(late ? NULL : W->waiter, W->cases, W->n, (rl_choice)W->choice, &W->won);
  if (late && st == RL_NOT_READY) {
    W->won = W->n;
    return RL_TIMEOUT;
  }
  if (st == RL_PARK && W->deadline != INFINITY && !rl_timer_set(&W->timer, W->deadline))
    return no_timer(L, S);
  return st;
}

static rl_case *last_case(rl_wait *W) {
  return &W->cases[W->n - 1];
}

static bool for_signal(rl_wait *W) {
  return W->n > 0 && last_case(W)->op == RL_CASE_SIGNAL;
}

/* At a barrier that has opened while the wait was taken back, and has counted it. */
static bool has_arrived(rl_wait *W) {
  rl_case *c = W->n > 0 ? last_case(W) : NULL;
  return c && c->op == RL_CASE_PASS && rl_case_gate(c)->type == RL_BARRIER && c->msg.u.i != 0;
}

/* Now that it can be woken: nothing is lost between unlocking and waiting. */
static void unlock_for_signal(rl_state *S) {
  rl_gate *mutex = last_case(S->wait)->msg.u.p;
  rl_grant_end(rl_state_owner(S), &mutex->alone, false);
}

int rl_wait_for(lua_State *L, rl_state *S, rl_finish finish) {
  S->wait->finish = finish;
  S->wait->L = L;
  for (;;) {
    bool park = rl_can_park(L, S); /* a finalizer cannot yield */
    bool refused = !park && must_not_wait(L, S);
    rl_status st = publish(L, S, park);
    if (st != RL_PARK) return conclude(L, S, st);
    if (for_signal(S->wait) && !refused) unlock_for_signal(S);
    S->wait->since = rl_sched_stamp();
    if (park) {
      S->parking = true;
      return lua_yieldk(L, 0, (lua_KContext)S, resumed);
    }
    if (refused) {
      refuse(L, S);
      return rl_wait_resumed(L, S);
    }
    rl_sched_parked();
    if (S->task) block_task(S);
    if (S->task || block_main(L, S)) return rl_wait_resumed(L, S);
    /* for a while it could not be woken: it may have missed a signal */
    if (for_signal(S->wait) || has_arrived(S->wait)) {
      S->wait->won = S->wait->n - 1;
      return conclude(L, S, RL_OK);
    }
  }
}

int rl_give_turn(lua_State *L, rl_state *S, lua_KFunction k) {
  if (!rl_can_park(L, S)) {
    sched_yield();
    return k(L, LUA_OK, 0);
  }
  S->requeue = true;
  return lua_yieldk(L, 0, 0, k);
}

typedef struct received {
  rl_state *S;
  rl_msg *m;
} received;

static int decode_protected(lua_State *L) {
  received *r = lua_touserdata(L, 1);
  lua_settop(L, 0);
  return rl_decode(L, r->S, r->m);
}

int rl_receive(lua_State *L, rl_state *S, rl_msg *m) {
  if (m->tag >= RL_MSG_INLINE) {
    int n = rl_decode(L, S, m);
    m->tag = RL_MSG_NONE;
    return n;
  }
  rl_msg held;
  rl_msg_move(&held, m);
  int top = lua_gettop(L);
  received r = {S, &held};
  lua_pushcfunction(L, decode_protected);
  lua_pushlightuserdata(L, &r);
  int failed = lua_pcall(L, 1, LUA_MULTRET, 0);
  rl_msg_drop(&held);
  if (failed) lua_error(L);
  return lua_gettop(L) - top;
}

int rl_receive_copy(lua_State *L, rl_state *S, const rl_msg *m, rl_object *o) {
  if (!rl_msg_has_refs(m)) return rl_decode(L, S, m);
  rl_msg copy;
  rl_msg_copy(&copy, m, o);
  return rl_receive(L, S, &copy);
}

void rl_push_fired(lua_State *L, rl_state *S, rl_event *e) {
  rl_done *d = rl_done_of(e);
  lua_pushstring(L, rl_why_text(d ? d->why : RL_CANCELED));
  if (!d || d->cause.tag == RL_MSG_NONE)
    lua_pushvalue(L, -1);
  else
    rl_receive_copy(L, S, &d->cause, &e->src.obj);
}

void rl_push_case_fired(lua_State *L, rl_state *S, rl_case *c, rl_status st) {
  if (c->op == RL_CASE_WATCH) {
    rl_push_fired(L, S, rl_case_event(c));
    return;
  }
  bool timed = ((rl_chan *)c->node.on)->timed, delivered = st == RL_OK && !timed;
  if (delivered) rl_receive(L, S, &c->msg); /* first: a finalizer may use the state's wait */
  lua_pushstring(L, rl_why_text(timed ? RL_DEADLINE : RL_CANCELED));
  if (delivered)
    lua_insert(L, -2);
  else
    lua_pushvalue(L, -1);
}

int rl_push_cut_short(lua_State *L, rl_state *S, rl_status st) {
  lua_pushnil(L);
  if (st == RL_TIMEOUT) {
    lua_pushstring(L, rl_why_text(RL_DEADLINE));
    lua_pushvalue(L, -1);
  } else {
    rl_push_case_fired(L, S, &S->wait->cases[0], st);
  }
  return 3;
}

/*
** once: a function that is run a single time. The gate is passed as a mutex is: the one who has passed first runs
** the function; who passes later finds the outcome.
*/
/***
What is run once.
@module sync
*/

#include "lua/sync.h"
#include "lua/transfer.h"

/***
Makes a once, which runs a function a single time, whoever asks for it.
Go's `sync.Once` and `OnceValue`.
@function rille.once
@tparam[opt] string name for reports
@treturn once
@raise on a name that is no string
@usage
local once = rille.once()
local function connect() return "connection", 1 end
local task = rille.go(function() return once:run(connect) end)
print(once:run(connect))  --> connection  1
print(task:await())       --> connection  1
*/
int rl_once_make(lua_State *L) {
  return rl_sync_make(L, RL_ONCE, 1, 1, 1);
}

static rl_once *check_once(lua_State *L, rl_state **S) {
  return (rl_once *)rl_sync_check(L, S, RL_H_ONCE);
}

static int push_outcome(lua_State *L, rl_state *S, rl_once *o) {
  int n = rl_receive_copy(L, S, &o->outcome, &o->gate.src.obj);
  if (!o->failed) return n;
  if (n == 0) lua_pushliteral(L, "not enough memory"); /* there was none for the error */
  return lua_error(L);
}

static int encode_outcome(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  (void)ctx;
  rl_state *S = rl_state_of(L);
  rl_once *o = lua_touserdata(L, 1);
  rl_encode_results(L, S, 2, lua_gettop(L) - 1, &o->outcome);
  return lua_gettop(L) - 1;
}

/* (once, fn): returns what fn does, when that can cross. */
static int run_once(lua_State *L) {
  lua_callk(L, 0, LUA_MULTRET, 0, encode_outcome);
  return encode_outcome(L, LUA_OK, 0);
}

/* (once, error) */
static int encode_failure(lua_State *L) {
  rl_once *o = lua_touserdata(L, 1);
  rl_encode(L, rl_state_of(L), 2, "error", &o->outcome);
  return 0;
}

/* The error is on top; for one that cannot cross goes the error that says so. */
static void keep_failure(lua_State *L, rl_once *o) {
  int err = lua_gettop(L);
  for (int failed = 1, tries = 0; failed && tries < 2; tries++) {
    lua_pushcfunction(L, encode_failure);
    lua_pushlightuserdata(L, o);
    lua_pushvalue(L, -3);
    failed = lua_pcall(L, 2, 0, 0);
  }
  lua_settop(L, err);
}

/* Nothing in here raises before all is decided. */
static int ran(lua_State *L, int status, lua_KContext ctx) {
  rl_state *S = (rl_state *)ctx;
  rl_once *o = (rl_once *)rl_handle_as(L, 1, RL_H_ONCE)->edge.ref.to;
  o->failed = status != LUA_OK && status != LUA_YIELD;
  if (o->failed) keep_failure(L, o);
  rl_carry(&o->gate.src.obj, &o->outcome);
  atomic_store_explicit(&o->decided, true, memory_order_release);
  rl_grant_end(rl_state_owner(S), &o->gate.alone, false);
  return o->failed ? lua_error(L) : lua_gettop(L) - 3;
}

static int once_finish(lua_State *L, rl_state *S, rl_status st) {
  if (rl_wait_cut_short(S->wait, st)) return rl_push_cut_short(L, S, st);
  rl_once *o = (rl_once *)rl_sync_gate(S);
  rl_grant_alone(rl_state_owner(S), &o->gate);
  if (rl_once_decided(o)) {
    rl_grant_end(rl_state_owner(S), &o->gate.alone, false);
    return push_outcome(L, S, o);
  }
  lua_pushcfunction(L, run_once);
  lua_pushlightuserdata(L, o);
  lua_pushvalue(L, 2);
  return ran(L, lua_pcallk(L, 2, LUA_MULTRET, 0, (lua_KContext)S, ran), (lua_KContext)S);
}

/***
Runs the function if none was run before, else waits until that one has ended; all get what came of it.
@function once:run
@tparam function fn called without arguments
@tparam[opt] done done what cuts the wait for another's run short
@return the results of the one function that was run. They have to be able to cross
@treturn nil,string,any when `done` fired first: `nil`, its error and its cause
@raise what that function has raised, also an interruption of the task that ran it, for each caller; `cannot send ...` when its results
cannot cross; when the function runs the same `once`
*/
static int once_run(lua_State *L) {
  static const rl_passage p = {1, true, 3, "wait"};
  rl_state *S;
  rl_once *o = check_once(L, &S);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (lua_isnoneornil(L, 3) && rl_once_decided(o)) return push_outcome(L, S, o);
  if (rl_gate_held_by(&o->gate, rl_state_owner(S)))
    return luaL_error(L, "run of a once within its own function");
  lua_settop(L, 3);
  return rl_sync_pass(L, S, &o->gate, &p, once_finish);
}

static int once_tostring(lua_State *L) {
  return rl_sync_tostring(L, RL_H_ONCE);
}

const luaL_Reg rl_once_methods[] = {{"run", once_run}, {"__tostring", once_tostring}, {NULL, NULL}};

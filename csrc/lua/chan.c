/*
** chan: channels in Lua, and their one-way views. A view is the same core object under other rights.
** Operations a handle has no right to are there and raise, so that a mistake names itself.
*/
/***
Channels.
A channel hands values from senders to receivers, first come, first served on both sides. With capacity 0 it
is a rendezvous: a send ends when its value is received. The semantics are Go's; errors, names and the
`done` arguments are ours.

A value is delivered once or stays with its sender: closing, cancelling or a failing peer never loses or
doubles one. The only exception: a value that its receiver cannot decode for lack of memory goes with that receiver.
`nil` cannot be sent. A channel is the same userdata wherever it turns up in a state, so `==` and
table keys work; it crosses to other tasks by reference.

Every wait takes an optional `done`, which cuts it short: a [done](done.md), or a channel (which fires
by being closed or by a value, which is received as the cause), a task (which fires when it ends), a timer, or a number of
seconds. A `done` that has fired comes first: its error is returned, and nothing is sent or received.
A number lets what is ready come first, so `ch:recv(0)` only looks.

    for v in ch do print(v) end             -- until it is closed
    for v in ch:iter(done) do print(v) end  -- or until done fires: the or-done pattern

`#ch` is the number of values in the buffer; `local ch <close> = rille.chan()` closes the channel at the end of the
scope, if it is still open.
@module channels
*/

#include "core/chan.h"

#include "lua/sending.h"
#include "lua/state.h"
#include "lua/transfer.h"

RL_SLOW static void refuse(lua_State *L, int idx, uint8_t right) {
  rl_handle *h = rl_handle_test(L, idx);
  if (!h || h->edge.ref.to->kind != RL_CHAN) {
    rl_handle_alive(L, rl_state_of(L)); /* after its end a handle may have been finalized */
    rl_type_error(L, idx, "channel");
  }
  rl_handle_alive(L, h->state);
  luaL_argerror(L, idx,
                right == RL_MAY_SEND ? "send or close on a receive-only channel"
                                     : "receive on a send-only channel");
}

/* The handle of the channel at `idx`, which the caller wants to use with `right`. */
static inline rl_handle *check(lua_State *L, int idx, uint8_t right) {
  rl_handle *h = rl_handle_test(L, idx);
  if (!h || rl_handle_type_of(h) > RL_H_TIMER || !(h->edge.ref.rights & right) || h->state->over)
    refuse(L, idx, right);
  return h;
}

static rl_chan *chan_of(rl_handle *h) {
  return (rl_chan *)h->edge.ref.to;
}

static const uint8_t ANY_RIGHT = RL_MAY_RECV | RL_MAY_SEND;

static void check_value(lua_State *L, int idx) {
  luaL_argcheck(L, !lua_isnoneornil(L, idx), idx, "cannot send nil");
}

static int send_result(lua_State *L, rl_status st) {
  if (st == RL_CLOSED) return luaL_error(L, "send on closed channel");
  if (st == RL_NO_MEMORY) return luaL_error(L, "not enough memory");
  lua_pushboolean(L, 1);
  return 1;
}

static int send_finish(lua_State *L, rl_state *S, rl_status st) {
  return rl_wait_cut_short(S->wait, st) ? rl_push_cut_short(L, S, st) : send_result(L, st);
}

static int push_closed(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return 2;
}

static int recv_finish(lua_State *L, rl_state *S, rl_status st) {
  rl_wait *W = S->wait;
  if (rl_wait_cut_short(W, st)) return rl_push_cut_short(L, S, st);
  return st == RL_OK ? rl_receive(L, S, &W->cases[W->won].msg) : push_closed(L);
}

/* Most sends and receives have one case, no deadline, and a task that can park. For them the whole way
   to the channel and back is inline here, and the wait is described only when there is one; all others go
   through rl_wait_for. */

/* Queues the only case of a wait of this task's, under the channel's lock. */
static inline rl_case *queue_alone(lua_State *L, rl_state *S, rl_chan *c, rl_case_op op,
                                   const char *name, rl_finish finish) {
  rl_wait *W = rl_wait_begin(S->wait, name);
  rl_case *k = rl_wait_add(W, op, &c->src);
  W->finish = finish;
  W->L = L;
  W->since = rl_sched_stamp();
  rl_waiter_fiber(W->waiter, &S->task->fiber);
  rl_case_queue(k, op, W->waiter);
  return k;
}

static inline int park_alone(lua_State *L, rl_state *S, lua_KFunction k) {
  S->parking = true;
  return lua_yieldk(L, 0, (lua_KContext)S, k);
}

static int sent(lua_State *L, int status, lua_KContext ctx) {
  rl_state *S = (rl_state *)ctx;
  rl_waiter *w = S->wait->waiter;
  (void)status;
  if (!w->won || w->status != RL_OK) return rl_wait_resumed(L, S);
  lua_pushboolean(L, 1);
  return 1;
}

/* Pushes what was received. An integer needs no dropping. */
static inline int take_value(lua_State *L, rl_state *S, rl_msg *m) {
  return rl_decode_integer(L, m) ? 1 : rl_receive(L, S, m);
}

static int received(lua_State *L, int status, lua_KContext ctx) {
  rl_state *S = (rl_state *)ctx;
  rl_waiter *w = S->wait->waiter;
  (void)status;
  if (!w->won || w->status != RL_OK) return rl_wait_resumed(L, S);
  return take_value(L, S, &S->wait->inl[0].msg);
}

/* Takes the message. */
static int send_alone(lua_State *L, rl_state *S, rl_chan *c, rl_msg *m) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&c->src.lock);
  rl_status st = rl_chan_put(c, m, &ws);
  if (st == RL_NOT_READY)
    rl_msg_move(&queue_alone(L, S, c, RL_CASE_SEND, "send", send_finish)->msg, m);
  rl_lock_leave(&c->src.lock);
  rl_wake_all(&ws);
  if (st == RL_NOT_READY) return park_alone(L, S, sent);
  if (st != RL_OK) rl_msg_drop(m);
  return send_result(L, st);
}

static int receive_alone(lua_State *L, rl_state *S, rl_chan *c) {
  rl_wakes ws = {NULL, NULL};
  rl_msg m = {.tag = RL_MSG_NONE};
  rl_lock_take(&c->src.lock);
  rl_status st = rl_chan_take(c, &m, &ws);
  if (st == RL_NOT_READY) queue_alone(L, S, c, RL_CASE_RECV, "recv", recv_finish);
  rl_lock_leave(&c->src.lock);
  rl_wake_all(&ws);
  if (st == RL_OK) return take_value(L, S, &m);
  return st == RL_NOT_READY ? park_alone(L, S, received) : push_closed(L);
}

/***
Sends a value, and waits until it is received or lies in the buffer.
@function ch:send
@param v anything that can cross, but not `nil`
@tparam[opt] done done what cuts the wait short
@treturn boolean `true`
@treturn nil,string,any when `done` fired first: `nil`, `"canceled"` or `"deadline exceeded"`, and the cause;
the value stays with the sender
@raise `send on closed channel`, also when it is closed while the sender waits; `cannot send nil`; `cannot
send ...` with the path of what cannot cross; on a receive-only view
*/
static int chan_send(lua_State *L) {
  rl_handle *h = check(L, 1, RL_MAY_SEND);
  rl_state *S = h->state;
  rl_chan *c = chan_of(h);
  rl_msg m = {.tag = RL_MSG_NONE};
  bool guarded = lua_gettop(L) > 2 && !lua_isnil(L, 3);
  if (guarded) { /* raises now if it has to: encoding comes last, and may use S->wait */
    check_value(L, 2);
    rl_wait_begin(S->wait, "send");
    rl_wait_guard(L, S, 3);
  }
  if (!rl_encode_integer(L, 2, &m)) {
    check_value(L, 2);
    rl_encode(L, S, 2, "value", &m);
  }
  if (!guarded && rl_can_park(L, S)) return send_alone(L, S, c, &m);
  rl_wait *W = rl_wait_begin(S->wait, "send");
  if (guarded) rl_wait_guard(L, S, 3);
  rl_msg_move(&rl_wait_add(W, RL_CASE_SEND, &c->src)->msg, &m);
  return rl_wait_for(L, S, send_finish);
}

static int receive(lua_State *L, bool guarded) {
  rl_handle *h = check(L, 1, RL_MAY_RECV);
  rl_state *S = h->state;
  if (!guarded && rl_can_park(L, S)) return receive_alone(L, S, chan_of(h));
  rl_wait *W = rl_wait_begin(S->wait, "recv");
  if (guarded) rl_wait_guard(L, S, 2);
  rl_wait_add(W, RL_CASE_RECV, (rl_source *)h->edge.ref.to);
  return rl_wait_for(L, S, recv_finish);
}

/***
Receives a value, and waits for one.
@function ch:recv
@tparam[opt] done done what cuts the wait short
@return the value, never `nil`
@treturn nil,string `nil` and `"closed"` once the channel is closed and drained
@treturn nil,string,any when `done` fired first: `nil`, `"canceled"` or `"deadline exceeded"`, and the cause
@raise what goes wrong when the value is rebuilt here (a `require` that fails, a function of `__transfer` that
raises); on a send-only view
@usage
local ch = rille.chan()
local v, err = ch:recv(0.01)
assert(v == nil and err == "deadline exceeded")
*/
static int chan_recv(lua_State *L) {
  return receive(L, lua_gettop(L) > 1);
}

/* `for v in ch do` */
static int chan_call(lua_State *L) {
  return receive(L, false);
}

static int iter_step(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(2));
  rl_handle *h = check(L, 1, RL_MAY_RECV); /* in a finalizer it may have gone before the iterator */
  rl_state *S = h->state;
  rl_wait *W = rl_wait_begin(S->wait, "recv");
  if (lua_type(L, 2) == LUA_TNUMBER)
    W->deadline = lua_tonumber(L, 2);
  else
    rl_wait_guard(L, S, 2);
  rl_wait_add(W, RL_CASE_RECV, (rl_source *)h->edge.ref.to);
  return rl_wait_for(L, S, recv_finish);
}

/***
A loop over what is received.
Ends when the channel is closed, or when `done` fires: the or-done pattern. A number of seconds
counts from this call, for the whole loop. `for v in ch do` is the form without `done`.
@function ch:iter
@tparam[opt] done done what ends the loop early
@treturn function an iterator
@raise on a send-only view
*/
/* A number counts from here on, for the whole loop: it is kept as a deadline. */
static int chan_iter(lua_State *L) {
  rl_state *S = check(L, 1, RL_MAY_RECV)->state;
  rl_wait_begin(S->wait, "recv");
  rl_wait_guard(L, S, 2);
  lua_settop(L, 2);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_pushnumber(L, S->wait->deadline);
    lua_replace(L, 2);
  }
  lua_pushcclosure(L, iter_step, 2);
  return 1;
}

/***
Sends a value if that is possible at once.
@function ch:try_send
@param v anything that can cross, but not `nil`
@treturn boolean `true`
@treturn boolean,string `false` and `"full"`: nobody waits to receive, and there is no room
@raise as `ch:send`; what cannot cross raises in any case
*/
static int chan_try_send(lua_State *L) {
  rl_handle *h = check(L, 1, RL_MAY_SEND);
  rl_state *S = h->state;
  rl_chan *c = chan_of(h);
  rl_msg m = {.tag = RL_MSG_NONE};
  check_value(L, 2);
  rl_encode(L, S, 2, "value", &m);
  rl_wait *W = rl_wait_begin(S->wait, "send");
  rl_case *k = rl_wait_add(W, RL_CASE_SEND, &c->src);
  rl_msg_move(&k->msg, &m);
  rl_status st = rl_wait_try(S);
  rl_msg_drop(&k->msg);
  if (st != RL_NOT_READY) return send_finish(L, S, st);
  lua_pushboolean(L, 0);
  lua_pushliteral(L, "full");
  return 2;
}

/***
Receives a value if there is one.
@function ch:try_recv
@return the value
@treturn nil,string `nil` and `"empty"`, or `nil` and `"closed"`
@raise as `ch:recv`
*/
static int chan_try_recv(lua_State *L) {
  rl_handle *h = check(L, 1, RL_MAY_RECV);
  rl_state *S = h->state;
  rl_chan *c = chan_of(h);
  rl_wait_add(rl_wait_begin(S->wait, "recv"), RL_CASE_RECV, &c->src);
  rl_status st = rl_wait_try(S);
  if (st != RL_NOT_READY) return recv_finish(L, S, st);
  lua_pushnil(L);
  lua_pushliteral(L, "empty");
  return 2;
}

/***
Closes the channel.
Those who wait to receive get `nil, "closed"`, those who wait to send raise. What is in the buffer can still be
received.
@function ch:close
@raise `close of closed channel`; on `rille.never`; on a receive-only view
*/
static int chan_close(lua_State *L) {
  rl_handle *h = check(L, 1, RL_MAY_SEND);
  rl_chan *c = chan_of(h);
  if (c->never) return luaL_error(L, "close of never");
  if (rl_chan_close(c) == RL_CLOSED) return luaL_error(L, "close of closed channel");
  return 0;
}

/* At scope exit: closing one that is closed already is fine here. */
static int chan_scope_end(lua_State *L) {
  rl_chan *c = chan_of(check(L, 1, RL_MAY_SEND));
  if (!c->never) rl_chan_close(c);
  return 0;
}

static int chan_len(lua_State *L) {
  lua_pushinteger(L, rl_chan_count(chan_of(check(L, 1, ANY_RIGHT))));
  return 1;
}

/***
The capacity.
@function ch:cap
@treturn integer
*/
static int chan_cap(lua_State *L) {
  lua_pushinteger(L, chan_of(check(L, 1, ANY_RIGHT))->cap);
  return 1;
}

/***
The name given to `rille.chan`.
@function ch:name
@treturn string|nil
*/
static int chan_name(lua_State *L) {
  lua_pushstring(L, chan_of(check(L, 1, ANY_RIGHT))->name);
  return 1;
}

static int chan_tostring(lua_State *L) {
  rl_handle *h = check(L, 1, ANY_RIGHT);
  rl_chan *c = chan_of(h);
  const char *type = rl_handle_name(rl_handle_type_of(h));
  if (c->name)
    lua_pushfstring(L, "%s \"%s\" (%d of %d)", type, c->name, (int)rl_chan_count(c), (int)c->cap);
  else
    lua_pushfstring(L, "%s (%d of %d): %p", type, (int)rl_chan_count(c), (int)c->cap, (void *)c);
  return 1;
}

static int view(lua_State *L, uint8_t right) {
  rl_handle *h = check(L, 1, right);
  rl_handle_push(L, h->state, h->edge.ref.to, right);
  return 1;
}

/***
A view that can only receive: Go's `<-chan`.
`cap`, `name` and `#` work on a view, the other operations raise. The view is the same channel for those who wait; it
tells readers, and the leak analysis, who can do what.
@function ch:receiver
@treturn receiver
@raise on a send-only view
*/
static int chan_receiver(lua_State *L) {
  return view(L, RL_MAY_RECV);
}

/***
A view that can only send and close: Go's `chan<-`.
@function ch:sender
@treturn sender
@raise on a receive-only view
*/
static int chan_sender(lua_State *L) {
  return view(L, RL_MAY_SEND);
}

/***
A send as a case of `rille.select`.
The value is encoded now. The case can be used in many selects: each that chooses it sends the value.
@function ch:sending
@param v anything that can cross, but not `nil`
@treturn case
@raise as `ch:send` for values that cannot be sent
*/
static int chan_sending(lua_State *L) {
  rl_handle *h = check(L, 1, RL_MAY_SEND);
  rl_state *S = h->state;
  rl_chan *c = chan_of(h);
  rl_msg m = {.tag = RL_MSG_NONE};
  check_value(L, 2);
  rl_sending *s = rl_sending_new(L);
  rl_encode(L, S, 2, "value", &m);
  rl_sending_fill(L, S, s, c, &m);
  return 1;
}

/***
Makes a channel.
@function rille.chan
@tparam[opt=0] integer capacity how many values it holds before a send waits
@tparam[opt] string name for messages and reports
@treturn channel
@raise on a negative or fractional capacity, or a name that is no string
@usage
local results = rille.chan(10, "results")
results:send { ok = true }
print(#results, results:recv().ok)  --> 1  true
*/
static int rille_chan(lua_State *L) {
  rl_state *S = rl_self(L);
  lua_Integer cap = 0;
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TNUMBER);
    cap = luaL_checkinteger(L, 1);
    luaL_argcheck(L, cap >= 0 && cap <= 0x7fffffff, 1, "capacity out of range");
  }
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TSTRING);
  rl_handle_alive(L, S);
  rl_handle *h = rl_handle_new(L, RL_H_CHAN);
  rl_chan *c = rl_chan_make((uint32_t)cap, lua_tostring(L, 2));
  if (!c) return luaL_error(L, "not enough memory");
  rl_handle_fill(L, S, h, &c->src.obj, ANY_RIGHT);
  return 1;
}

/***
A channel that is never ready: Go's nil channel.
Closing it raises. In a `select`, `nil` and `false` do the same.
@field rille.never
*/
static rl_chan *never(void) {
  static rl_chan c = {.never = true, .name = "never"};
  static atomic_bool made;
  if (!atomic_exchange(&made, true)) rl_retain(&c.src.obj); /* never destroyed */
  return &c;
}

const luaL_Reg rl_chan_receiving[] = {{"recv", chan_recv},           {"try_recv", chan_try_recv},
                                      {"iter", chan_iter},           {"cap", chan_cap},
                                      {"name", chan_name},           {"receiver", chan_receiver},
                                      {"__call", chan_call},         {"__len", chan_len},
                                      {"__tostring", chan_tostring}, {NULL, NULL}};

const luaL_Reg rl_chan_sending[] = {{"send", chan_send},
                                    {"try_send", chan_try_send},
                                    {"close", chan_close},
                                    {"sender", chan_sender},
                                    {"sending", chan_sending},
                                    {"__close", chan_scope_end},
                                    {NULL, NULL}};

void rl_open_chan(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {{"chan", rille_chan}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
  rl_handle_push(L, S, &never()->src.obj, ANY_RIGHT);
  lua_setfield(L, -2, "never");
}

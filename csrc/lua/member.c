/*
** member: what a group counts is shared by its owner's userdata and its members; what a member may do, fire
** and send, are edges of its state, as its own handles are.
*/
#include "lua/member.h"

#include <stdlib.h>
#include <string.h>

#include "core/chan.h"
#include "lua/inspect.h"

#define CREW "rille.crew"

/* What all members count. */
typedef struct crew {
  atomic_uint refs;
  atomic_uint failed; /* so far */
  unsigned most;      /* this failure fires the done; 0: none; immutable */
  uint32_t active;    /* members whose place is not in the channel yet; the channel's lock */
} crew;

/* The owner's. The two objects are those of the handles that are its user values. */
typedef struct owner {
  crew *crew;
  rl_done *done;
  rl_chan *ended;
} owner;

struct rl_member {
  crew *crew;           /* counted */
  rl_edge fires, ended; /* of its state, until that ends */
  rl_chan *chan;        /* then counted, with the right to send */
  int64_t place;
};

static void release(crew *c) {
  if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) free(c);
}

/* There is room for the place of each member before it starts, so that its end needs no memory. */
static bool reserve(crew *c, rl_chan *ended) {
  rl_lock_take(&ended->src.lock);
  uint32_t need = rl_chan_count(ended) + c->active + 1;
  bool has = need <= ended->cap;
  while (has && ended->room < need) has = rl_chan_grow(ended);
  c->active += has;
  rl_lock_leave(&ended->src.lock);
  return has;
}

bool rl_member_join(lua_State *L, int idx, rl_task *t, lua_Integer place) {
  owner *o = luaL_checkudata(L, idx, CREW);
  rl_state *S = t->binding;
  rl_member *m = malloc(sizeof *m);
  if (!m || !reserve(o->crew, o->ended)) {
    free(m);
    return false;
  }
  atomic_fetch_add_explicit(&o->crew->refs, 1, memory_order_relaxed);
  m->crew = o->crew;
  m->place = place;
  rl_hold(&S->holder, &m->fires, &o->done->event.src.obj, RL_MAY_FIRE);
  rl_hold(&S->holder, &m->ended, &o->ended->src.obj, RL_MAY_SEND);
  S->member = m;
  return true;
}

/* From here on its group is told by nobody but the caller. */
static rl_member *detach(rl_state *S) {
  rl_member *m = S->member;
  S->member = NULL;
  if (!m) return NULL;
  rl_retain_as(m->ended.ref.to, RL_MAY_SEND);
  m->chan = (rl_chan *)(void *)m->ended.ref.to;
  rl_unhold(&S->holder, &m->fires);
  rl_unhold(&S->holder, &m->ended);
  return m;
}

static void leave(rl_member *m, rl_msg *place) {
  rl_wakes ws = {NULL, NULL};
  rl_lock_take(&m->chan->src.lock);
  m->crew->active--;
  if (place) rl_chan_put(m->chan, place, &ws);
  rl_lock_leave(&m->chan->src.lock);
  rl_wake_all(&ws);
  rl_release_as(&m->chan->src.obj, RL_MAY_SEND);
  release(m->crew);
  free(m);
}

void rl_member_ended(rl_member *m) {
  if (!m) return;
  rl_msg place = {.u.i = m->place, .tag = RL_MSG_INTEGER};
  leave(m, &place);
}

void rl_member_leave(rl_state *S) {
  rl_member *m = detach(S);
  if (m) leave(m, NULL);
}

/* The done is looked at first: a failure may be what its firing led to. */
static void fail(rl_member *m, rl_task *t) {
  rl_done *done = (rl_done *)(void *)m->fires.ref.to;
  t->late = rl_done_poll(done);
  t->rank = (atomic_fetch_add(&m->crew->failed, 1) + 1) & INT32_MAX;
  if (t->rank != m->crew->most) return;
  rl_msg cause = {.tag = RL_MSG_NONE};
  rl_msg_share(&cause, &t->outcome);
  rl_done_fire(done, RL_CANCELED, cause.tag == RL_MSG_NONE ? NULL : &cause);
  rl_msg_drop(&cause);
}

rl_member *rl_member_end(rl_state *S, bool failed) {
  if (failed && S->member) fail(S->member, S->task);
  return detach(S);
}

bool rl_member_refused(lua_State *L, rl_state *S) {
  return S->member && lua_gettop(L) >= 3 && lua_isnil(L, 2) && !lua_isnil(L, 3);
}

static size_t folder_of(const char *source) {
  const char *end = strrchr(source, '/');
  return end ? (size_t)(end - source) + 1 : strlen(source);
}

/* The next level, from `level` on, of a function written in Lua. */
static bool find_lua(lua_State *L, int *level, lua_Debug *ar) {
  for (; lua_getstack(L, *level, ar); ++*level) {
    lua_getinfo(L, "Sl", ar);
    if (ar->currentline > 0) return true;
  }
  return false;
}

int rl_member_starter(lua_State *L) {
  lua_Debug ar;
  int level = 1;
  if (!find_lua(L, &level, &ar)) return level;
  const char *own = ar.source;
  size_t len = folder_of(own);
  do level++;
  while (find_lua(L, &level, &ar) && strncmp(ar.source, own, len) == 0);
  return level;
}

/* Functions for rille.group */

static int crew_gc(lua_State *L) {
  owner *o = luaL_checkudata(L, 1, CREW);
  release(o->crew);
  o->crew = NULL;
  return 0;
}

/* rille._crew(cancel, ended, most): the failure number `most` fires the done (0: none does), the
   place of each member that ends is sent to the channel. */
static int rille_crew(lua_State *L) {
  rl_state *S = rl_self(L);
  rl_object *done = rl_handle_check(L, NULL, 1, RL_H_CANCEL);
  rl_object *ended = rl_handle_check(L, NULL, 2, RL_H_CHAN);
  lua_Integer most = luaL_checkinteger(L, 3);
  owner *o = lua_newuserdatauv(L, sizeof *o, 2);
  *o = (owner){NULL, (rl_done *)done, (rl_chan *)ended};
  luaL_setmetatable(L, CREW);
  S->has_finalizers = true;
  for (int i = 1; i <= 2; i++) {
    lua_pushvalue(L, i);
    lua_setiuservalue(L, -2, i);
  }
  if ((o->crew = calloc(1, sizeof *o->crew)) == NULL) return luaL_error(L, "not enough memory");
  o->crew->most = most > 0 && most <= UINT32_MAX ? (unsigned)most : 0;
  atomic_init(&o->crew->refs, 1);
  return 1;
}

/* rille._starter() -> "file:line": who has called into the modules of the caller's folder. */
static int rille_starter(lua_State *L) {
  char at[LUA_IDSIZE + 16];
  rl_place(L, rl_member_starter(L), at, sizeof at);
  lua_pushstring(L, at);
  return 1;
}

void rl_open_member(lua_State *L, rl_state *S) {
  static const luaL_Reg functions[] = {
      {"_crew", rille_crew}, {"_starter", rille_starter}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"__gc", crew_gc}, {NULL, NULL}};
  rl_setfuncs(L, S, functions);
  if (luaL_newmetatable(L, CREW)) rl_setfuncs(L, S, methods);
  lua_pop(L, 1);
}

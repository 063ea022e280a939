/*
** inspect: what a waiting state holds and waits for, read by another thread. Its waiter is held meanwhile, so nothing in
** it moves, except that what it waits for may happen: then cases are taken out of their queues, under the
** locks of these. Nothing here may raise: nobody would catch it, and the waiter would stay held.
*/
#include "lua/inspect.h"

#include <stdlib.h>
#include <string.h>

/* For the analysis of leaks */

static void look(void *binding, rl_glimpse *g) {
  rl_state *S = binding;
  *g = (rl_glimpse){&S->holder, S->wait->cases, S->wait->n, S->wait->deadline != INFINITY};
}

/* What finalizers do with Rille takes a wait of their own, as that of the state is under way. A library may want
   the finalizers of a pinned task on its thread. */
static bool tidy(void *binding) {
  rl_state *S = binding;
  unsigned turn = rl_waiter_turn(S->wait->waiter);
  if ((S->task && S->task->pinned) || S->tidied == turn) return false;
  S->tidied = turn;
  rl_wait *kept = S->wait, other;
  rl_waiter w;
  rl_waiter_open(&w);
  rl_wait_open(&other, &w);
  S->wait = &other;
  lua_gc(S->idle ? S->idle : S->L, LUA_GCCOLLECT);
  S->wait = kept;
  rl_wait_close(&other);
  rl_waiter_close(&w);
  return true;
}

const rl_inspector rl_state_inspector = {look, tidy};

/* For the eye. lua_getinfo with these options pushes and allocates nothing. */

void rl_place(lua_State *L, int level, char *buf, size_t size) {
  lua_Debug ar;
  for (; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline > 0) {
      snprintf(buf, size, "%s:%d", ar.short_src, ar.currentline);
      return;
    }
  }
  snprintf(buf, size, "?");
}

static void write_function(FILE *f, const lua_Debug *ar) {
  if (*ar->namewhat != '\0')
    fprintf(f, "%s '%s'", ar->namewhat, ar->name);
  else if (*ar->what == 'm')
    fputs("main chunk", f);
  else if (*ar->what != 'C')
    fprintf(f, "function <%s:%d>", ar->short_src, ar->linedefined);
  else
    fputs("?", f);
}

/* As luaL_traceback writes it, which would push the other state's functions here. */
static void write_stack(FILE *f, lua_State *L) {
  enum { FIRST = 10, LAST = 11 };
  lua_Debug ar;
  int depth = 0;
  while (lua_getstack(L, depth, &ar)) depth++;
  for (int level = 0; level < depth && lua_getstack(L, level, &ar); level++) {
    if (level == FIRST && depth > FIRST + LAST) {
      fprintf(f, "\n\t...\t(skipping %d levels)", depth - FIRST - LAST);
      level = depth - LAST - 1;
      continue;
    }
    lua_getinfo(L, "Slnt", &ar);
    fprintf(f, ar.currentline > 0 ? "\n\t%s:%d: in " : "\n\t%s: in ", ar.short_src, ar.currentline);
    write_function(f, &ar);
    if (ar.istailcall) fputs("\n\t(...tail calls...)", f);
  }
}

static char *traceback_of(rl_state *S, lua_State *L) {
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream(&text, &size);
  if (!f) return NULL;
  fputs("stack traceback:", f);
  write_stack(f, L);
  if (L != S->L) {
    fputs("\n\t(coroutine of)", f);
    write_stack(f, S->L);
  }
  fclose(f);
  return text;
}

/* Channels without a name are told apart as in their text in Lua. */
static void write_case(FILE *f, const rl_case *c) {
  rl_object *o = &c->node.on->obj;
  const char *name = o->kind == RL_CHAN   ? ((rl_chan *)o)->name
                     : o->kind == RL_TASK ? ((rl_task *)o)->name
                     : o->kind == RL_GATE ? ((rl_gate *)o)->name
                                          : ((rl_done *)o)->name;
  bool timed = o->kind == RL_CHAN && ((rl_chan *)o)->timed;
  const char *kind = o->kind == RL_DONE   ? "done"
                     : o->kind == RL_GATE ? rl_handle_name(rl_gate_handle((rl_gate *)o))
                     : timed              ? "timer"
                                          : "channel";
  if (name)
    fputs(name, f);
  else
    fprintf(f, "%s: %p", kind, (void *)o);
}

/* The last case is the operation's own; those before it may be the `done` that cuts it short. */
static void write_cases(FILE *f, const rl_wait *W, bool all) {
  bool first = true;
  for (unsigned i = all || W->n == 0 ? 0 : W->n - 1; i < W->n; i++) {
    if (W->cases[i].op == RL_CASE_NEVER) continue;
    if (!first) fputs(", ", f);
    first = false;
    write_case(f, &W->cases[i]);
  }
}

void rl_see_wait(rl_state *S, bool traceback, rl_sight *s) {
  const rl_wait *W = S->wait;
  s->op = W->op;
  s->since = W->since;
  s->on[0] = '\0';
  FILE *f = fmemopen(s->on, sizeof s->on, "w");
  if (f && strcmp(W->op, "sleep") != 0) write_cases(f, W, strcmp(W->op, "select") == 0);
  if (f) fclose(f);
  s->on[sizeof s->on - 1] = '\0';
  rl_place(W->L, 0, s->at, sizeof s->at);
  s->traceback = traceback ? traceback_of(S, W->L) : NULL;
}

void rl_sight_drop(rl_sight *s) {
  free(s->traceback);
  s->traceback = NULL;
}

void rl_sight_write(const rl_sight *s, FILE *f) {
  fprintf(f, "%s%s%s at %s", s->op, s->on[0] ? " " : "", s->on, s->at);
}

static bool inspect(rl_waiter *w, void **binding, bool traceback, rl_sight *s) {
  *s = (rl_sight){.op = NULL};
  if (!rl_waiter_inspect(w)) return false;
  rl_see_wait(*binding, traceback, s);
  rl_waiter_release(w);
  return true;
}

bool rl_inspect_task(rl_task *t, bool traceback, rl_sight *s) {
  return inspect(&t->waiter, &t->binding, traceback, s);
}

bool rl_inspect_main(rl_program *p, bool traceback, rl_sight *s) {
  return inspect(&p->waiter, &p->binding, traceback, s);
}

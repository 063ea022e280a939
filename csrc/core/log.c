/*
** log: the listeners and the lines. One mutex sees to the order: an event gets its time, is printed and put
** into the listeners' channels under it. It is a mutex and no rl_lock, because memory is
** allocated and stderr is written meanwhile; whom a put has woken goes on after it was left.
*/
#include "core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *const rl_log_names[RL_LOG_KINDS] = {"started", "waiting",     "woken",  "finished",
                                                "failed",  "interrupted", "leaked", "collected"};

struct rl_log_switch rl_log_switch;

typedef struct listener listener;
struct listener {
  listener *next;
  rl_program *program; /* immutable, as is all to `encode` */
  rl_chan *chan;       /* counted */
  rl_log_encode encode;
  unsigned dropped;
};

static pthread_mutex_t mutex =
    PTHREAD_MUTEX_INITIALIZER; /* what follows, and the order of events */
static listener *listeners;
static bool printing;

/* With the mutex held, when it may have to change. */
static void set_switch(void) {
  atomic_store_explicit(&rl_log_switch.on, printing || listeners, memory_order_relaxed);
}

/* Lines */

enum { NAME_ROOM = 200 }; /* longer names are cut */

typedef struct text {
  char s[1024]; /* enough for what is added with such names */
  size_t n;
} text;

__attribute__((format(printf, 2, 3))) static void add(text *t, const char *form, ...) {
  va_list args;
  va_start(args, form);
  int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, form, args);
  va_end(args);
  if (n > 0) t->n += (size_t)n;
  if (t->n >= sizeof t->s) t->n = sizeof t->s - 1;
}

/* A name may hold anything, but the line stays one. */
static void flatten(text *t) {
  for (size_t i = 0; i < t->n; i++)
    if ((unsigned char)t->s[i] < ' ') t->s[i] = ' ';
}

static void write_line(const char *s, size_t n) {
  ssize_t done;
  while (n > 0 && ((done = write(STDERR_FILENO, s, n)) >= 0 || errno == EINTR)) {
    if (done <= 0) continue;
    s += done;
    n -= (size_t)done;
  }
}

static void print(const rl_log_event *e) {
  text t = {.n = 0};
  bool ended = e->kind == RL_LOG_FINISHED || e->kind == RL_LOG_FAILED;
  add(&t, "rille: %.6f task %llu \"%.*s\" %s", e->time, (unsigned long long)e->task->id, NAME_ROOM,
      e->task->name, rl_log_names[e->kind]);
  if (e->duration >= 0) add(&t, " after %.6f s", e->duration);
  if (e->op) add(&t, ": %s%s%.*s", e->op, e->on ? " " : "", NAME_ROOM, e->on ? e->on : "");
  add(&t, "%s at %.*s", ended ? ", started" : "", NAME_ROOM, e->at);
  flatten(&t);
  t.s[t.n++] = '\n';
  write_line(t.s, t.n);
}

/* Listeners */

static rl_status put(rl_chan *c, rl_msg *m, rl_wakes *ws) {
  rl_lock_take(&c->src.lock);
  rl_status st = rl_chan_put(c, m, ws);
  rl_lock_leave(&c->src.lock);
  return st;
}

/* False: its channel is closed. */
static bool deliver(listener *l, rl_log_event *e, rl_wakes *ws) {
  rl_msg m = {.tag = RL_MSG_NONE};
  e->dropped = l->dropped;
  rl_status st = l->encode(e, &m) ? put(l->chan, &m, ws) : RL_NO_MEMORY;
  rl_msg_drop(&m);
  l->dropped = st == RL_OK ? 0 : l->dropped + 1;
  return st != RL_CLOSED;
}

void rl_log(rl_log_event *e) {
  rl_wakes ws = {NULL, NULL};
  bool closed = false;
  if (e->task->unlogged) return;
  pthread_mutex_lock(&mutex);
  e->time = rl_now();
  e->duration = e->since > 0 ? e->time - e->since : -1;
  if (printing) print(e);
  for (listener *l = listeners; l; l = l->next)
    if (l->program == e->task->program && !deliver(l, e, &ws)) closed = true;
  pthread_mutex_unlock(&mutex);
  rl_wake_all(&ws);
  if (closed) rl_log_forget(NULL);
}

void rl_log_task(rl_log_kind kind, const rl_task *t) {
  rl_log_event e = {.kind = kind, .task = t, .at = t->started};
  if (kind != RL_LOG_STARTED) e.since = t->since;
  rl_log(&e);
}

void rl_log_to_stderr(void) {
  pthread_mutex_lock(&mutex);
  printing = true;
  set_switch();
  pthread_mutex_unlock(&mutex);
}

bool rl_log_to(rl_program *p, rl_chan *c, rl_log_encode encode) {
  listener *l = malloc(sizeof *l);
  if (!l) return false;
  *l = (listener){.program = p, .chan = c, .encode = encode};
  rl_retain_as(&c->src.obj, RL_MAY_SEND);
  pthread_mutex_lock(&mutex);
  l->next = listeners;
  listeners = l;
  set_switch();
  pthread_mutex_unlock(&mutex);
  return true;
}

static bool is_closed(rl_chan *c) {
  rl_lock_take(&c->src.lock);
  bool closed = c->closed;
  rl_lock_leave(&c->src.lock);
  return closed;
}

/* Takes those out of the list that are to go, with the mutex held. */
static listener *take_out(rl_program *p) {
  listener *out = NULL, **at = &listeners, *l;
  while ((l = *at) != NULL) {
    if (l->program != p && !is_closed(l->chan)) {
      at = &l->next;
      continue;
    }
    *at = l->next;
    l->next = out;
    out = l;
  }
  return out;
}

void rl_log_forget(rl_program *p) {
  listener *next;
  pthread_mutex_lock(&mutex);
  listener *out = take_out(p);
  set_switch();
  pthread_mutex_unlock(&mutex);
  for (; out; out = next) {
    next = out->next;
    rl_release_as(&out->chan->src.obj, RL_MAY_SEND);
    free(out);
  }
}

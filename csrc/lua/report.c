/*
** report: waiting tasks, as lines of text.
*/
#include "lua/report.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lua/inspect.h"
#include "lua/log.h"

enum { MOST = 100 }; /* lines of a report */

static rl_leaks_mode setting = RL_LEAKS_REPORT; /* immutable once read */

static void read_setting(void) {
  static const char *const names[] = {"ignore", "report", "fail", "collect"};
  const char *e = getenv("RILLE_LEAKS");
  if (!e || !*e) return;
  for (int i = 0; i < 4; i++)
    if (strcmp(e, names[i]) == 0) {
      setting = (rl_leaks_mode)i;
      return;
    }
  fprintf(stderr, "rille: RILLE_LEAKS=%s is none of ignore, report, fail, collect\n", e);
}

rl_leaks_mode rl_leaks_setting(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, read_setting);
  return setting;
}

void rl_report_waiting(FILE *f, rl_program *p) {
  rl_verdict all;
  unsigned n = 0;
  if (!rl_verdict_all(p, &all)) return;
  for (unsigned i = all.n; i-- > 0;) {
    rl_task *t = all.leaked[i].task;
    rl_sight s;
    if (!rl_inspect_task(t, false, &s) || n++ >= MOST) continue;
    fprintf(f, "\n\ttask %llu \"%s\", started at %s: waits in ", (unsigned long long)t->id, t->name,
            t->started);
    rl_sight_write(&s, f);
  }
  if (n > MOST) fprintf(f, "\n\tand %u more", n - MOST);
  rl_verdict_drop(&all);
}

/* Tasks of one name that were started at the same place and wait at the same place are told of once. */
typedef struct group {
  const rl_task *first; /* the oldest */
  rl_sight sight;
  unsigned n;
} group;

static group *group_of(group *groups, unsigned n, const rl_task *t, const rl_sight *s) {
  for (unsigned i = 0; i < n; i++)
    if (strcmp(groups[i].first->name, t->name) == 0 &&
        strcmp(groups[i].first->started, t->started) == 0 && strcmp(groups[i].sight.at, s->at) == 0)
      return &groups[i];
  return NULL;
}

static void write_group(FILE *f, const group *g) {
  fprintf(f, "rille: task %llu \"%s\", started at %s, leaked: waits in ",
          (unsigned long long)g->first->id, g->first->name, g->first->started);
  rl_sight_write(&g->sight, f);
  fprintf(f, ", for %.1f s", rl_now() - g->sight.since);
  if (g->n > 1) fprintf(f, "; and %u more like it", g->n - 1);
  fputs("\n", f);
}

/* Returns how many leaks there are. */
static unsigned write_leaks(const rl_verdict *v, FILE *f) {
  group *groups = malloc(MOST * sizeof *groups);
  unsigned ngroups = 0, n = 0, others = 0;
  for (unsigned i = v->n; i-- > 0;) {
    rl_task *t = v->leaked[i].task;
    rl_sight s;
    if (t->daemon || !rl_inspect_task(t, false, &s)) continue;
    group *g = group_of(groups, ngroups, t, &s);
    n++;
    if (g)
      g->n++;
    else if (groups && ngroups < MOST)
      groups[ngroups++] = (group){t, s, 1};
    else
      others++;
  }
  for (unsigned i = 0; i < ngroups; i++) write_group(f, &groups[i]);
  if (others > 0) fprintf(f, "rille: and %u more leaked\n", others);
  free(groups);
  return n;
}

/* As one write, so that nothing gets between its lines. */
static unsigned report(const rl_verdict *v) {
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream(&text, &size);
  if (!f) return write_leaks(v, stderr);
  unsigned n = write_leaks(v, f);
  fclose(f);
  if (text) fputs(text, stderr);
  free(text);
  return n;
}

void rl_report_leaks(rl_program *p, bool own) {
  rl_leaks_mode mode = rl_leaks_setting();
  rl_state *S = p->binding;
  rl_leak_question q = {p, RL_MAIN_ENDS, own ? &S->holder : NULL, own ? &p->owner : NULL, false};
  rl_verdict v;
  if (mode == RL_LEAKS_IGNORE || !rl_leak_find(&q, &rl_state_inspector, &v)) return;
  rl_log_leaks(&v, false);
  if (mode == RL_LEAKS_COLLECT) {
    rl_leak_unwind(&v);
    rl_leak_await_rest(&v);
  } else {
    atomic_fetch_add(&p->leaked, report(&v));
  }
  rl_verdict_drop(&v);
}

/*
** report: waiting tasks, as lines of text.
*/
#include "lua/report.h"

#include <stdlib.h>
#include <string.h>

#include "lua/inspect.h"
#include "lua/log.h"

enum { MOST = 100 }; /* lines of a report */

rl_leaks_mode rl_leaks_setting(void) {
  static const char *const names[] = {"ignore", "report", "fail", "collect"};
  const char *e = getenv("RILLE_LEAKS");
  if (!e || !*e) return RL_LEAKS_REPORT;
  for (int i = 0; i < 4; i++)
    if (strcmp(e, names[i]) == 0) return (rl_leaks_mode)i;
  fprintf(stderr, "rille: RILLE_LEAKS=%s is none of ignore, report, fail, collect\n", e);
  return RL_LEAKS_REPORT;
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

/* True: it is one to tell of. */
static bool write_leak(const rl_leaked *l, bool tell, FILE *f) {
  rl_sight s;
  if (l->task->daemon || !rl_inspect_task(l->task, false, &s)) return false;
  if (!tell) return true;
  fprintf(f, "rille: task %llu \"%s\", started at %s, leaked: waits in ",
          (unsigned long long)l->task->id, l->task->name, l->task->started);
  rl_sight_write(&s, f);
  fprintf(f, ", for %.1f s\n", rl_now() - s.since);
  return true;
}

static unsigned write_leaks(const rl_verdict *v, FILE *f) {
  unsigned n = 0;
  for (unsigned i = v->n; i-- > 0;) n += write_leak(&v->leaked[i], n < MOST, f);
  if (n > MOST) fprintf(f, "rille: and %u more leaked\n", n - MOST);
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
  rl_leak_question q = {p, RL_MAIN_ENDS, own ? &S->holder : NULL, false};
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

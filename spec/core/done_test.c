/*
** done_test: what fires a done, when it can be seen, and what it says.
*/
#include "wait.h"

static rl_done *make_done(rl_done *parent, double own) {
  rl_done *d = rl_done_make(parent);
  if (!d || !rl_done_start(d, own)) abort();
  return d;
}

/* What malloc gives is not empty. */
static void nobody_sleeps_on_a_new_lock(void) {
  volatile unsigned char *dirty = malloc(sizeof(rl_done));
  if (!dirty) abort();
  for (size_t i = 0; i < sizeof(rl_done); i++) dirty[i] = 0xff;
  free((void *)dirty);
  rl_done *d = make_done(NULL, INFINITY);
  CHECK(atomic_load(&d->src.lock.sleepers) == 0, "nobody sleeps on the lock of a new done");
  drop_done(d);
}

int main(void) {
  begin(60);
  nobody_sleeps_on_a_new_lock();
  return finish();
}

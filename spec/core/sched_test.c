/*
** sched_test: what the core wakes in a worker that runs no fiber.
*/
#include "core/sched.h"

#include "test.h"

static atomic_uint left;

static void count(rl_fiber *f) {
  (void)f;
  count_down_one(&left);
}

static rl_fiber first = {.run = count}, woken = {.run = count};

/* As the look for deadlocks does, when what it has inspected was woken meanwhile. */
static double wake_one_fiber(void) {
  static atomic_bool done;
  if (!atomic_exchange(&done, true)) rl_sched_ready(&woken);
  return INFINITY;
}

static void housekeeping_strands_nothing(void) {
  atomic_store(&left, 2);
  rl_sched_when_idle(wake_one_fiber);
  rl_sched_start();
  rl_sched_ready(&first);
  await_zero(&left);
  CHECK(atomic_load(&left) == 0, "what is woken in keeping house runs, though all are idle");
}

int main(void) {
  begin(20);
  housekeeping_strands_nothing();
  return finish();
}

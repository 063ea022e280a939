/*
** carrier: an array, in which each knows its place. An object enters it once, by whoever is the only one to change what
** it holds, and leaves it when its last count has gone, before it is destroyed.
*/
#include "core/carrier.h"

#include <stdlib.h>

enum { FIRST_ROOM = 64 };

static struct {
  rl_lock lock; /* all below, and every object's `carrier`; nothing is taken under it */
  rl_object **at;
  unsigned n, room;
} carriers;

static bool grow(void) {
  unsigned room = carriers.room ? carriers.room * 2 : FIRST_ROOM;
  rl_object **at = realloc(carriers.at, room * sizeof(rl_object *));
  if (!at) return false;
  carriers.at = at;
  carriers.room = room;
  return true;
}

static void put(unsigned i, rl_object *o) {
  carriers.at[i] = o;
  atomic_store_explicit(&o->carrier, i + 1, memory_order_relaxed);
}

void rl_carrier_add(rl_object *o) {
  rl_lock_take(&carriers.lock);
  if (carriers.n < carriers.room || grow()) put(carriers.n++, o);
  rl_lock_leave(&carriers.lock);
}

void rl_carrier_remove(rl_object *o) {
  rl_lock_take(&carriers.lock);
  put(atomic_load_explicit(&o->carrier, memory_order_relaxed) - 1, carriers.at[--carriers.n]);
  rl_lock_leave(&carriers.lock);
}

unsigned rl_carrier_count(void) {
  rl_lock_take(&carriers.lock);
  unsigned n = carriers.n;
  rl_lock_leave(&carriers.lock);
  return n;
}

/* What is still listed is still there, but may have lost its last count: then it waits for this lock to leave. */
unsigned rl_carrier_list(rl_object **list, unsigned room) {
  unsigned n = 0;
  rl_lock_take(&carriers.lock);
  for (unsigned i = 0; i < carriers.n && n < room; i++)
    if (rl_try_retain(carriers.at[i])) list[n++] = carriers.at[i];
  rl_lock_leave(&carriers.lock);
  return n;
}

/*
** object: reference counts and edges. The last release runs `destroy` with nothing locked, and
** never one inside another: a chain of a hundred thousand objects falls without deep recursion.
*/
#include "core/object.h"

#include <stddef.h>

#include "core/carrier.h"

void rl_object_init(rl_object *o, rl_kind kind, void (*destroy)(rl_object *)) {
  atomic_init(&o->counts, 1);
  o->kind = (uint8_t)kind;
  atomic_init(&o->copied, 0);
  atomic_init(&o->carrier, 0);
  o->u.abandoned = NULL;
  o->destroy = destroy;
}

static _Thread_local rl_object *dying;
static _Thread_local bool destroying;

static void destroy_all(rl_object *o) {
  dying = o;
  destroying = true;
  while ((o = dying) != NULL) {
    dying = o->u.dying;
    if (atomic_load_explicit(&o->carrier, memory_order_relaxed) != 0) rl_carrier_remove(o);
    o->destroy(o);
  }
  destroying = false;
}

void rl_object_unused(rl_object *o) {
  o->u.dying = dying;
  if (destroying)
    dying = o;
  else
    destroy_all(o);
}

void rl_object_give_up(rl_object *o) {
  uint64_t right = rl_count_weight(RL_CAN_WAKE) - rl_count_weight(0);
  uint64_t was = atomic_fetch_sub_explicit(&o->counts, right, memory_order_acq_rel);
  if (rl_wakers_of(was) == 1) o->u.abandoned(o);
}

bool rl_try_retain(rl_object *o) {
  uint64_t n = atomic_load_explicit(&o->counts, memory_order_relaxed);
  while (rl_count_of(n) != 0)
    if (atomic_compare_exchange_weak_explicit(&o->counts, &n, n + 1, memory_order_acquire,
                                              memory_order_relaxed))
      return true;
  return false;
}

void rl_hold(rl_holder *h, rl_edge *e, rl_object *to, uint8_t rights) {
  rl_retain_as(to, rights);
  e->ref.to = to;
  e->ref.rights = rights;
  e->prev = NULL;
  e->next = h->first;
  if (h->first) h->first->prev = e;
  h->first = e;
}

void rl_unhold(rl_holder *h, rl_edge *e) {
  rl_object *to = e->ref.to;
  if (!to) return;
  e->ref.to = NULL;
  if (e->prev)
    e->prev->next = e->next;
  else
    h->first = e->next;
  if (e->next) e->next->prev = e->prev;
  rl_release_as(to, e->ref.rights);
}

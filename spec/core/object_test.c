/*
** object_test: counts, edges, weak references, messages, carriers.
*/
#include "core/carrier.h"
#include "test.h"

typedef struct ring {
  rl_object obj;
  rl_object *below;
} ring;

static atomic_uint destroyed;

static void destroy_link(rl_object *o) {
  rl_object *below = ((ring *)o)->below;
  free(o);
  atomic_fetch_add(&destroyed, 1);
  if (below) rl_release(below);
}

static ring *make_link(rl_object *below) {
  ring *l = malloc(sizeof *l);
  if (!l) abort();
  rl_object_init(&l->obj, RL_CLASS, destroy_link);
  l->below = below;
  return l;
}

static void a_long_chain_falls_flat(void) {
  ring *l = NULL;
  atomic_store(&destroyed, 0);
  for (int i = 0; i < 100000; i++) l = make_link(l ? &l->obj : NULL);
  rl_release(&l->obj);
  CHECK(atomic_load(&destroyed) == 100000, "a chain of 100,000 objects is destroyed");
}

static void edges_hold(void) {
  rl_holder h = {NULL};
  rl_edge e[3];
  ring *l = make_link(NULL);
  atomic_store(&destroyed, 0);
  for (int i = 0; i < 3; i++) rl_hold(&h, &e[i], &l->obj, RL_MAY_RECV);
  rl_release(&l->obj);
  rl_unhold(&h, &e[1]);
  rl_unhold(&h, &e[1]);
  rl_unhold(&h, &e[2]);
  CHECK(atomic_load(&destroyed) == 0 && h.first == &e[0], "an edge keeps its object");
  rl_unhold(&h, &e[0]);
  CHECK(atomic_load(&destroyed) == 1 && !h.first, "the last edge releases it");
}

static void *take_weakly(void *arg) {
  ring *l = arg;
  for (int i = 0; i < 20000; i++)
    if (rl_try_retain(&l->obj)) rl_release(&l->obj);
  return NULL;
}

static void weak_references(void) {
  ring *l = make_link(NULL);
  atomic_store(&destroyed, 0);
  pthread_t t[3];
  for (int i = 0; i < 3; i++) t[i] = start_thread(take_weakly, l);
  for (int i = 0; i < 3; i++) join_thread(t[i]);
  CHECK(atomic_load(&destroyed) == 0, "weak references from many threads leave the count");
  rl_release(&l->obj);
  CHECK(atomic_load(&destroyed) == 1, "and the last release destroys");
}

static void blobs(void) {
  ring *l = make_link(NULL);
  atomic_store(&destroyed, 0);
  rl_ref *ref = malloc(sizeof *ref);
  if (!ref) abort();
  *ref = (rl_ref){.to = &l->obj, .rights = RL_MAY_SEND};
  rl_msg a = {.u = {.blob = rl_blob_make("content", 8, ref, 1)}, .tag = RL_MSG_BLOB}, b, c;
  CHECK(rl_msg_bytes() == 8, "a blob counts its bytes");
  rl_msg_share(&b, &a);
  rl_msg_move(&c, &a);
  CHECK(a.tag == RL_MSG_NONE, "a moved message is empty");
  rl_msg_drop(&a);
  rl_msg_drop(&c);
  CHECK(atomic_load(&destroyed) == 0 && rl_msg_bytes() == 8, "a shared blob lives on");
  rl_msg_drop(&b);
  CHECK(atomic_load(&destroyed) == 1 && rl_msg_bytes() == 0, "the last share releases all");
}

static void references(void) {
  ring *l = make_link(NULL);
  atomic_store(&destroyed, 0);
  rl_msg a = {.u = {.ref = {.to = &l->obj, .rights = RL_MAY_RECV}}, .tag = RL_MSG_REF}, b;
  rl_msg_share(&b, &a);
  rl_msg_drop(&a);
  CHECK(atomic_load(&destroyed) == 0, "a shared reference lives on");
  rl_msg_drop(&b);
  CHECK(atomic_load(&destroyed) == 1, "the last reference releases");
}

static void *make_carriers(void *arg) {
  ring *l[50];
  (void)arg;
  for (int round = 0; round < 200; round++) {
    for (int i = 0; i < 50; i++) rl_carrier_add(&(l[i] = make_link(NULL))->obj);
    for (int i = 0; i < 50; i++) rl_release(&l[(i * 7) % 50]->obj);
  }
  return NULL;
}

static void *list_carriers(void *arg) {
  rl_object *list[100];
  for (int round = 0; round < 2000; round++) {
    unsigned n = rl_carrier_list(list, 100);
    for (unsigned i = 0; i < n; i++) rl_release(list[i]);
  }
  return arg;
}

static void carriers(void) {
  rl_object *list[2];
  ring *kept = make_link(NULL);
  rl_msg plain = {.u = {.i = 1}, .tag = RL_MSG_INTEGER};
  rl_msg m = {.u = {.ref = {.to = &kept->obj, .rights = RL_MAY_SEND}}, .tag = RL_MSG_REF};
  atomic_store(&destroyed, 0);
  rl_carry(&kept->obj, &plain);
  CHECK(rl_carrier_count() == 0, "what carries no references is not listed");
  rl_carry(&kept->obj, &m);
  rl_carry(&kept->obj, &m);
  pthread_t t[3];
  for (int i = 0; i < 3; i++) t[i] = start_thread(i < 2 ? make_carriers : list_carriers, NULL);
  for (int i = 0; i < 3; i++) join_thread(t[i]);
  CHECK(atomic_load(&destroyed) == 20000, "being listed keeps nobody");
  CHECK(rl_carrier_list(list, 2) == 1 && list[0] == &kept->obj, "who is left is listed once");
  rl_release(&kept->obj);
  rl_release(&kept->obj);
  CHECK(rl_carrier_count() == 0, "who is destroyed leaves the list");
}

static rl_lock lock;
static unsigned guarded;

static void *count_up(void *arg) {
  (void)arg;
  for (int i = 0; i < 50000; i++) {
    rl_lock_take(&lock);
    guarded++;
    rl_lock_leave(&lock);
  }
  return NULL;
}

static void the_lock_excludes(void) {
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start_thread(count_up, NULL);
  for (int i = 0; i < 4; i++) join_thread(t[i]);
  CHECK(guarded == 200000, "the lock lets one in at a time");
}

static void random_numbers(void) {
  unsigned n[7] = {0};
  for (int i = 0; i < 70000; i++) n[rl_random(7)]++;
  for (int i = 0; i < 7; i++) CHECK(n[i] > 9300 && n[i] < 10700, "random numbers are uniform");
}

int main(void) {
  begin(60);
  a_long_chain_falls_flat();
  edges_hold();
  weak_references();
  blobs();
  references();
  carriers();
  the_lock_excludes();
  random_numbers();
  return finish();
}

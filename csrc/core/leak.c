/*
** leak: a graph of who could wake whom, and what in it can be reached from what may run.
**
** Nodes are objects and blobs, each with powers: who has WAKE over a channel may send or close, over a
** done fire; READ is to receive, or to read what something holds; CAUSE is to get to read the cause of a done in
** one that hangs on it, VALUES its values; KEEP is to have a reference to it at all. Holders are the states that wait. A
** link says what follows when a node comes under a power: that a holder is woken, or that powers over other
** nodes follow. A holder that is woken, or may run, brings the powers of its handles.
**
** What runs cannot be read. But each object counts who holds it, and how many of those could wake: what
** is found among the states that wait and in the contents of objects is taken off, and what remains of
** the counts is with somebody who runs.
**
** Nothing is stopped: a state is inspected one moment, an object read under its lock the next. Counts are read after
** all else, and in the end each state and object that was read is looked at again: whatever such a one held that has moved
** meanwhile is taken for live. Objects are kept by a count of ours until the end. That no verdict is wrong is
** shown in docs/leaks.md.
*/
#include "core/leak.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/after.h"
#include "core/carrier.h"
#include "core/ticker.h"

enum { WAKE = 1, READ = 2, VALUES = 4, CAUSE = 8, INPUT = 16, KEEP = 32 };
enum { EVERY = WAKE | READ | VALUES | KEEP };
enum { BLOB = RL_GATE + 1 }; /* a kind of node beside those of objects */
enum { NONE = UINT32_MAX };

typedef struct node {
  void *at;       /* an rl_object or rl_blob; ours is one count */
  uint64_t found; /* counts that were seen, added up as the object does */
  uint32_t links; /* the first */
  uint32_t open;  /* a done's inputs that have to fire before it does */
  uint32_t taken; /* of a channel, when it was read */
  uint8_t kind, live;
  bool held; /* a task's: by a holder that was read */
} node;

/* When `when` over its node is live: powers over node `to`, or holder `to` is woken. A reference is kept by who keeps its
   node, and then `kept` follows. */
typedef struct link {
  uint32_t next, to;
  uint8_t when, gives, kept;
  bool wakes;
} link;

typedef struct grip {
  uint32_t node;
  uint8_t gives;
} grip;

typedef struct holder {
  rl_waiter *waiter; /* NULL: the caller's, which does not change */
  rl_task *task;     /* NULL: a main program's */
  void *binding;
  uint32_t node;       /* the task's */
  uint32_t first, end; /* its grips */
  unsigned turn, nwaits;
  bool live, root, ends;
} holder;

typedef struct array {
  void *at;
  uint32_t n, room;
} array;

typedef struct scan {
  const rl_leak_question *q;
  const rl_inspector *in;
  array nodes, links, grips, holders, todo;
  uint32_t *slots; /* of a table of nodes by address */
  uint32_t nslots;
  bool failed; /* out of memory */
} scan;

/* Arrays */

static void *add(scan *s, array *a, size_t size) {
  if (a->n == a->room) {
    uint32_t room = a->room ? a->room * 2 : 256;
    void *at = realloc(a->at, room * size);
    if (!at) return s->failed = true, NULL;
    a->at = at;
    a->room = room;
  }
  return (char *)a->at + size * a->n++;
}

static void reserve(scan *s, array *a, size_t size, uint32_t room) {
  a->at = malloc(room * size);
  a->room = a->at ? room : 0;
  s->failed |= !a->at;
}

static node *node_at(scan *s, uint32_t i) {
  return (node *)s->nodes.at + i;
}

static holder *holder_at(scan *s, uint32_t i) {
  return (holder *)s->holders.at + i;
}

/* Nodes */

static uint32_t hash(const void *p, uint32_t n) {
  return (uint32_t)(((uint64_t)(uintptr_t)p * 0x9E3779B97F4A7C15u) >> 32) & (n - 1);
}

static bool rehash(scan *s) {
  uint32_t n = s->nslots ? s->nslots * 2 : 1024;
  uint32_t *slots = malloc(n * sizeof *slots);
  if (!slots) return s->failed = true, false;
  memset(slots, 0xff, n * sizeof *slots);
  for (uint32_t i = 0; i < s->nodes.n; i++) {
    uint32_t k = hash(node_at(s, i)->at, n);
    while (slots[k] != NONE) k = (k + 1) & (n - 1);
    slots[k] = i;
  }
  free(s->slots);
  s->slots = slots;
  s->nslots = n;
  return true;
}

/* The node of what is known to be alive; NONE: out of memory. */
static uint32_t node_of(scan *s, void *p, uint8_t kind) {
  if (s->nodes.n >= s->nslots / 2 && !rehash(s)) return NONE;
  uint32_t k = hash(p, s->nslots);
  for (; s->slots[k] != NONE; k = (k + 1) & (s->nslots - 1))
    if (node_at(s, s->slots[k])->at == p) return s->slots[k];
  node *n = add(s, &s->nodes, sizeof *n);
  if (!n) return NONE;
  *n = (node){.at = p, .kind = kind, .links = NONE};
  if (kind == BLOB)
    rl_blob_retain(p);
  else
    rl_retain(p);
  return s->slots[k] = s->nodes.n - 1;
}

static uint32_t object_node(scan *s, rl_object *o) {
  return node_of(s, o, o->kind);
}

static void count(scan *s, uint32_t i, uint64_t weight) {
  if (i != NONE) node_at(s, i)->found += weight;
}

static void add_link(scan *s, uint32_t from, link of) {
  if (from == NONE || of.to == NONE) return;
  link *l = add(s, &s->links, sizeof *l);
  if (!l) return;
  of.next = node_at(s, from)->links;
  *l = of;
  node_at(s, from)->links = s->links.n - 1;
}

/* What rights over an object are worth. */
static uint8_t powers(rl_object *o, uint8_t rights) {
  uint8_t p = 0;
  if (rights & RL_CAN_WAKE && o->kind != RL_AFTER) p |= WAKE;
  if (rights & (RL_MAY_RECV | RL_MAY_JOIN) || o->kind == RL_CLASS || o->kind == RL_GATE) p |= READ;
  if (rights & RL_MAY_WATCH) p |= READ | VALUES;
  return p;
}

/* What is over `r` with who keeps the object it lies in: letting go of the last right to fire a promise fires it. */
static uint8_t kept(const rl_ref *r) {
  return r->rights & RL_CAN_WAKE && r->to->u.abandoned ? KEEP | WAKE : KEEP;
}

/* A reference that lies in `from`, and is had by who has `when` over that. */
static void contain_ref(scan *s, uint32_t from, uint8_t when, const rl_ref *r) {
  uint32_t to = object_node(s, r->to);
  count(s, to, rl_count_weight(r->rights));
  add_link(s, from,
           (link){.to = to, .when = when, .gives = powers(r->to, r->rights), .kept = kept(r)});
}

/* A message likewise. */
static void contain(scan *s, uint32_t from, uint8_t when, const rl_msg *m) {
  if (!rl_msg_has_refs(m)) return;
  if (m->tag == RL_MSG_REF) {
    contain_ref(s, from, when, &m->u.ref);
    return;
  }
  uint32_t to = node_of(s, m->u.blob, BLOB);
  count(s, to, 1);
  add_link(s, from, (link){.to = to, .when = when, .gives = READ, .kept = KEEP});
}

/* A count that `from` has of object `o` without a right. */
static uint32_t lean_on(scan *s, uint32_t from, uint8_t when, rl_object *o, uint8_t gives) {
  uint32_t to = object_node(s, o);
  count(s, to, 1);
  add_link(s, from, (link){.to = to, .when = when, .gives = gives, .kept = KEEP});
  return to;
}

/* Holders */

static void hold(scan *s, uint32_t to, uint8_t gives) {
  grip *g = to == NONE ? NULL : add(s, &s->grips, sizeof *g);
  if (g) *g = (grip){to, gives};
}

static void hold_message(scan *s, const rl_msg *m, uint8_t gives) {
  if (m->tag == RL_MSG_REF)
    hold(s, object_node(s, m->u.ref.to), gives ? powers(m->u.ref.to, m->u.ref.rights) : 0);
  else if (rl_msg_has_refs(m))
    hold(s, node_of(s, m->u.blob, BLOB), gives);
}

static void count_message(scan *s, const rl_msg *m) {
  if (m->tag == RL_MSG_REF)
    count(s, object_node(s, m->u.ref.to), rl_count_weight(m->u.ref.rights));
  else if (rl_msg_has_refs(m))
    count(s, node_of(s, m->u.blob, BLOB), 1);
}

static void read_edges(scan *s, const rl_holder *h) {
  for (const rl_edge *e = h->first; e && !s->failed; e = e->next) {
    uint32_t to = object_node(s, e->ref.to);
    count(s, to, rl_count_weight(e->ref.rights));
    hold(s, to, powers(e->ref.to, e->ref.rights));
    if (!(e->ref.rights & RL_OFFERS)) continue;
    const rl_msg *m = &((const rl_offer *)(const void *)e)->msg;
    count_message(s, m);
    hold_message(s, m, READ);
  }
}

/* What a waiting sender offers is had by who may receive from there. It lies in the sender until it is taken, under
   the channel's lock. */
static void read_offer(scan *s, uint32_t on, rl_case *c) {
  rl_lock_take(&c->node.on->lock);
  rl_msg m = {.tag = RL_MSG_NONE};
  if (c->node.queue) rl_msg_share(&m, &c->msg);
  rl_lock_leave(&c->node.on->lock);
  contain(s, on, READ, &m);
  hold_message(s, &m, 0);
  rl_msg_drop(&m);
}

/* What is held of gates. A count of one who may release is with each hold. */
static void read_holds(scan *s, const rl_owner *o) {
  for (const rl_grant *h = o->first; h && !s->failed; h = h->next) {
    uint32_t to = object_node(s, &h->gate->src.obj);
    count(s, to, rl_count_weight(RL_MAY_RELEASE));
    hold(s, to, WAKE);
  }
}

/* Those behind one that gives up waiting for much may get the little that there is. */
static bool others_may_pass(const rl_gate *g) {
  return g->type == RL_SEMAPHORE || g->type == RL_RWMUTEX;
}

static void read_wait(scan *s, uint32_t h, const rl_glimpse *g) {
  static const uint8_t woken_by[] = {
      [RL_CASE_NEVER] = 0,    [RL_CASE_RECV] = WAKE, [RL_CASE_SEND] = WAKE | READ,
      [RL_CASE_WATCH] = WAKE, [RL_CASE_PASS] = WAKE, [RL_CASE_SIGNAL] = WAKE};
  for (unsigned i = 0; i < g->ncases && !s->failed; i++) {
    rl_case *c = &g->cases[i];
    if (c->op == RL_CASE_NEVER) continue;
    uint32_t on = object_node(s, &c->node.on->obj);
    add_link(s, on, (link){.to = h, .when = woken_by[c->op], .wakes = true});
    if (c->op == RL_CASE_SEND) read_offer(s, on, c);
    if (c->op == RL_CASE_PASS && others_may_pass(rl_case_gate(c))) hold(s, on, WAKE);
  }
}

/* A state that is inspected, or the caller's. */
static void read_holder(scan *s, holder h, const rl_glimpse *g, const rl_owner *o) {
  if (!add(s, &s->holders, sizeof h)) return;
  h.first = s->grips.n;
  read_edges(s, g->holder);
  read_holds(s, o);
  read_wait(s, s->holders.n - 1, g);
  h.end = s->grips.n;
  h.nwaits = g->ncases;
  h.root |= g->timed;
  *holder_at(s, s->holders.n - 1) = h;
}

/* False: it runs, or is about to. */
static bool read_waiting(scan *s, rl_waiter *w, rl_task *t, const rl_owner *o, void **binding,
                         rl_main_role role) {
  rl_glimpse g;
  if (!rl_waiter_inspect(w)) return false;
  holder h = {.waiter = w, .task = t, .binding = *binding, .node = NONE};
  h.root = role == RL_MAIN_RUNS;
  h.ends = role == RL_MAIN_ENDS;
  h.turn = rl_waiter_turn(w);
  s->in->look(*binding, &g);
  if (t) h.node = object_node(s, &t->end.src.obj);
  if (h.node != NONE) node_at(s, h.node)->held = true;
  read_holder(s, h, &g, o);
  rl_waiter_release(w);
  return true;
}

static void read_caller(scan *s) {
  rl_glimpse g = {.holder = s->q->caller};
  holder h = {.node = NONE, .root = true};
  h.ends = s->q->main == RL_MAIN_ENDS;
  if (s->q->caller) read_holder(s, h, &g, s->q->owner);
}

/* The tasks of a program that have not ended; each is counted. */
typedef struct task_list {
  scan *s;
  array tasks;
} task_list;

static void list_task(rl_task *t, void *ud) {
  task_list *l = ud;
  rl_task_state st = (rl_task_state)atomic_load_explicit(&t->state, memory_order_relaxed);
  if (st == RL_FINISHED || st == RL_FAILED || l->s->failed) return;
  if (!rl_try_retain(&t->end.src.obj)) return;
  rl_task **p = add(l->s, &l->tasks, sizeof *p);
  if (p)
    *p = t;
  else
    rl_release(&t->end.src.obj);
}

/* Under the list's lock there is room already for what was there before. */
static rl_task **list_tasks(scan *s, rl_program *p, uint32_t *n) {
  task_list l = {.s = s};
  reserve(s, &l.tasks, sizeof(rl_task *), atomic_load(&p->live) + 256);
  rl_program_each(p, list_task, &l);
  *n = l.tasks.n;
  return l.tasks.at;
}

static void read_program(scan *s, rl_program *p) {
  bool asked = p == s->q->program, ends = asked && s->q->main == RL_MAIN_ENDS;
  uint32_t n;
  if (!ends || !s->q->caller)
    read_waiting(s, &p->waiter, NULL, &p->owner, &p->binding, asked ? s->q->main : RL_MAIN_RUNS);
  rl_task **tasks = list_tasks(s, p, &n);
  for (uint32_t i = 0; i < n; i++) {
    rl_task *t = tasks[i];
    if (!s->failed) read_waiting(s, &t->waiter, t, &t->owner, &t->binding, RL_MAIN_WAITS);
    rl_release(&t->end.src.obj);
  }
  free(tasks);
}

/* Contents */

static void read_chan(scan *s, uint32_t i, rl_chan *c) {
  rl_msg few[8], *m = few;
  unsigned room = 8, n;
  for (;;) { /* nothing is allocated under the lock */
    rl_lock_take(&c->src.lock);
    n = rl_chan_count(c);
    if (n <= room) break;
    rl_lock_leave(&c->src.lock);
    if (m != few) free(m);
    m = malloc((room = n + n / 4) * sizeof *m);
    if (!m) {
      s->failed = true;
      return;
    }
  }
  for (unsigned k = 0; k < n; k++) rl_msg_share(&m[k], &c->ring[(c->head + k) % c->room]);
  node_at(s, i)->taken = c->taken;
  rl_lock_leave(&c->src.lock);
  for (unsigned k = 0; k < n; k++) {
    contain(s, i, READ, &m[k]);
    rl_msg_drop(&m[k]);
  }
  if (m != few) free(m);
}

typedef struct input_of {
  scan *s;
  uint32_t done;
} input_of;

static void read_input(rl_source *on, bool open, void *ud) {
  input_of *in = ud;
  uint8_t when = open && on->obj.kind == RL_DONE ? READ | CAUSE : 0;
  uint32_t i = lean_on(in->s, in->done, when, &on->obj, CAUSE);
  if (open) add_link(in->s, i, (link){.to = in->done, .when = WAKE, .gives = INPUT});
}

/* A task that the done is to start is held by an `after`, which is found in the done's queue only. */
enum { AFTERS = 64 };

static unsigned list_afters(rl_done *d, rl_after **list, rl_msg *calls, unsigned from) {
  unsigned n = 0, at = 0;
  rl_lock_take(&d->event.src.lock);
  for (rl_node *k = d->event.watchers.first; k && n < AFTERS; k = k->next) {
    rl_waiter *w = k->waiter;
    if (w->kind != RL_WAITER_HOOK || w->u.hook.owner->kind != RL_AFTER || at++ < from) continue;
    rl_after *a = rl_after_of(w->u.hook.owner);
    if (!rl_after_task(a) || !rl_try_retain(rl_after_object(a))) continue;
    rl_msg_share(&calls[n], &rl_after_task(a)->call);
    list[n++] = a;
  }
  rl_lock_leave(&d->event.src.lock);
  return n;
}

static void read_afters(scan *s, uint32_t i, rl_done *d) {
  rl_after *list[AFTERS];
  rl_msg calls[AFTERS];
  unsigned n, from = 0;
  do {
    n = list_afters(d, list, calls, from);
    from += AFTERS;
    for (unsigned k = 0; k < n; k++) {
      uint32_t a = object_node(s, rl_after_object(list[k]));
      count(s, a, 1); /* it holds itself */
      add_link(s, i, (link){.to = a, .when = WAKE, .gives = WAKE});
      contain(s, a, WAKE, &calls[k]);
      rl_msg_drop(&calls[k]);
      rl_release(rl_after_object(list[k]));
    }
  } while (n == AFTERS && !s->failed);
}

static void read_done(scan *s, uint32_t i, rl_done *d) {
  input_of in = {s, i};
  unsigned open = d->inputs->each(d, read_input, &in);
  if (i == NONE) return;
  node_at(s, i)->open = open;
  contain(s, i, VALUES, &d->values);
  if (d->values_from) lean_on(s, i, VALUES, &d->values_from->event.src.obj, VALUES);
  bool fired = rl_done_fired(d);
  contain(s, i, fired ? 0 : READ | CAUSE, &d->timeout_cause);
  if (fired)
    contain(s, i, READ | CAUSE, &d->cause);
  else
    read_afters(s, i, d);
}

static void read_task(scan *s, uint32_t i, rl_task *t) {
  if (rl_task_ended(t))
    contain(s, i, READ, &t->outcome);
  else
    count(s, i, 1); /* it holds itself */
}

static void read_after(scan *s, uint32_t i, rl_after *a) {
  lean_on(s, i, 0, &rl_after_on(a)->event.src.obj, 0);
}

static void read_blob(scan *s, uint32_t i, rl_blob *b) {
  for (uint32_t k = 0; k < b->nrefs; k++) contain_ref(s, i, READ, &b->ref[k]);
}

static void read_unit(scan *s, uint32_t i, rl_unit *u) {
  rl_msg m = {.u.blob = u->blob, .tag = RL_MSG_BLOB};
  contain(s, i, READ, &m);
}

static void read_gate(scan *s, uint32_t i, rl_gate *g) {
  rl_once *o = g->type == RL_ONCE ? (rl_once *)g : NULL;
  if (o && rl_once_decided(o)) contain(s, i, READ, &o->outcome);
}

/* What was copied out of it before this is with others already when counts are read. */
static void begin_to_read(const node *n) {
  if (n->kind == BLOB) return;
  rl_object *o = n->at;
  atomic_exchange_explicit(&o->copied, 0, memory_order_acquire);
}

static void read_node(scan *s, uint32_t i) {
  node *n = node_at(s, i);
  begin_to_read(n);
  switch (n->kind) {
  case RL_CHAN: read_chan(s, i, n->at); break;
  case RL_DONE: read_done(s, i, n->at); break;
  case RL_TASK: read_task(s, i, n->at); break;
  case RL_AFTER: read_after(s, i, n->at); break;
  case RL_CLASS: read_unit(s, i, n->at); break;
  case RL_GATE: read_gate(s, i, n->at); break;
  case BLOB: read_blob(s, i, n->at); break;
  default: rl_broken(__FILE__, __LINE__, "a node of no kind");
  }
}

/* What carries references may hang on nothing but itself, and so be known to nobody who waits. */
static void find_carriers(scan *s) {
  unsigned room = rl_carrier_count() + 64;
  rl_object **list = malloc(room * sizeof(rl_object *));
  unsigned n = list ? rl_carrier_list(list, room) : 0;
  s->failed |= !list;
  for (unsigned i = 0; i < n; i++) {
    if (!s->failed) object_node(s, list[i]);
    rl_release(list[i]);
  }
  free(list);
}

static void read_all(scan *s) {
  read_caller(s);
  for (rl_program *p = rl_programs(); p && !s->failed; p = p->next) read_program(s, p);
  find_carriers(s);
  for (uint32_t i = 0; i < s->nodes.n && !s->failed; i++) read_node(s, i);
}

/* Marking */

static bool is_never(const node *n) {
  return n->kind == RL_CHAN && ((rl_chan *)n->at)->never;
}

/* A task's end and the start of an `after` come from what is marked, not from who holds a handle. */
static void give(scan *s, uint32_t i, uint8_t gives) {
  node *n = node_at(s, i);
  if (gives & INPUT && n->open > 0 && --n->open == 0) gives |= WAKE;
  gives &= (EVERY | CAUSE) & ~n->live;
  if (!gives || is_never(n)) return;
  n->live |= gives;
  grip *g = add(s, &s->todo, sizeof *g);
  if (g) *g = (grip){i, gives};
}

static void wake(scan *s, uint32_t i) {
  holder *h = holder_at(s, i);
  if (h->live || h->ends) return;
  h->live = true;
  if (h->node != NONE) give(s, h->node, WAKE);
  for (uint32_t k = h->first; k < h->end; k++) {
    const grip *g = (grip *)s->grips.at + k;
    give(s, g->node, g->gives | KEEP);
  }
}

static void follow(scan *s) {
  while (s->todo.n > 0 && !s->failed) {
    grip g = ((grip *)s->todo.at)[--s->todo.n];
    for (uint32_t k = node_at(s, g.node)->links; k != NONE;) {
      link l = ((link *)s->links.at)[k];
      k = l.next;
      bool comes = l.when & g.gives;
      if (!l.wakes)
        give(s, l.to, (comes ? l.gives | l.kept : 0) | (g.gives & KEEP ? l.kept : 0));
      else if (comes)
        wake(s, l.to);
    }
  }
}

static rl_done *as_done(const node *n) {
  return n->kind == RL_DONE ? n->at : NULL;
}

/* Does it happen without anybody's doing: by a timer, a signal, or as it has begun already? */
static bool by_itself(const node *n) {
  if (n->kind == RL_CHAN) return ((rl_chan *)n->at)->timed && rl_ticker_armed(rl_ticker_of(n->at));
  if (n->kind == RL_TASK)
    return !n->held; /* one that has ended may still be at waking its watchers */
  if (n->kind == RL_AFTER) return rl_after_decided(n->at);
  if (n->kind == RL_GATE) return rl_gate_moving(n->at);
  rl_done *d = as_done(n);
  return d && (rl_done_fired(d) || d->timed || d->foreign || n->open == 0 ||
               rl_waiter_claimed(&d->self));
}

/* Is it had by others than those that were read? By us, too, if nobody else has it any more: with our count goes what
   it holds. */
static bool more_than_found(const node *n, uint32_t all) {
  return all != rl_count_of(n->found) + 1 || all == 1;
}

/* What others have that were not read: who runs, C structures, what is on its way. */
static uint8_t held_elsewhere(const node *n) {
  if (n->kind == BLOB) {
    uint32_t all = atomic_load_explicit(&((rl_blob *)n->at)->refs, memory_order_acquire);
    return more_than_found(n, all) ? READ | KEEP : 0;
  }
  uint64_t counts = atomic_load_explicit(&((rl_object *)n->at)->counts, memory_order_acquire);
  bool more = more_than_found(n, rl_count_of(counts));
  bool wakers = rl_wakers_of(counts) != rl_wakers_of(n->found);
  uint8_t p = more ? READ | VALUES | KEEP : 0;
  if (wakers) p = EVERY;
  if (n->kind == RL_TASK || n->kind == RL_AFTER) p &= READ | KEEP;
  /* one that was not read may stand before others and give up */
  if (n->kind == RL_GATE && more && others_may_pass(n->at)) p |= WAKE;
  return p;
}

/* Blobs come first: nothing tells that something was copied out of one. */
static void mark_held_elsewhere(scan *s) {
  for (uint32_t i = 0; i < s->nodes.n; i++)
    if (node_at(s, i)->kind == BLOB) give(s, i, held_elsewhere(node_at(s, i)));
  rl_fence();
  for (uint32_t i = 0; i < s->nodes.n; i++)
    if (node_at(s, i)->kind != BLOB) give(s, i, held_elsewhere(node_at(s, i)));
}

static void mark_roots(scan *s) {
  rl_fence(); /* all was read before the counts are */
  mark_held_elsewhere(s);
  for (uint32_t i = 0; i < s->nodes.n; i++)
    if (by_itself(node_at(s, i))) give(s, i, WAKE);
  for (uint32_t i = 0; i < s->holders.n; i++)
    if (holder_at(s, i)->root) wake(s, i);
}

/* What has moved meanwhile */

static uint8_t whole(const node *n) {
  return n->kind == RL_TASK || n->kind == RL_AFTER ? READ | KEEP : EVERY;
}

static void doubt_holder(scan *s, uint32_t i) {
  holder *h = holder_at(s, i);
  if (!h->waiter || rl_waiter_still(h->waiter, h->turn)) return;
  wake(s, i);
  for (uint32_t k = h->first; k < h->end; k++) {
    uint32_t to = ((grip *)s->grips.at + k)->node;
    give(s, to, whole(node_at(s, to)));
  }
}

static bool was_copied(const node *n) {
  rl_object *o = n->at;
  return n->kind != BLOB && atomic_load_explicit(&o->copied, memory_order_acquire) != 0;
}

/* Has something that it held been taken out, or copied? */
static bool has_moved(const node *n) {
  if (was_copied(n)) return true;
  if (n->kind == RL_AFTER) return rl_after_decided(n->at);
  if (n->kind != RL_CHAN) return false;
  rl_chan *c = n->at;
  rl_lock_take(&c->src.lock);
  bool moved = c->taken != n->taken;
  rl_lock_leave(&c->src.lock);
  return moved;
}

static void doubt_node(scan *s, uint32_t i) {
  const node *n = node_at(s, i);
  if (n->kind == RL_DONE && by_itself(n)) give(s, i, WAKE);
  if (!has_moved(n)) return;
  if (n->kind == RL_CHAN && ((rl_chan *)n->at)->timed) give(s, i, WAKE);
  for (uint32_t k = node_at(s, i)->links; k != NONE;) {
    link l = ((link *)s->links.at)[k];
    k = l.next;
    if (!l.wakes) give(s, l.to, whole(node_at(s, l.to)));
  }
}

static void doubt(scan *s) {
  rl_fence(); /* the counts were read before this */
  for (uint32_t i = 0; i < s->holders.n; i++) doubt_holder(s, i);
  for (uint32_t i = 0; i < s->nodes.n; i++) doubt_node(s, i);
}

/* One scan */

static void forget(scan *s) {
  for (uint32_t i = 0; i < s->nodes.n; i++) {
    node *n = node_at(s, i);
    if (n->kind == BLOB)
      rl_blob_release(n->at);
    else
      rl_release(n->at);
  }
  array *const arrays[] = {&s->nodes, &s->links, &s->grips, &s->holders, &s->todo};
  for (unsigned i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(arrays[i]->at);
  free(s->slots);
}

static bool run(scan *s, const rl_leak_question *q, const rl_inspector *in) {
  *s = (scan){.q = q, .in = in};
  read_all(s);
  if (!s->failed) mark_roots(s);
  follow(s);
  if (!s->failed) doubt(s);
  follow(s);
  return !s->failed;
}

/* Collects the garbage of states that are live by what they hold. True: there was some. A main program whose deadlock
   nobody has asked for does not find its finalizers run by another thread. */
static bool tidy(scan *s) {
  bool any = false, unasked = s->q->main == RL_MAIN_WAITS;
  for (uint32_t i = 0; i < s->holders.n; i++) {
    holder *h = holder_at(s, i);
    if (!h->live || !h->waiter || h->end - h->first <= h->nwaits) continue;
    if (unasked && !h->task) continue;
    if (!rl_waiter_inspect(h->waiter)) continue;
    if (rl_waiter_turn(h->waiter) == h->turn) any |= s->in->tidy(h->binding);
    rl_waiter_release(h->waiter);
  }
  return any;
}

static bool list_leaked(scan *s, rl_verdict *v) {
  for (uint32_t i = 0; i < s->holders.n; i++) v->n += !holder_at(s, i)->live;
  v->leaked = malloc((v->n + 1) * sizeof *v->leaked);
  if (!v->leaked) return v->n = 0, false;
  v->n = 0;
  for (uint32_t i = 0; i < s->holders.n; i++) {
    holder *h = holder_at(s, i);
    if (h->live) continue;
    if (!h->task && h->waiter && !h->ends) {
      v->deadlock = true;
      v->main_turn = h->turn;
    }
    if (!h->task || h->task->program != s->q->program) continue;
    rl_retain(&h->task->end.src.obj);
    v->leaked[v->n++] = (rl_leaked){h->task, h->turn};
  }
  return true;
}

/* Then all that is read holds what it has, also those that leaked: they may come to use it as they are unwound. */
static void mark_holders(scan *s) {
  for (uint32_t i = 0; i < s->holders.n; i++) {
    holder_at(s, i)->ends = false;
    wake(s, i);
  }
  follow(s);
}

static rl_object *as_litter(const node *n) {
  uint8_t needed =
      n->kind == RL_AFTER ? KEEP | WAKE : KEEP; /* that holds itself until its done fires */
  if (n->live & needed || n->kind == BLOB) return NULL;
  rl_object *o = n->at;
  return atomic_load_explicit(&o->carrier, memory_order_relaxed) != 0 ? o : NULL;
}

static uint32_t count_litter(scan *s) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->nodes.n; i++) n += as_litter(node_at(s, i)) != NULL;
  return n;
}

static bool list_litter(scan *s, rl_verdict *v) {
  if (count_litter(s) == 0) return true; /* mostly */
  mark_holders(s);
  v->litter = malloc((count_litter(s) + 1) * sizeof(rl_object *));
  if (!v->litter || s->failed) return false;
  for (uint32_t i = 0; i < s->nodes.n; i++) {
    rl_object *o = as_litter(node_at(s, i));
    if (!o) continue;
    rl_retain(o);
    v->litter[v->nlitter++] = o;
  }
  return true;
}

/* One scan at a time, and nothing immutable is taken out meanwhile. */
static pthread_mutex_t scanning = PTHREAD_MUTEX_INITIALIZER;

bool rl_leak_find(const rl_leak_question *q, const rl_inspector *in, rl_verdict *v) {
  scan s;
  *v = (rl_verdict){.n = 0};
  pthread_mutex_lock(&scanning);
  bool ok = run(&s, q, in);
  if (ok && q->tidy && tidy(&s)) {
    forget(&s);
    ok = run(&s, q, in);
  }
  ok = ok && list_leaked(&s, v) && list_litter(&s, v);
  forget(&s);
  pthread_mutex_unlock(&scanning);
  if (!ok) rl_verdict_drop(v);
  return ok;
}

bool rl_verdict_all(rl_program *p, rl_verdict *v) {
  scan s = {.failed = false};
  uint32_t n;
  rl_task **tasks = list_tasks(&s, p, &n);
  *v = (rl_verdict){.n = 0};
  if (!s.failed) v->leaked = malloc((n + 1) * sizeof *v->leaked);
  for (uint32_t i = 0; i < n; i++)
    if (v->leaked)
      v->leaked[v->n++] = (rl_leaked){tasks[i], 0};
    else
      rl_release(&tasks[i]->end.src.obj);
  free(tasks);
  return v->leaked != NULL;
}

void rl_verdict_drop(rl_verdict *v) {
  for (unsigned i = 0; i < v->n; i++) rl_release(&v->leaked[i].task->end.src.obj);
  for (unsigned i = 0; i < v->nlitter; i++) rl_release(v->litter[i]);
  free(v->leaked);
  free(v->litter);
  *v = (rl_verdict){.n = 0};
}

/* While it is inspected a wait does not end: it is the one that the verdict was on. */
static bool unwind(const rl_leaked *l, rl_wakes *ws) {
  rl_waiter *w = &l->task->waiter;
  if (!rl_waiter_inspect(w)) return false;
  bool ours = rl_waiter_turn(w) == l->turn && rl_waiter_interrupt(w, RL_LEAKED);
  if (ours) rl_wakes_add(ws, w);
  rl_waiter_release(w);
  return ours;
}

static void drain(rl_chan *c) {
  rl_status st;
  do {
    rl_wakes ws = {NULL, NULL};
    rl_msg m = {.tag = RL_MSG_NONE};
    rl_lock_take(&c->src.lock);
    st = rl_chan_take(c, &m, &ws);
    rl_lock_leave(&c->src.lock);
    rl_wake_all(&ws);
    rl_msg_drop(&m);
  } while (st == RL_OK);
}

/* Only another scan can be reading it: see docs/leaks.md. */
static void take_out(rl_msg *content) {
  rl_msg m;
  pthread_mutex_lock(&scanning);
  rl_msg_move(&m, content);
  pthread_mutex_unlock(&scanning);
  rl_msg_drop(&m);
}

static void empty(rl_object *o) {
  switch (o->kind) {
  case RL_CHAN: drain((rl_chan *)o); break;
  case RL_DONE: take_out(&((rl_done *)o)->cause); break;
  case RL_TASK: take_out(&((rl_task *)o)->outcome); break;
  case RL_AFTER: rl_after_stop(rl_after_of(o)); break;
  case RL_GATE: take_out(&((rl_once *)o)->outcome); break;
  default: rl_broken(__FILE__, __LINE__, "a carrier of no kind");
  }
}

unsigned rl_leak_unwind(const rl_verdict *v) {
  unsigned n = 0;
  rl_wakes ws = {NULL, NULL};
  for (unsigned i = 0; i < v->n; i++) n += unwind(&v->leaked[i], &ws);
  rl_wake_all(&ws);
  for (unsigned i = 0; i < v->nlitter; i++) empty(v->litter[i]);
  return n;
}

static const double PATIENCE = 0.2; /* for the next to end or to wait again */

static bool at_rest(const rl_leaked *l) {
  rl_waiter *w = &l->task->waiter;
  return rl_task_ended(l->task) || rl_waiter_still(w, rl_waiter_turn(w));
}

/* Until those unwound have ended or wait again; a `<close>` that takes its time is not waited for. */
void rl_leak_await_rest(const rl_verdict *v) {
  static const struct timespec pause = {0, 200000};
  double until = rl_now() + PATIENCE;
  for (unsigned i = 0; i < v->n && rl_now() < until;) {
    if (at_rest(&v->leaked[i])) {
      i++;
      until = rl_now() + PATIENCE;
    } else {
      nanosleep(&pause, NULL);
    }
  }
}

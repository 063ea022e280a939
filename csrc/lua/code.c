/*
** code: a hash of files by the name they were opened by, which is part of the code. Each has the code of
** one state of the file, told by device, inode, size and times. Code is counted, so it is loaded without a
** lock. What is kept is bounded: when it would grow beyond that, all is dropped, and it begins anew.
*/
#include "lua/code.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/lock.h"

enum {
  MOST = 16 << 20,    /* bytes kept */
  LARGEST = MOST / 4, /* of one file */
  NBUCKETS = 512
};

static const double TICK = 0.1;      /* s: more than the clocks of file systems tick by, */
static const double COARSE_TICK = 2; /* and of those that only count seconds */

struct rl_code {
  atomic_uint refs;
  rl_code *next; /* in its bucket; of what was dropped: in a list */
  struct stat file;
  size_t size;
  char *data;
  char name[]; /* with its zero; then the data */
};

static rl_lock
    lock; /* all below, and `next` of what is kept; nothing is allocated or freed under it */
static rl_code *bucket[NBUCKETS];
static atomic_size_t total; /* bytes; also read without it */

static bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
         same_time(a->st_mtim, b->st_mtim) && same_time(a->st_ctim, b->st_ctim);
}

/* Any change sets st_ctim, which no program can set to what it likes. */
bool rl_code_settled(const struct stat *s) {
  struct timespec now, changed = s->st_ctim;
  clock_gettime(CLOCK_REALTIME, &now);
  double age =
      (double)(now.tv_sec - changed.tv_sec) + 1e-9 * (double)(now.tv_nsec - changed.tv_nsec);
  return age > (changed.tv_nsec ? TICK : COARSE_TICK);
}

static rl_code **bucket_of(const char *name) {
  uint32_t h = 2166136261u;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
  return &bucket[h % NBUCKETS];
}

static size_t weight(const rl_code *c) {
  return (size_t)(c->data - (const char *)c) + c->size;
}

/* The link to the file's code, or the end of its bucket. */
static rl_code **place(const char *name) {
  rl_code **at = bucket_of(name);
  while (*at && strcmp((*at)->name, name) != 0) at = &(*at)->next;
  return at;
}

rl_code *rl_code_find(const char *name, const struct stat *now) {
  rl_lock_take(&lock);
  rl_code *c = *place(name);
  if (c && !is_same(&c->file, now)) c = NULL;
  if (c) atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
  rl_lock_leave(&lock);
  return c;
}

rl_code *rl_code_make(const char *name, const struct stat *then, size_t size) {
  size_t len = strlen(name) + 1;
  rl_code *c = size > LARGEST ? NULL : malloc(sizeof *c + len + size);
  if (!c) return NULL;
  atomic_init(&c->refs, 1);
  c->file = *then;
  c->size = size;
  memcpy(c->name, name, len);
  c->data = c->name + len;
  return c;
}

rl_bytes rl_code_bytes(rl_code *c) {
  return (rl_bytes){c->data, c->size};
}

void rl_code_release(rl_code *c) {
  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) free(c);
}

/* Moves the code at `link` to the list `dropped`. */
static void drop(rl_code **link, rl_code **dropped) {
  rl_code *c = *link;
  *link = c->next;
  total -= weight(c);
  c->next = *dropped;
  *dropped = c;
}

static void drop_all(rl_code **dropped) {
  for (int i = 0; i < NBUCKETS; i++)
    while (bucket[i]) drop(&bucket[i], dropped);
}

static void insert(rl_code *c) {
  rl_code **first = bucket_of(c->name);
  c->next = *first;
  *first = c;
  total += weight(c);
}

void rl_code_keep(rl_code *c) {
  rl_code *dropped = NULL;
  rl_lock_take(&lock);
  rl_code **before = place(c->name);
  if (*before) drop(before, &dropped);
  if (total + weight(c) > MOST) drop_all(&dropped);
  insert(c);
  rl_lock_leave(&lock);
  while ((c = dropped) != NULL) {
    dropped = c->next;
    rl_code_release(c);
  }
}

size_t rl_code_total(void) {
  return total;
}

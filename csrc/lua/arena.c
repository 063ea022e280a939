/*
** arena: slots in regions, blocks in slots and chunks.
*/
#include "lua/arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/lock.h"

enum {
  REGION = 2 << 20, /* bytes, aligned to it: a huge page where there are such */
  CHUNK = 384,      /* the first chunk's size; each is twice the one before */
  LARGEST_CHUNK = 8 << 10,
  SMALL = 2 << 10,              /* the largest small block */
  SLOTS = REGION / RL_SLOT - 1, /* the first one's place is the region's head */
  FEW = 8
};

/* Regions with free slots stand in a list, the fullest not sorted: the first is used. Some that are free
   altogether are kept until there is time to give them back, so that a program on the edge does not map and
   unmap all the time: a quarter of those in use, and a few. */
typedef struct region region;
struct region {
  region *prev, *next;  /* in the list */
  void *freed;          /* a list through the slots */
  unsigned used, fresh; /* slots in use; slots never used begin at `fresh` */
};

static rl_lock lock; /* all below, and all of the regions */
static region *open_regions;
static region *spare; /* free altogether; a list through next */
static unsigned nspare, ninuse;

static void enlist(region *r) {
  r->prev = NULL;
  r->next = open_regions;
  if (open_regions) open_regions->prev = r;
  open_regions = r;
}

static void delist(region *r) {
  if (r->prev)
    r->prev->next = r->next;
  else
    open_regions = r->next;
  if (r->next) r->next->prev = r->prev;
}

/* Maps twice as much and gives back what lies beside the aligned part. */
static region *map_region(void) {
  char *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  size_t before = (REGION - ((uintptr_t)p & (REGION - 1))) & (REGION - 1);
  if (before) munmap(p, before);
  munmap(p + before + REGION, REGION - before);
#ifdef MADV_HUGEPAGE
  /* one fault for all; but a program with few tasks does not take more than it touches */
  if (ninuse >= FEW) madvise(p + before, REGION, MADV_HUGEPAGE);
#endif
  return (region *)(void *)(p + before);
}

static region *pop_spare(void) {
  region *r = spare;
  if (!r) return NULL;
  spare = r->next;
  nspare--;
  return r;
}

static region *add_region(void) {
  region *r = pop_spare();
  if (!r && !(r = map_region())) return NULL;
  ninuse++;
  r->freed = NULL;
  r->used = r->fresh = 0;
  enlist(r);
  return r;
}

static bool full(region *r) {
  return !r->freed && r->fresh == SLOTS;
}

void *rl_slot_take(void) {
  void *slot = NULL;
  rl_lock_take(&lock);
  region *r = open_regions ? open_regions : add_region();
  if (r) {
    slot = r->freed;
    if (slot)
      r->freed = *(void **)slot;
    else
      slot = (char *)r + (size_t)RL_SLOT * ++r->fresh;
    r->used++;
    if (full(r)) delist(r);
  }
  rl_lock_leave(&lock);
  return slot;
}

/* The region that is no longer needed at all, if any. */
static region *give(region *r, void *slot) {
  if (full(r)) enlist(r);
  *(void **)slot = r->freed;
  r->freed = slot;
  if (--r->used > 0) return NULL;
  delist(r);
  ninuse--;
  if (nspare >= FEW + ninuse / 4) return r;
  r->next = spare;
  spare = r;
  nspare++;
  return NULL;
}

void rl_slot_give(void *slot) {
  region *r = (region *)((uintptr_t)slot & ~(uintptr_t)(REGION - 1));
  rl_lock_take(&lock);
  region *gone = give(r, slot);
  rl_lock_leave(&lock);
  if (gone) munmap(gone, REGION);
}

void rl_slot_trim(void) {
  region *r;
  do {
    rl_lock_take(&lock);
    r = pop_spare();
    rl_lock_leave(&lock);
    if (r) munmap(r, REGION);
  } while (r);
}

/* Blocks */

typedef struct rl_chunk {
  struct rl_chunk *next;
  size_t size; /* of the data */
  max_align_t data[];
} chunk;

typedef struct rl_large {
  struct rl_large *prev, *next;
  max_align_t data[];
} large;

void rl_arena_open(rl_arena *a, void *from, void *to) {
  memset(a, 0, sizeof *a);
  a->at = from;
  a->end = to;
}

void rl_arena_close(rl_arena *a) {
  for (chunk *c; (c = a->chunks) != NULL;) {
    a->chunks = c->next;
    free(c);
  }
  for (large *l; (l = a->large) != NULL;) {
    a->large = l->next;
    free(l);
  }
}

static bool small(size_t size) {
  return size <= SMALL;
}

/* Classes grow by 8 bytes up to 128; those above are sizes that Lua asks for, or near them. */
enum { FINE = 128, NFINE = FINE / 8 };
static const unsigned short coarse[] = {160, 192, 256,  320,  384,  512,
                                        720, 768, 1024, 1280, 1624, SMALL};
_Static_assert(NFINE + sizeof coarse / sizeof coarse[0] == RL_ARENA_CLASSES, "one list for each");

static unsigned class_of(size_t size) {
  if (size <= FINE) return (unsigned)(size - 1) / 8;
  unsigned i = 0;
  while (coarse[i] < size) i++;
  return NFINE + i;
}

static size_t class_size(unsigned class) {
  return class < NFINE ? (class + 1) * 8 : coarse[class - NFINE];
}

static bool add_chunk(rl_arena *a, size_t size) {
  size_t usual = a->chunks ? a->chunks->size * 2 : CHUNK;
  if (usual > LARGEST_CHUNK) usual = LARGEST_CHUNK;
  if (size < usual) size = usual;
  chunk *c = malloc(sizeof *c + size);
  if (!c) return false;
  c->size = size;
  c->next = a->chunks;
  a->chunks = c;
  a->at = (char *)c->data;
  a->end = a->at + size;
  return true;
}

static void *take_small(rl_arena *a, size_t size) {
  unsigned class = class_of(size);
  void *p = a->freed[class];
  if (p) {
    a->freed[class] = *(void **)p;
    return p;
  }
  size = class_size(class);
  if ((size_t)(a->end - a->at) < size && !add_chunk(a, size)) return NULL;
  p = a->at;
  a->at += size;
  return p;
}

static void link_large(rl_arena *a, large *l) {
  l->prev = NULL;
  l->next = a->large;
  if (a->large) a->large->prev = l;
  a->large = l;
}

static void unlink_large(rl_arena *a, large *l) {
  if (l->prev)
    l->prev->next = l->next;
  else
    a->large = l->next;
  if (l->next) l->next->prev = l->prev;
}

static large *large_of(void *p) {
  return (large *)(void *)((char *)p - offsetof(large, data));
}

static void *take(rl_arena *a, size_t size) {
  if (small(size)) return take_small(a, size);
  large *l = size > SIZE_MAX - sizeof *l ? NULL : malloc(sizeof *l + size);
  if (!l) return NULL;
  link_large(a, l);
  return l->data;
}

static void give_back(rl_arena *a, void *p, size_t size) {
  if (small(size)) {
    void **list = &a->freed[class_of(size)];
    *(void **)p = *list;
    *list = p;
    return;
  }
  unlink_large(a, large_of(p));
  free(large_of(p));
}

static void *resize_large(rl_arena *a, void *p, size_t size) {
  large *l = large_of(p), *moved;
  if (size > SIZE_MAX - sizeof *l) return NULL;
  unlink_large(a, l);
  moved = realloc(l, sizeof *l + size);
  if (!moved) {
    link_large(a, l);
    return NULL;
  }
  link_large(a, moved);
  return moved->data;
}

void *rl_arena_resize(rl_arena *a, void *p, size_t old, size_t size) {
  if (!p) return take(a, size);
  if (size == 0) {
    give_back(a, p, old);
    return NULL;
  }
  if (small(old) && small(size) && class_of(old) == class_of(size)) return p;
  if (!small(old) && !small(size)) return resize_large(a, p, size);
  void *q = take(a, size);
  if (!q) return NULL;
  memcpy(q, p, old < size ? old : size);
  give_back(a, p, old);
  return q;
}

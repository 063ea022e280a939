/*
** arena: the memory of a task's Lua state. Small blocks come from a slot, which also holds the state's
** record, and from chunks when that is full; large ones from malloc. Blocks that were freed are
** kept by size for the same state; all goes at once when the state is dropped.
**
** Slots are cut from regions, which go back to the system when all of their slots are free, so a
** program that once had a million tasks does not keep their memory.
*/
#ifndef RL_ARENA_H
#define RL_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum {
  RL_SLOT = 8528,       /* bytes: as much as a task needs that waits on a channel and a done */
  RL_ARENA_CLASSES = 28 /* of small blocks */
};

typedef struct rl_arena {
  char *at, *end; /* what is free in the slot, or in the newest chunk */
  void *freed[RL_ARENA_CLASSES];
  struct rl_chunk *chunks;
  struct rl_large *large;
} rl_arena;

/* A slot, RL_SLOT bytes that are not cleared; NULL: out of memory. */
void *rl_slot_take(void);
void rl_slot_give(void *slot);
/* Gives free memory back to the system. */
void rl_slot_trim(void);

/* Blocks between `from` and `to` first. */
void rl_arena_open(rl_arena *a, void *from, void *to);
void rl_arena_close(rl_arena *a);
/* As realloc and free, with the old size told. */
void *rl_arena_resize(rl_arena *a, void *p, size_t old, size_t size);

#endif

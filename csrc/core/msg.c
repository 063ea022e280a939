/*
** msg: blobs and their counts. A blob does not change once it was made.
*/
#include "core/msg.h"

#include <stdlib.h>
#include <string.h>

static atomic_size_t total; /* bytes in blobs */

rl_blob *rl_blob_make(const void *data, size_t size, rl_ref *ref, uint32_t nrefs) {
  if (size > SIZE_MAX - sizeof(rl_blob)) return NULL;
  rl_blob *b = malloc(sizeof *b + size);
  if (!b) return NULL;
  atomic_init(&b->refs, 1);
  b->size = size;
  b->ref = ref;
  b->nrefs = nrefs;
  if (size) memcpy(b->data, data, size);
  atomic_fetch_add_explicit(&total, size, memory_order_relaxed);
  return b;
}

void rl_blob_retain(rl_blob *b) {
  atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void rl_blob_release(rl_blob *b) {
  if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1) return;
  atomic_fetch_sub_explicit(&total, b->size, memory_order_relaxed);
  for (uint32_t i = 0; i < b->nrefs; i++) rl_release_as(b->ref[i].to, b->ref[i].rights);
  free(b->ref);
  free(b);
}

void rl_msg_drop(rl_msg *m) {
  uint8_t tag = m->tag;
  m->tag = RL_MSG_NONE;
  if (tag == RL_MSG_BLOB)
    rl_blob_release(m->u.blob);
  else if (tag == RL_MSG_REF)
    rl_release_as(m->u.ref.to, m->u.ref.rights);
}

void rl_msg_share(rl_msg *to, const rl_msg *from) {
  *to = *from;
  if (to->tag == RL_MSG_BLOB)
    rl_blob_retain(to->u.blob);
  else if (to->tag == RL_MSG_REF)
    rl_retain_as(to->u.ref.to, to->u.ref.rights);
}

size_t rl_msg_bytes(void) {
  return atomic_load_explicit(&total, memory_order_relaxed);
}

/*
** msg: what travels. A message is 32 bytes, moved by value: small contents lie inside it, larger
** ones in a counted, immutable blob that several receivers may read (results of a task, the cause
** of a done). The core looks at nothing but the tag: empty, blob, reference, or something inline.
*/
#ifndef RL_MSG_H
#define RL_MSG_H

#include "core/object.h"

#include <stddef.h>

enum {
  RL_MSG_NONE = 0,    /* empty */
  RL_MSG_BLOB = 1,    /* u.blob, counted */
  RL_MSG_REF = 2,     /* u.ref, counted */
  RL_MSG_INTEGER = 3, /* u.i */
  RL_MSG_INLINE = 3   /* from here on the tags are the binding's, the content lies inside */
};

enum { RL_MSG_ROOM = 24 };

typedef struct rl_blob {
  atomic_uint refs;
  uint32_t nrefs;
  rl_ref *ref; /* counted references, own allocation or NULL */
  size_t size;
  unsigned char data[]; /* immutable once sent */
} rl_blob;

typedef struct rl_msg {
  union {
    int64_t i;
    double n;
    void *p;
    rl_ref ref;
    rl_blob *blob;
    char s[RL_MSG_ROOM];
  } u;
  uint8_t tag;
  uint8_t len; /* the binding's, for inline contents */
} rl_msg;

/* An edge that also holds what its holder may send there. */
typedef struct rl_offer {
  rl_edge edge;
  rl_msg msg;
} rl_offer;

/* An object that does nothing but hold a blob: classes, for the binding. */
typedef struct rl_unit {
  rl_object obj; /* of kind RL_CLASS */
  rl_blob *blob; /* immutable */
} rl_unit;

/* Takes `ref` (an array from malloc, or NULL); copies `size` bytes. NULL when out of memory (and
   then nothing was taken). */
rl_blob *rl_blob_make(const void *data, size_t size, rl_ref *ref, uint32_t nrefs);
void rl_blob_retain(rl_blob *b);
void rl_blob_release(rl_blob *b);

static inline bool rl_msg_has_refs(const rl_msg *m) {
  if (m->tag >= RL_MSG_INLINE) return false; /* most are */
  return m->tag == RL_MSG_REF || (m->tag == RL_MSG_BLOB && m->u.blob->nrefs > 0);
}

/* Empties `m`, releasing what it holds. */
void rl_msg_drop(rl_msg *m);
/* Moves: `from` is empty afterwards, `to` must be empty. */
static inline void rl_msg_move(rl_msg *to, rl_msg *from) {
  if (from->tag == RL_MSG_INTEGER) { /* as it was written: a wider load would wait for the stores */
    to->u.i = from->u.i;
    to->tag = RL_MSG_INTEGER;
  } else {
    *to = *from;
  }
  from->tag = RL_MSG_NONE;
}
/* Shares the content: both hold it. */
void rl_msg_share(rl_msg *to, const rl_msg *from);
/* The same with what `o` keeps. */
static inline void rl_msg_copy(rl_msg *to, const rl_msg *from, rl_object *o) {
  rl_msg_share(to, from);
  if (rl_msg_has_refs(from)) rl_object_copied(o);
}
/* Bytes held by all blobs. */
size_t rl_msg_bytes(void);

#endif

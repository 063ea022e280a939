/*
** transfer_record: a table of plain fields that C knows, encoded where no Lua state is at hand. What
** it writes is a message like any other.
*/
#include "lua/transfer_impl.h"

#include <stdlib.h>
#include <string.h>

enum { VARINT = 10 }; /* bytes it takes at most */

typedef unsigned char *place; /* where the next byte goes */

static place put_varint(place p, uint64_t n) {
  for (; n > 0x7f; n >>= 7) *p++ = (unsigned char)(n | 0x80);
  *p++ = (unsigned char)n;
  return p;
}

static place put_bytes(place p, const void *data, size_t len) {
  memcpy(p, data, len);
  return p + len;
}

static place put_string(place p, const char *s) {
  size_t len = strlen(s);
  *p++ = T_STRING;
  return put_bytes(put_varint(p, len), s, len);
}

static place put_field(place p, const rl_field *f) {
  p = put_string(p, f->key);
  switch (f->type) {
  case RL_FIELD_STRING: return put_string(p, f->u.s);
  case RL_FIELD_INTEGER: *p++ = T_INT; return put_varint(p, f->u.i << 1);
  case RL_FIELD_NUMBER: *p++ = T_FLOAT; return put_bytes(p, &f->u.n, sizeof f->u.n);
  }
  return p;
}

static size_t room_for(const rl_field *f, unsigned n) {
  size_t room = sizeof(header) + 2 * VARINT + 3; /* with the tags of the table and its end */
  for (unsigned i = 0; i < n; i++) {
    room += strlen(f[i].key) + 2 * (VARINT + 1);
    if (f[i].type == RL_FIELD_STRING) room += strlen(f[i].u.s);
  }
  return room;
}

bool rl_encode_record(const rl_field *f, unsigned n, rl_msg *out) {
  const header h = {.nvalues = 1};
  unsigned char *buf = malloc(room_for(f, n));
  if (!buf) return false;
  place p = put_bytes(buf, &h, sizeof h);
  *p++ = T_TABLE;
  p = put_varint(put_varint(p, 0), n);
  for (unsigned i = 0; i < n; i++) p = put_field(p, &f[i]);
  *p++ = T_END;
  *p++ = T_NIL; /* no metatable */
  rl_blob *b = rl_blob_make(buf, (size_t)(p - buf), NULL, 0);
  free(buf);
  if (!b) return false;
  *out = (rl_msg){.u.blob = b, .tag = RL_MSG_BLOB, .len = ENCODED};
  return true;
}

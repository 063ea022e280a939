/*
** transfer_impl: what the files of transfer share: the byte format, the encoder, and what a state
** keeps between messages. Only transfer*.c include this.
**
** A message is a header, the root values, and then the bodies that were put off. Everything that can
** be shared gets a number in the order in which the heads appear; both sides count alike, so
** numbers are not written, only referred to (T_SEEN). The head of something that is referred to
** later carries KEEP, set when the first reference is written.
*/
#ifndef RL_TRANSFER_IMPL_H
#define RL_TRANSFER_IMPL_H

#include "lua/transfer.h"

enum {
  T_NIL,
  T_FALSE,
  T_TRUE,
  T_INT,      /* zigzag varint */
  T_FLOAT,    /* 8 bytes */
  T_POINTER,  /* 8 bytes */
  T_STRING,   /* numbered: length, bytes */
  T_SEEN,     /* number */
  T_TABLE,    /* numbered: array size, hash size, body: array values, pairs, T_END, metatable */
  T_FUNCTION, /* numbered: 4 bytes length, dump, body: upvalues, T_END */
  T_REBUILD,  /* numbered: count of arguments, function, arguments */
  T_NAME,     /* numbered: length, "module\0field\0field" */
  T_GLOBALS,
  T_METHOD, /* 8 bytes: a method of our handles, whose code every state has at one place */
  T_HANDLE, /* numbered: index of the reference */
  T_CLASS,  /* numbered: index of the reference to its unit, index in it */
  T_CELL,   /* only as an upvalue, shared with: number of the function, index of its upvalue */
  T_INTS,   /* only first in an array: count, as many zigzag varints */
  T_END,
  T_KIND = 0x1f,   /* the bits of the above */
  IS_CLASS = 0x20, /* a table: the next class of this unit */
  LATER = 0x40,    /* the body is put off */
  KEEP = 0x80      /* referred to later */
};

enum { ENCODED = 0, ONE_STRING = 1 }; /* `len` of a message with a blob */

/* How deep bodies nest before they are put off, and how deep rebuilt objects may lie in each other's
   arguments, which cannot be put off. */
enum { DEEP = 50, TOO_DEEP = 100 };

typedef struct header {
  uint32_t nvalues;
  uint32_t nkept; /* how many carry KEEP */
  uint32_t later; /* whether bodies were put off */
} header;

typedef struct entry { /* something met while encoding */
  const void *key;
  size_t at;       /* where its head is; OPEN: under way; of a cell: its index in the function */
  uint32_t id;     /* its number */
  uint32_t parent; /* the entry in which it was found, or ROOT + the index of the root value */
} entry;

#define OPEN SIZE_MAX
#define ROOT 0x80000000u

typedef struct slot {
  uint32_t turn; /* filled if equal to the memo's */
  uint32_t index;
} slot;

typedef struct memo { /* a hash of the entries by address */
  entry *entry;
  slot *slot;
  uint32_t n, room, nslots, turn;
} memo;

typedef struct put_off {
  uint32_t entry, narr;
} put_off;

typedef struct encoder encoder;
typedef rl_transfer transfer;

struct encoder {
  lua_State *L;
  rl_state *S;
  transfer *T;
  encoder *below;    /* the encoder under way before this one, or the next idle one */
  int tidx;          /* stack index of T */
  bool unit;         /* encodes classes for the messages of `below` */
  const char *root;  /* how paths start, or one of the next two */
  int first;         /* stack index of the first root value */
  uint32_t found_in; /* a unit's: the entry of `below` where its first class was found */
  const void *globals;
  int anchor;  /* stack index of a table: [1..] put off, [-1..] results of __transfer */
  int classes; /* a unit's: stack index of the array of its classes */
  uint32_t nclasses, nanchored;
  bool checked; /* package.loaded was compared with the names */
  uint32_t nid, nkept, later;
  unsigned char *buf;
  size_t len, room;
  rl_ref *ref;
  uint32_t nref, ref_room;
  put_off *off;
  uint32_t noff, off_room;
  memo memo;
};

struct rl_transfer { /* what a state keeps, also in the uservalues below of a userdata */
  encoder *active;   /* newest first */
  encoder *idle;
  bool closed;
  bool refused;         /* the error on its way is "cannot send" */
  const void **notable; /* a hash of the addresses of all that has a name or a unit */
  size_t nnotable, notable_room;
  uintptr_t signature; /* of package.loaded when the names were collected; 0: not yet */
};

enum {
  UV_TABLES = 1, /* table -> name, weak keys; each is made when first asked for */
  UV_FUNCTIONS,  /* C function -> name, weak keys */
  UV_UNIT_OF,    /* class -> its unit's userdata, weak keys */
  UV_UNITS,      /* address of a unit -> its userdata, weak values */
  UV_RECENT,     /* array of Lua functions that were sent lately, weak values */
  UV_CODE,       /* Lua function that was sent again -> its code, weak keys */
  UV_UNIT_META,
  UV_COUNT = UV_UNIT_META
};

/* Roots of several values: "result 1"; "argument 1" and, of the first, "upvalue 'name'". */
extern const char rl_root_result[], rl_root_call[];

/* transfer.c: the state's part, and buffers that grow */
void rl_transfer_table(lua_State *L, int tidx, int uv); /* pushes one of the tables */

/* Pushes the state's transfer userdata. */
transfer *rl_transfer_push(lua_State *L);
/* Doubles the room of an array from malloc with elements of `size`; raises out of memory. */
void *rl_transfer_grow(lua_State *L, void *array, size_t size, uint32_t *room);
encoder *rl_encoder_begin(lua_State *L, rl_state *S, transfer *T);
/* Ends the newest encoder, releasing what it holds. */
void rl_encoder_end(transfer *T);
/* Takes what was encoded as a blob; raises out of memory. */
rl_blob *rl_encoder_blob(encoder *e);

/* transfer_encode.c */

/* Encodes the `n` values from e->first on. */
void rl_encoder_run(encoder *e, uint32_t n);
/* Appends to the buffer of `e`. */
void rl_encoder_write(encoder *e, const void *data, size_t len);

/* transfer_path.c */

/* Pushes the path to the object with address `p`, found in entry `parent`. What `e` encoded is lost. */
void rl_path_push(encoder *e, const void *p, uint32_t parent);

/* transfer_decode.c */

/* Pushes the values of an encoded blob. A unit's classes go into the table at `classes`. */
int rl_decode_blob(lua_State *L, rl_state *S, const rl_blob *b, int classes);

/* transfer_names.c: what package.loaded knows */

/* Pushes the name of the table or C function at `idx` and gives true, or pushes nothing. A table that
   only lies within a module counts if `held`. */
bool rl_name_push(lua_State *L, transfer *T, int tidx, int idx, bool held);
/* Collects the names anew if package.loaded has changed since, or anyway. */
void rl_names_refresh(lua_State *L, transfer *T, int tidx, bool anyway);
/* Remembers that the object at `idx` has a name or a unit. */
void rl_notable_add(lua_State *L, transfer *T, int tidx, const void *p);
bool rl_notable_test(const transfer *T, const void *p);
/* Pushes what T_NAME names in this state. Raises when it is not there. */
void rl_name_resolve(lua_State *L, const char *name, size_t len);

/* transfer_class.c: units of classes */

/* If the table at `idx` is known as a class, gives its unit (borrowed) and its index there. */
rl_unit *rl_unit_of(lua_State *L, int tidx, int idx, uint32_t *index);
/* Makes a unit of `e` (which is ended) and its classes, and makes it known to this state. */
void rl_unit_make(lua_State *L, encoder *e, int tidx);
/* Pushes a class of a unit, decoding the unit if this state does not know it. */
void rl_unit_push(lua_State *L, rl_state *S, rl_unit *u, uint32_t index);

#endif

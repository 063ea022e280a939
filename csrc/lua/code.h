/*
** code: the compiled code of module files, kept for the whole process: the first task that requires a
** module compiles it, later ones load what that has left.
*/
#ifndef RL_CODE_H
#define RL_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

typedef struct rl_code rl_code;

/* Pieces of memory one after the other. */
typedef struct rl_bytes {
  char *data;
  size_t size;
} rl_bytes;

/* The code of the file `name`, counted, if the file is as it was when that was compiled; or NULL. */
rl_code *rl_code_find(const char *name, const struct stat *now);
/* Code of `size` bytes for the file `name` as it was `then`, counted; NULL: out of memory, or too large. */
rl_code *rl_code_make(const char *name, const struct stat *then, size_t size);
rl_bytes rl_code_bytes(rl_code *c);
/* Keeps what was filled meanwhile; takes the count. */
void rl_code_keep(rl_code *c);
void rl_code_release(rl_code *c);
/* Whether each change from now on will show: one in the same tick of the file system's clock would not. */
bool rl_code_settled(const struct stat *s);
/* Bytes kept. */
size_t rl_code_total(void);

#endif

/*
** state: what the binding knows of one Lua state, a main program's or a task's. Every C function of
** ours has it as its first upvalue.
*/
#ifndef RL_STATE_H
#define RL_STATE_H

#include "core/task.h"
#include "lua/arena.h"
#include "lua/handle.h"
#include "lua/wait.h"

struct rl_state {
  rl_holder holder; /* the handles of this state */
  lua_State *L;     /* its main thread */
  rl_task *task;    /* NULL: a main program */
  rl_program *program;
  rl_wait *wait; /* the one wait this state can be in: own_wait, but for hooks and finalizers that
                           run during a wait */
  rl_wait own_wait;
  lua_State *idle; /* a thread on which others may collect garbage while the state waits; NULL: L */
  unsigned tidied; /* the turn of its waiter in which they did so last */
  lua_State *volatile running; /* the coroutine our `resume` runs, or L */
  lua_State *volatile armed; /* the coroutine of a task that has the hook, or NULL: see interrupt */
  int kept_count;            /* of the armed one's own hook, as `hook` */
  unsigned char kept_mask;   /* likewise */
  unsigned char ends;        /* how often the program's end was raised */
  volatile bool hooking;     /* the signal handler is to keep away from the hooks */
  bool parkable;             /* everything below `running` can yield */
  bool parking;              /* the yield under way parks the task */
  bool requeue;              /* the yield under way only gives up the turn */
  bool over;                 /* a main program whose runtime has ended */
  bool closing;              /* a task's, in lua_close */
  bool tender;         /* what was returned last is not closed by its scope yet: see interrupt */
  bool succeeded;      /* a task's body has returned */
  bool lazy;           /* not all libraries are open: see library */
  bool has_finalizers; /* what must run when it is closed, other than those of our handles */
  const char *unwound; /* what was raised in a wait that was unwound last; NULL: none was */
  int nowait;          /* > 0: inside a function that must not wait */
  unsigned nglobals;   /* how many globals there were when own_globals was made */
  struct rl_member *member; /* of a group; NULL: of none, or not any more */
  rl_blob *paths;           /* package.path and package.cpath, each with its zero */
  rl_blob *globals;         /* names of the starter's globals beyond the usual ones, or NULL */
  rl_blob *own_globals;     /* the same of this state, made when it starts a task */
  lua_Hook
      hook; /* of a main program: one that has let a wait go on; of a task: what the armed one had itself */
  rl_late *late;                /* what is held by userdata made since `closing` */
  struct rl_transfer *transfer; /* NULL: nothing was encoded yet */
  size_t encoded;               /* bytes that the collector was not told of yet */
  size_t memory, memory_cap;    /* bytes in use and allowed; the cap is 0 without one */
  rl_arena arena;               /* a task's blocks */
};

/* The state of a running C function of ours. */
static inline rl_state *rl_self(lua_State *L) {
  return (rl_state *)lua_touserdata(L, lua_upvalueindex(1));
}

/* The state of a task: what has no upvalue, nor any room on the stack, finds it like this. */
static inline rl_state *rl_state_of_task(lua_State *L) {
  void *S;
  lua_getallocf(L, &S);
  return S;
}

/* Can a wait in L park the task (rather than block its thread)? */
static inline bool rl_can_park(lua_State *L, rl_state *S) {
  return S->task && L == S->running && S->parkable && S->nowait == 0 && lua_isyieldable(L);
}

/* Where what this task or main program holds of gates is listed. */
static inline rl_owner *rl_state_owner(rl_state *S) {
  return S->task ? &S->task->owner : &S->program->owner;
}

/* The state record of L, made when missing (a main program). Raises out of memory. */
rl_state *rl_state_of(lua_State *L);
/* The record for task `t`, still without a Lua state; shares the blobs. NULL: out of memory. */
rl_state *rl_state_make(rl_task *t, rl_blob *paths, rl_blob *globals, size_t memory_cap);
/* Makes its Lua state, with rl_task_main on the stack. False: out of memory. */
bool rl_state_begin(rl_state *S);
int rl_task_main(lua_State *L);
/* Closes the Lua state, if any, and frees the record. */
void rl_state_close(rl_state *S);
void rl_state_discard(void *S);

/* Makes S->idle: for states that may have finalizers in Lua, which a thread that has yielded cannot run. */
void rl_state_open_idle(lua_State *L, rl_state *S);

/* What go hands to the new state: S owns the blobs; the second may be NULL. */
rl_blob *rl_state_paths(lua_State *L, rl_state *S);
rl_blob *rl_state_globals(lua_State *L, rl_state *S);

/* Around calls of functions that must not wait. */
void rl_nowait_begin(rl_state *S);
void rl_nowait_end(rl_state *S);

/* Sets functions with the state as first upvalue into the table on top. */
void rl_setfuncs(lua_State *L, rl_state *S, const luaL_Reg *l);

/* Each makes its part: functions into the module table on top of the stack, metatables. */
void rl_open_chan(lua_State *L, rl_state *S);
void rl_open_select(lua_State *L, rl_state *S);
void rl_open_done(lua_State *L, rl_state *S);
void rl_open_task(lua_State *L, rl_state *S);
void rl_open_leak(lua_State *L, rl_state *S);
void rl_open_time(lua_State *L, rl_state *S);
void rl_open_notify(lua_State *L, rl_state *S);
void rl_open_promise(lua_State *L, rl_state *S);
void rl_open_log(lua_State *L, rl_state *S);
void rl_open_runtime(lua_State *L, rl_state *S);
void rl_open_testing(lua_State *L, rl_state *S);
void rl_open_cell(lua_State *L);
void rl_open_parts(lua_State *L, rl_state *S);
extern const luaL_Reg rl_chan_receiving[], rl_chan_sending[], rl_timer_methods[], rl_done_methods[],
    rl_cancel_methods[], rl_task_methods[], rl_stop_methods[], rl_mutex_methods[],
    rl_rwmutex_methods[], rl_semaphore_methods[], rl_waitgroup_methods[], rl_cond_methods[],
    rl_barrier_methods[], rl_counter_methods[], rl_once_methods[];
/* Replacements for library functions that a task must not use as they are. */
void rl_open_coroutine(lua_State *L, rl_state *S);
void rl_open_os(lua_State *L, rl_state *S);
void rl_open_io(lua_State *L, rl_state *S);
void rl_open_debug(lua_State *L, rl_state *S);
void rl_open_searcher(lua_State *L);
/* What a task's package library and random numbers begin with. */
void rl_state_set_paths(lua_State *L, rl_state *S);
void rl_state_seed_random(lua_State *L);

/* Raises that on the virtual clock nothing can happen any more, with the list of who waits. */
int rl_testing_stalled(lua_State *L, rl_state *S);

int rl_done_after(lua_State *L); /* done:after */
bool rl_state_is_module(lua_State *L, int idx);
/* The same for a part that is a function of the core's, which are not there until they are used; NULL: it is none. */
lua_CFunction rl_sync_part(const char *name);
int rl_waitgroup_go(lua_State *L); /* waitgroup:go */
/* __index of the module, which stands at 1: requires the part named at 2. */
int rl_part(lua_State *L);
/* Is the value at `idx` the name of a part? */
bool rl_is_part(lua_State *L, int idx);
/* "runnable", "running", "waiting", "finished" or "failed" */
const char *rl_task_status_name(rl_task *t);
/* Starts a task that serves the program: a daemon that the log does not tell of. Its function is at `first`, its
   arguments above; raises as go does. */
void rl_task_serve(lua_State *L, rl_state *S, int first, const char *name);

__attribute__((visibility("default"))) int luaopen_rille_core(lua_State *L);

#endif

/*
** thread: starting threads, poking them by a signal, and what the system tells of them. The signal is
** SIGURG, as Go's: nobody minds one that came in vain.
*/
#include "core/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { POKE = SIGURG };
static const size_t STACK = 2u << 20;

static atomic_bool any_thread;

bool rl_thread_any(void) {
  return atomic_load(&any_thread);
}

bool rl_thread_start(void *(*body)(void *), void *arg) {
  pthread_t t;
  pthread_attr_t attr;
  sigset_t all, before;
  if (pthread_attr_init(&attr) != 0) return false;
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, STACK);
  atomic_store(&any_thread, true);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&t, &attr, body, arg);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return !failed;
}

/* Poking */

static void (*_Atomic on_poke)(void);
static struct sigaction before; /* immutable once the handler is set */

/* Whoever had a handler for the signal before still gets it: it may be meant for them. */
static void pass_on(int number, siginfo_t *info, void *context) {
  if (before.sa_flags & SA_SIGINFO)
    before.sa_sigaction(number, info, context);
  else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
    before.sa_handler(number);
}

static void poked(int number, siginfo_t *info, void *context) {
  int kept = errno;
  void (*f)(void) = atomic_load_explicit(&on_poke, memory_order_relaxed);
  if (f) f();
  pass_on(number, info, context);
  errno = kept;
}

static void catch_poke(void) {
  struct sigaction a = {.sa_sigaction = poked, .sa_flags = (int)(SA_RESTART | SA_SIGINFO)};
  sigfillset(&a.sa_mask);
  sigaction(POKE, NULL, &before);
  sigaction(POKE, &a, NULL);
}

void rl_thread_on_poke(void (*f)(void)) {
  atomic_store_explicit(&on_poke, f, memory_order_relaxed);
}

void rl_thread_enter(rl_thread *t) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  sigset_t poke;
  pthread_once(&once, catch_poke);
  t->id = pthread_self();
  t->tid = (pid_t)syscall(SYS_gettid);
  if (pthread_getcpuclockid(t->id, &t->clock) != 0) t->clock = CLOCK_MONOTONIC;
  sigemptyset(&poke);
  sigaddset(&poke, POKE);
  pthread_sigmask(SIG_UNBLOCK, &poke, NULL);
  atomic_store_explicit(&t->known, true, memory_order_release);
}

void rl_thread_poke(const rl_thread *t) {
  pthread_kill(t->id, POKE);
}

/* What the system tells */

uint64_t rl_thread_time(const rl_thread *t) {
  struct timespec had;
  if (clock_gettime(t->clock, &had) != 0) return 0;
  return (uint64_t)had.tv_sec * 1000000000u + (uint64_t)had.tv_nsec;
}

/* What a file in its folder says, cut to `size`; false when it cannot be read. */
static bool ask(const rl_thread *t, const char *file, char *text, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)t->tid, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, size - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

bool rl_thread_computes(rl_thread *t) {
  char text[128];
  uint64_t had = rl_thread_time(t);
  bool more = had != t->had;
  t->had = had;
  if (!ask(t, "stat", text, sizeof text)) return more;
  const char *end = strrchr(text, ')'); /* of its name; then comes the letter for its state */
  return end && strncmp(end, ") R", 3) == 0;
}

/* Calls that wait, and that after a signal go on as if nothing had been. */
static bool goes_on(long call) {
  static const long calls[] = {SYS_read,  SYS_readv,  SYS_write,  SYS_writev,
                               SYS_wait4, SYS_waitid, SYS_openat, SYS_flock};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
    if (calls[i] == call) return true;
  return false;
}

bool rl_thread_bears(rl_thread *t) {
  char text[128], *end;
  if (rl_thread_computes(t)) return true;
  if (!ask(t, "syscall", text, sizeof text)) return false;
  long call = strtol(text, &end, 10);
  return end != text && goes_on(call);
}

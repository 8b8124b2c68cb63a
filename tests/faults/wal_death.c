/* A preload that ends its process by SIGKILL at a chosen write or sync of a write-ahead log of
 * SQLite (a file whose name ends in "-wal"): a commit that is half written, written and not
 * synced, or durable and not yet answered.
 *
 * WAL_DEATH names a file that holds "write|sync before|after N". While it is not there nothing
 * happens; calls count from the first that sees it. Who dies removes it: a successor is spared. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_wal(int fd) {
  char link[40], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path);
  return size > 4 && !memcmp(path + size - 4, "-wal", 4);
}

/* Both moments of one call see the same count: it goes up before. */
static void pass(int fd, const char *call, const char *moment) {
  static int seen;
  char chosen[8], when[8];
  int nth;
  const char *name = getenv("WAL_DEATH");
  FILE *file = name && is_wal(fd) ? fopen(name, "re") : NULL;
  if (!file) return;
  int fields = fscanf(file, "%7s %7s %d", chosen, when, &nth);
  fclose(file);
  if (fields != 3) abort();
  if (strcmp(chosen, call)) return;
  if (!strcmp(moment, "before")) seen++;
  if (seen != nth || strcmp(when, moment) || unlink(name)) return;
  kill(getpid(), SIGKILL);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
  pass(fd, "write", "before");
  ssize_t result = real(fd, data, size, offset);
  pass(fd, "write", "after");
  return result;
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
  pass(fd, "sync", "before");
  int result = real(fd);
  pass(fd, "sync", "after");
  return result;
}

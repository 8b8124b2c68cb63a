/* A preload that makes fsync and fdatasync take FSYNC_US microseconds longer: what a disk in a data
 * centre takes, where a laptop's or a virtual one answers in no time. Nothing else is slowed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_as_told(void) {
  const char *text = getenv("FSYNC_US");
  long microseconds = text ? atol(text) : 0;
  struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000};
  while (nanosleep(&left, &left)) continue;
}

int fsync(int file) {
  static int (*original)(int);
  if (!original) original = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  int result = original(file);
  wait_as_told();
  return result;
}

int fdatasync(int file) {
  static int (*original)(int);
  if (!original) original = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  int result = original(file);
  wait_as_told();
  return result;
}

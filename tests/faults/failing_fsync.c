/* A preload that makes fsync and fdatasync fail with EIO, after the data went to the page cache,
 * as long as the file named by FSYNC_FAILS exists: the disk that loses what it was given. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
  const char *path = getenv("FSYNC_FAILS");
  return path && access(path, F_OK) == 0;
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fsync");
  if (fails()) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
  if (fails()) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

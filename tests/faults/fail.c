/* Makes the n-th call that writes below a directory fail, as a full or broken disk does. Loaded before the C library.
 *
 * FAIL_BELOW  the directory whose files are concerned
 * FAIL_AT     which call fails, from 1; 0 lets all succeed
 * FAIL_ON     the file that the number of calls is written to at the end
 * FAIL_WITH   the error number
 * FAIL_FOR    how many calls fail from there on: a disk that is full stays full for a while
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name) {
  const char *text = getenv(name);
  return text ? atol(text) : 0;
}

static int is_below(const char *path) {
  const char *below = getenv("FAIL_BELOW");
  return below && path && strncmp(path, below, strlen(below)) == 0;
}

static int is_below_at(int directory, const char *path) {
  char link[64], start[PATH_MAX];
  if (path[0] == '/') return is_below(path);
  if (directory == AT_FDCWD) {
    if (!getcwd(start, sizeof start)) return 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, start, sizeof start - 1);
    if (length < 0) return 0;
    start[length] = 0;
  }
  char whole[2 * PATH_MAX];
  snprintf(whole, sizeof whole, "%s/%s", start, path);
  return is_below(whole);
}

static int is_file_below(int file) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_below(path);
}

static int fails(int concerned) {
  if (!concerned) return 0;
  long call = atomic_fetch_add(&calls, 1) + 1, at = number("FAIL_AT"), count = number("FAIL_FOR");
  if (at == 0 || call < at || call >= at + (count ? count : 1)) return 0;
  errno = number("FAIL_WITH");
  return 1;
}

__attribute__((destructor)) static void say(void) {
  const char *path = getenv("FAIL_ON");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld\n", atomic_load(&calls));
  fclose(file);
}

#define FAILING(type, name, parameters, arguments, concerned)            \
  type name parameters {                                                 \
    static type(*next) parameters;                                       \
    if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);       \
    if (fails(concerned)) return -1;                                     \
    return next arguments;                                               \
  }

FAILING(ssize_t, write, (int f, const void *b, size_t n), (f, b, n), is_file_below(f))
FAILING(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n), is_file_below(f))
FAILING(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t at), (f, b, n, at), is_file_below(f))
FAILING(ssize_t, copy_file_range, (int f, off64_t *a, int g, off64_t *b, size_t n, unsigned flags), (f, a, g, b, n, flags),
        is_file_below(g))
FAILING(int, fsync, (int f), (f), is_file_below(f))
FAILING(int, fdatasync, (int f), (f), is_file_below(f))
FAILING(int, sync_file_range, (int f, off64_t a, off64_t n, unsigned flags), (f, a, n, flags), is_file_below(f))
FAILING(int, ftruncate64, (int f, off64_t n), (f, n), is_file_below(f))
FAILING(int, mkdir, (const char *p, mode_t m), (p, m), is_below_at(AT_FDCWD, p))
FAILING(int, rename, (const char *a, const char *b), (a, b), is_below_at(AT_FDCWD, b))
FAILING(int, link, (const char *a, const char *b), (a, b), is_below_at(AT_FDCWD, b))
FAILING(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), is_below_at(e, b))
FAILING(int, fchmod, (int f, mode_t m), (f, m), is_file_below(f))

int open64(const char *path, int flags, ...) {
  static int (*next)(const char *, int, ...);
  va_list list;
  va_start(list, flags);
  mode_t mode = va_arg(list, mode_t);
  va_end(list);
  if (!next) next = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
  if (fails(flags & (O_CREAT | O_WRONLY | O_RDWR) && is_below_at(AT_FDCWD, path))) return -1;
  return next(path, flags, mode);
}

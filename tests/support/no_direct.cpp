// Preloaded: a file system that lets nothing pass by the page cache.
#include <linux/fcntl.h>  // its like of the C library would declare what is defined below
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

namespace {

long opened(const char *path, int flags, va_list rest) {
  if ((flags & O_DIRECT) == 0)
    return ::syscall(SYS_openat, AT_FDCWD, path, flags, va_arg(rest, int));
  errno = EINVAL;
  return -1;
}

}  // namespace

extern "C" [[gnu::visibility("default")]] int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const long fd = opened(path, flags, rest);
  va_end(rest);
  return static_cast<int>(fd);
}

extern "C" [[gnu::visibility("default")]] int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const long fd = opened(path, flags, rest);
  va_end(rest);
  return static_cast<int>(fd);
}

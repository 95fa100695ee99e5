#include "base/own_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace cubby::base {
namespace {

/// The open file's beginning, or errno.
int read_begin(int fd, std::string &begin) {
  begin.resize(kind_begin_bytes);
  size_t got = 0;
  while (got < begin.size()) {
    const ssize_t did = pread(fd, begin.data() + got, begin.size() - got, static_cast<off_t>(got));
    if (did < 0 && errno == EINTR) continue;
    if (did < 0) return errno;
    if (did == 0) break;
    got += static_cast<size_t>(did);
  }
  begin.resize(got);
  return 0;
}

/// What it is without opening it, for what cannot be opened or is no regular file.
name_state by_status(const std::string &path, int native) {
  struct stat seen = {};
  if (lstat(path.c_str(), &seen) != 0)
    return {errno == ENOENT ? at_name::nothing : at_name::unknown, errno == ENOENT ? 0 : errno};
  if (S_ISLNK(seen.st_mode)) return {at_name::link, 0};
  if (!S_ISREG(seen.st_mode)) return {at_name::irregular, 0};
  return {at_name::unknown, native};
}

}  // namespace

name_state look_at_name(const std::string &path, const file_kind &own) {
  // A device is not opened: even that may do something.
  if (const name_state seen = by_status(path, 0); seen.what != at_name::unknown) return seen;
  const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return by_status(path, errno);
  struct stat seen = {};
  std::string begin;
  int native = fstat(fd, &seen) == 0 ? 0 : errno;
  const bool regular = native == 0 && S_ISREG(seen.st_mode);
  if (regular) native = read_begin(fd, begin);
  close(fd);
  if (native != 0) return {at_name::unknown, native};
  if (!regular) return {at_name::irregular, 0};
  return {own(begin, static_cast<uint64_t>(seen.st_size)) ? at_name::own : at_name::other, 0};
}

name_state give_name(const std::string &from, const std::string &to, const file_kind &own) {
  name_state there = look_at_name(to, own);
  if (there.what == at_name::nothing) {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
      return there;
    there.native = errno;
    // Somebody was faster; or the file system has no such rename.
    if (there.native != EEXIST && there.native != EINVAL && there.native != ENOSYS) return there;
    there = look_at_name(to, own);
  }
  if (!there.may_be_written()) {
    if (there.native == 0) there.native = EEXIST;
    return there;
  }
  there.native = rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
  return there;
}

}  // namespace cubby::base

#include "store/durable/store_file.hpp"

#include <cubby/backend.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

#include "base/own_file.hpp"
#include "platform/file_system_kind.hpp"
#include "store/durable/format.hpp"
#include "store/durable/parents_files.hpp"

namespace cubby::store {
namespace {

constexpr int look_flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
constexpr int open_flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

std::string path_in(const std::string &directory) {
  return (directory.empty() ? "." : directory) + "/" + store_file_name;
}

/// Of one byte.
struct flock lock_of(short type, off_t at) noexcept {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = 1;
  return lock;
}

/// One byte, locked for this open file (F_OFD_SETLK) or for this process (F_SETLK). A file that is
/// open to be read takes a lock that keeps out writers alone.
int lock_byte(int fd, int command, off_t at) noexcept {
  const int flags = fcntl(fd, F_GETFL);
  struct flock lock = lock_of((flags & O_ACCMODE) == O_RDONLY ? F_RDLCK : F_WRLCK, at);
  return fcntl(fd, command, &lock) == 0 ? 0 : errno;
}

/// Of who holds the process's lock; 0 when it cannot be learned.
pid_t owner_of(int fd) noexcept {
  struct flock lock = lock_of(F_WRLCK, 1);
  if (fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid;
}

void unlock(int fd) noexcept {
  struct flock lock = lock_of(F_UNLCK, 0);
  fcntl(fd, F_OFD_SETLK, &lock);
}

/// The lock of the open file keeps others out; that of the process merely says its number.
result<void> lock_file(int fd, const std::string &path) {
  const int native = lock_byte(fd, F_OFD_SETLK, 0);
  if (native == EAGAIN || native == EACCES) {
    const pid_t owner = owner_of(fd);
    auto failure =
        owner != 0
            ? fail(CUBBY_ERR_IN_USE,
                   "%s is held by process %d; let it end, or name another directory", path.c_str(),
                   static_cast<int>(owner))
            : fail(CUBBY_ERR_IN_USE,
                   "%s is held by this process itself, or by one of another container; close the "
                   "other runtime, or name another directory",
                   path.c_str());
    failure.native = static_cast<int32_t>(owner);
    failure.retryable = true;
    return failure;
  }
  if (native != 0)
    return fail_errno(native, "%s could not be locked; name a directory on a local disk",
                      path.c_str());
  lock_byte(fd, F_SETLK, 1);
  return {};
}

/// Is a write on its way that a backend of another process has begun? That process may have ended.
bool is_being_written(int fd) noexcept {
  struct flock lock = lock_of(F_WRLCK, CUBBY_BACKEND_FILE_LOCK_AT);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/// A write of a process that was killed may land later than its lock is free, over what the next
/// owner has written by then.
result<void> wait_for_writes(int fd, const std::string &path) {
  using clock = std::chrono::steady_clock;
  const auto until = clock::now() + store_writes_wait;
  while (is_being_written(fd)) {
    if (clock::now() >= until) {
      auto failure = fail(CUBBY_ERR_IN_USE,
                          "%s is being written: the last writes of a process that ended are on "
                          "their way to a slow device, or a process that it forked has the file "
                          "open; open it again later",
                          path.c_str());
      failure.retryable = true;
      return failure;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

bool has_magic(int fd, uint64_t at) noexcept {
  char begin[12] = {};
  const ssize_t got = pread(fd, begin, sizeof begin, static_cast<off_t>(at));
  return got > 0 && claimed_version(begin, static_cast<size_t>(got)).has_value();
}

/// Any copy of a superblock will do: one may be damaged.
bool is_ours(int fd, uint64_t bytes) noexcept {
  return has_magic(fd, 0) || has_magic(fd, page_bytes) ||
         (bytes >= uint64_t{3} * page_bytes &&
          has_magic(fd, (bytes / page_bytes - 1) * page_bytes));
}

bool is_unfinished(std::string_view begin, uint64_t bytes) {
  return bytes == 0 || begin.starts_with(std::string_view(store_magic, 8));
}

/// Removes what a process that died left under the name of a new file, and nothing else.
result<void> remove_leftover(const std::string &path) {
  const auto there = base::look_at_name(path, is_unfinished);
  if (there.what == base::at_name::nothing) return {};
  if (there.what != base::at_name::own)
    return fail(CUBBY_ERR_INVALID, "%s is in the way and no store; it is left as it is: move it",
                path.c_str());
  const int fd = open(path.c_str(), open_flags);
  if (fd < 0 && errno == ENOENT) return {};
  if (fd < 0) return fail_errno(errno, "%s could not be opened; remove it", path.c_str());
  auto locked = lock_file(fd, path);
  if (locked) unlink(path.c_str());
  close(fd);
  return locked;
}

result<int> open_new(const std::string &path) {
  if (auto clear = remove_leftover(path); !clear) return clear.failure();
  const int fd = open(path.c_str(), open_flags | O_CREAT | O_EXCL, 0600);
  if (fd >= 0) return fd;
  if (errno == EROFS)
    return fail_errno(EROFS, "%s is on a read-only file system; name another directory",
                      path.c_str());
  return fail_errno(errno, "the store %s could not be created; look at the directory",
                    path.c_str());
}

/// A write past the limit would end the process by SIGXFSZ.
result<void> check_size_limit(const std::string &path, uint64_t bytes) {
  struct rlimit limit = {};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      limit.rlim_cur >= bytes)
    return {};
  auto failure =
      fail_errno(EFBIG,
                 "%s has %llu bytes, and this process may write files of at most %llu; raise the "
                 "limit (ulimit -f), or make a smaller store",
                 path.c_str(), static_cast<unsigned long long>(bytes),
                 static_cast<unsigned long long>(limit.rlim_cur));
  failure.needed_bytes = bytes;
  return failure;
}

/// 0 or the errno. The magic comes first, so that what is left if this process dies is not taken
/// for a third party's file.
int allocate(int fd, uint64_t bytes) {
  // Asked first: a file system may fill itself to the last block before it says that there are too
  // few, and every other writer on it would fail meanwhile.
  struct statvfs room = {};
  if (fstatvfs(fd, &room) == 0 && room.f_bavail < bytes / room.f_frsize + 1) return ENOSPC;
  if (pwrite(fd, store_magic, 8, 0) != 8) return errno;
  for (;;) {
    const int native = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (native != EINTR) return native;
  }
}

int flush_directory(const std::string &path) {
  const int fd = open(path.substr(0, path.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  int native = fsync(fd) == 0 ? 0 : errno;
  if (native == EINVAL) native = 0;  // file systems that have no such thing
  close(fd);
  return native;
}

}  // namespace

bool store_file_exists(const std::string &directory) {
  struct stat seen = {};
  return lstat(path_in(directory).c_str(), &seen) == 0;
}

store_file::store_file(store_file &&other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      unpublished_(std::exchange(other.unpublished_, {})),
      bytes_(other.bytes_),
      owner_(other.owner_),
      direct_(other.direct_),
      notes_(std::move(other.notes_)) {}

store_file &store_file::operator=(store_file &&other) noexcept {
  if (this == &other) return *this;
  close_file();
  fd_ = std::exchange(other.fd_, -1);
  path_ = std::move(other.path_);
  unpublished_ = std::exchange(other.unpublished_, {});
  bytes_ = other.bytes_;
  owner_ = other.owner_;
  direct_ = other.direct_;
  notes_ = std::move(other.notes_);
  return *this;
}

store_file::~store_file() { close_file(); }

void store_file::close_file() noexcept {
  if (fd_ < 0) return;
  // In a child that was forked meanwhile it is closed already, and the number may be another
  // file's.
  if (owner_ == 0 || getpid() == owner_) {
    if (owner_ != 0 && !unpublished_.empty()) unlink(unpublished_.c_str());
    // A child that was made past the handlers of fork() has the same open file, and its lock.
    if (owner_ != 0) unlock(fd_);
    forget_in_children(fd_);
    close(fd_);
  }
  fd_ = -1;
}

/// Locked first, so that nothing changes under the looks that follow.
result<void> store_file::own() {
  close_in_children(fd_);
  if (auto locked = lock_file(fd_, path_); !locked) return locked;
  owner_ = getpid();
  if (auto ended = wait_for_writes(fd_, path_); !ended) return ended;
  struct stat seen = {};
  if (fstat(fd_, &seen) != 0) return fail_errno(errno, "%s could not be looked at", path_.c_str());
  bytes_ = static_cast<uint64_t>(seen.st_size);
  return {};
}

/// Is this file, and no other, found under the name?
bool store_file::has_name(const std::string &path) const noexcept {
  struct stat named = {}, ours = {};
  return lstat(path.c_str(), &named) == 0 && fstat(fd_, &ours) == 0 &&
         named.st_ino == ours.st_ino && named.st_dev == ours.st_dev;
}

void store_file::look_around(bool direct) {
  const int flags = fcntl(fd_, F_GETFL);
  direct_ = direct && flags >= 0 && fcntl(fd_, F_SETFL, flags | O_DIRECT) == 0;
  if (direct && !direct_)
    notes_.push_back(path_ +
                     " is on a file system without O_DIRECT: it is written through the "
                     "page cache");
  struct statfs there = {};
  if (fstatfs(fd_, &there) != 0) return;
  const auto kind = platform::file_system_kind_of(static_cast<uint32_t>(there.f_type));
  if (kind.medium == platform::file_system_medium::memory)
    notes_.push_back(path_ + " is in memory (" + kind.name +
                     "): it survives the process, not the machine; "
                     "name a directory on a disk");
  if (kind.is_shared())
    notes_.push_back(path_ + " is on " + kind.name +
                     ", where a lock may hold in this mount alone: let no other machine or mount "
                     "open the store");
}

result<store_file> store_file::open(const std::string &directory, bool direct) {
  auto file = open_locked(directory, open_flags);
  if (!file) return file;
  if (auto allowed = check_size_limit(file->path_, file->bytes_); !allowed)
    return allowed.failure();
  struct stat seen = {};
  if (fstat(file->fd_, &seen) == 0 && (seen.st_mode & 077) != 0 && fchmod(file->fd_, 0600) == 0)
    file->notes_.push_back(file->path_ + " could be read by others and no longer can");
  file->look_around(direct);
  return file;
}

result<store_file> store_file::open_to_look(const std::string &directory) {
  auto file = open_locked(directory, look_flags);
  if (file) file->look_around(false);
  return file;
}

result<store_file> store_file::open_locked(const std::string &directory, int flags) {
  const std::string path = path_in(directory);
  const int fd = ::open(path.c_str(), flags);
  if (fd < 0 && errno == ELOOP)
    return fail(CUBBY_ERR_INVALID, "%s is a link and is not followed; name the directory itself",
                path.c_str());
  if (fd < 0 && errno == EROFS)
    return fail_errno(EROFS, "%s is on a read-only file system; name another directory",
                      path.c_str());
  if (fd < 0)
    return fail_errno(errno, "the store %s could not be opened%s", path.c_str(),
                      open_remedy(errno));
  store_file file(fd, path);
  struct stat seen = {};
  if (fstat(fd, &seen) != 0 || !S_ISREG(seen.st_mode))
    return fail(CUBBY_ERR_INVALID, "%s is no regular file; name another directory", path.c_str());
  if (!is_ours(fd, static_cast<uint64_t>(seen.st_size)))
    return fail(CUBBY_ERR_FORMAT, "%s is no store and is left as it is; name another directory",
                path.c_str());
  if (auto owned = file.own(); !owned) return owned.failure();
  // The lock may have been free because its owner had put another file in the place of this one.
  if (!file.has_name(path)) {
    auto replaced = fail(CUBBY_ERR_IN_USE,
                         "%s was replaced while it was being opened, as `cubby store trim` does; "
                         "open it again",
                         path.c_str());
    replaced.retryable = true;
    return replaced;
  }
  return file;
}

result<store_file> store_file::create(const std::string &directory, uint64_t bytes, bool direct) {
  const std::string path = path_in(directory);
  if (store_file_exists(directory))
    return fail(CUBBY_ERR_INVALID, "%s is there already; open it, or name another directory",
                path.c_str());
  return create_unnamed(path, bytes, direct);
}

result<store_file> store_file::create_beside(const store_file &old, uint64_t bytes, bool direct) {
  return create_unnamed(old.path_, bytes, direct);
}

result<store_file> store_file::create_unnamed(const std::string &path, uint64_t bytes,
                                              bool direct) {
  auto fd = open_new(path + ".new");
  if (!fd) return fd.failure();
  store_file file(*fd, path);
  file.unpublished_ = path + ".new";
  if (auto owned = file.own(); !owned) {
    // Who holds the lock goes on with the file; where there are no locks it is nobody's.
    if (owned.failure().status != CUBBY_ERR_IN_USE) unlink(file.unpublished_.c_str());
    file.unpublished_.clear();
    return owned.failure();
  }
  if (auto allowed = check_size_limit(path, bytes); !allowed) return allowed.failure();
  const int native = allocate(*fd, bytes);
  if (native != 0) {
    auto failure = fail_errno(native,
                              "the store %s could not be given its %llu bytes; make room, lower "
                              "the budget or name another directory",
                              path.c_str(), static_cast<unsigned long long>(bytes));
    failure.needed_bytes = bytes;
    return failure;
  }
  file.bytes_ = bytes;
  file.look_around(direct);
  return file;
}

result<void> store_file::check() const {
  struct statx seen = {};
  if (statx(fd_, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_NLINK | STATX_SIZE, &seen) != 0)
    return fail_errno(errno, "%s could not be looked at", path_.c_str());
  if (seen.stx_nlink == 0)
    return fail_errno(ENOENT,
                      "%s was removed by somebody else, and what is in it goes with this process; "
                      "close the runtime and open it anew",
                      path_.c_str());
  if (seen.stx_size < bytes_)
    return fail_errno(EIO,
                      "%s was cut short by somebody else, to %llu bytes of %llu, and what lay "
                      "behind is lost; remove the store and let its content be made again",
                      path_.c_str(), static_cast<unsigned long long>(seen.stx_size),
                      static_cast<unsigned long long>(bytes_));
  return check_size_limit(path_, bytes_);
}

result<void> store_file::flush_new() {
  if (fsync(fd_) == 0) return {};
  return fail_errno(errno, "the new store %s could not be flushed; look at the device",
                    path_.c_str());
}

result<void> store_file::flush_unnamed() {
  if (auto flushed = flush_new(); !flushed) return flushed;
  if (const int native = flush_directory(path_); native != 0)
    return fail_errno(native,
                      "the directory of the new store %s could not be flushed; look at the device",
                      path_.c_str());
  return {};
}

result<void> store_file::publish() {
  if (auto flushed = flush_new(); !flushed) return flushed;
  const auto never = [](std::string_view, uint64_t) { return false; };
  const auto there = base::give_name(unpublished_, path_, never);
  if (there.native != 0)
    return fail_errno(there.native, "the new store could not be named %s; look at what is there",
                      path_.c_str());
  unpublished_.clear();
  const int native = flush_directory(path_);
  if (native == 0) return {};
  // A later opening could not tell that the name may be gone after a power cut.
  withdraw();
  return fail_errno(native,
                    "the directory of the new store %s could not be flushed; look at the device",
                    path_.c_str());
}

void store_file::withdraw() noexcept {
  if (has_name(path_)) unlink(path_.c_str());
}

result<void> store_file::replace(const store_file &old) {
  if (auto flushed = flush_new(); !flushed) return flushed;
  if (!old.has_name(path_))
    return fail(CUBBY_ERR_INVALID,
                "%s is another file than the one that was to be replaced; it is left as it is: let "
                "nobody else write there",
                path_.c_str());
  if (rename(unpublished_.c_str(), path_.c_str()) != 0)
    return fail_errno(errno, "the new store could not be named %s; the old one is there",
                      path_.c_str());
  unpublished_.clear();
  if (const int native = flush_directory(path_); native != 0)
    return fail_errno(native, "%s is the new store, and may be the old one after a power cut",
                      path_.c_str());
  return {};
}

}  // namespace cubby::store

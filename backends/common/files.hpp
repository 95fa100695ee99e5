// Files and single transfers, shared by the backends that do file I/O. How short I/O is resumed is
// decided here, once, for pread and for io_uring alike.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "../common/closed_in_children.hpp"
#include "../common/common.hpp"

namespace cubby_backends {

inline constexpr uint32_t file_align = 4096;
inline constexpr uint64_t file_io_bytes_max = uint64_t{1} << 30;

// Two descriptors a file: O_DIRECT cannot transfer the unaligned rest that a short transfer leaves.
struct file_slot {
  int direct = -1;
  int buffered = -1;
  bool locked = false;  // as CUBBY_BACKEND_FILE_LOCK_AT says
};

// open() may wait for a file system, and so holds nothing meanwhile: all members may be called from
// any thread.
class file_table {
 public:
  file_table() = default;
  file_table(const file_table &) = delete;
  file_table &operator=(const file_table &) = delete;
  ~file_table() {
    for (uint32_t i = 0; i < slots_.size(); ++i) close(i + 1);
  }

  std::optional<file_slot> find(uint32_t file) const {
    const std::lock_guard lock(mutex_);
    if (file == 0 || file > slots_.size() || slots_[file - 1].buffered < 0) return std::nullopt;
    return slots_[file - 1];
  }

  int32_t open(const char *path, uint32_t flags, cubby_backend_file *out) try {
    const uint32_t both = CUBBY_BACKEND_FILE_READ | CUBBY_BACKEND_FILE_WRITE;
    if (path == nullptr || out == nullptr || (flags & both) == 0) return -EINVAL;
    int mode = (flags & both) == both ? O_RDWR : O_RDONLY;
    if ((flags & both) == CUBBY_BACKEND_FILE_WRITE) mode = O_WRONLY;
    const int create = (flags & CUBBY_BACKEND_FILE_CREATE) != 0 ? O_CREAT : 0;
    const uint32_t file = reserve();
    file_slot slot;
    // A pipe without a writer would keep a plain open waiting for ever.
    slot.buffered = open_retried(path, mode | create | O_NONBLOCK);
    int32_t status = slot.buffered < 0 ? -errno : look(slot, AT_STATX_SYNC_AS_STAT, file, out);
    if (status == 0) {
      slot.direct = open_same(slot.buffered, mode | O_DIRECT);
      if (slot.direct < 0) refused_direct_ = true;
      status = look(slot, AT_STATX_SYNC_AS_STAT, file, out);
    }
    if (status == 0 && mode == O_RDWR) status = hold(slot);
    if (status != 0) {
      close_both(slot);
      slot = file_slot{};
    }
    const std::lock_guard lock(mutex_);
    slots_[file - 1] = slot;
    return status;
  } catch (const std::bad_alloc &) {
    return -ENOMEM;
  }

  // From what the kernel has at hand: a network file system is not asked, for its server may be
  // gone. What changed on the server is seen once a read has brought newer attributes.
  int32_t stat(uint32_t file, cubby_backend_file *out) const {
    const auto slot = find(file);
    if (!slot) return -EBADF;
    return look(*slot, AT_STATX_DONT_SYNC, file, out);
  }

  void close(uint32_t file) {
    const auto slot = find(file);
    if (!slot) return;
    close_both(*slot);
    const std::lock_guard lock(mutex_);
    slots_[file - 1] = file_slot{};
  }

  bool refused_direct() const { return refused_direct_; }

 private:
  static constexpr int opening = -2;  // the slot is spoken for

  uint32_t reserve() {
    const std::lock_guard lock(mutex_);
    uint32_t file = 1;
    while (file <= slots_.size() && slots_[file - 1].buffered != -1) ++file;
    if (file > slots_.size()) slots_.resize(file);
    slots_[file - 1].buffered = opening;
    return file;
  }

  // Writes that are on their way when this process is killed end later, and keep both descriptors'
  // files open until then. A file system without such locks has none to wait for.
  static int32_t hold(file_slot &slot) {
    slot.locked = true;
    for (const int fd : {slot.direct, slot.buffered}) {
      if (fd < 0) continue;
      if (!closed_in_children::add(fd)) return -ENOMEM;
      lock(fd, F_RDLCK);
    }
    return 0;
  }

  static void lock(int fd, short type) {
    struct flock one = {};
    one.l_type = type;
    one.l_whence = SEEK_SET;
    one.l_start = CUBBY_BACKEND_FILE_LOCK_AT;
    one.l_len = 1;
    ::fcntl(fd, F_OFD_SETLK, &one);
  }

  static void close_both(const file_slot &slot) {
    if (slot.locked) {
      for (const int fd : {slot.direct, slot.buffered}) {
        if (fd < 0) continue;
        // A child that was made past the handlers of fork() has the same open file, and its locks.
        lock(fd, F_UNLCK);
        closed_in_children::remove(fd);
      }
    }
    if (slot.direct >= 0) ::close(slot.direct);
    if (slot.buffered >= 0) ::close(slot.buffered);
  }

  static int32_t look(const file_slot &slot, int sync, uint32_t file, cubby_backend_file *out) {
    struct statx seen {};
    constexpr unsigned wanted = STATX_TYPE | STATX_SIZE | STATX_INO | STATX_MTIME;
    if (statx(slot.buffered, "", AT_EMPTY_PATH | sync, wanted, &seen) != 0) return -errno;
    if (S_ISDIR(seen.stx_mode)) return -EISDIR;
    if (!S_ISREG(seen.stx_mode)) return -ESPIPE;
    cubby_backend_file value{};
    value.file = file;
    value.direct = slot.direct >= 0 ? 1 : 0;
    value.bytes = seen.stx_size;
    value.device = makedev(seen.stx_dev_major, seen.stx_dev_minor);
    value.inode = seen.stx_ino;
    value.mtime_ns = static_cast<uint64_t>(seen.stx_mtime.tv_sec) * 1'000'000'000u +
                     uint64_t{seen.stx_mtime.tv_nsec};
    write_struct(value, out);
    return 0;
  }

  static int open_retried(const char *path, int flags) {
    int fd = -1;
    do {
      fd = ::open(path, flags | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
  }

  // Through /proc, so that both descriptors name one file even when the path is replaced meanwhile.
  static int open_same(int fd, int flags) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open_retried(path, flags);
  }

  mutable std::mutex mutex_;
  std::vector<file_slot> slots_;
  std::atomic<bool> refused_direct_{false};
};

// One accepted I/O on its way. After each system call advance() says whether it is over.
struct transfer {
  cubby_backend_io io{};
  file_slot fds{};
  uint64_t moved = 0;
  int32_t error = 0;
  uint32_t retries = 0;
  bool unaligned = false;  // what is left has to go through the page cache

  // `slot`: of its file, or nothing where there is none.
  void start(const cubby_backend_io &asked, const std::optional<file_slot> &slot) {
    *this = {.io = asked};
    const bool known = asked.op <= CUBBY_BACKEND_FLUSH;
    const bool misplaced = asked.op != CUBBY_BACKEND_FLUSH && !aligned(asked);
    if (known && !slot) {
      error = EBADF;
    } else if (!known || misplaced) {
      error = EINVAL;
    }
    if (slot) fds = *slot;
  }

  bool is_direct() const { return !unaligned && fds.direct >= 0; }
  int fd() const { return is_direct() ? fds.direct : fds.buffered; }
  char *address() const { return static_cast<char *>(io.memory) + moved; }
  uint64_t offset() const { return io.offset_bytes + moved; }
  uint64_t left() const { return io.bytes - moved; }
  // Nothing to ask of the kernel: wrong from the start, or an empty read or write.
  bool idle() const { return error != 0 || (io.op != CUBBY_BACKEND_FLUSH && io.bytes == 0); }

  // result: what the system call moved, or a negative errno. True when the I/O is over.
  bool advance(int64_t result) {
    if (result == -EINTR) return false;
    // Nothing here cancels; the kernel does when the thread that submitted has exited.
    if ((result == -EAGAIN || result == -ECANCELED) && ++retries < 1000) return false;
    if (result == -EINVAL && is_direct() && io.op != CUBBY_BACKEND_FLUSH) {
      unaligned = true;  // the device wants a larger alignment than ours; the page cache does not
      return false;
    }
    if (result < 0) {
      error = static_cast<int32_t>(-result);
      return true;
    }
    if (io.op == CUBBY_BACKEND_FLUSH) return true;
    if (result == 0) {  // a read has met the end of the file; a write must not stop here
      if (io.op == CUBBY_BACKEND_WRITE) error = EIO;
      return true;
    }
    moved += static_cast<uint64_t>(result);
    if (moved % file_align != 0) unaligned = true;
    return moved == io.bytes;
  }

  cubby_backend_done done() const { return {io.cookie, moved, error, 0}; }

 private:
  static bool aligned(const cubby_backend_io &asked) {
    const uint64_t offset_max = static_cast<uint64_t>(INT64_MAX) - file_io_bytes_max;
    return asked.offset_bytes % file_align == 0 && asked.bytes % file_align == 0 &&
           reinterpret_cast<uintptr_t>(asked.memory) % file_align == 0 &&
           (asked.memory != nullptr || asked.bytes == 0) && asked.bytes <= file_io_bytes_max &&
           asked.offset_bytes <= offset_max;
  }
};

// The operations every file backend forwards to its file_table in the same way. An instance has a
// member `files`; one that keeps more about a file defines closing(number).
template <class instance>
struct file_operations {
  static instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }

  static int32_t open(cubby_backend *backend, const char *path, uint32_t flags,
                      cubby_backend_file *out) {
    return of(backend).files.open(path, flags, out);
  }
  static int32_t stat(cubby_backend *backend, uint32_t file, cubby_backend_file *out) {
    return of(backend).files.stat(file, out);
  }
  static void close(cubby_backend *backend, uint32_t file) {
    if constexpr (requires(instance & self) { self.closing(1u); }) of(backend).closing(file);
    of(backend).files.close(file);
  }
  static void close_instance(cubby_backend *backend) { delete &of(backend); }

  // A table with all that does not differ between file backends; the rest is for the caller to set.
  static cubby_backend_ops table(const char *name) {
    cubby_backend_ops ops{};
    ops.struct_size = sizeof ops;
    ops.abi_version = CUBBY_BACKEND_ABI_VERSION;
    ops.name = name;
    ops.capabilities = CUBBY_CAP_FILES | CUBBY_CAP_FILES_APART;
    ops.close = close_instance;
    ops.file_open = open;
    ops.file_stat = stat;
    ops.file_close = close;
    return ops;
  }
};

}  // namespace cubby_backends

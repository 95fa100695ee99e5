#include "cli/characterize/work_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "cli/bench/reader.hpp"
#include "cli/model/weights.hpp"

namespace cubby_cli::characterize {
namespace {

struct known_system {
  uint64_t number;
  const char *name;
  bool memory;
};

/// Numbers of linux/magic.h, some of which it lacks.
constexpr known_system unsuited[] = {
    {0x01021994, "tmpfs", true},   {0x858458f6, "ramfs", true}, {0x958458f6, "hugetlbfs", true},
    {0x6969, "NFS", false},        {0xff534d42, "CIFS", false}, {0xfe534d42, "SMB", false},
    {0x00c36400, "Ceph", false},   {0x01021997, "9p", false},   {0x5346414f, "AFS", false},
    {0x0bd00bd0, "Lustre", false}, {0x47504653, "GPFS", false}, {0x19830326, "BeeGFS", false},
};

/// Beyond what is measured, so that a system that shares the disk goes on.
constexpr uint64_t spare_bytes = uint64_t{64} << 20;

}  // namespace

std::string unsuited_file_system(uint64_t number) {
  for (const known_system &one : unsuited) {
    if (one.number != number) continue;
    return one.memory ? std::string("in memory (") + one.name +
                            "), so there is no device to measure; name a directory on a disk"
                      : std::string("on a network file system (") + one.name +
                            "), whose figures would be those of caches and of other users; name a "
                            "directory on a local disk";
  }
  return {};
}

work_file::~work_file() {
  if (fd_ >= 0) ::close(fd_);
}

done work_file::look_at(const std::string &folder) {
  struct stat seen {};
  if (::stat(folder.c_str(), &seen) != 0) {
    trouble why = system_trouble("--dir " + folder, errno);
    if (errno == ENOENT) why.text += "; make it first, or name another";
    why.exit_status = exit_usage;
    return why;
  }
  if (!S_ISDIR(seen.st_mode))
    return usage_trouble("--dir " + folder + " is no directory; name the directory to measure in");
  device_ = seen.st_dev;
  struct statfs system {};
  struct statvfs room {};
  if (::statfs(folder.c_str(), &system) != 0 || ::statvfs(folder.c_str(), &room) != 0)
    return system_trouble("--dir " + folder, errno);
  const std::string unfit =
      unsuited_file_system(static_cast<uint64_t>(system.f_type) & 0xffffffffu);
  if (!unfit.empty()) return usage_trouble("--dir " + folder + " is " + unfit);
  free_bytes_ = static_cast<uint64_t>(room.f_bavail) * room.f_frsize;
  if (free_bytes_ < bytes_ + spare_bytes)
    return usage_trouble("--dir " + folder + " has " + bytes_text(free_bytes_) + " free, and " +
                         bytes_text(bytes_) +
                         " are to be measured, with 67 MB to spare; free "
                         "some space, or give a smaller --size");
  return nothing{};
}

/// Without a name where the file system has such files, else the name goes at once.
done work_file::make(const std::string &folder, bool direct) {
  const int flags = O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0);
  fd_ = ::open(folder.c_str(), O_TMPFILE | O_EXCL | flags, 0600);
  if (fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
    std::string name = folder + "/cubby-characterize-XXXXXX";
    fd_ = ::mkostemp(name.data(), O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (fd_ >= 0) ::unlink(name.c_str());
  }
  if (fd_ >= 0) return nothing{};
  if (errno == EINVAL && direct)
    return usage_trouble("--dir " + folder +
                         " is on a file system that reads nothing past the "
                         "page cache (no O_DIRECT); name another, or give --direct 0 and measure "
                         "the cache as well");
  trouble why = system_trouble("cannot make a file in --dir " + folder, errno);
  why.exit_status = exit_usage;
  return why;
}

done work_file::open(const std::string &folder, uint64_t bytes, bool direct) {
  bytes_ = bytes;
  if (auto good = look_at(folder); !good) return good;
  if (auto good = make(folder, direct); !good) return good;
  const int native = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (native == 0) return nothing{};
  trouble why = system_trouble("cannot take " + bytes_text(bytes) + " in --dir " + folder, native);
  why.exit_status = exit_usage;
  return why;
}

done work_file::fill() {
  constexpr uint64_t piece_bytes = uint64_t{4} << 20;
  const bench::huge_buffer piece(piece_bytes);
  if (piece.data() == nullptr) return system_trouble("memory to write with", ENOMEM);
  model::random_stream noise(bytes_, 7);
  auto *const words = reinterpret_cast<uint64_t *>(piece.data());
  for (uint64_t from = 0; from < bytes_; from += piece_bytes) {
    for (uint64_t i = 0; i < piece_bytes / sizeof *words; i++) words[i] = noise.next();
    const uint64_t wanted = std::min(piece_bytes, bytes_ - from);
    for (uint64_t put = 0; put < wanted;) {
      const ssize_t some =
          ::pwrite(fd_, piece.data() + put, wanted - put, static_cast<off_t>(from + put));
      if (some <= 0) return system_trouble("a write to the file that is measured", errno);
      put += static_cast<uint64_t>(some);
    }
  }
  if (::fdatasync(fd_) != 0) return system_trouble("fdatasync of what is measured", errno);
  return nothing{};
}

}  // namespace cubby_cli::characterize

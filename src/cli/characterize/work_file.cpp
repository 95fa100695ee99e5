#include "cli/characterize/work_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "cli/bench/reader.hpp"
#include "cli/model/weights.hpp"

namespace cubby_cli::characterize {
namespace {

/// Beyond what is measured, so that a system that shares the disk goes on.
constexpr uint64_t spare_bytes = uint64_t{64} << 20;

}  // namespace

work_file::~work_file() {
  if (fd_ >= 0) ::close(fd_);
}

done work_file::look_at(const work_place &in) {
  struct stat seen {};
  if (::stat(in.folder.c_str(), &seen) != 0) {
    trouble why = system_trouble(in.named(), errno);
    if (errno == ENOENT) why.text += "; make it first, or name another";
    why.exit_status = exit_usage;
    return why;
  }
  if (!S_ISDIR(seen.st_mode))
    return usage_trouble(in.named() + " is no directory; name the directory to measure in");
  device_ = seen.st_dev;
  if (auto good = check_system(in); !good) return good;
  return check_room(in);
}

done work_file::check_system(const work_place &in) {
  auto found = file_system_of(in.folder);
  if (!found) return found.failure();
  on_ = std::move(*found);
  const bool network = on_.kind == file_system::place::network;
  if (!in.remote) {
    const std::string why = why_no_disk(on_);
    if (why.empty()) return nothing{};
    return usage_trouble(in.named() + " is " + why +
                         (network ? ", or measure it as what it is, with --remote" : ""));
  }
  if (network) return nothing{};
  if (on_.kind == file_system::place::memory)
    return usage_trouble(in.named() + " is in memory (" + on_.name +
                         "); name a directory that is mounted over a network");
  return usage_trouble(in.named() + " is on a disk of this machine (" + text_of(on_) +
                       "); measure it with --dir");
}

done work_file::check_room(const work_place &in) {
  struct statvfs room {};
  if (::statvfs(in.folder.c_str(), &room) != 0) return system_trouble(in.named(), errno);
  free_bytes_ = static_cast<uint64_t>(room.f_bavail) * room.f_frsize;
  if (free_bytes_ < bytes_ + spare_bytes)
    return usage_trouble(in.named() + " has " + bytes_text(free_bytes_) + " free, and " +
                         bytes_text(bytes_) +
                         " are to be measured, with 67 MB to spare; free "
                         "some space, or give a smaller --size");
  return nothing{};
}

/// Without a name where the file system has such files, else the name goes at once. -1 and errno
/// where there is none; nothing is left then.
int work_file::make_nameless(const std::string &folder, int direct_flag) {
  const int flags = O_RDWR | O_CLOEXEC | direct_flag;
  const int nameless = ::open(folder.c_str(), O_TMPFILE | O_EXCL | flags, 0600);
  if (nameless >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return nameless;
  // O_DIRECT that is refused leaves the file that O_CREAT made, so that is asked for afterwards.
  std::string name = folder + "/cubby-characterize-XXXXXX";
  const int made = ::mkostemp(name.data(), O_CLOEXEC);
  if (made < 0) return made;
  ::unlink(name.c_str());
  if (direct_flag == 0) return made;
  const int again = ::open(("/proc/self/fd/" + std::to_string(made)).c_str(), flags);
  const int why = errno;
  ::close(made);
  errno = why;
  return again;
}

done work_file::make(const work_place &in, bool direct) {
  direct_ = direct;
  fd_ = make_nameless(in.folder, direct ? O_DIRECT : 0);
  if (fd_ < 0 && errno == EINVAL && direct && in.remote) {
    direct_ = false;
    fd_ = make_nameless(in.folder, 0);
  }
  if (fd_ >= 0) return nothing{};
  if (errno == EINVAL && direct)
    return usage_trouble(in.named() +
                         " is on a file system that reads nothing past the "
                         "page cache (no O_DIRECT); name another, or give --direct 0 and measure "
                         "the cache as well");
  trouble why = system_trouble("cannot make a file in " + in.named(), errno);
  why.exit_status = exit_usage;
  return why;
}

/// Its errno, or 0. Where space cannot be taken beforehand, writing takes it.
int work_file::take_space() {
  const auto bytes = static_cast<off_t>(bytes_);
  if (::fallocate(fd_, 0, 0, bytes) == 0) return 0;
  if (errno != EOPNOTSUPP && errno != ENOSYS) return errno;
  return ::ftruncate(fd_, bytes) == 0 ? 0 : errno;
}

done work_file::open(const work_place &in, uint64_t bytes, bool direct) {
  bytes_ = bytes;
  if (auto good = look_at(in); !good) return good;
  if (auto good = make(in, direct); !good) return good;
  const int native = take_space();
  if (native == 0) return nothing{};
  trouble why = system_trouble("cannot take " + bytes_text(bytes) + " in " + in.named(), native);
  why.exit_status = exit_usage;
  return why;
}

done work_file::take_anew() const {
  if (::ftruncate(fd_, 0) != 0) return system_trouble("the file that is measured, cut", errno);
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes_)) != 0)
    return system_trouble("space for first writes, taken beforehand", errno);
  if (::fdatasync(fd_) != 0) return system_trouble("fdatasync of what is measured", errno);
  return nothing{};
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

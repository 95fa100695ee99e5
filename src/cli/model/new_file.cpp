#include "cli/model/new_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace cubby_cli::model {
namespace {

constexpr size_t buffer_bytes = 8 << 20, direct_align = 4096, buffer_align = 2 << 20;

void leave_direct(int file) {
  const int flags = fcntl(file, F_GETFL);
  if ((flags & O_DIRECT) != 0) fcntl(file, F_SETFL, flags & ~O_DIRECT);
}

}  // namespace

new_file::~new_file() {
  if (file_ >= 0) close(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

done new_file::open(const std::string &path, uint64_t bytes) {
  struct stat seen = {};
  if (stat(path.c_str(), &seen) == 0 && !S_ISREG(seen.st_mode))
    return usage_trouble(path + " is there and is no ordinary file; name another");
  path_ = path;
  buffer_.reset(static_cast<std::byte *>(std::aligned_alloc(buffer_align, buffer_bytes)));
  if (!buffer_) return system_trouble("no memory to write with", ENOMEM);
  madvise(buffer_.get(), buffer_bytes, MADV_HUGEPAGE);
  const std::string temporary = path + ".partial-" + std::to_string(getpid());
  file_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file_ < 0) {
    const int number = errno;
    trouble failed = system_trouble("cannot make " + temporary, number);
    if (number == ENOENT) {
      failed.text += "; the folder is missing, make it first";
      failed.exit_status = exit_usage;
    }
    return failed;
  }
  temporary_ = temporary;
  const int flags = fcntl(file_, F_GETFL);
  fcntl(file_, F_SETFL, flags | O_DIRECT);  // refused where the file system has no such thing
  // Where the file system cannot reserve, a full disk shows while writing.
  if (bytes != 0 && fallocate(file_, 0, 0, static_cast<off_t>(bytes)) != 0 && errno != EOPNOTSUPP &&
      errno != ENOSYS)
    return system_trouble("cannot take " + bytes_text(bytes) + " for " + path, errno);
  return nothing{};
}

done new_file::write(std::span<const std::byte> piece) {
  while (!piece.empty()) {
    const size_t taken = std::min(piece.size(), buffer_bytes - filled_);
    std::memcpy(buffer_.get() + filled_, piece.data(), taken);
    filled_ += taken;
    piece = piece.subspan(taken);
    if (filled_ < buffer_bytes) continue;
    if (auto good = flush(); !good) return good;
  }
  return nothing{};
}

done new_file::flush() {
  for (size_t at = 0; at < filled_;) {
    // A size that is no multiple of the sector only comes last, or after a short write.
    if ((filled_ - at) % direct_align != 0 || at % direct_align != 0) leave_direct(file_);
    const ssize_t got = ::write(file_, buffer_.get() + at, filled_ - at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return system_trouble("cannot write " + path_ + " at byte " + std::to_string(written_bytes_),
                            got < 0 ? errno : ENOSPC);
    at += static_cast<size_t>(got);
    written_bytes_ += static_cast<uint64_t>(got);
  }
  filled_ = 0;
  return nothing{};
}

done new_file::publish() {
  if (auto good = flush(); !good) return good;
  if (fsync(file_) != 0) return system_trouble("cannot write " + path_ + " to the disk", errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0)
    return system_trouble("cannot rename " + temporary_ + " to " + path_, errno);
  temporary_.clear();
  return nothing{};
}

}  // namespace cubby_cli::model

#include "cli/model/new_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "cli/printable.hpp"

namespace cubby_cli::model {
namespace {

constexpr size_t buffer_bytes = 8 << 20, direct_align = 4096, buffer_align = 2 << 20;

std::string folder_of(const std::filesystem::path &path) {
  return path.has_parent_path() ? path.parent_path().string() : ".";
}

std::string partial_name() { return ".partial-" + std::to_string(getpid()); }

void leave_direct(int file) {
  const int flags = fcntl(file, F_GETFL);
  if ((flags & O_DIRECT) != 0) fcntl(file, F_SETFL, flags & ~O_DIRECT);
}

std::string name_of_open(int file) { return "/proc/self/fd/" + std::to_string(file); }

/// A file without a name, which can be given one later; -1 where there can be none.
int open_nameless(const std::string &folder) {
  const int file = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0 || access(name_of_open(file).c_str(), F_OK) == 0) return file;
  close(file);  // without /proc it would stay nameless
  return -1;
}

/// Reports what killed processes left beside `path`: a living writer has its file locked.
void report_left_behind(const std::filesystem::path &path) {
  const std::string begin = path.filename().string() + ".partial-";
  std::error_code failed;
  for (const auto &one : std::filesystem::directory_iterator(folder_of(path), failed)) {
    const std::string name = one.path().filename().string();
    if (!name.starts_with(begin) || name.size() == begin.size() ||
        name.find_first_not_of("0123456789", begin.size()) != std::string::npos)
      continue;
    const int file = ::open(one.path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat seen = {};
    if (file >= 0 && fstat(file, &seen) == 0 && S_ISREG(seen.st_mode) &&
        flock(file, LOCK_EX | LOCK_NB) == 0)
      std::cerr << "cubby: " << printable(one.path().string()) << " ("
                << bytes_text(static_cast<uint64_t>(seen.st_size))
                << ") was left by a run that was killed; remove it\n";
    if (file >= 0) close(file);
  }
}

done not_written(const std::string &path, const cubby::base::name_state &there) {
  using cubby::base::at_name;
  if (there.what == at_name::unknown) return system_trouble("cannot look at " + path, there.native);
  const char *what = there.what == at_name::link ? " is a link; name the file it leads to"
                     : there.what == at_name::irregular
                         ? " is there and is no ordinary file; name another"
                         : " is there and was not made by this command; "
                           "remove it, or name another";
  return usage_trouble(path + what);
}

}  // namespace

done may_write(const std::string &path, const file_kind &own) {
  if (std::filesystem::path(path).filename().empty())
    return usage_trouble('"' + path + "\" names no file; name one in a folder that is there");
  const auto there = cubby::base::look_at_name(path, own);
  return there.may_be_written() ? nothing{} : not_written(path, there);
}

new_file::~new_file() {
  if (file_ >= 0) close(file_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

done new_file::open_file() {
  const std::string temporary = path_ + partial_name();
  struct stat seen = {};
  if (lstat(temporary.c_str(), &seen) == 0)
    return trouble{temporary + " is in the way: a run of this number left it; remove it"};
  if (errno == ENAMETOOLONG) return system_trouble("cannot make " + temporary, ENAMETOOLONG);
  file_ = open_nameless(folder_of(path_));
  if (file_ >= 0) return nothing{};
  file_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file_ >= 0) {
    temporary_ = temporary;
    flock(file_, LOCK_EX | LOCK_NB);
    return nothing{};
  }
  const int number = errno;
  trouble failed = system_trouble("cannot make " + temporary, number);
  if (number == ENOENT) {
    failed.text += "; the folder is missing, make it first";
    failed.exit_status = exit_usage;
  }
  return failed;
}

done new_file::open(const std::string &path, uint64_t bytes) {
  path_ = path;
  if (auto good = may_write(path, own_); !good) return good;
  buffer_.reset(static_cast<std::byte *>(std::aligned_alloc(buffer_align, buffer_bytes)));
  if (!buffer_) return system_trouble("no memory to write with", ENOMEM);
  madvise(buffer_.get(), buffer_bytes, MADV_HUGEPAGE);
  if (auto good = open_file(); !good) return good;
  report_left_behind(path);
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
  if (temporary_.empty()) {
    const auto link_to = [&](const std::string &name) {
      return linkat(AT_FDCWD, name_of_open(file_).c_str(), AT_FDCWD, name.c_str(),
                    AT_SYMLINK_FOLLOW) == 0;
    };
    if (link_to(path_)) return nothing{};
    // Something stands there: a link replaces nothing, a rename does.
    const std::string temporary = path_ + partial_name();
    if (errno != EEXIST || !link_to(temporary))
      return system_trouble("cannot give the finished file its name " + path_, errno);
    temporary_ = temporary;
  }
  const auto there = cubby::base::give_name(temporary_, path_, own_);
  if (!there.may_be_written()) return not_written(path_, there);
  if (there.native != 0)
    return system_trouble("cannot rename " + temporary_ + " to " + path_, there.native);
  temporary_.clear();
  return nothing{};
}

}  // namespace cubby_cli::model

#include "store/header_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/digest.hpp"
#include "base/printable.hpp"

namespace cubby::store {
namespace {

constexpr uint64_t buffer_bytes = 1u << 16;
constexpr size_t words_bytes_max = 400;
constexpr char piece_remedy[] =
    "its name says that it is one piece of a file cut by bytes: join the pieces with `cat` first";

/// "m.gguf.part1of2", "m.gguf-split-a", …: the format's own sets have other names.
bool is_byte_piece(const std::string &path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.find(".part") != std::string::npos || name.find("-split-") != std::string::npos;
}

/// pread until `bytes` are there; false with errno set, or with errno 0 at an early end of the
/// file.
bool read_at(int fd, void *to, uint64_t bytes, uint64_t offset) {
  auto *at = static_cast<unsigned char *>(to);
  while (bytes > 0) {
    const ssize_t got = pread(fd, at, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got == 0) errno = 0;
      return false;
    }
    at += got;
    bytes -= static_cast<uint64_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return true;
}

error read_error(const std::string &path, uint64_t offset) {
  const int native = errno;
  if (native == 0) return format_error(path, offset, "the file became shorter while it was read");
  error failure = fail_errno(native, "%s could not be read", path.c_str());
  failure.offset_bytes = offset;
  return failure;
}

}  // namespace

error format_error(const std::string &path, uint64_t offset, const std::string &what,
                   const char *remedy) {
  error failure = fail(CUBBY_ERR_FORMAT, "%s, at byte %llu: %s; %s", base::printable(path).c_str(),
                       static_cast<unsigned long long>(offset),
                       base::printable(what, words_bytes_max).c_str(), remedy);
  failure.offset_bytes = offset;
  return failure;
}

error unknown_error(const std::string &path, uint64_t offset, const std::string &what,
                    const char *remedy) {
  error failure = format_error(path, offset, what, remedy);
  failure.status = CUBBY_ERR_NOT_SUPPORTED;
  return failure;
}

result<header_reader> header_reader::open(const std::string &path, const char *remedy) {
  // O_NONBLOCK: a named pipe must not hold us here; it has no meaning for regular files.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int native = errno;
    return fail_errno(native, "%s could not be opened%s", path.c_str(), open_remedy(native));
  }
  struct stat about = {};
  if (fstat(fd, &about) != 0) {
    const int native = errno;
    close(fd);
    return fail_errno(native, "%s could not be examined", path.c_str());
  }
  if (!S_ISREG(about.st_mode)) {
    close(fd);
    return fail(CUBBY_ERR_INVALID, "%s is not a regular file; name one that is", path.c_str());
  }
  model_part_file identity;
  identity.path = path;
  identity.bytes = static_cast<uint64_t>(about.st_size);
  identity.device = static_cast<uint64_t>(about.st_dev);
  identity.inode = static_cast<uint64_t>(about.st_ino);
  identity.mtime_ns = static_cast<uint64_t>(about.st_mtim.tv_sec) * 1000000000u +
                      static_cast<uint64_t>(about.st_mtim.tv_nsec);
  return header_reader(fd, std::move(identity), remedy);
}

header_reader::header_reader(int fd, model_part_file identity, const char *remedy)
    : fd_(fd),
      identity_(std::move(identity)),
      remedy_(is_byte_piece(identity_.path) ? piece_remedy : remedy) {}

header_reader::header_reader(header_reader &&other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      identity_(std::move(other.identity_)),
      remedy_(other.remedy_),
      position_(other.position_),
      buffer_start_(other.buffer_start_),
      buffer_(std::move(other.buffer_)),
      failure_(std::move(other.failure_)) {}

header_reader::~header_reader() {
  if (fd_ >= 0) close(fd_);
}

void header_reader::refuse(uint64_t offset, const std::string &what) {
  if (!failure_) failure_ = format_error(path(), offset, what, remedy_);
}

void header_reader::refuse_unknown(uint64_t offset, const std::string &what, const char *remedy) {
  if (!failure_) failure_ = unknown_error(path(), offset, what, remedy);
}

result<std::string> header_reader::peek(uint64_t bytes) const {
  return piece(0, std::min(bytes, identity_.bytes));
}

result<std::string> header_reader::piece(uint64_t offset_bytes, uint64_t bytes) const {
  std::string made(bytes, '\0');
  if (!read_at(fd_, made.data(), bytes, offset_bytes)) return read_error(path(), offset_bytes);
  return made;
}

bool header_reader::fill() {
  buffer_.resize(std::min(buffer_bytes, remaining()));
  buffer_start_ = position_;
  if (read_at(fd_, buffer_.data(), buffer_.size(), position_)) return true;
  failure_ = read_error(path(), position_);
  return false;
}

bool header_reader::take(void *to, uint64_t bytes, const char *what) {
  if (failed()) return false;
  if (bytes > remaining()) {
    refuse(position_, std::string("the file ends inside ") + what);
    return false;
  }
  auto *at = static_cast<unsigned char *>(to);
  while (bytes > 0) {
    const bool buffered = position_ >= buffer_start_ && position_ - buffer_start_ < buffer_.size();
    if (!buffered && !fill()) return false;
    const uint64_t from = position_ - buffer_start_;
    const uint64_t now = std::min<uint64_t>(bytes, buffer_.size() - from);
    memcpy(at, buffer_.data() + from, now);
    at += now;
    bytes -= now;
    position_ += now;
  }
  return true;
}

void header_reader::skip(uint64_t bytes, const char *what) {
  if (failed()) return;
  if (bytes > remaining()) return refuse(position_, std::string("the file ends inside ") + what);
  position_ += bytes;
}

uint64_t header_reader::number(uint32_t bytes, const char *what) {
  unsigned char raw[8] = {};
  if (!take(raw, bytes, what)) return 0;
  uint64_t value = 0;
  for (uint32_t i = bytes; i-- > 0;) value = value << 8 | raw[i];
  return value;
}

uint64_t header_reader::count(uint64_t record_bytes, const char *what) {
  const uint64_t at = position_;
  const uint64_t value = number(8, what);
  if (failed()) return 0;
  if (value <= remaining() / record_bytes) return value;
  refuse(at, std::string(what) + " is " + std::to_string(value) + ", more than the file can hold");
  return 0;
}

std::string header_reader::text(uint64_t bytes_max, const char *what) {
  const uint64_t at = position_;
  const uint64_t bytes = count(1, what);
  if (failed()) return {};
  if (bytes > bytes_max) {
    refuse(at, std::string(what) + " is implausibly long");
    return {};
  }
  std::string value(bytes, '\0');
  if (!take(value.data(), bytes, what)) return {};
  return value;
}

result<model_part_file> header_reader::identify(uint64_t header_bytes) {
  // Block by block: headers reach tens of MiB.
  std::vector<unsigned char> block(std::min<uint64_t>(1u << 20, header_bytes));
  base::digest_stream digest;
  for (uint64_t at = 0; at < header_bytes;) {
    const uint64_t now = std::min<uint64_t>(block.size(), header_bytes - at);
    if (!read_at(fd_, block.data(), now, at)) return read_error(path(), at);
    digest.add(block.data(), now);
    at += now;
  }
  identity_.header_digest = digest.value();
  return identity_;
}

}  // namespace cubby::store

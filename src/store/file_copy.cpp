#include "store/file_copy.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace cubby::store {
namespace {

constexpr uint64_t head_bytes = uint64_t{1} << 20, sample_bytes = 4096, sample_count = 256;

class looked_at {
 public:
  explicit looked_at(const std::string &path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  looked_at(const looked_at &) = delete;
  looked_at &operator=(const looked_at &) = delete;
  ~looked_at() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  result<struct stat> facts() const {
    struct stat found = {};
    if (descriptor_ < 0 || fstat(descriptor_, &found) != 0)
      return fail_errno(errno, "%s cannot be opened", path_.c_str());
    return found;
  }
  result<void> read(uint64_t offset_bytes, std::vector<char> &into) const {
    for (size_t done = 0; done < into.size();) {
      const ssize_t got = pread(descriptor_, into.data() + done, into.size() - done,
                                static_cast<off_t>(offset_bytes + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return fail_errno(got < 0 ? errno : EIO, "%s cannot be read", path_.c_str());
      done += static_cast<size_t>(got);
    }
    return {};
  }

 private:
  const std::string &path_;
  const int descriptor_;
};

result<bool> same_piece(const looked_at &a, const looked_at &b, uint64_t offset_bytes,
                        uint64_t bytes) {
  std::vector<char> of_a(bytes), of_b(bytes);
  if (auto read = a.read(offset_bytes, of_a); !read) return read.failure();
  if (auto read = b.read(offset_bytes, of_b); !read) return read.failure();
  return of_a == of_b;
}

error differs(const std::string &original, const std::string &copy) {
  return fail(CUBBY_ERR_INVALID, "%s is no copy of %s: their content differs; copy the file again",
              copy.c_str(), original.c_str());
}

}  // namespace

result<void> check_copy(const std::string &original, const std::string &copy) {
  const looked_at first(original), second(copy);
  const auto of_first = first.facts(), of_second = second.facts();
  if (!of_first) return of_first.failure();
  if (!of_second) return of_second.failure();
  if (of_first->st_dev == of_second->st_dev && of_first->st_ino == of_second->st_ino) {
    return fail(CUBBY_ERR_INVALID,
                "%s is the file that the bank reads already; name a copy on another device",
                copy.c_str());
  }
  if (of_first->st_size != of_second->st_size) return differs(original, copy);
  const auto size_bytes = static_cast<uint64_t>(of_first->st_size);
  const auto same = same_piece(first, second, 0, std::min(head_bytes, size_bytes));
  if (!same) return same.failure();
  if (!*same) return differs(original, copy);
  const uint64_t last = size_bytes - std::min(size_bytes, sample_bytes);
  for (uint64_t i = 1; i <= sample_count && size_bytes > head_bytes; ++i) {
    const auto alike = same_piece(first, second, last / sample_count * i, sample_bytes);
    if (!alike) return alike.failure();
    if (!*alike) return differs(original, copy);
  }
  return {};
}

}  // namespace cubby::store

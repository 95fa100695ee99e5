// What the runtime is compared with: everything in memory, the page cache, and whole experts read
// by pread with the least recently used one leaving.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <list>
#include <unordered_map>

#include "cli/demo/source.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {
namespace {

constexpr uint64_t page_bytes = 4096;

/// A source whose experts are there as soon as they are asked for.
class immediate_source : public expert_source {
 public:
  explicit immediate_source(const expert_file &file) : file_(file) {}
  bool begin(uint32_t layer, const uint16_t *experts, uint32_t count) override {
    layer_ = layer;
    experts_ = experts;
    count_ = count;
    given_ = 0;
    return failure_.empty();
  }
  int next(const void *parts[3]) override {
    if (given_ == count_ || !fetch(layer_, experts_[given_], parts)) return -1;
    return static_cast<int>(given_++);
  }
  void end() override {}
  [[nodiscard]] uint64_t waited_ns() const override { return waited_ns_; }

 protected:
  virtual bool fetch(uint32_t layer, uint32_t expert, const void *parts[3]) = 0;
  const expert_file &file_;
  uint64_t waited_ns_ = 0;

 private:
  uint32_t layer_ = 0, count_ = 0, given_ = 0;
  const uint16_t *experts_ = nullptr;
};

class mapped_source final : public immediate_source {
 public:
  mapped_source(const expert_file &file, bool touch) : immediate_source(file) {
    const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      failure_ = file.path + " could not be opened";
      return;
    }
    if (touch) {
      copy_ = static_cast<char *>(::mmap(nullptr, file.file_bytes, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      if (copy_ != MAP_FAILED) ::madvise(copy_, file.file_bytes, MADV_HUGEPAGE);
      for (uint64_t at = 0; copy_ != MAP_FAILED && at < file.file_bytes;) {
        const ssize_t got = ::pread(fd, copy_ + at, file.file_bytes - at, static_cast<off_t>(at));
        if (got <= 0) break;
        at += static_cast<uint64_t>(got);
      }
    } else {
      ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      copy_ = static_cast<char *>(::mmap(nullptr, file.file_bytes, PROT_READ, MAP_SHARED, fd, 0));
    }
    ::posix_fadvise(fd, 0, 0, touch ? POSIX_FADV_DONTNEED : POSIX_FADV_NORMAL);
    ::close(fd);
    if (copy_ == MAP_FAILED) failure_ = file.path + " could not be mapped";
  }
  ~mapped_source() override {
    if (copy_ != nullptr && copy_ != MAP_FAILED) ::munmap(copy_, file_.file_bytes);
  }
  [[nodiscard]] std::span<std::byte> memory() const override {
    return std::as_writable_bytes(std::span(copy_, file_.file_bytes));
  }

 private:
  bool fetch(uint32_t layer, uint32_t expert, const void *parts[3]) override {
    for (uint32_t p = 0; p < 3; ++p) parts[p] = copy_ + file_.at(layer, p).offsets[expert];
    return true;
  }
  char *copy_ = nullptr;
};

/// O_DIRECT reads of whole experts into frames of their own, the least recently used one leaves.
class pread_source final : public immediate_source {
 public:
  pread_source(const expert_file &file, uint64_t bytes) : immediate_source(file) {
    fd_ = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd_ < 0) fd_ = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) failure_ = file.path + " could not be opened";
    for (uint32_t layer = 0; layer < file.layers; ++layer) {
      uint64_t needed = 0;
      for (uint32_t p = 0; p < 3; ++p)
        needed += file.at(layer, p).bytes / page_bytes * page_bytes + 2 * page_bytes;
      frame_bytes_ = std::max(frame_bytes_, needed);
    }
    frames_max_ = std::max<uint64_t>(bytes / frame_bytes_, file.top_k);
  }
  ~pread_source() override {
    for (auto &[key, held] : frames_) std::free(held.memory);
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  struct cached_frame {
    char *memory = nullptr;
    std::list<uint32_t>::iterator place;
  };

  bool fetch(uint32_t layer, uint32_t expert, const void *parts[3]) override {
    const uint32_t key = layer * file_.experts + expert;
    auto found = frames_.find(key);
    if (found == frames_.end()) {
      const uint64_t start = clock_ns();
      char *memory = room();
      if (memory == nullptr || !read(layer, expert, memory)) return false;
      order_.push_front(key);
      found = frames_.emplace(key, cached_frame{memory, order_.begin()}).first;
      waited_ns_ += clock_ns() - start;
    } else {
      order_.splice(order_.begin(), order_, found->second.place);
    }
    char *at = found->second.memory;
    for (uint32_t p = 0; p < 3; ++p) {
      const uint64_t offset = file_.at(layer, p).offsets[expert];
      parts[p] = at + offset % page_bytes;
      at += span_bytes(layer, p, expert);
    }
    return true;
  }
  [[nodiscard]] uint64_t span_bytes(uint32_t layer, uint32_t p, uint32_t expert) const {
    const uint64_t end = file_.at(layer, p).offsets[expert] % page_bytes + file_.at(layer, p).bytes;
    return (end + page_bytes - 1) / page_bytes * page_bytes;
  }
  char *room() {
    if (frames_.size() < frames_max_) {
      return static_cast<char *>(std::aligned_alloc(page_bytes, frame_bytes_));
    }
    const auto oldest = frames_.find(order_.back());
    char *memory = oldest->second.memory;
    frames_.erase(oldest);
    order_.pop_back();
    return memory;
  }
  bool read(uint32_t layer, uint32_t expert, char *memory) {
    for (uint32_t p = 0; p < 3; ++p) {
      const uint64_t offset = file_.at(layer, p).offsets[expert] / page_bytes * page_bytes;
      const uint64_t bytes = span_bytes(layer, p, expert);
      uint64_t got = 0;
      while (got < bytes && offset + got < file_.file_bytes) {
        const ssize_t more =
            ::pread(fd_, memory + got, bytes - got, static_cast<off_t>(offset + got));
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) {
          failure_ = file_.path + " could not be read";
          return false;
        }
        got += static_cast<uint64_t>(more);
      }
      memory += bytes;
    }
    return true;
  }

  int fd_ = -1;
  uint64_t frame_bytes_ = 0, frames_max_ = 0;
  std::list<uint32_t> order_;
  std::unordered_map<uint32_t, cached_frame> frames_;
};

}  // namespace

std::unique_ptr<expert_source> make_resident(const expert_file &file) {
  return std::make_unique<mapped_source>(file, true);
}
std::unique_ptr<expert_source> make_mapped(const expert_file &file) {
  return std::make_unique<mapped_source>(file, false);
}
std::unique_ptr<expert_source> make_pread(const expert_file &file, uint64_t bytes) {
  return std::make_unique<pread_source>(file, bytes);
}

}  // namespace cubby_cli::demo

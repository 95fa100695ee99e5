// Memory of a caller that blocks go to or come from past the tiers of memory (CUBBY_BYPASS).
#pragma once

#include <sys/mman.h>

#include "unit/api/block_fixture.hpp"

namespace api_test {

inline constexpr uint64_t page = 4096;

/// Memory that begins and ends with pages nobody may touch.
class guarded_memory {
 public:
  explicit guarded_memory(uint64_t bytes) : bytes_((bytes + page - 1) / page * page) {
    void *const made =
        ::mmap(nullptr, bytes_ + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(made != MAP_FAILED);
    first_ = static_cast<char *>(made) + page;
    REQUIRE(::mprotect(first_, bytes_, PROT_READ | PROT_WRITE) == 0);
    std::memset(first_, 'x', bytes_);
  }
  guarded_memory(const guarded_memory &) = delete;
  guarded_memory &operator=(const guarded_memory &) = delete;
  ~guarded_memory() { ::munmap(first_ - page, bytes_ + 2 * page); }
  /// The last `bytes` bytes before the guard.
  [[nodiscard]] char *at_end(uint64_t bytes) const { return first_ + bytes_ - bytes; }

 private:
  const uint64_t bytes_;
  char *first_ = nullptr;
};

inline cubby_how past_memory() {
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_BYPASS;
  return how;
}

/// Spans of so many bytes each, with a gap of `gap_bytes` between them.
inline std::vector<cubby_span> pieces_of(char *at, uint64_t bytes, uint64_t piece_bytes,
                                         uint64_t gap_bytes) {
  std::vector<cubby_span> spans;
  for (uint64_t done = 0; done < bytes; done += piece_bytes) {
    const uint64_t here = std::min(piece_bytes, bytes - done);
    spans.push_back(plain(at + done / piece_bytes * (piece_bytes + gap_bytes), here));
  }
  return spans;
}

inline std::string joined(const std::vector<cubby_span> &spans) {
  std::string all;
  for (const cubby_span &one : spans) {
    all.append(reinterpret_cast<const char *>(one.offset_bytes), one.bytes);
  }
  return all;
}

}  // namespace api_test

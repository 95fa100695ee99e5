#include "sim/arena.hpp"

#include <sys/mman.h>

#include <cstring>

namespace cubby_sim {
namespace {

constexpr uint64_t huge = uint64_t{2} << 20, page = 4096;

uint64_t up(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

}  // namespace

arena::arena(uint64_t bytes) : bytes_(up(bytes, huge)), mapping_bytes_(bytes_ + huge) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  mapping_ = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    bytes_ = 0;
    return;
  }
  const auto start = reinterpret_cast<uintptr_t>(mapping_);
  base_ = static_cast<unsigned char *>(mapping_) + (up(start, huge) - start);
}

arena::~arena() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

void *arena::take(uint64_t bytes) {
  if (bytes == 0 || bytes > bytes_) return nullptr;
  const uint64_t align = bytes >= huge ? huge : page;
  bytes = up(bytes, page);
  uint64_t at = 0;
  for (const auto &[offset, taken] : taken_) {
    if (at + bytes <= offset) break;
    at = up(offset + taken, align);
  }
  if (at + bytes > bytes_) return nullptr;
  taken_[at] = bytes;
  taken_bytes_ += bytes;
  std::memset(base_ + at, 0, bytes);
  return base_ + at;
}

bool arena::give(void *base) {
  if (!holds(base)) return false;
  const auto found = taken_.find(static_cast<uint64_t>(static_cast<unsigned char *>(base) - base_));
  if (found == taken_.end()) return false;
  std::memset(base, 0xDB, found->second);
  taken_bytes_ -= found->second;
  taken_.erase(found);
  return true;
}

bool arena::holds(const void *address) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const auto first = reinterpret_cast<uintptr_t>(base_);
  return base_ != nullptr && at >= first && at < first + bytes_;
}

}  // namespace cubby_sim

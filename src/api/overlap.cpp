#include "api/overlap.hpp"

#include <algorithm>
#include <cstdint>

namespace cubby::api {
namespace {

/// A plain region is one piece.
struct row_of_pieces {
  uint64_t base, count, bytes, stride;

  explicit row_of_pieces(const cubby_region_desc &of)
      : base(reinterpret_cast<uintptr_t>(of.base)),
        count(std::max<uint64_t>(1, of.piece_count)),
        bytes(of.piece_count == 0 ? of.bytes : of.piece_bytes),
        stride(of.piece_count == 0 ? of.bytes : of.stride_bytes) {}
  [[nodiscard]] uint64_t begin(uint64_t i) const { return base + i * stride; }
  [[nodiscard]] uint64_t end(uint64_t i) const { return begin(i) + bytes; }
  /// The first piece that ends behind the address; `count` where none does.
  [[nodiscard]] uint64_t first_behind(uint64_t address) const {
    if (address < base + bytes) return 0;
    return std::min(count, (address - base - bytes) / stride + 1);
  }
};

}  // namespace

bool overlap(const cubby_region_desc &one, const cubby_region_desc &other) noexcept {
  const row_of_pieces a(one), b(other);
  uint64_t i = 0, j = 0;
  while (i < a.count && j < b.count) {
    if (a.end(i) <= b.begin(j)) {
      i = a.first_behind(b.begin(j));
    } else if (b.end(j) <= a.begin(i)) {
      j = b.first_behind(a.begin(i));
    } else {
      return true;
    }
  }
  return false;
}

}  // namespace cubby::api

// Memory as a list of plain pieces: a block's parts, or where a caller wants its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cubby::transfer {

struct memory_piece {
  std::byte *at = nullptr;
  uint64_t bytes = 0;
};

[[nodiscard]] uint64_t bytes_of(std::span<const memory_piece> pieces);

/// The bytes [at_bytes, at_bytes + bytes) of a locker whose parts lie so.
std::vector<memory_piece> locker_pieces(std::span<const memory_piece> parts, uint64_t at_bytes,
                                        uint64_t bytes);

/// What of the locker lies behind its first `bytes` becomes zero.
void clear_behind(std::span<const memory_piece> parts, uint64_t bytes);

/// Writes bytes in a row to a list of pieces, from its first byte on.
class scatter {
 public:
  explicit scatter(std::span<const memory_piece> to) : to_(to) {}
  /// The list has room for them.
  void put(const std::byte *from, uint64_t bytes);

 private:
  std::span<const memory_piece> to_;
  uint64_t behind_ = 0;  // of the first, what is written
};

/// A list of pieces, and where each of them ends, so that a byte is found without walking the list.
struct indexed_pieces {
  std::span<const memory_piece> pieces;
  std::span<const uint64_t> ends;  // [piece]: bytes of it and of all before it
};
[[nodiscard]] std::vector<uint64_t> ends_of(std::span<const memory_piece> pieces);

/// Writes bytes in a row to a list of pieces, from byte `at_bytes` on; the list has room for them.
void copy_to(const indexed_pieces &to, uint64_t at_bytes, const std::byte *from, uint64_t bytes);

/// Both lists have the same number of bytes.
void copy_pieces(std::span<const memory_piece> from, std::span<const memory_piece> to);

}  // namespace cubby::transfer

#include "transfer/pieces.hpp"

#include <algorithm>
#include <cstring>

namespace cubby::transfer {

uint64_t bytes_of(std::span<const memory_piece> pieces) {
  uint64_t bytes = 0;
  for (const memory_piece &one : pieces) bytes += one.bytes;
  return bytes;
}

std::vector<memory_piece> locker_pieces(std::span<const memory_piece> parts, uint64_t at_bytes,
                                        uint64_t bytes) {
  std::vector<memory_piece> pieces;
  for (const memory_piece &part : parts) {
    if (bytes == 0) break;
    if (at_bytes >= part.bytes) {
      at_bytes -= part.bytes;
      continue;
    }
    const uint64_t here = std::min(bytes, part.bytes - at_bytes);
    pieces.push_back({part.at + at_bytes, here});
    at_bytes = 0;
    bytes -= here;
  }
  return pieces;
}

void clear_behind(std::span<const memory_piece> parts, uint64_t bytes) {
  for (const memory_piece &part : parts) {
    const uint64_t used = std::min(bytes, part.bytes);
    std::memset(part.at + used, 0, part.bytes - used);
    bytes -= used;
  }
}

void copy_pieces(std::span<const memory_piece> from, std::span<const memory_piece> to) {
  size_t source = 0;
  uint64_t behind = 0;  // of the source piece, what has been copied
  for (const memory_piece &target : to) {
    for (uint64_t done = 0; done < target.bytes;) {
      const memory_piece &piece = from[source];
      const uint64_t here = std::min(target.bytes - done, piece.bytes - behind);
      std::memcpy(target.at + done, piece.at + behind, here);
      done += here;
      behind += here;
      if (behind != piece.bytes) continue;
      behind = 0;
      ++source;
    }
  }
}

}  // namespace cubby::transfer

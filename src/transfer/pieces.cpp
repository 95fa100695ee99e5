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

void scatter::put(const std::byte *from, uint64_t bytes) {
  while (bytes != 0) {
    const memory_piece &piece = to_.front();
    const uint64_t here = std::min(bytes, piece.bytes - behind_);
    std::memcpy(piece.at + behind_, from, here);
    from += here;
    bytes -= here;
    behind_ += here;
    if (behind_ != piece.bytes) continue;
    behind_ = 0;
    to_ = to_.subspan(1);
  }
}

std::vector<uint64_t> ends_of(std::span<const memory_piece> pieces) {
  std::vector<uint64_t> ends;
  ends.reserve(pieces.size());
  uint64_t end = 0;
  for (const memory_piece &piece : pieces) ends.push_back(end += piece.bytes);
  return ends;
}

void copy_to(const indexed_pieces &to, uint64_t at_bytes, const std::byte *from, uint64_t bytes) {
  auto piece = static_cast<size_t>(std::ranges::upper_bound(to.ends, at_bytes) - to.ends.begin());
  for (; bytes != 0; ++piece) {
    const uint64_t left = to.ends[piece] - at_bytes;  // of the piece
    const uint64_t here = std::min(bytes, left);
    std::memcpy(to.pieces[piece].at + (to.pieces[piece].bytes - left), from, here);
    at_bytes += here;
    from += here;
    bytes -= here;
  }
}

void copy_pieces(std::span<const memory_piece> from, std::span<const memory_piece> to) {
  scatter into(to);
  for (const memory_piece &piece : from) into.put(piece.at, piece.bytes);
}

}  // namespace cubby::transfer

// A copy past the processor's caches, for bytes that are not read again soon: no line is read only
// to be overwritten. Backends, which see nothing of src/, have their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace cubby::base {

inline void streaming_copy(std::byte *to, const std::byte *from, size_t bytes) noexcept {
#if defined(__SSE2__)
  constexpr size_t line_bytes = 64;
  const size_t to_line = -reinterpret_cast<uintptr_t>(to) % line_bytes;
  if (bytes >= to_line + line_bytes) {
    std::memcpy(to, from, to_line);
    to += to_line, from += to_line, bytes -= to_line;
    for (; bytes >= line_bytes; to += line_bytes, from += line_bytes, bytes -= line_bytes) {
      const auto *source = reinterpret_cast<const __m128i *>(from);
      auto *line = reinterpret_cast<__m128i *>(to);
      const __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
      const __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
      _mm_stream_si128(line, a), _mm_stream_si128(line + 1, b);
      _mm_stream_si128(line + 2, c), _mm_stream_si128(line + 3, d);
    }
    _mm_sfence();  // streamed bytes are seen before what is written next, as plain ones are
  }
#endif
  std::memcpy(to, from, bytes);
}

}  // namespace cubby::base

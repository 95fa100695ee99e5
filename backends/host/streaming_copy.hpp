// A copy past the caches, as a device's own copy engine makes it: what an emulated device receives
// does not push the processor's working set out, and no line is read only to be overwritten.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace cubby_host {

inline void streaming_copy(void *to, const void *from, std::size_t bytes) {
#if defined(__SSE2__)
  auto *out = static_cast<unsigned char *>(to);
  const auto *in = static_cast<const unsigned char *>(from);
  const std::size_t to_line = -reinterpret_cast<uintptr_t>(out) % 64;
  if (bytes >= to_line + 64) {
    std::memcpy(out, in, to_line);
    out += to_line, in += to_line, bytes -= to_line;
    for (; bytes >= 64; out += 64, in += 64, bytes -= 64) {
      const auto *source = reinterpret_cast<const __m128i *>(in);
      auto *line = reinterpret_cast<__m128i *>(out);
      const __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
      const __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
      _mm_stream_si128(line, a), _mm_stream_si128(line + 1, b);
      _mm_stream_si128(line + 2, c), _mm_stream_si128(line + 3, d);
    }
    _mm_sfence();  // streamed bytes are seen before what is written next, as plain ones are
  }
  std::memcpy(out, in, bytes);
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace cubby_host

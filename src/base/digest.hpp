// XXH3-64 digests of chunks, bound to where the chunk belongs: the same bytes under another locker,
// generation, part or chunk number give another digest, so a swapped or stale block does not pass
// for the right one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cubby::base {

/// What a chunk is the chunk of. `locker` is bank ordinal in its file << 48 | number, the same in
/// every process.
struct chunk_identity {
  uint64_t locker = 0;
  uint64_t generation = 0;
  uint32_t part = 0;
  uint32_t chunk = 0;
};

/// Digest of a chunk; never 0, so that 0 can stand for "not known".
[[nodiscard]] uint64_t chunk_digest(const void *data, size_t bytes,
                                    const chunk_identity &identity) noexcept;

/// Plain XXH3-64 of bytes, for headers of our own files.
[[nodiscard]] uint64_t digest64(const void *data, size_t bytes, uint64_t seed = 0) noexcept;

/// digest64() or chunk_digest() over bytes that come piece by piece.
class digest_stream {
 public:
  digest_stream() noexcept;
  explicit digest_stream(const chunk_identity &identity) noexcept;
  void add(const void *data, size_t bytes) noexcept;
  [[nodiscard]] uint64_t value() const noexcept;
  [[nodiscard]] uint64_t chunk_value() const noexcept;

 private:
  alignas(64) unsigned char state_[576];  // the digest's own state; its header stays in digest.cpp
};

}  // namespace cubby::base

#include "base/digest.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/prng.hpp"

namespace cubby::base {

uint64_t chunk_digest(const void *data, size_t bytes, const chunk_identity &identity) noexcept {
  const uint64_t place = (static_cast<uint64_t>(identity.part) << 32) | identity.chunk;
  const uint64_t seed = mix64(identity.locker + mix64(identity.generation + mix64(place)));
  const uint64_t digest = XXH3_64bits_withSeed(data, bytes, seed);
  return digest != 0 ? digest : 1;
}

uint64_t digest64(const void *data, size_t bytes, uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

}  // namespace cubby::base

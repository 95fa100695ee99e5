#include "base/digest.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <new>

#include "base/prng.hpp"

namespace cubby::base {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
XXH64_hash_t xxh3_avx2(const void *data, size_t bytes, XXH64_hash_t seed) noexcept;

namespace {
uint64_t xxh3(const void *data, size_t bytes, uint64_t seed) noexcept {
  return __builtin_cpu_supports("avx2") ? xxh3_avx2(data, bytes, seed)
                                        : XXH3_64bits_withSeed(data, bytes, seed);
}
}  // namespace
#else
namespace {
uint64_t xxh3(const void *data, size_t bytes, uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(data, bytes, seed);
}
}  // namespace
#endif

uint64_t chunk_digest(const void *data, size_t bytes, const chunk_identity &identity) noexcept {
  const uint64_t place = (static_cast<uint64_t>(identity.part) << 32) | identity.chunk;
  const uint64_t seed = mix64(identity.locker + mix64(identity.generation + mix64(place)));
  const uint64_t digest = xxh3(data, bytes, seed);
  return digest != 0 ? digest : 1;
}

uint64_t digest64(const void *data, size_t bytes, uint64_t seed) noexcept {
  return xxh3(data, bytes, seed);
}

namespace {

XXH3_state_t *state_in(unsigned char *bytes) noexcept {
  return std::launder(reinterpret_cast<XXH3_state_t *>(bytes));
}

}  // namespace

digest_stream::digest_stream() noexcept {
  static_assert(sizeof(XXH3_state_t) <= sizeof state_ && alignof(XXH3_state_t) <= 64);
  XXH3_64bits_reset(new (state_) XXH3_state_t);
}

void digest_stream::add(const void *data, size_t bytes) noexcept {
  XXH3_64bits_update(state_in(state_), data, bytes);
}

uint64_t digest_stream::value() const noexcept {
  return XXH3_64bits_digest(std::launder(reinterpret_cast<const XXH3_state_t *>(state_)));
}

}  // namespace cubby::base

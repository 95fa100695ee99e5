#include "base/digest.hpp"

// Bytes in memory come at twice the speed where they are asked for a KiB ahead.
#define XXH_PREFETCH_DIST 1024
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <new>

#include "base/prng.hpp"

namespace cubby::base {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
XXH64_hash_t xxh3_avx2(const void *data, size_t bytes, XXH64_hash_t seed) noexcept;
void xxh3_update_avx2(XXH3_state_t *state, const void *data, size_t bytes) noexcept;

namespace {
uint64_t xxh3(const void *data, size_t bytes, uint64_t seed) noexcept {
  return __builtin_cpu_supports("avx2") ? xxh3_avx2(data, bytes, seed)
                                        : XXH3_64bits_withSeed(data, bytes, seed);
}
void xxh3_update(XXH3_state_t *state, const void *data, size_t bytes) noexcept {
  if (__builtin_cpu_supports("avx2")) return xxh3_update_avx2(state, data, bytes);
  XXH3_64bits_update(state, data, bytes);
}
}  // namespace
#else
namespace {
uint64_t xxh3(const void *data, size_t bytes, uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(data, bytes, seed);
}
void xxh3_update(XXH3_state_t *state, const void *data, size_t bytes) noexcept {
  XXH3_64bits_update(state, data, bytes);
}
}  // namespace
#endif

namespace {

uint64_t seed_of(const chunk_identity &identity) noexcept {
  const uint64_t place = (static_cast<uint64_t>(identity.part) << 32) | identity.chunk;
  return mix64(identity.locker + mix64(identity.generation + mix64(place)));
}

}  // namespace

uint64_t chunk_digest(const void *data, size_t bytes, const chunk_identity &identity) noexcept {
  const uint64_t digest = xxh3(data, bytes, seed_of(identity));
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

digest_stream::digest_stream(const chunk_identity &identity) noexcept {
  auto *const state = new (state_) XXH3_state_t;
  // Else a seed that an earlier state has left in this memory passes for this one's, and the secret
  // derived from it for one that is whole.
  XXH3_INITSTATE(state);
  XXH3_64bits_reset_withSeed(state, seed_of(identity));
}

void digest_stream::add(const void *data, size_t bytes) noexcept {
  xxh3_update(state_in(state_), data, bytes);
}

uint64_t digest_stream::value() const noexcept {
  return XXH3_64bits_digest(std::launder(reinterpret_cast<const XXH3_state_t *>(state_)));
}

uint64_t digest_stream::chunk_value() const noexcept {
  const uint64_t digest = value();
  return digest != 0 ? digest : 1;
}

}  // namespace cubby::base

// XXH3 once more, for processors with AVX2: more than twice as fast on what lies in memory. The
// digests are the same. Nothing but xxhash.h may be included here: what a header defines inline
// would be compiled for these processors too, and might be linked for all.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2")
// Bytes in memory come at twice the speed where they are asked for a KiB ahead.
#define XXH_PREFETCH_DIST 1024
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cubby::base {

XXH64_hash_t xxh3_avx2(const void *data, size_t bytes, XXH64_hash_t seed) noexcept {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

void xxh3_update_avx2(XXH3_state_t *state, const void *data, size_t bytes) noexcept {
  XXH3_64bits_update(state, data, bytes);
}

}  // namespace cubby::base
#endif

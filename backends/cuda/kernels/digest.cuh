// XXH3-64 of bytes in a device's memory, by one warp: the digest that the library holds chunks
// against, after its published specification. What is added up within a block of 1024 bytes may be
// added in any order, so four stripes at a time are read side by side.
#pragma once
#include <cubby/cubby_device.cuh>

namespace cubby_kernels {

constexpr uint64_t prime32_1 = 0x9E3779B1, prime32_2 = 0x85EBCA77, prime32_3 = 0xC2B2AE3D;
constexpr uint64_t prime64_1 = 0x9E3779B185EBCA87, prime64_2 = 0xC2B2AE3D27D4EB4F,
                   prime64_3 = 0x165667B19E3779F9, prime64_4 = 0x85EBCA77C2B2AE63,
                   prime64_5 = 0x27D4EB2F165667C5;
constexpr uint64_t prime_mx1 = 0x165667919E3779F9, prime_mx2 = 0x9FB21C651E98DF25;
constexpr uint32_t secret_bytes = 192, stripe_bytes = 64, stripes_per_block = 16;

/// The secret's 24 words.
CUBBY_DEVICE uint64_t secret_word(uint32_t i) {
  constexpr uint64_t words[24] = {
      0xbe4ba423396cfeb8, 0x1cad21f72c81017c, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072,
      0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82, 0x8e2443f7744608b8, 0x4c263a81e69035e0,
      0xcb00c391bb52283c, 0xa32e531b8b65d088, 0x4ef90da297486471, 0xd8acdea946ef1938,
      0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8,
      0xc3ebd33483acc5ea, 0xeb6313faffa081c5, 0x49daf0b751dd0d17, 0x9e68d429265516d3,
      0xfca1477d58be162b, 0xce31d07ad1b8f88f, 0x280416958f3acb45, 0x7e404bbbcafbd7af};
  return words[i];
}
/// Eight bytes of the secret from any of its bytes on.
CUBBY_DEVICE uint64_t secret_at(uint32_t byte) {
  const uint32_t shift = byte % 8 * 8;
  const uint64_t low = secret_word(byte / 8) >> shift;
  return shift == 0 ? low : low | secret_word(byte / 8 + 1) << (64 - shift);
}
/// The same of the secret that a seed makes of it: the even words more, the odd ones less.
CUBBY_DEVICE uint64_t seeded_word(uint32_t i, uint64_t seed) {
  return secret_word(i) + (i % 2 == 0 ? seed : 0 - seed);
}
CUBBY_DEVICE uint64_t seeded_at(uint32_t byte, uint64_t seed) {
  const uint32_t shift = byte % 8 * 8;
  const uint64_t low = seeded_word(byte / 8, seed) >> shift;
  return shift == 0 ? low : low | seeded_word(byte / 8 + 1, seed) << (64 - shift);
}

CUBBY_DEVICE uint64_t read64(const uint8_t *at) {
  if (reinterpret_cast<uintptr_t>(at) % 8 == 0) return *reinterpret_cast<const uint64_t *>(at);
  uint64_t out = 0;
  for (uint32_t i = 0; i < 8; ++i) out |= uint64_t{at[i]} << (8 * i);
  return out;
}
CUBBY_DEVICE uint64_t read32(const uint8_t *at) {
  return at[0] | uint64_t{at[1]} << 8 | uint64_t{at[2]} << 16 | uint64_t{at[3]} << 24;
}
/// High half xor low half of the product.
CUBBY_DEVICE uint64_t folded_product(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return (a * b) ^ __umul64hi(a, b);
#else
  const uint64_t a_low = a & 0xFFFFFFFF, a_high = a >> 32, b_low = b & 0xFFFFFFFF, b_high = b >> 32;
  const uint64_t cross = (a_low * b_low >> 32) + (a_high * b_low & 0xFFFFFFFF) + a_low * b_high;
  return (a * b) ^ ((a_high * b_low >> 32) + (cross >> 32) + a_high * b_high);
#endif
}
CUBBY_DEVICE uint64_t swap64(uint64_t x) {
  uint64_t out = 0;
  for (uint32_t i = 0; i < 8; ++i) out = out << 8 | (x >> (8 * i) & 255);
  return out;
}
CUBBY_DEVICE uint64_t rotate(uint64_t x, uint32_t by) { return x << by | x >> (64 - by); }
CUBBY_DEVICE uint64_t avalanche(uint64_t x) {
  x = (x ^ x >> 37) * prime_mx1;
  return x ^ x >> 32;
}
CUBBY_DEVICE uint64_t avalanche_64(uint64_t x) {
  x = (x ^ x >> 33) * prime64_2;
  x = (x ^ x >> 29) * prime64_3;
  return x ^ x >> 32;
}

// ---- up to 240 bytes
// ------------------------------------------------------------------------------

CUBBY_DEVICE uint64_t mix16(const uint8_t *at, uint32_t secret, uint64_t seed) {
  return folded_product(read64(at) ^ (secret_at(secret) + seed),
                        read64(at + 8) ^ (secret_at(secret + 8) - seed));
}
CUBBY_DEVICE uint64_t of_16_or_less(const uint8_t *at, uint64_t bytes, uint64_t seed) {
  if (bytes > 8) {
    const uint64_t low = read64(at) ^ ((secret_at(24) ^ secret_at(32)) + seed);
    const uint64_t high = read64(at + bytes - 8) ^ ((secret_at(40) ^ secret_at(48)) - seed);
    return avalanche(bytes + swap64(low) + high + folded_product(low, high));
  }
  if (bytes >= 4) {
    const uint64_t swapped = swap64(seed & 0xFFFFFFFF) >> 32;
    const uint64_t both = read32(at + bytes - 4) + (read32(at) << 32);
    uint64_t x = both ^ ((secret_at(8) ^ secret_at(16)) - (seed ^ swapped << 32));
    x ^= rotate(x, 49) ^ rotate(x, 24);
    x *= prime_mx2;
    x = (x ^ ((x >> 35) + bytes)) * prime_mx2;
    return x ^ x >> 28;
  }
  if (bytes != 0) {
    const uint64_t combined =
        uint64_t{at[0]} << 16 | uint64_t{at[bytes / 2]} << 24 | at[bytes - 1] | bytes << 8;
    const uint64_t first = secret_at(0);
    return avalanche_64(combined ^ (((first ^ first >> 32) & 0xFFFFFFFF) + seed));
  }
  return avalanche_64(seed ^ secret_at(56) ^ secret_at(64));
}
CUBBY_DEVICE uint64_t of_240_or_less(const uint8_t *at, uint64_t bytes, uint64_t seed) {
  uint64_t sum = bytes * prime64_1;
  if (bytes <= 128) {
    for (uint32_t i = 0; i < 4 && bytes > 32 * i; ++i) {
      sum += mix16(at + 16 * i, 32 * i, seed);
      sum += mix16(at + bytes - 16 * (i + 1), 32 * i + 16, seed);
    }
    return avalanche(sum);
  }
  for (uint32_t i = 0; i < 8; ++i) sum += mix16(at + 16 * i, 16 * i, seed);
  sum = avalanche(sum);
  for (uint32_t i = 8; i < bytes / 16; ++i) sum += mix16(at + 16 * i, 16 * (i - 8) + 3, seed);
  return avalanche(sum + mix16(at + bytes - 16, 136 - 17, seed));
}

// ---- more
// -----------------------------------------------------------------------------------------

/// What word `i` of a stripe gives to sum `to`: to its own, or to that of its neighbour.
CUBBY_DEVICE uint64_t stripe_part(const uint8_t *stripe, uint32_t to, uint32_t secret,
                                  uint64_t seed) {
  const uint64_t key = read64(stripe + 8 * to) ^ seeded_at(secret + 8 * to, seed);
  return read64(stripe + 8 * (to ^ 1)) + (key & 0xFFFFFFFF) * (key >> 32);
}
/// The sum of a lane's stripes: lane 8 s + i has sum i of every fourth stripe from s on.
CUBBY_DEVICE uint64_t block_part(const uint8_t *block, uint32_t stripes, uint32_t of_lane,
                                 uint64_t seed) {
  uint64_t sum = 0;
  for (uint32_t n = of_lane / 8; n < stripes; n += 4) {
    sum += stripe_part(block + n * stripe_bytes, of_lane % 8, 8 * n, seed);
  }
  return sum;
}

/// Sum i of up to 16 stripes, in lane i of a warp; on a processor in sums[i].
CUBBY_DEVICE void add_stripes(uint64_t (&sums)[8], const uint8_t *block, uint32_t stripes,
                              uint64_t seed) {
#if defined(__CUDA_ARCH__)
  const uint32_t mine = cubby_device::lane() % 32;
  uint64_t sum = block_part(block, stripes, mine, seed);
  sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 8);
  sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 16);
  sums[0] += sum;
#else
  for (uint32_t i = 0; i < 32; ++i) sums[i % 8] += block_part(block, stripes, i, seed);
#endif
}
/// Calls do(i, sum): for the one that the lane has; on a processor for all.
template <class Do>
CUBBY_DEVICE void for_sums(uint64_t (&sums)[8], const Do &what) {
#if defined(__CUDA_ARCH__)
  what(cubby_device::lane() % 8, sums[0]);
#else
  for (uint32_t i = 0; i < 8; ++i) what(i, sums[i]);
#endif
}
CUBBY_DEVICE uint64_t initial_sum(uint32_t i) {
  constexpr uint64_t initial[8] = {prime32_3, prime64_1, prime64_2, prime64_3,
                                   prime64_4, prime32_2, prime64_5, prime32_1};
  return initial[i];
}
/// The eight sums, wherever they are, in every lane.
CUBBY_DEVICE void collect(uint64_t (&sums)[8]) {
#if defined(__CUDA_ARCH__)
  const uint64_t mine = sums[0];
  for (uint32_t i = 0; i < 8; ++i) {
    sums[i] = __shfl_sync(0xFFFFFFFFu, static_cast<unsigned long long>(mine), static_cast<int>(i));
  }
#else
  (void)sums;
#endif
}

CUBBY_DEVICE uint64_t of_more(const uint8_t *at, uint64_t bytes, uint64_t seed) {
  constexpr uint64_t block_bytes = stripe_bytes * stripes_per_block;
  uint64_t sums[8];
  for_sums(sums, [](uint32_t i, uint64_t &sum) { sum = initial_sum(i); });
  const uint64_t blocks = (bytes - 1) / block_bytes;
  for (uint64_t b = 0; b < blocks; ++b) {
    add_stripes(sums, at + b * block_bytes, stripes_per_block, seed);
    for_sums(sums, [&](uint32_t i, uint64_t &sum) {
      sum = (sum ^ sum >> 47 ^ seeded_word(16 + i, seed)) * prime32_1;
    });
  }
  const uint8_t *const rest = at + blocks * block_bytes;
  const auto stripes = static_cast<uint32_t>((bytes - 1 - blocks * block_bytes) / stripe_bytes);
  add_stripes(sums, rest, stripes, seed);
  const uint8_t *const last = at + bytes - stripe_bytes;
  for_sums(sums, [&](uint32_t i, uint64_t &sum) {
    sum += stripe_part(last, i, secret_bytes - stripe_bytes - 7, seed);
  });
  collect(sums);
  uint64_t value = bytes * prime64_1;
  for (uint32_t i = 0; i < 4; ++i) {
    value += folded_product(sums[2 * i] ^ seeded_at(11 + 16 * i, seed),
                            sums[2 * i + 1] ^ seeded_at(19 + 16 * i, seed));
  }
  return avalanche(value);
}

/// All lanes of a warp call it, and all get it.
CUBBY_DEVICE uint64_t xxh3_64(const uint8_t *at, uint64_t bytes, uint64_t seed) {
  if (bytes <= 16) return of_16_or_less(at, bytes, seed);
  if (bytes <= 240) return of_240_or_less(at, bytes, seed);
  return of_more(at, bytes, seed);
}

}  // namespace cubby_kernels

// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014):
// small, seedable, the same on every machine. For simulation, tests and randomised policies; not
// for secrets.
#pragma once

#include <cstdint>

namespace cubby::base {

/// Mixes one 64-bit word; a bijection.
[[nodiscard]] constexpr uint64_t mix64(uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

class prng {
 public:
  explicit constexpr prng(uint64_t seed) noexcept : state_(seed) {}

  constexpr uint64_t next() noexcept { return mix64(state_ += 0x9E3779B97F4A7C15ull); }

  /// Uniform in [0, bound); bound > 0. The bias of multiply-shift is below 2^-32 for bounds below
  /// 2^32.
  constexpr uint64_t below(uint64_t bound) noexcept {
    __extension__ using wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<wide>(next()) * bound) >> 64);
  }

  /// True with probability numerator / denominator.
  constexpr bool chance(uint64_t numerator, uint64_t denominator) noexcept {
    return below(denominator) < numerator;
  }

  /// Uniform in [0, 1).
  constexpr double unit() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_;
};

}  // namespace cubby::base

// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). A backend includes nothing of src/, so the
// simulated world has a generator of its own.
#pragma once
#include <cstdint>

namespace cubby_sim {

constexpr uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

class generator {
 public:
  explicit constexpr generator(uint64_t seed) : state_(seed) {}
  constexpr uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15ull); }
  /// In [0, bound); bound > 0.
  constexpr uint64_t below(uint64_t bound) {
    __extension__ using wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<wide>(next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

}  // namespace cubby_sim

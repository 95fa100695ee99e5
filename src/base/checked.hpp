// Arithmetic on sizes that come from files and callers: overflow is an answer, never a wrap-around.
#pragma once

#include <cstdint>
#include <optional>

namespace cubby::base {

[[nodiscard]] inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) noexcept {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

[[nodiscard]] inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) noexcept {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

/// The largest number where the sum is larger.
[[nodiscard]] inline uint64_t saturating_add(uint64_t a, uint64_t b) noexcept {
  return checked_add(a, b).value_or(~uint64_t{0});
}

/// `alignment` is a power of two.
[[nodiscard]] constexpr uint64_t align_down(uint64_t value, uint64_t alignment) noexcept {
  return value & ~(alignment - 1);
}

/// `alignment` is a power of two; the caller knows that value + alignment does not wrap.
[[nodiscard]] constexpr uint64_t align_up(uint64_t value, uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace cubby::base

// The formats of weights that make-model writes and decode loops compute with: blocks of 32, in
// q8_0 and q4_0 behind a half-precision scale.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cubby_cli::model {

inline constexpr uint64_t block_weights = 32;

/// Numbers are those of the GGUF format. Blocks are packed: a part of a file may lie anywhere.
enum class weight_type : uint32_t { f32 = 0, q4_0 = 2, q8_0 = 8, bf16 = 30, mxfp4 = 39 };

struct [[gnu::packed]] q8_0_block {
  uint16_t scale;  // half precision
  int8_t weights[32];
};
static_assert(sizeof(q8_0_block) == 34);

struct [[gnu::packed]] q4_0_block {
  uint16_t scale;
  uint8_t pairs[16];  // low half: weight i, high half: weight i + 16; 8 stands for zero
};
static_assert(sizeof(q4_0_block) == 18);

struct mxfp4_block {
  uint8_t scale;      // 2^(scale - 127)
  uint8_t pairs[16];  // as in q4_0, of four bits each: sign, two of exponent, one of mantissa
};
static_assert(sizeof(mxfp4_block) == 17);

/// Bytes of `count` weights; count is a multiple of 32 unless the type is f32.
constexpr uint64_t bytes_of(weight_type type, uint64_t count) {
  switch (type) {
    case weight_type::f32:
      return count * 4;
    case weight_type::q4_0:
      return count / block_weights * sizeof(q4_0_block);
    case weight_type::q8_0:
      return count / block_weights * sizeof(q8_0_block);
    case weight_type::bf16:
      return count * 2;
    case weight_type::mxfp4:
      return count / block_weights * sizeof(mxfp4_block);
  }
  return 0;
}

constexpr const char *name_of(weight_type type) {
  switch (type) {
    case weight_type::f32:
      return "F32";
    case weight_type::q4_0:
      return "Q4_0";
    case weight_type::q8_0:
      return "Q8_0";
    case weight_type::bf16:
      return "BF16";
    case weight_type::mxfp4:
      return "MXFP4";
  }
  return "";
}

/// The type of that name, of those that experts may have; nothing for others.
constexpr std::optional<weight_type> expert_type_of(std::string_view name) {
  using enum weight_type;
  for (const weight_type one : {q8_0, q4_0, mxfp4, bf16}) {
    if (name == name_of(one)) return one;
  }
  return std::nullopt;
}

/// Half precision to single, exactly.
constexpr float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31;
  const uint32_t exponent = half >> 10 & 31u;
  const uint32_t mantissa = half & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -small : small;
}

/// Single to half, for finite values that fit; rounds to nearest, halves upwards.
constexpr uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const float magnitude = value < 0 ? -value : value;
  if (magnitude < 0x1p-14f)
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(magnitude * 0x1p24f + 0.5f));
  const uint32_t rounded = (bits & 0x7fffffffu) + 0x1000u;
  const uint32_t half = (rounded >> 13) - (112u << 10);
  return static_cast<uint16_t>(sign | (half < 0x7bffu ? half : 0x7bffu));
}

}  // namespace cubby_cli::model

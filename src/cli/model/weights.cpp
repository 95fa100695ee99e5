#include "cli/model/weights.hpp"

#include <bit>
#include <cmath>
#include <cstring>

namespace cubby_cli::model {
namespace {

uint64_t splitmix(uint64_t &state) {
  uint64_t mixed = state += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
  return mixed ^ mixed >> 31;
}

/// Standard deviation of what a block's integers are drawn from, in units of its scale.
constexpr float byte_spread = 73.9f, nibble_spread = 4.61f, fp4_spread = 2.93f;

/// The exponent of a scale that is a power of two, as MXFP4 has it.
uint8_t power_scale(float value) {
  return static_cast<uint8_t>(127 + std::lround(std::log2(value)));
}

}  // namespace

random_stream::random_stream(uint64_t seed, uint64_t stream) {
  uint64_t state = seed;
  state = splitmix(state) ^ stream * 0xd1342543de82ef95u;
  for (uint64_t &word : state_) word = splitmix(state);
}

uint64_t random_stream::next() {
  auto &s = state_;
  const uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
  const uint64_t shifted = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= shifted;
  s[3] = std::rotl(s[3], 45);
  return result;
}

uint32_t random_stream::below(uint32_t limit) {
  return static_cast<uint32_t>((next() >> 32) * limit >> 32);
}

float random_stream::unit() { return static_cast<float>(next() >> 40) * 0x1p-24f; }

weight_stream::weight_stream(const tensor &made, uint64_t seed, uint64_t tensor_index)
    : random_(seed, tensor_index), type_(made.type), fill_(made.fill) {
  spread_ = 1.0f / std::sqrt(static_cast<float>(made.shape[0]));
}

uint64_t weight_stream::unit_bytes() const {
  return type_ == weight_type::f32 ? 4 : bytes_of(type_, block_weights);
}

/// Blocks differ in scale by up to a quarter, as blocks of trained weights do.
uint16_t weight_stream::scale() {
  const float integers = type_ == weight_type::q8_0 ? byte_spread : nibble_spread;
  return float_to_half(spread_ / integers * (0.75f + 0.5f * random_.unit()));
}

/// The upper halves of 32 floats; the place behind them.
std::byte *weight_stream::fill_bf16(std::byte *at) {
  for (uint64_t i = 0; i < block_weights; ++i, at += sizeof(uint16_t)) {
    const float value = 1.7320508f * spread_ * (2.0f * random_.unit() - 1.0f);
    const auto upper = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    std::memcpy(at, &upper, sizeof upper);
  }
  return at;
}

void weight_stream::fill(std::span<std::byte> piece) {
  std::byte *at = piece.data();
  const uint64_t units = piece.size() / unit_bytes();
  for (uint64_t i = 0; i < units; i++) {
    if (type_ == weight_type::f32) {
      const float centred = 2.0f * random_.unit() - 1.0f;
      const float value =
          fill_ == filling::near_one ? 1.0f + 0.1f * centred : 1.7320508f * spread_ * centred;
      std::memcpy(at, &value, sizeof value);
      at += sizeof value;
      continue;
    }
    if (type_ == weight_type::bf16) {
      at = fill_bf16(at);
      continue;
    }
    if (type_ == weight_type::mxfp4) {
      *at++ = std::byte{power_scale(spread_ / fp4_spread)};
    } else {
      const uint16_t half = scale();
      std::memcpy(at, &half, sizeof half);
      at += sizeof half;
    }
    for (uint32_t words = type_ == weight_type::q8_0 ? 4 : 2; words > 0; words--) {
      const uint64_t bits = random_.next();
      std::memcpy(at, &bits, sizeof bits);
      at += sizeof bits;
    }
  }
}

}  // namespace cubby_cli::model

#include "cli/demo/sha256.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace cubby_cli::demo {
namespace {

/// The first 32 bits of the fractions of the cube roots of the first 64 primes, as the standard
/// defines them.
std::array<uint32_t, 64> make_constants() {
  std::array<uint32_t, 64> made{};
  uint32_t count = 0;
  for (uint32_t n = 2; count < made.size(); ++n) {
    bool prime = true;
    for (uint32_t d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
    if (!prime) continue;
    const long double root = cbrtl(static_cast<long double>(n));
    made[count++] = static_cast<uint32_t>((root - floorl(root)) * 4294967296.0L);
  }
  return made;
}

}  // namespace

void sha256::block(const uint8_t *data) {
  static const std::array<uint32_t, 64> constants = make_constants();
  std::array<uint32_t, 64> w{};
  for (uint32_t i = 0; i < 16; ++i) {
    w[i] = uint32_t{data[4 * i]} << 24 | uint32_t{data[4 * i + 1]} << 16 |
           uint32_t{data[4 * i + 2]} << 8 | data[4 * i + 3];
  }
  for (uint32_t i = 16; i < 64; ++i) {
    const uint32_t a = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
    const uint32_t b = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  std::array<uint32_t, 8> s = state_;
  for (uint32_t i = 0; i < 64; ++i) {
    const uint32_t e = std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25);
    const uint32_t t1 = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
    const uint32_t a = std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22);
    const uint32_t t2 = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    s = {t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
  }
  for (uint32_t i = 0; i < 8; ++i) state_[i] += s[i];
}

void sha256::add(const void *data, size_t bytes) {
  const auto *from = static_cast<const uint8_t *>(data);
  while (bytes != 0) {
    const size_t held = bytes_ % 64;
    const size_t step = std::min<size_t>(64 - held, bytes);
    std::memcpy(open_.data() + held, from, step);
    bytes_ += step;
    from += step;
    bytes -= step;
    if (bytes_ % 64 == 0) block(open_.data());
  }
}

std::string sha256::finish() {
  const uint64_t bits = bytes_ * 8;
  const uint8_t one = 0x80, zero = 0;
  add(&one, 1);
  while (bytes_ % 64 != 56) add(&zero, 1);
  std::array<uint8_t, 8> length{};
  for (uint32_t i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
  add(length.data(), length.size());
  std::string text;
  for (const uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  }
  return text;
}

}  // namespace cubby_cli::demo

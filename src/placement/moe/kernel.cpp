#pragma GCC diagnostic ignored "-Wpsabi"  // nothing here passes vectors between files
#include "placement/moe/kernel.hpp"

#include <algorithm>
#include <bit>

namespace cubby::placement::moe {
namespace avx2 {
extern const kernel functions;
}
namespace {

#include "placement/moe/kernel_vector.hpp"
//
#include "placement/moe/kernel_body.hpp"

/// The reference: eight floats one after the other.
struct scalar_ints {
  int32_t v[lanes];

  void store_narrow(int16_t *to) const {
    for (uint32_t i = 0; i < lanes; ++i) to[i] = static_cast<int16_t>(v[i]);
  }
};
struct scalar_lanes {
  float v[lanes];

  static scalar_ints numbered(uint32_t step);
  static scalar_lanes load(const float *from) {
    scalar_lanes made;
    for (uint32_t i = 0; i < lanes; ++i) made.v[i] = from[i];
    return made;
  }
  static scalar_lanes load_numbers(const int16_t *from) {
    scalar_lanes made;
    for (uint32_t i = 0; i < lanes; ++i) made.v[i] = from[i];
    return made;
  }
  static scalar_lanes all(float one) {
    scalar_lanes made;
    for (float &lane : made.v) lane = one;
    return made;
  }
  void store(float *to) const {
    for (uint32_t i = 0; i < lanes; ++i) to[i] = v[i];
  }
  [[nodiscard]] float sum() const {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
  }
};

scalar_ints scalar_lanes::numbered(uint32_t step) {
  scalar_ints made;
  for (uint32_t i = 0; i < lanes; ++i) made.v[i] = static_cast<int32_t>(i * step);
  return made;
}

template <class To, class From, class F>
To each(const From &a, const F &f) {
  To made;
  for (uint32_t i = 0; i < lanes; ++i) made.v[i] = f(a.v[i], i);
  return made;
}
using floats = scalar_lanes;
using ints = scalar_ints;

floats operator+(const floats &a, const floats &b) {
  return each<floats>(a, [&](float x, uint32_t i) { return x + b.v[i]; });
}
floats operator-(const floats &a, const floats &b) {
  return each<floats>(a, [&](float x, uint32_t i) { return x - b.v[i]; });
}
floats operator*(const floats &a, const floats &b) {
  return each<floats>(a, [&](float x, uint32_t i) { return x * b.v[i]; });
}
floats operator/(const floats &a, const floats &b) {
  return each<floats>(a, [&](float x, uint32_t i) { return x / b.v[i]; });
}
floats operator+(const floats &a, float b) { return a + floats::all(b); }
floats operator-(const floats &a, float b) { return a - floats::all(b); }
floats operator*(const floats &a, float b) { return a * floats::all(b); }
ints operator-(const ints &a, int32_t b) {
  return each<ints>(a, [&](int32_t x, uint32_t) { return x - b; });
}
ints operator-(const ints &a, const ints &b) {
  return each<ints>(a, [&](int32_t x, uint32_t i) { return x - b.v[i]; });
}
ints operator+(const ints &a, int32_t b) {
  return each<ints>(a, [&](int32_t x, uint32_t) {
    return static_cast<int32_t>(static_cast<uint32_t>(x) + static_cast<uint32_t>(b));
  });
}
ints operator+(const ints &a, const ints &b) {
  return each<ints>(a, [&](int32_t x, uint32_t i) { return x + b.v[i]; });
}
ints low_bits(const ints &a, int32_t mask) {
  return each<ints>(a, [&](int32_t x, uint32_t) { return x & mask; });
}
ints shift_right(const ints &a, int n) {
  return each<ints>(a, [&](int32_t x, uint32_t) { return x >> n; });
}
ints shift_left(const ints &a, int n) {
  return each<ints>(a, [&](int32_t x, uint32_t) { return x << n; });
}
ints as_bits(const floats &a) {
  return each<ints>(a, [](float x, uint32_t) { return std::bit_cast<int32_t>(x); });
}
floats as_floats(const ints &a) {
  return each<floats>(a, [](int32_t x, uint32_t) { return std::bit_cast<float>(x); });
}
floats to_floats(const ints &a) {
  return each<floats>(a, [](int32_t x, uint32_t) { return static_cast<float>(x); });
}
floats at_least(const floats &a, const floats &b) {
  return each<floats>(a, [&](float x, uint32_t i) { return x > b.v[i] ? x : b.v[i]; });
}
floats at_least(const floats &a, float b) { return at_least(a, floats::all(b)); }
floats at_most(const floats &a, float b) {
  return each<floats>(a, [&](float x, uint32_t) { return x < b ? x : b; });
}
floats below(const ints &number, int32_t limit, const floats &a) {
  return each<floats>(a, [&](float x, uint32_t i) { return number.v[i] < limit ? x : 0.0F; });
}
floats visible_only(const floats &a, uint8_t bits) {
  return each<floats>(
      a, [&](float x, uint32_t i) { return (bits >> i & 1) != 0 ? x : -__builtin_inff(); });
}
ints select_larger(const floats &a, const floats &b, int32_t at, const ints &was) {
  return each<ints>(was, [&](int32_t x, uint32_t i) { return a.v[i] > b.v[i] ? at : x; });
}

float largest_lane(const floats &a) {
  float best = a.v[0];
  for (uint32_t i = 1; i < lanes; ++i) best = a.v[i] > best ? a.v[i] : best;
  return best;
}
uint32_t least_among_equal(const ints &number, const floats &a, float b) {
  int32_t least = 0x7FFFFFFF;
  for (uint32_t i = 0; i < lanes; ++i)
    if (a.v[i] == b && number.v[i] < least) least = number.v[i];
  return static_cast<uint32_t>(least);
}

struct scalar_words {
  int16_t v[words];

  static scalar_words load(const int16_t *from) {
    scalar_words made;
    for (uint32_t i = 0; i < words; ++i) made.v[i] = from[i];
    return made;
  }
  static scalar_words all(int16_t one) {
    scalar_words made;
    for (int16_t &word : made.v) word = one;
    return made;
  }
  static scalar_words none() { return all(0); }
  void store(int16_t *to) const {
    for (uint32_t i = 0; i < words; ++i) to[i] = v[i];
  }
};
scalar_words saturated_sum(const scalar_words &a, const scalar_words &b) {
  scalar_words made;
  for (uint32_t i = 0; i < words; ++i)
    made.v[i] = static_cast<int16_t>(std::clamp(a.v[i] + b.v[i], -32768, 32767));
  return made;
}
scalar_words rounded_product(const scalar_words &a, const scalar_words &b) {
  scalar_words made;
  for (uint32_t i = 0; i < words; ++i)
    made.v[i] = static_cast<int16_t>((a.v[i] * b.v[i] + 0x4000) >> 15);
  return made;
}

}  // namespace

const kernel &scalar_kernel() {
  static const kernel scalar = {learn<scalar_lanes, scalar_words>, rank<scalar_lanes>,
                                largest<scalar_lanes>};
  return scalar;
}

const kernel &plain_kernel() {
  static const kernel vector = {learn<vector_lanes, vector_words>, rank<vector_lanes>,
                                largest<vector_lanes>};
  return vector;
}

const kernel &best_kernel() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("avx2")) return avx2::functions;
#endif
  return plain_kernel();
}

}  // namespace cubby::placement::moe

#pragma GCC diagnostic ignored "-Wpsabi"  // nothing here passes vectors between files
#include "placement/moe/kernel.hpp"

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
};
struct scalar_lanes {
  float v[lanes];

  static scalar_lanes load(const float *from) {
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
  [[nodiscard]] float largest() const {
    float most = v[0];
    for (uint32_t i = 1; i < lanes; ++i) most = v[i] > most ? v[i] : most;
    return most;
  }
};

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
  return each<ints>(a, [&](int32_t x, uint32_t) { return x + b; });
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

}  // namespace

const kernel &scalar_kernel() {
  static const kernel scalar = {learn<scalar_lanes>, rank<scalar_lanes>, largest<scalar_lanes>};
  return scalar;
}

const kernel &best_kernel() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (__builtin_cpu_supports("avx2")) return avx2::functions;
#endif
  static const kernel vector = {learn<vector_lanes>, rank<vector_lanes>, largest<vector_lanes>};
  return vector;
}

}  // namespace cubby::placement::moe

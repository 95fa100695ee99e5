// Eight floats, and sixteen short whole numbers, as the compiler's own vectors. Included where
// kernel_body.hpp is.

struct int8_lanes {
  using type = int32_t __attribute__((vector_size(32)));
  using narrow = int16_t __attribute__((vector_size(16)));
  using narrow_anywhere = int16_t __attribute__((vector_size(16), aligned(2), may_alias));
  type v;

  /// The lower halves, as short numbers.
  void store_narrow(int16_t *to) const {
    *reinterpret_cast<narrow_anywhere *>(to) = __builtin_convertvector(v, narrow);
  }
};
inline int8_lanes operator-(const int8_lanes &a, int32_t b) { return {a.v - b}; }
inline int8_lanes operator-(const int8_lanes &a, const int8_lanes &b) { return {a.v - b.v}; }
inline int8_lanes operator+(const int8_lanes &a, int32_t b) {
  using wrapping = uint32_t __attribute__((vector_size(32)));
  return {(int8_lanes::type)((wrapping)a.v + static_cast<uint32_t>(b))};
}
inline int8_lanes operator+(const int8_lanes &a, const int8_lanes &b) { return {a.v + b.v}; }
inline int8_lanes low_bits(const int8_lanes &a, int32_t mask) { return {a.v & mask}; }
inline int8_lanes shift_right(const int8_lanes &a, int n) { return {a.v >> n}; }
inline int8_lanes shift_left(const int8_lanes &a, int n) { return {a.v << n}; }

struct vector_lanes {
  using type = float __attribute__((vector_size(32)));
  using anywhere = float __attribute__((vector_size(32), aligned(4), may_alias));
  type v;

  /// 0, step, 2 step, ...; wraps.
  static int8_lanes numbered(uint32_t step) {
    int8_lanes made = {};
    for (uint32_t i = 0; i < lanes; ++i) made.v[i] = static_cast<int32_t>(i * step);
    return made;
  }
  static vector_lanes load(const float *from) {
    return {*reinterpret_cast<const anywhere *>(from)};
  }
  /// Short whole numbers as floats.
  static vector_lanes load_numbers(const int16_t *from) {
    return {__builtin_convertvector(*reinterpret_cast<const int8_lanes::narrow_anywhere *>(from),
                                    type)};
  }
  static vector_lanes all(float one) { return {type{} + one}; }
  void store(float *to) const { *reinterpret_cast<anywhere *>(to) = v; }
  [[nodiscard]] float sum() const {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
  }
};
inline vector_lanes operator+(const vector_lanes &a, const vector_lanes &b) { return {a.v + b.v}; }
inline vector_lanes operator-(const vector_lanes &a, const vector_lanes &b) { return {a.v - b.v}; }
inline vector_lanes operator*(const vector_lanes &a, const vector_lanes &b) { return {a.v * b.v}; }
inline vector_lanes operator/(const vector_lanes &a, const vector_lanes &b) { return {a.v / b.v}; }
inline vector_lanes operator+(const vector_lanes &a, float b) { return {a.v + b}; }
inline vector_lanes operator-(const vector_lanes &a, float b) { return {a.v - b}; }
inline vector_lanes operator*(const vector_lanes &a, float b) { return {a.v * b}; }
inline int8_lanes as_bits(const vector_lanes &a) { return {(int8_lanes::type)a.v}; }
inline vector_lanes as_floats(const int8_lanes &a) { return {(vector_lanes::type)a.v}; }
inline vector_lanes to_floats(const int8_lanes &a) {
  return {__builtin_convertvector(a.v, vector_lanes::type)};
}
/// a where a > b, else b.
inline vector_lanes at_least(const vector_lanes &a, const vector_lanes &b) {
  const int8_lanes::type take = a.v > b.v;
  return as_floats({(take & as_bits(a).v) | (~take & as_bits(b).v)});
}
inline vector_lanes at_least(const vector_lanes &a, float b) {
  return at_least(a, vector_lanes::all(b));
}
/// a where a < b, else b.
inline vector_lanes at_most(const vector_lanes &a, float b) {
  const vector_lanes other = vector_lanes::all(b);
  const int8_lanes::type take = a.v < other.v;
  return as_floats({(take & as_bits(a).v) | (~take & as_bits(other).v)});
}
/// a in lanes whose number is below the limit, else 0.
inline vector_lanes below(const int8_lanes &number, int32_t limit, const vector_lanes &a) {
  const int8_lanes::type take = number.v < limit;
  return as_floats({take & as_bits(a).v});
}
/// a in lanes whose bit is set, else -infinity.
inline vector_lanes visible_only(const vector_lanes &a, uint8_t bits) {
  constexpr int8_lanes::type bit = {1, 2, 4, 8, 16, 32, 64, 128};
  const int8_lanes::type take = ((int8_lanes::type{} + bits) & bit) == bit;
  const vector_lanes absent = vector_lanes::all(-__builtin_inff());
  return as_floats({(take & as_bits(a).v) | (~take & as_bits(absent).v)});
}
/// `at` where a > b, else as it was.
inline int8_lanes select_larger(const vector_lanes &a, const vector_lanes &b, int32_t at,
                                const int8_lanes &was) {
  const int8_lanes::type take = a.v > b.v;
  return {(take & (int8_lanes::type{} + at)) | (~take & was.v)};
}
/// The largest of the eight: of the halves, of their halves, of those.
inline float largest_lane(const vector_lanes &a) {
  const vector_lanes half =
      at_least(a, {__builtin_shufflevector(a.v, a.v, 4, 5, 6, 7, 0, 1, 2, 3)});
  const vector_lanes::type h = half.v;
  const vector_lanes pair = at_least(half, {__builtin_shufflevector(h, h, 2, 3, 0, 1, 6, 7, 4, 5)});
  const float first = pair.v[0], second = pair.v[1];
  return first > second ? first : second;
}
/// The smaller in each lane.
inline int8_lanes smaller(const int8_lanes &a, const int8_lanes &b) {
  const int8_lanes::type take = a.v < b.v;
  return {(take & a.v) | (~take & b.v)};
}
/// The least of the numbers (none is negative) in lanes where a equals b.
inline uint32_t least_among_equal(const int8_lanes &number, const vector_lanes &a, float b) {
  const int8_lanes::type take = a.v == vector_lanes::all(b).v;
  const int8_lanes::type n = (take & number.v) | (~take & 0x7FFFFFFF);
  const int8_lanes half = smaller({n}, {__builtin_shufflevector(n, n, 4, 5, 6, 7, 0, 1, 2, 3)});
  const int8_lanes::type h = half.v;
  const int8_lanes pair = smaller(half, {__builtin_shufflevector(h, h, 2, 3, 0, 1, 6, 7, 4, 5)});
  return static_cast<uint32_t>(pair.v[0] < pair.v[1] ? pair.v[0] : pair.v[1]);
}

struct vector_words {
  using type = int16_t __attribute__((vector_size(32)));
  using anywhere = int16_t __attribute__((vector_size(32), aligned(2), may_alias));
  type v;

  static vector_words load(const int16_t *from) {
    return {*reinterpret_cast<const anywhere *>(from)};
  }
  static vector_words none() { return {type{}}; }
  static vector_words all(int16_t one) { return {type{} + one}; }
  void store(int16_t *to) const { *reinterpret_cast<anywhere *>(to) = v; }
};
#ifdef CUBBY_KERNEL_AVX2
inline vector_words saturated_sum(const vector_words &a, const vector_words &b) {
  return {__builtin_ia32_paddsw256(a.v, b.v)};
}
/// a b / 2^15, to the nearest, halves up.
inline vector_words rounded_product(const vector_words &a, const vector_words &b) {
  return {__builtin_ia32_pmulhrsw256(a.v, b.v)};
}
#else
inline vector_words saturated_sum(const vector_words &a, const vector_words &b) {
  using wrapping = uint16_t __attribute__((vector_size(32)));
  const auto sum = (vector_words::type)((wrapping)a.v + (wrapping)b.v);
  const vector_words::type over = ((a.v ^ sum) & (b.v ^ sum)) >> 15;  // wrapped: both signs differ
  const vector_words::type end = (a.v >> 15) ^ 0x7FFF;
  return {(over & end) | (~over & sum)};
}
/// a b / 2^15, to the nearest, halves up.
inline vector_words rounded_product(const vector_words &a, const vector_words &b) {
  using wide = int32_t __attribute__((vector_size(64)));
  const wide product = __builtin_convertvector(a.v, wide) * __builtin_convertvector(b.v, wide);
  return {__builtin_convertvector((product + 0x4000) >> 15, vector_words::type)};
}
#endif

// Eight floats as the compiler's own vectors. Included where kernel_body.hpp is.

struct int8_lanes {
  typedef int32_t type __attribute__((vector_size(32)));
  type v;
};
inline int8_lanes operator-(const int8_lanes &a, int32_t b) { return {a.v - b}; }
inline int8_lanes operator-(const int8_lanes &a, const int8_lanes &b) { return {a.v - b.v}; }
inline int8_lanes operator+(const int8_lanes &a, int32_t b) { return {a.v + b}; }
inline int8_lanes shift_right(const int8_lanes &a, int n) { return {a.v >> n}; }
inline int8_lanes shift_left(const int8_lanes &a, int n) { return {a.v << n}; }

struct vector_lanes {
  typedef float type __attribute__((vector_size(32)));
  typedef float anywhere __attribute__((vector_size(32), aligned(4), may_alias));
  type v;

  static vector_lanes load(const float *from) {
    return {*reinterpret_cast<const anywhere *>(from)};
  }
  static vector_lanes all(float one) { return {type{} + one}; }
  void store(float *to) const { *reinterpret_cast<anywhere *>(to) = v; }
  [[nodiscard]] float sum() const {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
  }
  [[nodiscard]] float largest() const {
    float most = v[0];
    for (int i = 1; i < 8; ++i) most = v[i] > most ? v[i] : most;
    return most;
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
